/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a killed daemon left that others find by a name, a key or a path, with no service manager that has kept anything: every
 * allocation, or every system call, fails once of the start that takes it over, and of the one that removes it since it is not
 * wanted any more; of the daemon, its worker and segmentd-audit. What is wanted is the same object then, with all that is in it, at
 * once or when it is retried; what is not is gone, at once, when whoever has it yet lets go, or by the next start. A file's contents stay
 * in both cases. Likewise of a stop, and of a change of its socket's mode before that: it leaves nothing, or the next start removes it.
 */
#include "config.h"

#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>

#include "host/audit.h"
#include "host/record.h"
#include "tests/faults/asleep.h"
#include "tests/faults/points.h"
#include "tests/faults/starting.h"
#include "tests/system/suite.h"
#include "tests/system/world.h"

#define FULL_S		3
#define KEY		0x5e6a1d
#define WRITTEN		0x5e
#define N_WRITTEN	4096
#define LEFT_MS		1000		/* what is not gone by then may wait for the next start */
#define HELD_MS		2000		/* at most: who is there for half a second is told of */

static const char daemon_keys[] = "workers = 1;";
static const char body[] =
    "segments = (\n"
    "{ name = \"p\"; size = \"64KiB\"; page_size = \"base\"; backend = \"posix\"; object = \"/p\"; mlock = false; required = false; },\n"
    "{ name = \"y\"; size = \"64KiB\"; page_size = \"base\"; backend = \"sysv\"; key = 0x5e6a1d; mlock = false; required = false; },\n"
    "{ name = \"f\"; size = \"64KiB\"; page_size = \"base\"; backend = \"file\"; path = \"%s/data\"; mlock = false; "
    "required = false; } );\n";
static const char *const names[] = { "p", "y", "f" };

struct kind {
	const char *name;
	enum faults_target target;
	bool is_wanted;			/* the next configuration has them still */
	bool is_held;			/* somebody has one of them open for a while, which the full check has */
	bool is_meant;			/* by its record it was about to make them only */
	bool is_stop;			/* it is not killed, but has another socket_mode, and is stopped: there it fails */
};

#define N_RARE	3			/* the last of them: one at a time in the quick check */
static const struct kind kinds[] = {
	{ "taking over, in the daemon", FAULTS_DAEMON, .is_wanted = true },
	{ "taking over, in its worker", FAULTS_WORKER, .is_wanted = true },
	{ "removing, in the daemon", FAULTS_DAEMON },
	{ "removing, in its worker", FAULTS_WORKER },
	{ "removing, in segmentd-audit", FAULTS_AUDIT },
	{ "removing what somebody has", FAULTS_DAEMON, .is_held = true },
	{ "stopping, in the daemon", FAULTS_DAEMON, .is_stop = true },
	{ "stopping, in its worker", FAULTS_WORKER, .is_stop = true },
	{ "removing what it was about to make", FAULTS_DAEMON, .is_meant = true },
};

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;
static struct injector injector;
static struct points points;
static struct harness_usage usage;	/* of a daemon in which nothing failed */
static unsigned n_ended, n_failed_segments, n_kept, n_left_alone;
static int held_fd = -1;		/* of who has the POSIX object */

/* As somebody sees them who knows nothing of segmentd. */

struct sight {
	ino_t posix;			/* 0: there is none */
	int shm_id;			/* -1: likewise */
};

static struct sight
look(void)
{
	struct sight sight = { .shm_id = shmget(KEY, 0, 0) };
	struct stat status;

	sight.posix = stat("/dev/shm/p", &status) ? 0 : status.st_ino;
	return sight;
}

/* Its name was taken away, and it is about to be removed: who does that may be killed first. */
static bool
is_in_quarantine(void)
{
	glob_t found;
	bool is_there = glob("/dev/shm/.segmentd-quarantine-*/*/p", GLOB_PERIOD, NULL, &found) == 0;

	globfree(&found);
	return is_there;
}

static bool
is_gone(void)
{
	struct sight sight = look();

	return !sight.posix && sight.shm_id < 0 && !is_in_quarantine();
}

