/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every allocation, or every system call, of a start fails once; of the first one, and of one that takes over from a daemon that was
 * killed or has handed over. It becomes ready, or says which segment is not, or ends: not with 0, and with a sentence. Likewise of an
 * end; of a start that comes to nothing anyway, which rests before it ends, for its manager's sake; and of starts that find things not as
 * they were left (meanwhile.h). The next start then becomes ready in full, with what clients have written, and its stop leaves nothing.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>
#include <sys/shm.h>

#include "tests/faults/meanwhile.h"
#include "tests/faults/points.h"
#include "tests/faults/starting.h"
#include "tests/harness_locks.h"
#include "tests/harness_manager.h"
#include "tests/system/suite.h"
#include "tests/system/world.h"

#define FULL_S		4
#define ROWS		8
#define WRITTEN		0x5e
#define REST_NS		(2 * NS_PER_SEC)
#define AGE_NS		(NS_PER_SEC / 8)	/* at which what was read of files is known to hold: conf/origin.c */

static const char body[] =
    "segments = (\n"
    "{ name = \"m\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; locks = ( { name = \"all\"; length = \"4KiB\"; "
    "undo = \"4KiB\"; } ); },\n"
    "{ name = \"p\"; size = \"64KiB\"; page_size = \"base\"; backend = \"posix\"; object = \"/p\"; mlock = false; },\n"
    "{ name = \"y\"; size = \"64KiB\"; page_size = \"base\"; backend = \"sysv\"; key = 0x5e6a1d; mlock = false; } );\n"
    "templates = ( { name = \"ty-\"; backend = \"sysv\"; mode = \"0660\"; max_size = \"64KiB\"; page_size = \"base\"; mlock = false; } );\n";
static const char *const names[] = { "m", "p", "y" };

struct kind {
	const char *name;
	int ended_by;			/* how the one before it ended; 0: there was none */
	enum faults_target target;
	bool is_end;			/* it fails in that very end, and not in the start after it */
	/* NULL: nothing. While the one before runs; when it has ended; while the one in which something fails runs; */
	void (*gather)(struct harness_manager *manager);
	void (*change)(struct harness_manager *manager);
	void (*attend)(struct harness_manager *manager);
	void (*hear)(struct harness_manager *manager);	/* when that one has ended: what it has not said into its log */
	void (*mend)(struct harness_manager *manager);	/* when that one has come to nothing; when the next is ready */
	void (*scatter)(struct harness_manager *manager);
	void (*before_exec)(void *injector);
	bool has_old_files;		/* the next one need not read them */
	bool is_hopeless;		/* it comes to nothing, until all is as it was; */
	bool may_serve;			/* but then, if what fails leaves it less to take over */
	bool rests;			/* not before two seconds */
	bool is_long;			/* only who wants all points has it */
};

#define N_RARE	8			/* the last of them: one at a time in the quick check */
static const struct kind kinds[] = {
	{ "the daemon's first start", 0, FAULTS_DAEMON },
	{ "the worker's first start", 0, FAULTS_WORKER },
	{ "the start after a kill", SIGKILL, FAULTS_DAEMON },
	{ "the start after a handover", SIGUSR2, FAULTS_DAEMON },
	{ "the handover", SIGUSR2, FAULTS_DAEMON, .is_end = true },
	{ "the stop", SIGTERM, FAULTS_DAEMON, .is_end = true },
	{ "the stop while segmentd-audit answers", SIGTERM, FAULTS_DAEMON, .is_end = true, .gather = meanwhile_ask_audit,
	    .scatter = meanwhile_hang_up, .is_long = true },
	{ "a first start that comes to nothing", 0, FAULTS_DAEMON, .change = meanwhile_forbid_state, .mend = meanwhile_permit_state,
	    .before_exec = meanwhile_be_a_unit, .is_hopeless = true, .rests = true, .is_long = true },
	{ "a start after a kill that comes to nothing", SIGKILL, FAULTS_DAEMON, .change = meanwhile_forbid_state,
	    .mend = meanwhile_permit_state, .before_exec = meanwhile_be_a_unit, .is_hopeless = true, .rests = true, .is_long = true },
	{ "a start that finds all sorts of things", SIGKILL, FAULTS_DAEMON, .gather = meanwhile_gather, .change = meanwhile_change,
	    .scatter = meanwhile_scatter },
	{ "a start with files that have not changed", SIGKILL, FAULTS_DAEMON, .has_old_files = true },
	{ "a start with files that are not valid", SIGKILL, FAULTS_DAEMON, .change = meanwhile_break_files,
	    .before_exec = meanwhile_redirect },
	{ "a start while the lock is on its way out", SIGKILL, FAULTS_DAEMON, .change = meanwhile_inherit_lock,
	    .attend = meanwhile_exec },
	{ "a start while another one runs", SIGKILL, FAULTS_DAEMON, .change = meanwhile_take_lock, .mend = meanwhile_give_lock,
	    .is_hopeless = true },
	{ "a start with no socket to serve on", SIGKILL, FAULTS_DAEMON, .change = meanwhile_break_socket,
	    .mend = meanwhile_mend_socket, .is_hopeless = true },
	{ "a start with no socket to serve on, which the journal is told", SIGKILL, FAULTS_DAEMON, .change = meanwhile_begin_journal,
	    .before_exec = meanwhile_tell_journal, .hear = meanwhile_hear_journal, .mend = meanwhile_end_journal, .is_hopeless = true },
	{ "a start with too few descriptors", SIGKILL, FAULTS_DAEMON, .gather = meanwhile_crowd, .scatter = meanwhile_disperse,
	    .before_exec = meanwhile_lower_fds, .is_hopeless = true, .may_serve = true },
};

