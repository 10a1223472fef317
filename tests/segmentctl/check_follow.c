/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `segmentctl events`: with the real daemon, through its restarts and a thousand deaths; and with one that lies. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "client/segmentctl/segmentctl.h"
#include "tests/harness_locks.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/follower.h"
#include "tests/segmentctl/run.h"

#define N_DYING	1000

#define BODY \
	"segments = ( { name = \"desk\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; },\n" \
	"  { name = \"side\"; size = \"4KiB\"; mlock = false; },\n" \
	"  { name = \"vault\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; locks = (\n" \
	"    { name = \"door\"; offset = \"0\"; length = \"4KiB\"; undo = \"4KiB\"; on_death = \"poison\"; } ); } );\n" \
	"templates = ( { name = \"scratch-%U-\"; max_size = \"1MiB\"; lifetime = \"persistent\"; mlock = false; } );\n"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static void
start(void)
{
	harness_daemon_start(&daemon_, "limits = { attachments = 2000; };", BODY);
}

/* Descriptors for the daemon, which inherits the limit. */
static void
need_fds(rlim_t n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_max < n)
		harness_skip("RLIMIT_NOFILE is %ju at most, and %ju are needed", (uintmax_t)limit.rlim_max, (uintmax_t)n);
	limit.rlim_cur = max_u64(limit.rlim_cur, n);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void
start_large(void)
{
	need_fds(4 * N_DYING);
	start();
}

static void
stop(void)
{
	harness_daemon_stop(&daemon_);
}

#define RUN(...) run_segmentctl("--socket", daemon_.socket, __VA_ARGS__, NULL)

#define FOLLOW(follower, ...) \
	follower_start(follower, daemon_.socket, (const char *const []){ __VA_ARGS__ __VA_OPT__(,) NULL })

static void
lock_and_stay(int control, void *arg)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct harness_segment segment = HARNESS_SEGMENT_NULL;

	harness_open(&conn, daemon_.socket);
	harness_segment_open(&conn, "vault", &segment);
	harness_assert(control_try(harness_segment_place(&segment, 0).lock, segment.attached.attachment, 0), "it is held");
	harness_say(control, "locked");
	harness_expect(control, "never");
}

START_TEST(life_and_death_are_followed)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct follower follower;
	char pid[32], name[64];

	FOLLOW(&follower);
	harness_child_start(&child, lock_and_stay, NULL);
	harness_expect(child.control, "locked");
	(void)snprintf(pid, sizeof(pid), "pid %d", (int)child.pid);
	follower_expect(&follower, "  attached   vault             pid ", pid, "20");
	harness_child_kill(&child);
	follower_expect(&follower, "  poisoned   vault             lock door  pid ", pid, "20");
	for (int i = 0; i < 2; i++) {
		const char *line = follower_next_line(&follower);

		assert_has(line, pid);
		ck_assert(strstr(line, "  died  ") || strstr(line, "  detached  "));
	}
	(void)snprintf(name, sizeof(name), "scratch-%u-a", (unsigned)getuid());
	ck_assert_int_eq(RUN("create", name, "64KiB")->status, 0);
	while (!strstr(follower_next_line(&follower), "  ready  "))
		;
	ck_assert_int_eq(RUN("remove", name, "--now")->status, 0);
	while (!strstr(follower_next_line(&follower), "  removed  "))
		;
	follower_stop(&follower, SIGINT);
}
END_TEST

START_TEST(json_is_an_object_a_line)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	struct follower follower;
	const char *line;
	char pid[32];
	bool known;

	FOLLOW(&follower, "--json");
	harness_child_start(&child, lock_and_stay, NULL);
	harness_expect(child.control, "locked");
	(void)snprintf(pid, sizeof(pid), "\"pid\": %d", (int)child.pid);
	line = follower_expect(&follower, "\"event\": \"attached\"", pid, "\"segment\": \"vault\"");
	ck_assert(run_is_json(line, &known));
	if (!known)
		puts("skipped in part: neither python3 nor jq is here to judge JSON");
	assert_has(line, "\"lock\": null");
	harness_child_kill(&child);
	line = follower_expect(&follower, "\"event\": \"poisoned\"", pid, "\"lock\": \"door\"");
	ck_assert(run_is_json(line, &known));
	follower_stop(&follower, SIGTERM);
}
END_TEST