static void
open_file(const char *path, int *ret_fd)
{
	*ret_fd = open(path, O_RDWR | O_CLOEXEC);
	harness_assert(*ret_fd >= 0, "%s: %s; failed: %s", path, strerror(errno), injector_describe(&injector));
}

static const char *
file_path(void)
{
	static char path[128];

	(void)snprintf(path, sizeof(path), "%s/data", daemon_.dir);
	return path;
}

static unsigned char *
attach_memory(void)
{
	unsigned char *memory = shmat(look().shm_id, NULL, 0);

	harness_assert(memory != (void *)-1, "shmat: %s; failed: %s", strerror(errno), injector_describe(&injector));
	return memory;
}

static void
write_to(const char *path)
{
	cleanup_close int fd = -1;
	unsigned char bytes[N_WRITTEN];

	open_file(path, &fd);
	memset(bytes, WRITTEN, sizeof(bytes));
	harness_assert(pwrite(fd, bytes, sizeof(bytes), 0) == sizeof(bytes), "%s: %s", path, strerror(errno));
}

static void
expect_written(const char *path)
{
	cleanup_close int fd = -1;
	unsigned char bytes[N_WRITTEN] = "";

	open_file(path, &fd);
	harness_assert(pread(fd, bytes, sizeof(bytes), 0) == sizeof(bytes) && bytes[0] == WRITTEN && bytes[N_WRITTEN - 1] == WRITTEN,
	    "%s is not as it was; failed: %s", path, injector_describe(&injector));
}

static void
write_all(void)
{
	unsigned char *memory = attach_memory();

	write_to("/dev/shm/p");
	write_to(file_path());
	memset(memory, WRITTEN, N_WRITTEN);
	(void)shmdt(memory);
}

static void
expect_same(const struct sight *before)
{
	struct sight now = look();
	unsigned char *memory;

	harness_assert(now.posix == before->posix && now.shm_id == before->shm_id, "they are others now; failed: %s",
	    injector_describe(&injector));
	expect_written("/dev/shm/p");
	memory = attach_memory();
	harness_assert(memory[0] == WRITTEN && memory[N_WRITTEN - 1] == WRITTEN, "System V memory is not as it was; failed: %s",
	    injector_describe(&injector));
	(void)shmdt(memory);
}

static void
configure(const char *keys)
{
	char text[1024];

	(void)snprintf(text, sizeof(text), body, daemon_.dir);
	harness_daemon_configure(&daemon_, keys, text);
}

/* As who is killed before the kernel's numbers are in it leaves it: the System V segment is found by its key. */
static void
unmake_rows(void)
{
	cleanup_close int fd = -1;
	struct record_row row;
	char path[160];

	(void)snprintf(path, sizeof(path), "%s/record", daemon_.state);
	open_file(path, &fd);
	/* Behind the header. */
	for (off_t at = sizeof(row); pread(fd, &row, sizeof(row), at) == sizeof(row); at += (off_t)sizeof(row)) {
		if (row.shm_id < 0 || !streq(row.segment, "y"))
			continue;
		row.state = RECORD_INTENT;
		row.shm_id = -1;
		row.sum = record_sum(&row);
		harness_assert(pwrite(fd, &row, sizeof(row), at) == sizeof(row), "%s: %s", path, strerror(errno));
	}
}

/* A daemon that has made all of it, and is killed, if it is not to be stopped. */
static struct sight
begin(const struct kind *kind)
{
	struct harness_conn conn;
	struct sight before;

	harness_daemon_prepare(&daemon_, daemon_keys, "");
	configure(daemon_keys);
	injector_init(&injector, FAULTS_KIND, daemon_.dir);
	if (kind->target == FAULTS_AUDIT)
		injector_serve_audit(&injector, &daemon_);
	daemon_.before_exec = NULL;
	if (kind->is_stop)
		starting_launch(&daemon_, &injector);
	else
		harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		suite_ready(&conn, names[i]);
	harness_close(&conn);
	write_all();
	before = look();
	if (kind->is_held)
		open_file("/dev/shm/p", &held_fd);
	if (kind->is_stop)
		return before;
	harness_daemon_kill(&daemon_);
	if (kind->is_meant)
		unmake_rows();
	/* And with as many workers as it is given there. */
	if (!kind->is_wanted)
		harness_daemon_configure(&daemon_, kind->is_held ? "" : daemon_keys, "");
	return before;
}

