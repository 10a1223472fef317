/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One table says of each kind of question what its rows are and who answers it. */
#include "config.h"

#include "daemon/audit/answer.h"
#include "daemon/audit/question.h"
#include "daemon/audit/strays.h"
#include "daemon/audit/who.h"

/* The rest of AUDIT_SECONDS is for what was begun by then, and for the asker to take the answer. */
#define WORK_NS	(AUDIT_SECONDS * NS_PER_SEC * 7 / 10)
#define STEPS	8			/* of that, for who stood still (base/allotment.h) */

struct kind {
	size_t row_size;		/* of its rows; 0: it has none */
	size_t answer_row_size;
	uint32_t flags;			/* that it may have */
	bool (*is_row)(const void *row);
	int (*serve)(const struct question *question, struct answer *answer);
};

static bool
is_object(const void *row)
{
	const struct audit_object *object = row;

	return object->zero == 0 && object->shm_id >= -1 && (object->shm_id < 0 || (!object->device && !object->inode));
}

static bool
name_is_sound(const char *name)
{
	return memchr(name, '\0', AUDIT_NAME_SIZE) && *name && !streq(name, ".") && !streq(name, "..") && !strchr(name, '/');
}

static bool
is_candidate(const void *row)
{
	const struct audit_candidate *candidate = row;

	if (candidate->zero || candidate->flags & ~AUDIT_CANDIDATE_REMOVE)
		return false;
	return candidate->what == AUDIT_POSIX ? name_is_sound(candidate->name) :
	    candidate->what == AUDIT_SYSV && candidate->shm_id >= 0;
}

static const struct kind kinds[] = {
	[AUDIT_WHO] = { sizeof(struct audit_object), sizeof(struct audit_holder), 0, is_object, who_serve },
	[AUDIT_LIST] = { 0, sizeof(struct audit_stray), AUDIT_QUESTION_POSIX | AUDIT_QUESTION_SYSV, NULL, strays_list },
	[AUDIT_JUDGE] = { sizeof(struct audit_candidate), sizeof(struct audit_stray), 0, is_candidate, strays_judge },
};

/* In words what is wrong with a message; NULL: nothing. */
static const char *
question_fault(const struct audit_question *head, const struct kind *kind, const char *rows, size_t rows_bytes)
{
	if (head->flags & ~kind->flags)
		return "it has flags that its kind has not";
	if (kind->row_size ? rows_bytes / kind->row_size != head->n_rows || rows_bytes % kind->row_size : head->n_rows || rows_bytes)
		return "its size does not fit the number of its rows";
	for (size_t i = 0; i < head->n_rows; i++)
		if (!kind->is_row(rows + i * kind->row_size))
			return "a row is none: a name with a slash, a number out of range, or a field that must be zero";
	return NULL;
}

bool
question_is_late(const struct question *question)
{
	return !allotment_look(question->time);
}

int
question_serve(struct answer *answer, int fd, const void *message, size_t size)
{
	const struct audit_question *head = message;
	struct question question = { .head = head, .rows = head + 1, .time = &answer->time };
	static const struct audit_question nothing;
	const struct kind *kind;
	const char *fault;

	if (size < sizeof(*head) || size > AUDIT_MESSAGE_BYTES) {
		answer_begin(answer, fd, &nothing, 0);
		(void)answer_fail(answer, -EPROTO, "not a question: %zu bytes, where %zu to %d are expected", size, sizeof(*head),
		    AUDIT_MESSAGE_BYTES);
		return -EPROTO;
	}
	answer_begin(answer, fd, head, 0);
	if (head->version != AUDIT_VERSION)
		return answer_fail(answer, -EPROTONOSUPPORT, "segmentd-audit " PACKAGE_VERSION " speaks version %d and was asked by "
		    "version %u: install both from one release", AUDIT_VERSION, head->version);
	if (head->kind >= BASE_ARRAY_SIZE(kinds) || !kinds[head->kind].serve)
		return answer_fail(answer, -EOPNOTSUPP, "segmentd-audit " PACKAGE_VERSION " does not know questions of kind %u",
		    head->kind);
	kind = &kinds[head->kind];
	fault = question_fault(head, kind, question.rows, size - sizeof(*head));
	if (fault) {
		(void)answer_fail(answer, -EPROTO, "not a question: %s", fault);
		return -EPROTO;
	}
	answer_begin(answer, fd, head, kind->answer_row_size);
	allotment_begin(&answer->time, WORK_NS, WORK_NS / STEPS);
	return kind->serve(&question, answer);
}
