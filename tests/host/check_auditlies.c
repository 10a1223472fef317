/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What a message of segmentd-audit's is judged by: none that is spoilt is believed. */
#include "config.h"

#include "tests/harness.h"
#include "tests/host/auditfake.h"

#define N_NOISE		100000

struct message {
	struct audit_answer answer;
	union {
		struct audit_holder holders[2];
		struct audit_stray strays[2];
		char bytes[2 * sizeof(struct audit_stray)];
	};
};
static_assert(sizeof(struct message) >= sizeof(struct audit_answer) + 2 * sizeof(struct audit_holder), "rows");

static struct audit_question question;

/* A good message of two rows. Its size. */
static size_t
fill(struct message *message, enum audit_kind kind)
{
	struct auditfake fake;

	question = (struct audit_question){ .version = AUDIT_VERSION, .kind = kind, .serial = 77, .n_rows = 2 };
	fake.question = question;
	memset(message, 0, sizeof(*message));
	message->answer = auditfake_header(&fake, 2);
	if (kind == AUDIT_WHO) {
		message->holders[0] = auditfake_holder(0, 10);
		message->holders[1] = auditfake_holder(1, 11);
		return sizeof(message->answer) + sizeof(message->holders);
	}
	message->strays[0] = auditfake_posix("psm_1\n", AUDIT_UNHELD);
	message->strays[1] = auditfake_sysv(0, AUDIT_HELD);
	return sizeof(message->answer) + sizeof(message->strays);
}

START_TEST(good_answers_are_believed)
{
	struct message message;
	size_t size;

	for (enum audit_kind kind = AUDIT_WHO; kind <= AUDIT_JUDGE; kind++) {
		size = fill(&message, kind);
		ck_assert(audit_is_sound(&message, size, &question));
		message.answer.flags = AUDIT_MORE | AUDIT_INCOMPLETE;
		ck_assert(audit_is_sound(&message, size, &question));
		message.answer.flags = 0;
		message.answer.n_rows = 1;
		ck_assert(audit_is_sound(&message, sizeof(message.answer) + message.answer.row_size, &question));
		message.answer.n_rows = 0;
		ck_assert(audit_is_sound(&message, sizeof(message.answer), &question));
		message.answer.result = -EPERM;
		message.answer.row_size = 0;
		ck_assert(audit_is_sound(&message, sizeof(message.answer), &question));
	}
}
END_TEST

/* Spoils a good message; the size that it says it has. */
typedef size_t (*spoil_fn)(struct message *message, size_t size);

#define SPOIL(name, statement)						\
	static size_t							\
	spoil_##name(struct message *message, size_t size)		\
	{								\
		statement;						\
		return size;						\
	}
SPOIL(version, message->answer.version++)
SPOIL(kind, message->answer.kind++)
SPOIL(serial, message->answer.serial++)
SPOIL(flags, message->answer.flags = 0x80)
SPOIL(result, message->answer.result = 1)
SPOIL(result_with_rows, message->answer.result = -EPERM)
SPOIL(row_size, message->answer.row_size--)
SPOIL(no_row_size, message->answer.row_size = 0)
SPOIL(n_rows, message->answer.n_rows++)
SPOIL(many_rows, message->answer.n_rows = UINT32_MAX)
SPOIL(wrapping_rows, message->answer.n_rows = 2 + 0x80000000u)
SPOIL(text, memset(message->answer.text, 'x', sizeof(message->answer.text)))
SPOIL(endless, (message->answer.n_rows = 0, message->answer.flags = AUDIT_MORE, size = sizeof(message->answer)))
SPOIL(short, size--)
SPOIL(long, size++)
SPOIL(header, size = sizeof(message->answer) - 1)
SPOIL(nothing, size = 0)
static const spoil_fn spoils[] = {
	spoil_version, spoil_kind, spoil_serial, spoil_flags, spoil_result, spoil_result_with_rows, spoil_row_size,
	spoil_no_row_size, spoil_n_rows, spoil_many_rows, spoil_wrapping_rows, spoil_text, spoil_endless, spoil_short, spoil_long,
	spoil_header, spoil_nothing,
};

SPOIL(object, message->holders[1].object = 2)
SPOIL(pid, message->holders[1].pid = 0)
SPOIL(negative_pid, message->holders[1].pid = -5)
SPOIL(inner_pid, message->holders[0].inner_pid = -1)
SPOIL(how, message->holders[0].how = 0x100)
SPOIL(command, memset(message->holders[1].command, 'x', AUDIT_COMMAND_SIZE))
SPOIL(cgroup, memset(message->holders[1].cgroup, 'x', AUDIT_CGROUP_SIZE))
SPOIL(container, memset(message->holders[1].container, 'x', AUDIT_CONTAINER_SIZE))
static const spoil_fn holder_spoils[] = {
	spoil_object, spoil_pid, spoil_negative_pid, spoil_inner_pid, spoil_how, spoil_command, spoil_cgroup, spoil_container,
};