static struct harness_manager manager;
static struct injector injector;
static struct points points;
static unsigned n_ready, n_degraded, n_ended, n_lost;

static void
launch_as(void (*before_exec)(void *arg))
{
	manager.daemon.before_exec = before_exec ? before_exec : injector_prepare;
	manager.daemon.before_exec_arg = &injector;
	harness_manager_launch(&manager);
	injector_take(&injector, manager.daemon.pid);
}

static void
launch(void)
{
	launch_as(NULL);
}

/* What of the box cannot be read lies in flight still, and may be more than its limit lets a uid have: it says so, and waits. */
static bool
waits_for_others(void)
{
	return strstr(harness_daemon_log(&manager.daemon), "more descriptors in flight than");
}

/* What it has come to: 'r'eady, 'f'ailed in part, 'e'nded, or 'w'aits. */
static char
await_outcome(uint64_t before)
{
	uint64_t deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	struct pollfd fd = { .fd = manager.daemon.pidfd, .events = POLLIN };
	bool is_ready, has_failed;

	for (;;) {
		if (poll(&fd, 1, 1) > 0)
			return 'e';
		harness_manager_lock(&manager);
		is_ready = manager.n_ready > before;
		has_failed = strstr(manager.daemon.status, "failed");
		harness_manager_unlock(&manager);
		if (is_ready || has_failed)
			return is_ready ? 'r' : 'f';
		if (waits_for_others())
			return 'w';
		harness_assert(harness_clock_ns() < deadline_ns, "it does not become ready, and does not end; failed: %s",
		    injector_describe(&injector));
	}
}

/* The next one is ready. Whoever is stopped takes a first start's memory with it; after a kill it is there still. */
static void
settle_start(const struct kind *kind, char outcome)
{
	int status, signal = kind->ended_by ? SIGKILL : SIGTERM;

	if (outcome == 'r') {
		n_ready++;
		return;
	}
	harness_assert(outcome != 'w', "it waits; failed: %s", injector_describe(&injector));
	if (outcome == 'f') {
		n_degraded++;
		injector_let_go(&injector);
		status = harness_manager_end(&manager, signal);
		harness_assert(status == (signal == SIGKILL ? -SIGKILL : 0), "it was ended, with %d; failed: %s", status,
		    injector_describe(&injector));
	} else {
		n_ended++;
		starting_expect_sentence(&manager.daemon, &injector, harness_daemon_await_exit(&manager.daemon));
	}
	launch();
	harness_manager_await_ready(&manager);
}

static bool
fail_in_start(const struct kind *kind, unsigned variant, uint64_t at)
{
	uint64_t before = manager.n_ready;
	char outcome;

	injector_arm(&injector, kind->target, variant, at);
	launch_as(kind->before_exec);
	if (kind->attend)
		kind->attend(&manager);
	outcome = await_outcome(before);
	injector_disarm(&injector);
	harness_assert(injector_has_failed(&injector) || outcome == 'r', "nothing failed, and it came to '%c'", outcome);
	settle_start(kind, outcome);
	return injector_has_failed(&injector);
}

