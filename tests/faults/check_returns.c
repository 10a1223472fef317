/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Without a service manager memory is lost with a killed daemon, and comes back from its clients. Every allocation, or every system
 * call, of that fails once: of the start that is to await it, and of the daemon, its worker and the library as it is brought back. The
 * client's call is answered, or refused with a sentence; by its next one its memory is the daemon's again, with all that was in it,
 * and newcomers have the same. Only what the kernel refuses for good may be lost, and nothing is leaked, wherever it happened.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include "client/segment.h"
#include "tests/faults/asleep.h"
#include "tests/faults/descriptors.h"
#include "tests/faults/points.h"
#include "tests/faults/starting.h"
#include "tests/harness_locks.h"
#include "tests/system/suite.h"
#include "tests/system/world.h"

#define FULL_S		4
#define WRITTEN		0x5e
#define STATUS_LOST	7		/* of the client: its memory did not come back */

/* How long it is awaited is not to depend on this machine. */
static const char daemon_keys[] = "workers = 1; await_returns = \"1h\";";
static const char body[] =
    "segments = (\n"
    "{ name = \"m\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; required = false; locks = ( { name = \"all\"; "
    "length = \"4KiB\"; undo = \"4KiB\"; } ); },\n"
    "{ name = \"other\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; required = false; } );\n"
    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; page_size = \"base\"; mlock = false; } );\n";

struct kind {
	const char *name;
	enum faults_target target;
	bool is_start;			/* it fails in the start that is to await it, and not as it is brought back */
	bool brings_other;		/* before that somebody brings what is no memory of ours */
	bool is_short;			/* the client has no descriptors left but for its connection, at first: left to the full check */
};

static const struct kind kinds[] = {
	{ "the start that awaits memory", FAULTS_DAEMON, .is_start = true },
	{ "the return, in the daemon", FAULTS_DAEMON },
	{ "the return, in its worker", FAULTS_WORKER },
	{ "the return of something else, in its worker", FAULTS_WORKER, .brings_other = true },
	{ "the return, in the library", FAULTS_CLIENT },
	{ "the return without descriptors", FAULTS_CLIENT, .is_short = true },
};

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;
static struct injector injector;
static struct points points;
static struct harness_usage usage;	/* of a daemon in which nothing failed, when all was given back */
static unsigned n_refused, n_ended, n_failed_segments, n_lost;

/* In the client. */

struct errand {
	const struct kind *kind;
	unsigned variant;
	uint64_t at;
};

static struct segment_client *client;

/* Something else is asked for: what it has is brought back before that. */
static int
call(void)
{
	struct segment *other = NULL;
	int r = segment_attach(client, "other", NULL, SEGMENT_READ, &other), end;

	harness_assert(!r == !!other && (!r || segment_error()[0]), "%d came with a segment, or with no sentence", r);
	end = segment_detach(other);
	harness_assert(end == 0 || segment_error()[0], "%d without a sentence", end);
	return r ? r : end;
}

/* What a newcomer is given is what the client has, or it is still awaited: nothing else. */
static bool
is_back(struct segment *segment, const char *name)
{
	volatile unsigned char *data = segment_data(segment), *again_data;
	struct segment *again;
	int r = segment_attach(client, name, NULL, SEGMENT_WRITE | SEGMENT_NOWAIT, &again);

	if (r == -EAGAIN || (r == -ENOENT && injector_is_lasting(&injector)))
		return false;
	harness_assert(r == 0, "'%s' again: %d, %s; failed: %s", name, r, segment_error(), injector_describe(&injector));
	again_data = segment_data(again);
	if (segment_generation(again) != segment_generation(segment)) {
		harness_assert(injector_is_lasting(&injector), "'%s' is a new one; failed: %s", name, injector_describe(&injector));
		(void)segment_detach(again);
		return false;
	}
	data[0]++;
	harness_assert(again_data[0] == data[0] && again_data[4095] == WRITTEN, "'%s' is not as it was; failed: %s", name,
	    injector_describe(&injector));
	harness_assert(segment_detach(again) == 0, "%s", segment_error());
	return true;
}

static void
use_lock(struct segment *segment)
{
	unsigned char *cell = (unsigned char *)segment_data(segment) + 1, value = *cell + 1;

	harness_assert(segment_lock(segment, 0) == 0 && segment_set(segment, 0, cell, &value, 1) == 0 && segment_unlock(segment, 0) == 0,
	    "its lock: %s", segment_error());
}

static size_t
count_fds(void)
{
	struct harness_usage own;

	harness_usage_read(getpid(), &own);
	return own.fds;
}