SPOIL(what, message->strays[0].what = 3)
SPOIL(no_what, message->strays[0].what = 0)
SPOIL(verdict, message->strays[0].verdict = AUDIT_KEPT + 1)
SPOIL(no_verdict, message->strays[0].verdict = 0)
SPOIL(proof, message->strays[0].proof = AUDIT_BY_NATTCH + 1)
SPOIL(error, message->strays[0].error = 1)
SPOIL(no_name, message->strays[0].name[0] = '\0')
SPOIL(path, strcpy(message->strays[0].name, "a/../../etc/passwd"))
SPOIL(parent, strcpy(message->strays[0].name, ".."))
SPOIL(self, strcpy(message->strays[0].name, "."))
SPOIL(name, memset(message->strays[0].name, 'x', AUDIT_NAME_SIZE))
SPOIL(sysv_name, strcpy(message->strays[1].name, "x"))
SPOIL(id, message->strays[1].shm_id = -1)
static const spoil_fn stray_spoils[] = {
	spoil_what, spoil_no_what, spoil_verdict, spoil_no_verdict, spoil_proof, spoil_error, spoil_no_name, spoil_path,
	spoil_parent, spoil_self, spoil_name, spoil_sysv_name, spoil_id,
};

static void
assert_refused(enum audit_kind kind, const spoil_fn *fns, size_t n)
{
	struct message message;

	for (size_t i = 0; i < n; i++) {
		size_t size = fill(&message, kind);
		/* On the heap and no larger, so that sanitizers see a byte too many being read. */
		cleanup_free char *copy = NULL;

		size = fns[i](&message, size);
		copy = calloc(1, size + 1);
		ck_assert_ptr_nonnull(copy);
		memcpy(copy, &message, min_u64(size, sizeof(message)));
		ck_assert_msg(!audit_is_sound(copy, size, &question), "kind %d, spoilt in way %zu, is believed", (int)kind, i);
	}
}

START_TEST(spoilt_answers_are_not)
{
	for (enum audit_kind kind = AUDIT_WHO; kind <= AUDIT_JUDGE; kind++)
		assert_refused(kind, spoils, BASE_ARRAY_SIZE(spoils));
	assert_refused(AUDIT_WHO, holder_spoils, BASE_ARRAY_SIZE(holder_spoils));
	assert_refused(AUDIT_LIST, stray_spoils, BASE_ARRAY_SIZE(stray_spoils));
	assert_refused(AUDIT_JUDGE, stray_spoils, BASE_ARRAY_SIZE(stray_spoils));
}
END_TEST

START_TEST(noise_that_is_believed_has_texts_that_end)
{
	struct message message;
	unsigned seed = 20261121, n_believed = 0;

	for (unsigned i = 0; i < N_NOISE; i++) {
		size_t size = fill(&message, AUDIT_JUDGE);

		for (unsigned n = 1 + (unsigned)rand_r(&seed) % 3; n > 0; n--) {
			/* Texts are the most of it: what is before them is to be hit as often. */
			size_t at = rand_r(&seed) % 2 ? (size_t)rand_r(&seed) % size : (size_t)rand_r(&seed) % 40;

			((unsigned char *)&message)[at] = (unsigned char)rand_r(&seed);
		}
		if (!audit_is_sound(&message, size, &question))
			continue;
		n_believed++;
		ck_assert_uint_eq(message.answer.n_rows, 2);
		ck_assert_ptr_nonnull(memchr(message.strays[0].name, '\0', AUDIT_NAME_SIZE));
		ck_assert_ptr_null(strchr(message.strays[0].name, '/'));
		ck_assert_str_ne(audit_verdict_name(message.strays[1].verdict), "");
	}
	ck_assert_uint_gt(n_believed, 0);
	ck_assert_uint_lt(n_believed, N_NOISE);
}
END_TEST

START_TEST(verdicts_have_names_of_their_own)
{
	for (enum audit_verdict a = AUDIT_HELD; a <= AUDIT_KEPT; a++)
		for (enum audit_verdict b = AUDIT_HELD; b < a; b++)
			ck_assert_str_ne(audit_verdict_name(a), audit_verdict_name(b));
	ck_assert_str_eq(audit_verdict_name(0), "unknown");
	ck_assert_str_eq(audit_verdict_name(AUDIT_KEPT + 1), "unknown");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("auditlies");
	TCase *tcase = tcase_create("auditlies");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, good_answers_are_believed);
	tcase_add_test(tcase, spoilt_answers_are_not);
	tcase_add_test(tcase, noise_that_is_believed_has_texts_that_end);
	tcase_add_test(tcase, verdicts_have_names_of_their_own);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
