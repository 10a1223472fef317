/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentctl against the real daemon: what it says is what is there, for whoever asks. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/harness_locks.h"
#include "tests/segmentctl/run.h"

#define BODY \
	"segments = ( { name = \"small\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; },\n" \
	"  { name = \"public\"; size = \"4KiB\"; mode = \"0644\"; mlock = false; },\n" \
	"  { name = \"ledger\"; size = \"64KiB\"; mode = \"0644\"; page_size = \"base\"; mlock = false; locks = (\n" \
	"    { name = \"book\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"poison\"; },\n" \
	"    { name = \"page\"; offset = \"4KiB\"; length = \"4097B\"; undo = \"8KiB\"; on_death = \"rollback\"; },\n" \
	"    { name = \"queue\"; at = \"32KiB\"; on_death = \"keep\"; } ); },\n" \
	"  { name = \"huge\"; size = \"10TiB\"; required = false; mlock = false; } );\n" \
	"templates = ( { name = \"scratch-%U-\"; max_size = \"1MiB\"; lifetime = \"persistent\"; mlock = false; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
start(void)
{
	harness_daemon_start(&daemon_, "", BODY);
}

static void
stop(void)
{
	harness_daemon_stop(&daemon_);
}

#define RUN(...) run_segmentctl("--socket", daemon_.socket, __VA_ARGS__, NULL)

START_TEST(list_and_show_say_what_is_there)
{
	const struct run *run = RUN("list");
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	assert_has(run->out, "small");
	assert_has(run->out, "64 KiB");
	run = RUN("--json", "list");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"size\": 65536");
	assert_has(run->out, "\"page_size\": \"4KiB\"");
	run = RUN("--json", "show", "small");
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"key\": \"size\"");
	run = RUN("show", "small");
	assert_has(run->out, "\"64KiB\"");
	run = RUN("show", "nothing");
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_SEGMENT);
	run = RUN("--json", "clients");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"attachments\": 0");
}
END_TEST

START_TEST(holders_are_shown_while_they_hold)
{
	struct protocol_attached attached;
	struct harness_conn conn = HARNESS_CONN_NULL;
	const struct run *run;
	char pid[64];
	int fd;

	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "small", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
	run = RUN("--json", "show", "small");
	(void)snprintf(pid, sizeof(pid), "\"pid\": %d", (int)getpid());
	assert_has(run->out, pid);
	assert_has(run->out, "\"access\": \"read\"");
	assert_has(run->out, "\"readers\": 1");
	assert_has(run->out, "\"unsupervised\": false");
	/* Our fd outlives its session: it is held, and nobody supervises it. */
	harness_close(&conn);
	harness_open(&conn, daemon_.socket);
	harness_await_counts(&conn, "small", 1, 0);
	while (!strstr(run->out, "\"unsupervised\": true"))
		run = RUN("--json", "show", "small");
	(void)close(fd);
	harness_await_counts(&conn, "small", 0, 0);
	ck_assert_ptr_nonnull(strstr(RUN("show", "small")->out, "Holders\nnone\n"));
	harness_close(&conn);
}
END_TEST

/* The daemon has few rights, though it is root's; who asks may have more, and looks for itself. */
START_TEST(holders_are_named_by_whose_rights_suffice)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	const struct run *run;
	bool known;
	int fd;

	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "small", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", "/nonexistent/segmentd-audit", 1), 0);
	run = RUN("--json", "show", "small");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, geteuid() == 0 ? "\"seen\": false" : "\"seen\": true");
	ck_assert_int_eq(setenv("SEGMENTD_AUDIT", harness_audit_program(), 1), 0);
	run = RUN("--json", "show", "small");
	ck_assert(run_is_json(run->out, &known));
	assert_has(run->out, "\"seen\": true");
	assert_has(run->out, "\"fd_access\": \"r\"");
	/* The daemon has it, too, and is no holder. */
	ck_assert_ptr_null(strstr(run->out, "\"command\": \"segmentd\""));
	assert_has(RUN("show", "small")->out, "fd r");
	(void)close(fd);
	harness_close(&conn);
}
END_TEST

START_TEST(contents_come_back_as_they_went)
{
	const struct run *run;
	char bytes[65536];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char)(i * 31 >> 3);
	run_set_input(bytes, sizeof(bytes));
	ck_assert_int_eq(RUN("write", "small")->status, SEGMENTCTL_DONE);
	run = RUN("read", "small");
	ck_assert_uint_eq(run->out_bytes, sizeof(bytes));
	ck_assert_mem_eq(run->out, bytes, sizeof(bytes));
	run = RUN("read", "small", "1K", "16");
	ck_assert_mem_eq(run->out, bytes + 1024, 16);
	run_set_input(bytes, 5);
	run = RUN("write", "small", "65532");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "4 bytes were written");
}
END_TEST

