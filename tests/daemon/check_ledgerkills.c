/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whoever writes the ledger is killed at each of its system calls: before the kernel has begun with it, and after. What is read
 * then is what was before or what is after, never some of both. Also a directory that is full, and files of chance.
 */
#include "config.h"

#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/daemon/ledger_rig.h"
#include "tests/harness.h"
#include "tests/suite_run.h"

#define STOPS_MAX	1000
#define N_CHANCES	400
#define N_CHANCES_FULL	40000

static struct ledger_segment_entry segment;
static struct ledger_entry attachment, session;

/* Killing */

/* Until its next stop at a system call. False: it has ended. */
static bool
step(pid_t pid, int *status)
{
	ck_assert_int_eq(ptrace(PTRACE_SYSCALL, pid, 0, 0), 0);
	ck_assert_int_eq(waitpid(pid, status, 0), pid);
	return WIFSTOPPED(*status);
}

/* A child does something, and is killed at its stop of this number: true. False: it has done it all. */
static bool
kill_at(void (*act)(void), unsigned stop)
{
	pid_t pid = fork();
	int status;

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, 0, 0))
			_exit(2);
		(void)raise(SIGSTOP);
		act();
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status))
		harness_skip("nobody may be traced here");
	for (unsigned i = 0; step(pid, &status); i++) {
		if (i < stop)
			continue;
		(void)kill(pid, SIGKILL);
		ck_assert_int_eq(waitpid(pid, &status, 0), pid);
		return true;
	}
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return false;
}

static void
begin_with_rows(void)
{
	segment = (struct ledger_segment_entry) { { 0 } };
	attachment = session = (struct ledger_entry) { 0 };
	rig_begin();
	rig_put_segment(&segment, 1, 1);
	rig_put_attachment(&attachment, 1);
	rig_put_session(&session, 1);
}

/* Longer ones and shorter ones, and of the rows that one gives up the next one but one is made. */
static void
redefine(void)
{
	for (unsigned version = 2; version < 6; version++)
		rig_put_segment(&segment, 1, version * 7 % 15 + 1);
}

START_TEST(killed_at_each_write_of_a_definition_it_is_the_old_one_or_the_new_one)
{
	unsigned versions[] = { 1, 15, 7, 14, 6 }, at = 0, stop = 0, n_seen = 0;
	bool was_killed = true;

	for (; was_killed; stop++) {
		ck_assert_uint_lt(stop, STOPS_MAX);
		begin_with_rows();
		was_killed = kill_at(redefine, stop);
		rig_forget();
		rig_look();
		ck_assert_str_eq(rig.told, "");
		ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 1);
		ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], 1);
		ck_assert_uint_eq(rig.n[LEDGER_SESSION], 1);
		if (rig.versions[0] != versions[at]) {
			ck_assert_uint_lt(++at, BASE_ARRAY_SIZE(versions));
			n_seen++;
		}
		ck_assert_uint_eq(rig.versions[0], versions[at]);
		ck_assert_uint_eq(rig_end(), 0);
	}
	ck_assert_uint_eq(n_seen, BASE_ARRAY_SIZE(versions) - 1);
	/* Each definition is several writes, of two stops each. */
	ck_assert_uint_ge(stop, 2 * 4 * 4);
}
END_TEST

static void
drop_and_add(void)
{
	struct ledger_segment_entry other = { { 0 } };
	struct ledger_entry entry = { 0 };

	ledger_drop_segment(&rig.ledger, &segment);
	ledger_drop(&rig.ledger, &attachment);
	rig_put_segment(&other, 2, 3);
	rig_put_attachment(&entry, 2);
}

START_TEST(killed_at_a_drop_or_an_add_a_row_is_there_or_not)
{
	bool was_killed = true;

	for (unsigned stop = 0; was_killed; stop++) {
		ck_assert_uint_lt(stop, STOPS_MAX);
		begin_with_rows();
		was_killed = kill_at(drop_and_add, stop);
		rig_forget();
		rig_look();
		ck_assert_str_eq(rig.told, "");
		ck_assert_uint_le(rig.n[LEDGER_SEGMENT], 1);
		ck_assert_uint_le(rig.n[LEDGER_ATTACHMENT], 1);
		ck_assert_uint_eq(rig.n[LEDGER_SESSION], 1);
		if (rig.n[LEDGER_SEGMENT])
			ck_assert_uint_eq(rig.versions[0], rig.numbers[LEDGER_SEGMENT][0] == 1 ? 1 : 3);
		ck_assert_uint_eq(rig_end(), 0);
	}
	ck_assert_uint_eq(rig.numbers[LEDGER_ATTACHMENT][0], 2);
}
END_TEST