/* By a connection of its own. It is refused; where something fails perhaps in another way. */
static void
bring_other(struct harness_conn *conn, const struct protocol_attached *attached)
{
	struct protocol_return request = {
		.generation = attached->generation, .attachment = attached->attachment, .flags = PROTOCOL_RETURN_DATA,
	};
	cleanup_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct harness_reply reply = { .n_fds = 0 };
	ssize_t n;

	harness_close(conn);
	harness_open(conn, daemon_.socket);
	conn->is_lasting = conn->takes_farewell = true;
	harness_fill(conn, &request.header, PROTOCOL_RETURN, sizeof(request));
	n = harness_send(conn->fd, &request, sizeof(request), &fd, 1);
	n = n < 0 ? -ENOTCONN : harness_receive(conn->fd, &reply);
	harness_assert(n != -ETIMEDOUT, "what was brought is not answered; failed: %s", injector_describe(&injector));
	harness_assert((n > 0 && reply.header.status == -EBADF) || injector_has_failed(&injector), "/dev/null is taken: %d",
	    reply.header.status);
}

static void
run_client(int control, void *arg)
{
	const struct errand *errand = arg;
	bool is_meant = errand->kind->target == FAULTS_CLIENT, has_memory;
	struct harness_conn other = HARNESS_CONN_NULL;
	struct harness_segment others = { .data_fd = -1, .control_fd = -1 };
	struct segment *declared, *created;
	size_t n_fds;
	int r;

	if (is_meant && injector.kind == FAULTS_CALLS)
		(void)raise(SIGSTOP);
	else if (is_meant)
		injector.page->pid = getpid();
	harness_assert(segment_connect(&client, daemon_.socket) == 0 && segment_attach(client, "m", NULL, SEGMENT_WRITE, &declared) == 0 &&
	    segment_create(client, "t-1", 4096, 0, &created) == 0, "%s", segment_error());
	memset(segment_data(declared), WRITTEN, 4096);
	memset(segment_data(created), WRITTEN, 4096);
	if (errand->kind->brings_other) {
		harness_open(&other, daemon_.socket);
		harness_segment_open(&other, "m", &others);
	}
	n_fds = count_fds();
	harness_say(control, "attached");
	harness_expect(control, "call");
	if (errand->kind->brings_other)
		bring_other(&other, &others.attached);
	if (errand->kind->is_short)
		descriptors_limit(0);
	if (is_meant)
		injector_arm(&injector, FAULTS_CLIENT, errand->variant, errand->at);
	r = call();
	if (is_meant)
		injector_disarm(&injector);
	descriptors_restore();
	harness_say(control, r ? "refused" : "answered");
	harness_expect(control, "again");
	r = call();
	harness_assert(r == 0, "again, after %s: %d, %s", injector_describe(&injector), r, segment_error());
	has_memory = is_back(declared, "m");
	has_memory = is_back(created, "t-1") && has_memory;
	use_lock(declared);
	harness_assert(count_fds() == n_fds, "%zu descriptors instead of %zu, after %s", count_fds(), n_fds, injector_describe(&injector));
	harness_say(control, has_memory ? "has" : "lost");
	harness_expect(control, "end");
	harness_segment_close(&others);
	harness_close(&other);
	harness_assert(segment_detach(declared) == 0 && segment_detach(created) == 0, "%s", segment_error());
	segment_disconnect(client);
	if (!has_memory)
		_exit(STATUS_LOST);
}

/* In the test. */

static bool
hear(const struct harness_child *child, const char *word, const char *other_word)
{
	char heard[32] = "";
	ssize_t n;

	harness_await_readable(child->control, "a word of the client");
	n = recv(child->control, heard, sizeof(heard) - 1, 0);
	harness_assert(n > 0 && (streq(heard, word) || streq(heard, other_word)), "the client said '%s'; failed: %s", heard,
	    injector_describe(&injector));
	return streq(heard, word);
}

/* What nobody had is made anew; where that has failed it is asked for by hand. */
static void
retry_failed(void)
{
	struct protocol_retry request = { .name = "other" };
	struct harness_conn watcher = HARNESS_CONN_NULL;
	struct harness_reply reply;
	int r;

	harness_open(&watcher, daemon_.socket);
	if (harness_wait(&watcher, "other") == PROTOCOL_FAILED) {
		r = harness_ask(&watcher, PROTOCOL_RETRY, &request.header, sizeof(request), &reply);
		harness_assert(r == 0, "retry: %s; failed: %s", strerror(-r), injector_describe(&injector));
		n_failed_segments++;
	}
	suite_ready(&watcher, "other");
	harness_close(&watcher);
}