START_TEST(what_is_created_can_be_removed)
{
	const struct run *run;
	char name[64];

	(void)snprintf(name, sizeof(name), "scratch-%u-a", (unsigned)getuid());
	ck_assert_int_eq(RUN("create", name, "64KiB")->status, SEGMENTCTL_DONE);
	ck_assert_int_eq(RUN("wait", name, "small")->status, SEGMENTCTL_DONE);
	run = RUN("create", name, "64KiB");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_int_eq(RUN("remove", name, "--now")->status, SEGMENTCTL_DONE);
	ck_assert_int_eq(RUN("show", name)->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(RUN("remove", name)->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(RUN("create", "elsewhere", "64KiB")->status, SEGMENTCTL_NOT_PERMITTED);
	ck_assert_int_eq(RUN("create", name, "2MiB")->status, SEGMENTCTL_FAILED);
}
END_TEST

START_TEST(removal_shows_who_it_waits_for)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	const struct run *run;
	char name[64], part[160];
	int fd;

	(void)snprintf(name, sizeof(name), "scratch-%u-b", (unsigned)getuid());
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_create(&conn, name, 4096, &attached, &fd), 0);
	run = RUN("remove", name);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	(void)snprintf(part, sizeof(part), "'%s' takes no more attachments, and goes when this one is over:\n", name);
	assert_has(run->out, part);
	(void)snprintf(part, sizeof(part), "  %d  ", (int)getpid());
	assert_has(run->out, part);
	assert_has(run->out, "check_segmentct");
	/* Its holder detaches: it goes. */
	(void)close(fd);
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	harness_await_gone(&conn, name);
	harness_close(&conn);
}
END_TEST

START_TEST(removal_at_once_shows_who_has_its_memory)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	const struct run *run;
	char name[64], part[64];
	int fd;

	(void)snprintf(name, sizeof(name), "scratch-%u-c", (unsigned)getuid());
	harness_open(&conn, daemon_.socket);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(harness_create(&conn, name, 4096, &attached, &fd), 0);
		run = i ? RUN("remove", "--now", name, "--json") : RUN("remove", "--now", name);
		ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
		(void)snprintf(part, sizeof(part), i ? "\"pid\": %d," : "  %d  ", (int)getpid());
		assert_has(run->out, part);
		(void)snprintf(part, sizeof(part), i ? "\"uid\": %u," : "  %u (", (unsigned)getuid());
		assert_has(run->out, part);
		ck_assert_int_eq(RUN("show", name)->status, SEGMENTCTL_NO_SEGMENT);
		(void)close(fd);
	}
	harness_close(&conn);
}
END_TEST

START_TEST(waiting_for_a_failed_segment_says_why)
{
	const struct run *run = RUN("wait", "huge", "--timeout", "20s");

	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "'huge' failed: ");
	assert_has(run->err, "Remedy");
	/* The reason may name who has what is in its way. */
	assert_has(RUN("show", "huge")->out, "Holders\nnone: it has no memory that anybody could have; its reason is above\n");
}
END_TEST

START_TEST(metrics_end_as_they_must)
{
	const struct run *run = RUN("metrics");

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_str_eq(run->out + run->out_bytes - 6, "# EOF\n");
}
END_TEST

#define OLD	"old bytes"
#define NEW	"new bytes"

/* A client that stops in the middle of a section of that lock: its old bytes are logged, its new ones written. */
static void
hold(int control, void *name)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_segment segment = HARNESS_SEGMENT_NULL;
	struct control_place place;

	harness_open(&conn, daemon_.socket);
	harness_segment_open(&conn, "ledger", &segment);
	place = harness_segment_place(&segment, harness_segment_find_lock(&segment, name));
	harness_assert(control_try(place.lock, segment.attached.attachment, 0), "'%s' is not free", (const char *)name);
	harness_assert(control_log(&place, place.offset_bytes + 16, sizeof(NEW)) == 0, "the log is full");
	memcpy(place.data + place.offset_bytes + 16, NEW, sizeof(NEW));
	harness_say(control, "held");
	harness_expect(control, "never");
}

/* Another client, of the test's own process, sees the segment. */
static void
open_ledger(struct harness_conn *conn, struct harness_segment *segment)
{
	harness_open(conn, daemon_.socket);
	harness_segment_open(conn, "ledger", segment);
	for (unsigned i = 0; i < 2; i++)
		memcpy(segment->data + segment->locks[i].offset_bytes + 16, OLD, sizeof(OLD));
}