static bool
fail_in_end(const struct kind *kind, unsigned variant, uint64_t at)
{
	struct pollfd fd = { .fd = manager.daemon.pidfd, .events = POLLIN };
	int status;

	injector_arm(&injector, kind->target, variant, at);
	(void)kill(manager.daemon.pid, kind->ended_by);
	harness_assert(harness_poll(&fd, 1, HARNESS_TIMEOUT_MS) == 1, "it does not end; failed: %s", injector_describe(&injector));
	status = harness_daemon_await_exit(&manager.daemon);
	harness_manager_hear(&manager);
	injector_disarm(&injector);
	harness_assert(injector_has_failed(&injector) || status == 0, "nothing failed, and it ended with %d", status);
	n_ended++;
	if (status)
		starting_expect_sentence(&manager.daemon, &injector, status);
	launch();
	harness_manager_await_ready(&manager);
	return injector_has_failed(&injector);
}

static void
expect_vain_end(const struct kind *kind, uint64_t since_ns)
{
	uint64_t after_ns = clock_monotonic_ns() - since_ns;
	int status = harness_daemon_await_exit(&manager.daemon);
	bool is_told;

	harness_manager_hear(&manager);
	if (kind->hear)
		kind->hear(&manager);
	n_ended++;
	/* There may be one sentence, which it cannot write. */
	is_told = strstr(harness_daemon_log(&manager.daemon), "rror") || strstr(injector_describe(&injector), "write(0x2,");
	harness_assert(status == 1 && is_told, "it ended with %d; failed: %s", status, injector_describe(&injector));
	harness_assert(after_ns >= (kind->rests ? REST_NS : 0), "it ended after %ju ms; failed: %s",
	    (uintmax_t)(after_ns / NS_PER_MS), injector_describe(&injector));
}

/* Whatever else fails: it ends, and where it is to rest before that not sooner than two seconds after its start. */
static bool
fail_in_vain(const struct kind *kind, unsigned variant, uint64_t at)
{
	uint64_t before = manager.n_ready, since_ns = clock_monotonic_ns();
	char outcome;

	injector_arm(&injector, kind->target, variant, at);
	launch_as(kind->before_exec);
	outcome = await_outcome(before);
	injector_disarm(&injector);
	if (outcome == 'e') {
		expect_vain_end(kind, since_ns);
	} else {
		harness_assert(kind->may_serve && injector_has_failed(&injector), "it came to '%c'; failed: %s", outcome,
		    injector_describe(&injector));
		n_ready++;
		injector_let_go(&injector);
		(void)harness_manager_end(&manager, SIGKILL);
	}
	if (kind->mend)
		kind->mend(&manager);
	launch();
	harness_manager_await_ready(&manager);
	return injector_has_failed(&injector);
}

/* Of System V memory a segment of the harness has only the page that stands in for it. */
static unsigned char *
reach(const struct harness_segment *segment)
{
	void *bytes = segment->data;

	if (segment->attached.flags & PROTOCOL_ATTACHED_SHM)
		bytes = shmat(segment->attached.shm_id, NULL, 0);
	harness_assert(bytes != (void *)-1, "shmat: %s; failed: %s", strerror(errno), injector_describe(&injector));
	return bytes;
}

static void
leave(struct harness_segment *segment, unsigned char *bytes)
{
	if (segment->attached.flags & PROTOCOL_ATTACHED_SHM)
		(void)shmdt(bytes);
	harness_segment_close(segment);
}

/* One that is attached while all that happens. */
struct client {
	struct harness_conn conn;
	struct harness_segment segments[BASE_ARRAY_SIZE(names)];
	unsigned char *bytes[BASE_ARRAY_SIZE(names)];
};

static void
hold(struct client *client)
{
	harness_open(&client->conn, manager.daemon.socket);
	client->conn.is_lasting = client->conn.takes_farewell = true;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		harness_segment_open(&client->conn, names[i], &client->segments[i]);
		client->bytes[i] = reach(&client->segments[i]);
		memset(client->bytes[i], WRITTEN, 4096);
	}
}

/* What the kernel refuses for good is lost by that, and the log says so; what it has no room for now is not. */
static bool
is_lost(const char *name)
{
	char sentence[64];

	(void)snprintf(sentence, sizeof(sentence), "segment '%s' of the segmentd before this one", name);
	return injector_is_lasting(&injector) && strstr(harness_daemon_log(&manager.daemon), sentence);
}

static void
expect_same(struct harness_conn *watcher, const char *name, unsigned char *bytes)
{
	struct harness_segment segment;
	unsigned char *again;

	harness_segment_open(watcher, name, &segment);
	again = reach(&segment);
	harness_assert(again[0] == WRITTEN && again[4095] == WRITTEN, "'%s' is not as it was; failed: %s", name,
	    injector_describe(&injector));
	again[1] = WRITTEN + 1;
	harness_assert(bytes[1] == WRITTEN + 1, "'%s' is another one; failed: %s", name, injector_describe(&injector));
	leave(&segment, again);
	(void)harness_detach(watcher, &segment.attached);
}