static bool
await_gone(uint64_t ms)
{
	uint64_t since_ns = harness_clock_ns();

	while (!is_gone() && injector_awaits(&injector, since_ns, ms))
		(void)poll(NULL, 0, 1);
	return is_gone();
}

/* What the kernel refuses for good proves nothing, and the log says so: then it is whoever's it may be, and here the test's. */
static bool
is_left_alone(void)
{
	const char *log = harness_daemon_log(&daemon_);
	struct sight sight = look();

	/* The latter where it was told that it was gone, and its key is taken all the same. */
	if (!injector_is_lasting(&injector) || (!strstr(log, "is another, by the kernel's word, and is left alone") &&
	    !strstr(log, "It may have been left behind by a segmentd that was killed")))
		return false;
	n_left_alone++;
	(void)shm_unlink("/p");
	(void)shmctl(sight.shm_id, IPC_RMID, NULL);
	return true;
}

static int
retry(struct harness_conn *watcher, const char *name)
{
	struct protocol_retry request = { 0 };
	struct harness_reply reply;
	int r;

	harness_assert(injector_has_failed(&injector), "'%s' has failed, and nothing else", name);
	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	r = harness_ask(watcher, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
	harness_assert(r == 0, "retry: %s; failed: %s", strerror(-r), injector_describe(&injector));
	n_failed_segments++;
	return harness_wait(watcher, name);
}

/* Whatever was in the way, by hand it is taken over. */
static void
settle_wanted(const struct sight *before)
{
	struct harness_conn watcher;
	bool is_whole = true;

	harness_open(&watcher, daemon_.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++) {
		int state = harness_wait(&watcher, names[i]);

		if (state == PROTOCOL_FAILED)
			state = retry(&watcher, names[i]);
		harness_assert(state == PROTOCOL_READY || is_left_alone(), "'%s' is in state %d; failed: %s", names[i], state,
		    injector_describe(&injector));
		is_whole = is_whole && state == PROTOCOL_READY;
	}
	harness_close(&watcher);
	if (is_whole)
		expect_same(before);
}

static void
settle_unwanted(void)
{
	if (is_gone() || is_left_alone())
		return;
	harness_assert(injector_has_failed(&injector), "nothing failed, and it is there");
	n_kept++;
	injector_let_go(&injector);
	harness_daemon_kill(&daemon_);
	daemon_.before_exec = NULL;
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_assert(await_gone(HARNESS_TIMEOUT_MS), "the next start does not remove it; failed: %s", injector_describe(&injector));
}

static void
expect_no_leak(bool is_counted)
{
	struct harness_conn watcher;

	harness_open(&watcher, daemon_.socket);
	asleep_await(daemon_.pid);
	if (is_counted)
		harness_usage_read(daemon_.pid, &usage);
	else
		harness_usage_await(&watcher, daemon_.pid, &usage);
	harness_close(&watcher);
}

static int
ignore(const void *row, void *arg)
{
	(void)row;
	(void)arg;
	return 0;
}

/* What a removal could not tidy up behind it the next does who asks for anything, and it may be long until somebody does. */
static void
tidy_up(void)
{
	struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_LIST, .serial = 1, .flags = AUDIT_QUESTION_POSIX };
	struct audit_answer end;
	pid_t pid;
	int fd = audit_open(daemon_.audit, &pid);

	harness_assert(fd >= 0 && audit_ask(fd, &question, NULL, ignore, NULL, &end) == 0 && end.result == 0, "it cannot be asked");
	audit_close(fd, pid);
}