/* The daemon that comes after the one that was killed. One that ends takes nothing with it. */
static void
start_again(const struct errand *errand)
{
	if (errand->kind->is_start)
		injector_arm(&injector, FAULTS_DAEMON, errand->variant, errand->at);
	starting_launch(&daemon_, &injector);
	n_ended += !starting_await_ready(&daemon_, &injector);
	asleep_await(daemon_.pid);
	if (errand->kind->is_start)
		injector_disarm(&injector);
	retry_failed();
	asleep_await(daemon_.pid);
}

static void
bring_back(const struct errand *errand, struct harness_child *child)
{
	bool is_here = !errand->kind->is_start && errand->kind->target != FAULTS_CLIENT, is_answered, has_memory;

	if (is_here)
		injector_arm(&injector, errand->kind->target, errand->variant, errand->at);
	harness_say(child->control, "call");
	is_answered = hear(child, "answered", "refused");
	asleep_await(daemon_.pid);
	if (is_here)
		injector_disarm(&injector);
	n_refused += !is_answered;
	harness_assert(is_answered || errand->kind->is_short || injector_has_failed(&injector), "nothing failed, and it was refused");
	harness_say(child->control, "again");
	has_memory = hear(child, "has", "lost");
	n_lost += !has_memory;
	harness_assert(has_memory || injector_is_lasting(&injector), "its memory did not come back; failed: %s",
	    injector_describe(&injector));
	if (!has_memory)
		printf("lost: %s\n", injector_describe(&injector));
	harness_say(child->control, "end");
}

static void
expect_no_leak(const struct errand *errand, bool has_memory)
{
	struct harness_conn watcher = HARNESS_CONN_NULL;

	harness_open(&watcher, daemon_.socket);
	if (has_memory)
		suite_ready(&watcher, "m");
	harness_await_counts(&watcher, "m", 0, 0);
	harness_await_counts(&watcher, "other", 0, 0);
	if (has_memory)
		harness_await_gone(&watcher, "t-1");
	asleep_await(daemon_.pid);
	if (errand->at == FAULTS_NEVER)
		harness_usage_read(daemon_.pid, &usage);
	else
		harness_usage_await(&watcher, daemon_.pid, &usage);
	harness_close(&watcher);
}

static void
stop(void *arg)
{
	(void)arg;
	harness_daemon_stop(&daemon_);
}

static bool
fail_at(const struct points_row *row, uint64_t at)
{
	struct errand errand = { .kind = row->operation, .variant = row->variant, .at = at };
	struct harness_child child = HARNESS_CHILD_NULL;
	bool has_failed;
	int status;

	harness_daemon_prepare(&daemon_, daemon_keys, body);
	injector_init(&injector, FAULTS_KIND, daemon_.dir);
	if (faults_set_page)
		faults_set_page(injector.page);
	daemon_.before_exec = NULL;
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_child_start(&child, run_client, &errand);
	if (errand.kind->target == FAULTS_CLIENT && FAULTS_KIND == FAULTS_CALLS)
		injector_take_client(&injector, child.pid);
	harness_expect(child.control, "attached");
	harness_daemon_kill(&daemon_);
	start_again(&errand);
	bring_back(&errand, &child);
	status = harness_child_await(&child);
	harness_assert(status == 0 || status == STATUS_LOST, "the client ended with %d; failed: %s", status, injector_describe(&injector));
	has_failed = injector_has_failed(&injector);
	expect_no_leak(&errand, status == 0);
	injector_end(&injector, stop, NULL);
	return has_failed;
}

START_TEST(one_fails_as_memory_comes_back)
{
	const struct kind *kind = &kinds[_i];

	if (!injector_is_wanted(kind->name) || (kind->is_short && !injector_has_time()))
		return;
	world_enter();
	points_init(&points, &injector, fail_at);
	points_add_variants(&points, FAULTS_KIND, kind->name, kind);
	points_fail(&points, FULL_S);
	points_tell(&points, kind->name, "%u calls were refused, %u starts ended, %u segments had failed; %u lost memory that the kernel refused "
	    "for good", n_refused, n_ended, n_failed_segments, n_lost);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("returns");
	TCase *tcase = tcase_create("returns");

	(void)argc;
	injector_load(FAULTS_KIND, argv);
	/* Who is traced is not looked at for leaks, and says so with its exit status. */
	if (FAULTS_KIND == FAULTS_CALLS)
		(void)setenv("ASAN_OPTIONS", "detect_leaks=0", 1);
	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, one_fails_as_memory_comes_back, 0, BASE_ARRAY_SIZE(kinds));
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