static void
close_ledger(struct harness_conn *conn, struct harness_segment *segment)
{
	harness_segment_close(segment);
	harness_close(conn);
}

static const char *
bytes_of(const struct harness_segment *segment, unsigned lock)
{
	return (const char *)segment->data + segment->locks[lock].offset_bytes + 16;
}

/* One lock's object, out of the JSON of `show`. */
static const char *
shown_lock(const char *name)
{
	const struct run *run = RUN("--json", "show", "ledger");
	static char object[1024];
	char key[64];
	const char *begin;
	bool known;

	ck_assert(run_is_json(run->out, &known));
	(void)snprintf(key, sizeof(key), "\"name\": \"%s\"", name);
	begin = strstr(run->out, key);
	ck_assert_msg(begin != NULL, "'%s' lacks %s", run->out, key);
	(void)snprintf(object, sizeof(object), "%.*s", (int)strcspn(begin, "}"), begin);
	return object;
}

static void
assert_has_number(const char *text, const char *key, uint64_t number)
{
	char part[128];

	(void)snprintf(part, sizeof(part), "%s%ju", key, (uintmax_t)number);
	text = strstr(text, part);
	ck_assert_msg(text != NULL && strspn(text + strlen(part), "0123456789") == 0, "'%s' is not there", part);
}

START_TEST(a_poisoned_lock_is_freed_by_hand)
{
	bool keep = _i;
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_segment segment = HARNESS_SEGMENT_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	char state[128];
	const struct run *run;

	open_ledger(&conn, &segment);
	harness_child_start(&child, hold, (void *)(uintptr_t)"book");
	harness_expect(child.control, "held");
	(void)snprintf(state, sizeof(state), "held by attachment %u (pid %d)", harness_segment_owner(&segment, 0),
	    (int)child.pid);
	assert_has(RUN("show", "ledger")->out, state);
	ck_assert_int_eq(RUN("recover", "ledger", "book")->status, SEGMENTCTL_FAILED);
	harness_child_kill(&child);
	harness_segment_await_owner(&segment, 0, CONTROL_ID_POISON);
	assert_has(RUN("list")->out, "ready (poisoned)");
	assert_has(shown_lock("book"), "\"state\": \"poisoned\"");
	assert_has(shown_lock("page"), "\"state\": \"free\"");
	assert_has(RUN("show", "ledger")->out, "1 poisoned: nobody gets it until `segmentctl recover ledger`");
	run = RUN("metrics");
	assert_has_number(run->out, "segmentd_locks_poisoned ", 1);
	assert_has_number(run->out, "segmentd_poisonings_total ", 1);
	assert_has_number(run->out, "segmentd_recoveries_total ", 0);
	ck_assert_str_eq(bytes_of(&segment, 0), NEW);

	run = keep ? RUN("recover", "--keep", "ledger", "book") : RUN("--json", "recover", "ledger");
	ck_assert_msg(run->status == SEGMENTCTL_DONE, "%s", run->err);
	assert_has(run->out, keep ? "1 lock of 'ledger' recovered, bytes kept" : "\"recovered\": 1");
	harness_daemon_await_log(&daemon_, "lock 'book' of segment 'ledger' was poisoned, and is free again: it was recovered by "
	    "hand");
	ck_assert_uint_eq(harness_segment_word(&segment, 0), 0);
	ck_assert_str_eq(bytes_of(&segment, 0), keep ? NEW : OLD);
	assert_has(shown_lock("book"), "\"state\": \"free\"");
	assert_has_number(shown_lock("book"), "\"recoveries\": ", 1);
	ck_assert_ptr_null(strstr(RUN("list")->out, "poisoned"));
	run = RUN("metrics");
	assert_has_number(run->out, "segmentd_locks_poisoned ", 0);
	assert_has_number(run->out, "segmentd_recoveries_total ", 1);
	ck_assert_int_eq(RUN("recover", "ledger")->status, SEGMENTCTL_FAILED);
	close_ledger(&conn, &segment);
}
END_TEST