static void
stop(void *arg)
{
	bool is_served = daemon_.audit_pid;

	(void)arg;
	if (is_served)
		tidy_up();
	injector_end_audit(&daemon_);
	harness_daemon_stop(&daemon_);
	/* The daemon's own was killed with it, at whatever it was. */
	if (!is_served) {
		(void)setenv("SEGMENTD_AUDIT", harness_audit_program(), 1);
		tidy_up();
		(void)unsetenv("SEGMENTD_AUDIT");
	}
}

/* What it is told to change and then to end comes to. */
static void
fail_in_stop(void)
{
	int status;

	configure("workers = 1; socket_mode = \"0640\";");
	harness_daemon_hangup(&daemon_);
	/* It may have ended over that already: libevent does when it cannot read of a signal. */
	asleep_await_end(daemon_.pid);
	harness_assert(kill(daemon_.pid, SIGTERM) == 0, "kill: %s", strerror(errno));
	status = harness_daemon_await_exit(&daemon_);
	injector_disarm(&injector);
	if (status)
		starting_expect_sentence(&daemon_, &injector, status);
	harness_assert(access(daemon_.socket, F_OK) || injector_has_failed(&injector), "nothing failed, and its socket is there");
	n_kept += !is_gone();
	harness_assert(is_gone() || injector_has_failed(&injector), "nothing failed, and not all is gone");
	harness_daemon_configure(&daemon_, daemon_keys, "");
	daemon_.before_exec = NULL;
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_assert(await_gone(HARNESS_TIMEOUT_MS) || is_left_alone(), "the next start does not remove it; failed: %s",
	    injector_describe(&injector));
}

/* It is told who has it, unless what fails is in the way. */
static void
let_go(void)
{
	uint64_t since_ns = harness_clock_ns();

	while (!strstr(harness_daemon_log(&daemon_), "but somebody has it") && injector_awaits(&injector, since_ns, HELD_MS))
		(void)poll(NULL, 0, 1);
	close_fd(&held_fd);
}

static void
fail_in_start(const struct kind *kind)
{
	starting_launch(&daemon_, &injector);
	n_ended += !starting_await_ready(&daemon_, &injector);
	if (kind->is_held)
		let_go();
	if (!kind->is_wanted)
		(void)await_gone(LEFT_MS);
	asleep_await(daemon_.pid);
	injector_disarm(&injector);
}

static bool
fail_at(const struct points_row *row, uint64_t at)
{
	const struct kind *kind = row->operation;
	struct sight before = begin(kind);
	bool has_failed;

	injector_arm(&injector, kind->target, row->variant, at);
	if (kind->is_stop)
		fail_in_stop();
	else
		fail_in_start(kind);
	has_failed = injector_has_failed(&injector);
	if (kind->is_wanted)
		settle_wanted(&before);
	else if (!kind->is_stop)
		settle_unwanted();
	expect_written(file_path());
	/* Who was stopped has given back all it had. */
	if (!kind->is_stop)
		expect_no_leak(at == FAULTS_NEVER);
	injector_end(&injector, stop, NULL);
	return has_failed;
}

START_TEST(one_fails_at_what_was_left)
{
	const struct kind *kind = &kinds[_i];
	const int n_often = BASE_ARRAY_SIZE(kinds) - N_RARE;
	bool has_turn = kind->is_held ? injector_has_time() :
	    _i < n_often || points_has_turn((size_t)(_i - n_often), N_RARE);

	if (!injector_is_wanted(kind->name) || !has_turn)
		return;
	world_enter();
	points_init(&points, &injector, fail_at);
	points_add_variants(&points, FAULTS_KIND, kind->name, kind);
	points_fail(&points, FULL_S);
	points_tell(&points, kind->name, "%u starts ended, %u segments had failed, %u times something waited for the next start, and %u "
	    "times it was left alone, as the log says", n_ended, n_failed_segments, n_kept, n_left_alone);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("leftovers");
	TCase *tcase = tcase_create("leftovers");

	/* Who is traced is not looked at for leaks, and says so with its exit status. */
	if (FAULTS_KIND == FAULTS_CALLS)
		(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails_at_what_was_left, 0, BASE_ARRAY_SIZE(kinds));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