/* Its connection goes on, too, but by a refusal. */
static void
expect_connected(const struct kind *kind, struct client *client)
{
	struct protocol_segment row;
	int r = kind->is_end || injector_is_lasting(&injector) ? 0 : harness_find(&client->conn, names[0], &row);

	harness_assert(r == 0, "its connection was lost: %s; failed: %s", strerror(-r), injector_describe(&injector));
}

/* It has lost nothing but perhaps its connection. */
static void
release(const struct kind *kind, struct client *client, struct harness_conn *watcher)
{
	expect_connected(kind, client);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		if (is_lost(names[i]))
			n_lost++;
		else
			expect_same(watcher, names[i], client->bytes[i]);
		leave(&client->segments[i], client->bytes[i]);
	}
	harness_close(&client->conn);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		harness_await_counts(watcher, names[i], 0, 0);
}

/* As those of a server are, as a rule. */
static void
let_files_age(void)
{
	uint64_t until_ns = clock_monotonic_ns() + AGE_NS;

	while (clock_monotonic_ns() < until_ns)
		(void)poll(NULL, 0, 1);
}

/* What came before; one that is stopped has no clients. */
static void
begin(const struct kind *kind, struct client *client)
{
	harness_manager_prepare(&manager, "workers = 1;", body);
	injector_init(&injector, FAULTS_KIND, manager.daemon.dir);
	if (!kind->ended_by)
		return;
	if (kind->has_old_files)
		let_files_age();
	launch();
	harness_manager_await_ready(&manager);
	if (kind->ended_by != SIGTERM)
		hold(client);
	if (kind->gather)
		kind->gather(&manager);
	if (kind->is_end)
		return;
	injector_let_go(&injector);
	(void)harness_manager_end(&manager, kind->ended_by);
}

static void
stop(void *arg)
{
	(void)arg;
	harness_manager_stop(&manager);
}

static bool
fail_at(const struct points_row *row, uint64_t at)
{
	const struct kind *kind = row->operation;
	struct protocol_segment rows[ROWS];
	struct harness_conn watcher;
	struct client client;
	bool has_failed;

	begin(kind, &client);
	if (kind->change)
		kind->change(&manager);
	if (kind->is_hopeless)
		has_failed = fail_in_vain(kind, row->variant, at);
	else
		has_failed = kind->is_end ? fail_in_end(kind, row->variant, at) : fail_in_start(kind, row->variant, at);
	if (kind->scatter)
		kind->scatter(&manager);
	harness_open(&watcher, manager.daemon.socket);
	harness_assert(harness_list(&watcher, rows, ROWS) == BASE_ARRAY_SIZE(names), "not all are there");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		harness_assert(rows[i].state == PROTOCOL_READY, "'%s' is in state %u; failed: %s", rows[i].name, rows[i].state,
		    injector_describe(&injector));
	if (kind->ended_by && kind->ended_by != SIGTERM)
		release(kind, &client, &watcher);
	harness_close(&watcher);
	injector_end(&injector, stop, NULL);
	return has_failed;
}

static bool
has_turn(size_t i)
{
	const size_t n_often = BASE_ARRAY_SIZE(kinds) - N_RARE;

	return kinds[i].is_long ? injector_is_all() : i < n_often || points_has_turn(i - n_often, N_RARE);
}

START_TEST(one_fails_in_a_start_or_an_end)
{
	const struct kind *kind = &kinds[_i];

	if (!injector_is_wanted(kind->name) || !has_turn((size_t)_i))
		return;
	world_enter();
	points_init(&points, &injector, fail_at);
	points_add_variants(&points, FAULTS_KIND, kind->name, kind);
	injector_tell_left_out(&injector);
	n_ready = n_ended = 0;
	points_fail(&points, FULL_S);
	points_tell(&points, kind->name, "%u became ready, %u in part, %u ended; %u segments lost, and told of", n_ready, n_degraded, n_ended,
	    n_lost);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("starts");
	TCase *tcase = tcase_create("starts");

	/* Who is traced is not looked at for leaks, and says so with its exit status. */
	if (FAULTS_KIND == FAULTS_CALLS)
		(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails_in_a_start_or_an_end, 0, BASE_ARRAY_SIZE(kinds));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