START_TEST(a_recovery_is_shown_with_its_dead)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_segment segment = HARNESS_SEGMENT_NULL;
	struct harness_child child = HARNESS_CHILD_NULL;
	const char *lock;
	pid_t pid;

	open_ledger(&conn, &segment);
	harness_child_start(&child, hold, (void *)(uintptr_t)"page");
	harness_expect(child.control, "held");
	lock = shown_lock("page");
	assert_has(lock, "\"state\": \"held\"");
	assert_has_number(lock, "\"owner_attachment\": ", harness_segment_owner(&segment, 1));
	assert_has_number(lock, "\"owner_pid\": ", (uint64_t)child.pid);
	assert_has(lock, "\"recovered\": null");
	pid = child.pid;
	harness_child_kill(&child);
	harness_segment_await_owner(&segment, 1, 0);
	ck_assert_str_eq(bytes_of(&segment, 1), OLD);
	harness_daemon_await_log(&daemon_, "died in a section; on_death = \"rollback\": its bytes are as before the section");
	lock = shown_lock("page");
	assert_has(lock, "\"state\": \"free\"");
	assert_has_number(lock, "\"recoveries\": ", 1);
	assert_has_number(lock, "\"recovered_pid\": ", (uint64_t)pid);
	assert_has(lock, "\"recovered\": \"20");
	assert_has_number(lock, "\"offset\": ", 4096);
	assert_has_number(lock, "\"length\": ", 4097);
	assert_has_number(lock, "\"undo\": ", 8192);
	assert_has(RUN("show", "ledger")->out, "4KiB+4097B");
	assert_has(RUN("show", "ledger")->out, "mutex at 32KiB");
	assert_has(RUN("show", "ledger")->out, "see below");
	assert_has(shown_lock("queue"), "\"state\": \"unused\"");
	assert_has_number(RUN("--json", "list")->out, "\"recoveries\": ", 1);
	close_ledger(&conn, &segment);
}
END_TEST

START_TEST(what_is_not_poisoned_is_not_recovered)
{
	const struct run *run;

	ck_assert_ptr_null(strstr(RUN("show", "small")->out, "Locks\n"));
	assert_has(RUN("--json", "show", "small")->out, "\"locks\": []");
	ck_assert_int_eq(RUN("recover", "nothing")->status, SEGMENTCTL_NO_SEGMENT);
	run = RUN("recover", "ledger", "nothing");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "segment 'ledger' has no lock 'nothing'");
	run = RUN("recover", "ledger", "page");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "lock 'page' of segment 'ledger' is not poisoned");
	run = RUN("--json", "recover", "small");
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "no lock of segment 'small' is poisoned");
	assert_has(run->out, "\"status\": 1");
}
END_TEST

static void
assert_status(const struct run *run, int status)
{
	harness_assert(run->status == status, "status %d, %d expected: %s", run->status, status, run->err);
}

/* In a process of its own, since rights do not come back. */
static void
ask_as_nobody(int control, void *arg)
{
	const struct run *run;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	run = RUN("list");
	assert_status(run, SEGMENTCTL_DONE);
	harness_assert(strstr(run->out, "public") && !strstr(run->out, "small"), "%s", run->out);
	assert_status(RUN("show", "small"), SEGMENTCTL_NO_SEGMENT);
	assert_status(RUN("read", "small"), SEGMENTCTL_NO_SEGMENT);
	assert_status(RUN("read", "public"), SEGMENTCTL_DONE);
	assert_status(RUN("write", "public"), SEGMENTCTL_NOT_PERMITTED);
	assert_status(RUN("remove", "public"), SEGMENTCTL_NOT_PERMITTED);
	assert_status(RUN("show", "ledger"), SEGMENTCTL_DONE);
	assert_status(RUN("recover", "ledger"), SEGMENTCTL_NOT_PERMITTED);
	assert_status(RUN("recover", "small"), SEGMENTCTL_NO_SEGMENT);
	assert_status(RUN("metrics"), SEGMENTCTL_NOT_PERMITTED);
}

START_TEST(others_get_what_they_may_have)
{
	struct harness_child child = HARNESS_CHILD_NULL;

	harness_need_root();
	harness_child_start(&child, ask_as_nobody, NULL);
	harness_child_await_success(&child);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-daemon");
	TCase *tcase = tcase_create("daemon");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, list_and_show_say_what_is_there);
	tcase_add_test(tcase, holders_are_shown_while_they_hold);
	tcase_add_test(tcase, holders_are_named_by_whose_rights_suffice);
	tcase_add_test(tcase, contents_come_back_as_they_went);
	tcase_add_test(tcase, what_is_created_can_be_removed);
	tcase_add_test(tcase, removal_shows_who_it_waits_for);
	tcase_add_test(tcase, removal_at_once_shows_who_has_its_memory);
	tcase_add_test(tcase, waiting_for_a_failed_segment_says_why);
	tcase_add_test(tcase, metrics_end_as_they_must);
	tcase_add_loop_test(tcase, a_poisoned_lock_is_freed_by_hand, 0, 2);
	tcase_add_test(tcase, a_recovery_is_shown_with_its_dead);
	tcase_add_test(tcase, what_is_not_poisoned_is_not_recovered);
	tcase_add_test(tcase, others_get_what_they_may_have);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