/* By a command, and by a signal that nobody can be asked about. */
START_TEST(a_reload_is_told_with_who_asked)
{
	struct follower follower;
	char uid[64];

	FOLLOW(&follower);
	(void)snprintf(uid, sizeof(uid), " of uid %u", (unsigned)getuid());
	ck_assert_int_eq(RUN("reload")->status, SEGMENTCTL_DONE);
	follower_expect(&follower, "  reload     -                 pid ", uid, "20");
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	follower_expect(&follower, "  reload     -                 by signal SIGHUP", "20", "20");
	follower_stop(&follower, SIGINT);

	FOLLOW(&follower, "--json");
	(void)snprintf(uid, sizeof(uid), ", \"uid\": %u, \"lock\": null}", (unsigned)getuid());
	ck_assert_int_eq(RUN("reload")->status, SEGMENTCTL_DONE);
	follower_expect(&follower, "\"event\": \"reload\", \"segment\": null", "\"pid\": ", uid);
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	follower_expect(&follower, "\"event\": \"reload\", \"segment\": null", "\"pid\": 0, \"uid\": null",
	    ", \"signal\": \"SIGHUP\"");
	follower_stop(&follower, SIGINT);
}
END_TEST

START_TEST(only_what_is_wanted_is_shown)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached desk, side;
	struct follower follower;
	char text[256];
	ssize_t n;
	int fd;

	FOLLOW(&follower, "side", "to-come", "--kinds", "died,detached");
	n = read(follower.err[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	ck_assert_str_eq(text, "segmentctl: there is no segment 'to-come' now; it is waited for\n");
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &desk, &fd), 0);
	(void)close(fd);
	ck_assert_int_eq(harness_detach(&conn, &desk), 0);
	ck_assert_int_eq(harness_attach(&conn, "side", PROTOCOL_ACCESS_READ, &side, &fd), 0);
	(void)close(fd);
	ck_assert_int_eq(harness_detach(&conn, &side), 0);
	follower_expect(&follower, "  detached  ", "  side  ", "pid");
	harness_close(&conn);
	follower_stop(&follower, SIGINT);
}
END_TEST

START_TEST(a_restart_is_told_as_a_loss)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	struct follower follower;
	bool json = _i;
	char text[256];
	ssize_t n;
	int fd;

	if (json)
		FOLLOW(&follower, "--json");
	else
		FOLLOW(&follower);
	harness_daemon_kill(&daemon_);
	harness_await_readable(follower.err[0], "its word");
	n = read(follower.err[0], text, sizeof(text) - 1);
	ck_assert_int_gt(n, 0);
	text[n] = '\0';
	assert_has(text, "segmentd is gone; waiting");
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	if (json)
		follower_expect(&follower, "\"event\": \"lost\"", "\"lost\": null", "\"time\": \"20");
	else
		follower_expect(&follower, "  lost  ", "is not known", "segmentd was away");
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &attached, &fd), 0);
	/* Segments may have become ready since. */
	while (!strstr(follower_next_line(&follower), "attached"))
		;
	(void)close(fd);
	harness_close(&conn);
	follower_stop(&follower, SIGINT);
}
END_TEST

START_TEST(it_ends_when_nobody_reads_any_more)
{
	struct follower follower;

	FOLLOW(&follower);
	(void)close(follower.out[0]);
	ck_assert_int_eq(harness_child_await(&follower.child), SEGMENTCTL_FAILED);
	follower_await_subscribers(daemon_.socket, 0);
	ck_assert_int_eq(read(follower.err[0], follower.lines, 1), 0);
	(void)close(follower.err[0]);
}
END_TEST

static void
attach_and_stay(int ready)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_attached attached;
	int fd;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	harness_open(&conn, daemon_.socket);
	harness_assert(harness_attach(&conn, "desk", PROTOCOL_ACCESS_READ, &attached, &fd) == 0, "not attached");
	harness_assert(write(ready, "", 1) == 1, "write: %s", strerror(errno));
	for (;;)
		(void)pause();
}

/* Clients of a process each, in a group of their own. */
static void
make_clients(int control, void *arg)
{
	int ready[2];
	char byte;

	(void)setpgid(0, 0);
	harness_assert(pipe2(ready, O_CLOEXEC) == 0, "pipe2: %s", strerror(errno));
	for (int i = 0; i < N_DYING; i++)
		if (harness_fork() == 0)
			attach_and_stay(ready[1]);
	for (int i = 0; i < N_DYING; i++)
		harness_assert(read(ready[0], &byte, 1) == 1, "read: %s", strerror(errno));
	harness_say(control, "attached");
	harness_expect(control, "never");
}