/* Everything is taken over, by who begins after a kill. */
static void
take_over(void)
{
	struct ledger_segment_entry other = { { 0 } };
	struct ledger_entry entries[2] = { { 0 } };

	rig_must_open();
	rig_put_segment(&other, 1, rig.versions[0]);
	rig_put_attachment(&entries[0], 1);
	if (rig.n[LEDGER_SESSION])
		rig_put_session(&entries[1], 1);
	rig_must_commit();
	rig_forget();
}

static void
check_take_over(bool is_damaged)
{
	bool was_killed = true;
	unsigned stop;

	for (stop = 0; was_killed; stop++) {
		ck_assert_uint_lt(stop, STOPS_MAX);
		begin_with_rows();
		if (is_damaged)
			rig_poke(session.index * (size_t)LEDGER_ROW_BYTES + 100, "?", 1);
		rig_forget();
		was_killed = kill_at(take_over, stop);
		rig_look();
		ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 1);
		ck_assert_uint_eq(rig.versions[0], 1);
		ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], 1);
		ck_assert_uint_eq(rig.n[LEDGER_SESSION], !is_damaged);
		(void)rig_end();
	}
	ck_assert_uint_ge(stop, 20);
}

START_TEST(killed_while_it_takes_over_it_has_lost_nothing)
{
	check_take_over(_i);
}
END_TEST

/* A directory that is full */

START_TEST(where_there_is_no_room_all_stays_as_it_was)
{
	static struct ledger_entry entries[RIG_MANY];
	struct ledger_segment_entry other = { { 0 } };
	unsigned n, n_dropped;
	char text[512];
	int r = 0;

	(void)strcpy(rig.dir, "/tmp/segmentd-ledger-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", rig.dir, "tmpfs", 0, "size=64k")) {
		(void)rmdir(rig.dir);
		harness_skip("no tmpfs of the test's own: %s", strerror(errno));
	}
	(void)snprintf(rig.path, sizeof(rig.path), "%s/" LEDGER_FILE, rig.dir);
	rig_must_open();
	rig_must_commit();
	segment = (struct ledger_segment_entry) { { 0 } };
	rig_put_segment(&segment, 1, 1);
	for (n = 0; r == 0; n++) {
		ck_assert_uint_lt(n, RIG_MANY);
		r = rig_try_attachment(&entries[n], n + 1);
	}
	ck_assert_int_eq(r, -ENOSPC);
	n--;
	ck_assert_uint_eq(entries[n].index, 0);
	ck_assert_ptr_nonnull(strstr(ledger_describe_error(&rig.ledger, text, sizeof(text)), rig.path));
	ck_assert_ptr_nonnull(strstr(text, "No space left on device. Remedy: make room"));
	/* In its place a row can be written all the same; another definition has none. */
	rig_put_attachment(&entries[0], 1);
	ck_assert_int_eq(rig_try_segment(&segment, 1, 14), -ENOSPC);
	/* The room of one that ends is another one's. */
	ledger_drop(&rig.ledger, &entries[n - 1]);
	ck_assert_int_eq(rig_try_attachment(&entries[n], n + 1), 0);
	ck_assert_int_eq(rig_try_segment(&segment, 1, 14), -ENOSPC);
	/* What of a new one was written is given back, until there is room for its last row, too. */
	for (unsigned i = 0; (r = rig_try_segment(&other, 2, 3)) != 0; i++) {
		ck_assert_int_eq(r, -ENOSPC);
		ck_assert_uint_eq(rig.ledger.n_free, i);
		ledger_drop(&rig.ledger, &entries[i]);
	}
	n_dropped = other.texts.n_bytes / LEDGER_TEXT_BYTES + 2;
	rig_forget();
	/* A new one has no room beside it: it cannot be begun, and the old one is as it was. */
	ck_assert_int_eq(rig_open(), -ENOSPC);
	ck_assert_ptr_nonnull(strstr(rig.text, "No space left on device"));
	ck_assert_int_eq(mount("tmpfs", rig.dir, "tmpfs", MS_REMOUNT, "size=1m"), 0);
	rig_look();
	ck_assert_str_eq(rig.told, "");
	ck_assert_uint_eq(rig.n[LEDGER_SEGMENT], 2);
	ck_assert_uint_eq(rig.versions[0], 1);
	ck_assert_uint_eq(rig.versions[1], 3);
	ck_assert_uint_eq(rig.n[LEDGER_ATTACHMENT], n - n_dropped);
	ck_assert_int_eq(umount(rig.dir), 0);
	ck_assert_int_eq(rmdir(rig.dir), 0);
}
END_TEST

/* Files of chance */

static uint64_t chance_state;

static uint64_t
chance(uint64_t below)
{
	chance_state ^= chance_state << 13;
	chance_state ^= chance_state >> 7;
	chance_state ^= chance_state << 17;
	return chance_state % below;
}

/* Anything may come, with numbers of chance: all of it can be read, and texts end. */
static int
take_anything(const struct ledger_item *item, void *arg)
{
	const char *const texts[] = { item->texts.template_name, item->texts.reason, item->texts.growth_reason, item->texts.note };
	uint64_t *sum = arg;

	ck_assert(item->kind > LEDGER_FREE && item->kind < LEDGER_TEXT);
	for (size_t i = 0; i < sizeof(*item->segment); i++)
		*sum += ((const unsigned char *)item->segment)[i];
	for (size_t i = 0; item->kind == LEDGER_SEGMENT && i < BASE_ARRAY_SIZE(texts); i++)
		*sum += texts[i] ? strlen(texts[i]) : 0;
	for (uint32_t i = 0; item->kind == LEDGER_SEGMENT && i < item->texts.n_nodes; i++)
		*sum += item->texts.node_bytes[i];
	if (item->texts.definition)
		*sum += strlen(item->texts.definition->name);
	return 0;
}

static void
tell_nobody(const char *text, void *arg)
{
	ck_assert_uint_gt(strlen(text), 0);
}

/* Some rows, of which a few numbers are others; most have a sum that fits. */
static void
spoil(struct ledger_row *rows, size_t n)
{
	for (uint64_t i = chance(8) + 1; i-- > 0; ) {
		struct ledger_row *row = &rows[chance(n)];
		uint64_t what = chance(6);

		if (what == 0)
			((unsigned char *)row)[chance(sizeof(*row))] = (unsigned char)chance(256);
		else if (what == 1)
			*row = rows[chance(n)];
		else if (what == 2)
			row->kind = (uint32_t)chance(LEDGER_KIND_N + 1);
		else if (what == 3)
			row->body.segment.texts = (struct ledger_chain) {
				.number = chance(4), .first = (uint32_t)chance(n + 2), .n_bytes = (uint32_t)chance(2000),
			};
		else if (what == 4)
			row->body.text = (struct ledger_text) {
				.number = chance(4), .next = (uint32_t)chance(n + 2), .ordinal = (uint32_t)chance(4),
				.n_bytes = (uint32_t)chance(LEDGER_TEXT_BYTES + 2),
			};
		else
			((uint32_t *)row)[chance(sizeof(*row) / 4)] = (uint32_t)chance(UINT32_MAX);
		if (chance(4) && row != rows) {
			row->index = (uint32_t)(row - rows);
			row->sum = ledger_sum(row);
		}
	}
}

START_TEST(whatever_is_in_the_file_nobody_is_harmed)
{
	unsigned n_chances = getenv("CHECK_FULL") ? N_CHANCES_FULL : N_CHANCES;
	static struct ledger_row good[64], rows[64];
	struct ledger_segment_entry others[3] = { { { 0 } } };
	struct ledger ledger;
	uint64_t sum = 0;
	char text[512];
	size_t n;

	chance_state = clock_realtime_ns() | 1;
	printf("seed %" PRIu64 "\n", chance_state);
	begin_with_rows();
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(others); i++)
		rig_put_segment(&others[i], i + 2, i + 5);
	rig_forget();
	n = rig_file_bytes() / sizeof(*rows);
	ck_assert_uint_le(n, BASE_ARRAY_SIZE(good));
	rig_peek(0, good, n * sizeof(*rows));
	for (unsigned i = 0; i < n_chances; i++) {
		memcpy(rows, good, sizeof(rows));
		spoil(rows, n);
		rig_poke(0, rows, n * sizeof(*rows));
		ck_assert_int_eq(ledger_open(&ledger, rig.dir, NULL, take_anything, tell_nobody, &sum, text, sizeof(text)), 0);
		ledger_close(&ledger);
	}
	ck_assert_uint_gt(sum, 0);
	ck_assert_uint_eq(rig_end(), 0);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("ledgerkills");
	TCase *tcase = tcase_create("ledgerkills");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, killed_at_each_write_of_a_definition_it_is_the_old_one_or_the_new_one);
	tcase_add_test(tcase, killed_at_a_drop_or_an_add_a_row_is_there_or_not);
	tcase_add_loop_test(tcase, killed_while_it_takes_over_it_has_lost_nothing, 0, 2);
	tcase_add_test(tcase, where_there_is_no_room_all_stays_as_it_was);
	tcase_add_test(tcase, whatever_is_in_the_file_nobody_is_harmed);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return suite_run(make_suite());
}