/* Each of a thousand processes is told as attached, detached and dead, or is among those that are told as lost. */
START_TEST(a_thousand_deaths_are_told_or_counted)
{
	struct harness_child child = HARNESS_CHILD_NULL;
	uintmax_t n_told = 0, n_lost = 0, n;
	struct follower follower;
	const char *line;

	FOLLOW(&follower);
	ck_assert_int_eq(kill(follower.child.pid, SIGSTOP), 0);
	harness_child_start(&child, make_clients, NULL);
	harness_expect(child.control, "attached");
	ck_assert_int_eq(kill(-child.pid, SIGKILL), 0);
	ck_assert_int_eq(harness_child_await(&child), -SIGKILL);
	/* It is not read, so what is kept for it comes to its end. */
	while (strstr(RUN("metrics")->out, "\nsegmentd_events_lost_total 0\n"))
		;
	ck_assert_int_eq(kill(follower.child.pid, SIGCONT), 0);
	while (n_told + n_lost < 3 * N_DYING) {
		line = follower_next_line(&follower);
		if (sscanf(line, "%*s %*s lost %ju events: they came faster than they were read", &n) == 1)
			n_lost += n;
		else
			n_told += strstr(line, "desk") != NULL;
	}
	ck_assert_uint_eq(n_told + n_lost, 3 * N_DYING);
	ck_assert_uint_gt(n_lost, 0);
	printf("%ju told, %ju lost\n", n_told, n_lost);
	follower_stop(&follower, SIGINT);
}
END_TEST

START_TEST(wrong_usage_and_no_daemon)
{
	const struct run *run = RUN("events", "--kinds", "died,dyed");

	ck_assert_int_eq(run->status, SEGMENTCTL_USAGE);
	assert_has(run->err, "--kinds: 'dyed' is none; expected some of lost,attached,");
	ck_assert_int_eq(RUN("events", "--kinds", "")->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(RUN("events", "--kinds", "died,")->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(RUN("events", "a/b")->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(RUN("list", "--kinds", "died")->status, SEGMENTCTL_USAGE);
	run = run_segmentctl("--socket", "/nonexistent/socket", "--json", "events", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_NO_DAEMON);
	/* One line, as all that it prints. */
	ck_assert_ptr_eq(strchr(run->out, '\n'), run->out + run->out_bytes - 1);
	assert_has(run->out, "\"status\": 3");
}
END_TEST

/* A daemon that says what no daemon would. */

static struct fake fake;

static void
stop_fake(void)
{
	fake_stop(&fake);
}

static void
push(const struct fake_request *request, struct protocol_event *event)
{
	event->header = (struct protocol_header){
		.size = sizeof(*event), .type = PROTOCOL_EVENT, .flags = PROTOCOL_REPLY | PROTOCOL_PUSHED,
	};
	(void)send(request->fd, event, sizeof(*event), MSG_NOSIGNAL);
}

/* One of each kind, and of one that we do not know; then one that is a lie, and ends it. */
static void
answer_events(const struct fake_request *request)
{
	struct protocol_event event = { .lock = -1, .time_ns = 1500000000 * NS_PER_SEC + 7 * NS_PER_MS, .generation = 9 };

	fake_reply(request, "", 0);
	strcpy(event.segment, "desk\033[31m\nforged");
	strcpy(event.lock_name, "door\033");
	for (event.kind = 1; event.kind <= PROTOCOL_EVENT_N; event.kind++) {
		event.lost = event.kind == PROTOCOL_EVENT_DIED ? 17 : 0;
		event.pid = (int)event.kind * 100;
		event.uid = event.kind == PROTOCOL_EVENT_DIED ? 33 : PROTOCOL_NOBODY;
		event.value = event.kind == PROTOCOL_EVENT_PROGRESS || event.kind == PROTOCOL_EVENT_FAILED ? MIB : 0;
		event.total = event.value * 4;
		event.attachment = event.kind == PROTOCOL_EVENT_ORPHAN ? PROTOCOL_ORPHAN_REMOVED :
		    event.kind == PROTOCOL_EVENT_LEFTOVER ? PROTOCOL_ORPHAN_KEPT : 0;
		push(request, &event);
	}
	memset(event.segment, 'a', sizeof(event.segment));
	push(request, &event);
}

START_TEST(each_kind_is_shown_for_what_it_is)
{
	const struct run *run;

	fake_start(&fake, answer_events);
	run = run_segmentctl("--socket", fake.socket, "events", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, "a name in an event has no end");
	assert_has(run->out, ".007  attached   desk\\033[31m\\012forged  lock door\\033  pid 100\n");
	assert_has(run->out, ".007  lost       17 events: they came faster than they were read\n");
	assert_has(run->out, "lock door\\033  pid 300 of uid 33\n");
	assert_has(run->out, "progress ");
	assert_has(run->out, "25% (1 MiB of 4 MiB)\n");
	assert_has(run->out, "growing to 4 MiB; it stays as it is, 1 MiB\n");
	assert_has(run->out, "  unknown  ");
	assert_has(run->out, "kind 17\n");
	/* Of no segment: its name stands for the object's. */
	assert_has(run->out, ".007  orphan     door\\033");
	assert_has(run->out, "0 B of 0 B in memory\n");
	assert_has(run->out, ".007  leftover   door\\033");
	assert_has(run->out, "  kept  inode 9  of uid ");
	assert_has(run->out, "  segment desk\\033[31m\\012forged\n");
	assert_has(run->out, "  removed  inode 9  of uid ");
	ck_assert_ptr_null(strchr(run->out, '\033'));
	run = run_segmentctl("--socket", fake.socket, "events", "--json", NULL);
	assert_has(run->out, "{\"time\": \"2017-07-14T02:40:00.007000Z\", \"event\": \"lost\", \"lost\": 17}\n");
	assert_has(run->out, "\"event\": \"unknown\", \"kind\": 17, \"segment\": \"desk\\u001b[31m\\nforged\"");
	assert_has(run->out, "\"event\": \"orphan\", \"segment\": null, \"orphan\": \"removed\", \"object\": \"door\\u001b\", "
	    "\"inode\": 9, \"uid\": ");
	assert_has(run->out, "\"progress\": 1048576, \"total\": 4194304}\n");
	run = run_segmentctl("--socket", fake.socket, "events", "--kinds", "reload", NULL);
	ck_assert_ptr_null(strstr(run->out, "attached"));
	ck_assert_ptr_null(strstr(run->out, "unknown"));
	assert_has(run->out, "reload");
	assert_has(run->out, "lost       17 events");
}
END_TEST

START_TEST(a_terminal_gets_colour)
{
	const struct run *run;

	(void)unsetenv("NO_COLOR");
	(void)setenv("TERM", "xterm", 1);
	fake_start(&fake, answer_events);
	run_set_terminal(80);
	run = run_segmentctl("--socket", fake.socket, "events", NULL);
	assert_has(run->out, "\033[31mpoisoned \033[0m");
	assert_has(run->out, "\033[32mready    \033[0m");
	assert_has(run->out, "  attached   desk");
	(void)setenv("NO_COLOR", "1", 1);
	run_set_terminal(80);
	run = run_segmentctl("--socket", fake.socket, "events", NULL);
	ck_assert_ptr_null(strchr(run->out, '\033'));
}
END_TEST

static void
answer_nonsense(const struct fake_request *request)
{
	struct fake_request unasked = *request;
	static const char page[100];

	fake_reply(request, "", 0);
	unasked.message.header.serial++;
	fake_reply(&unasked, page, sizeof(page));
}

static void
answer_refusal(const struct fake_request *request)
{
	fake_refuse(request, -EDQUOT, "you have enough of them");
}

START_TEST(lies_and_refusals_end_it)
{
	const struct run *run;

	fake_start(&fake, _i ? answer_nonsense : answer_refusal);
	run = run_segmentctl("--socket", fake.socket, "events", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	assert_has(run->err, _i ? "the daemon broke the protocol" : "you have enough of them");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-follow");
	TCase *tcase = tcase_create("daemon"), *many = tcase_create("many"), *liar = tcase_create("fake");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, life_and_death_are_followed);
	tcase_add_test(tcase, json_is_an_object_a_line);
	tcase_add_test(tcase, a_reload_is_told_with_who_asked);
	tcase_add_test(tcase, only_what_is_wanted_is_shown);
	tcase_add_loop_test(tcase, a_restart_is_told_as_a_loss, 0, 2);
	tcase_add_test(tcase, it_ends_when_nobody_reads_any_more);
	tcase_add_test(tcase, wrong_usage_and_no_daemon);
	suite_add_tcase(suite, tcase);
	tcase_set_timeout(many, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(many, start_large, stop);
	tcase_add_test(many, a_thousand_deaths_are_told_or_counted);
	suite_add_tcase(suite, many);
	tcase_set_timeout(liar, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(liar, NULL, stop_fake);
	tcase_add_test(liar, each_kind_is_shown_for_what_it_is);
	tcase_add_test(liar, a_terminal_gets_colour);
	tcase_add_loop_test(liar, lies_and_refusals_end_it, 0, 2);
	suite_add_tcase(suite, liar);
	return harness_run(suite);
}
