/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A program with an event loop that attaches what is still being provisioned, and waits nowhere but in its poll. The worker
 * stands still meanwhile and goes on only at the loop's own word: a call that waited for the segment would never return.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <sys/timerfd.h>

#include "client/client.h"
#include "tests/harness.h"

#define SIZE		(512 * MIB)
#define TICK_NS		(10 * NS_PER_MS)
#define N_TICKS		15		/* more than the time between two events of progress */

/* By one worker, of many pieces: it is stopped before it gets the first of them. */
static const char body[] = "templates = ( { name = \"t-\"; max_size = \"512MiB\"; page_size = \"base\"; mlock = false; } );";

struct program {
	struct harness_daemon daemon;
	struct harness_conn creator;
	pid_t worker;
	struct segment_client *client;
	struct segment *segment;
	int event_fd;
	int timer_fd;
	int what;			/* READY or FAILED, when it came */
	unsigned n_ticks;
	unsigned n_attaches;		/* that were answered with -EAGAIN */
	unsigned n_progress;
	uint64_t progress_bytes;
	uint64_t progress_ns;
};

static void
on_event(const struct segment_event *event, void *arg)
{
	struct program *program = arg;

	if (!streq(event->segment, "t-slow"))
		return;
	if (event->what != SEGMENT_EVENT_PROGRESS) {
		harness_assert(event->size == 0 && event->total == 0, "%" PRIu64, event->size);
		program->what = event->what;
		return;
	}
	harness_assert(!program->what, "progress after the end");
	harness_assert(event->total == SIZE && event->size < SIZE &&
	    event->size >= program->progress_bytes + SIZE / 100, "%" PRIu64 " of %" PRIu64 " after %" PRIu64, event->size,
	    event->total, program->progress_bytes);
	/* By the daemon's clock, which is not the one that it waits by. */
	harness_assert(!program->n_progress || event->time_ns - program->progress_ns >= NS_PER_SEC / 10 - TICK_NS,
	    "after %" PRIu64 " ns", event->time_ns - program->progress_ns);
	program->progress_bytes = event->size;
	program->progress_ns = event->time_ns;
	program->n_progress++;
}

static void
attach(struct program *program, int expected)
{
	int r = segment_attach(program->client, "t-slow", NULL, SEGMENT_WRITE | SEGMENT_NOWAIT, &program->segment);

	harness_assert(r == expected, "%d: %s", r, segment_error());
	program->n_attaches += r == -EAGAIN;
}

static void
on_tick(struct program *program, int signal)
{
	uint64_t n;

	harness_assert(read(program->timer_fd, &n, sizeof(n)) == sizeof(n), "%s", strerror(errno));
	if (++program->n_ticks == 1)
		attach(program, -EAGAIN);
	if (program->n_ticks == N_TICKS) {
		attach(program, -EAGAIN);
		harness_assert(kill(program->worker, signal) == 0, "%s", strerror(errno));
	}
}

/* Until it is ready or failed. */
static void
run(struct program *program, int signal)
{
	struct pollfd fds[] = {
		{ .fd = program->event_fd, .events = POLLIN }, { .fd = program->timer_fd, .events = POLLIN },
	};

	while (!program->what) {
		harness_assert(harness_poll(fds, BASE_ARRAY_SIZE(fds), HARNESS_TIMEOUT_MS) > 0, "nothing happens");
		if (fds[0].revents) {
			int r = segment_dispatch(program->client, on_event, program);

			harness_assert(r >= 0, "%d: %s", r, segment_error());
		}
		if (fds[1].revents)
			on_tick(program, signal);
	}
}

/* A worker that has nothing to do stands still from here on. One that had its time is gone, and another is called for. */
static void
stop_worker(struct program *program)
{
	char name[32];

	for (unsigned i = 0; !program->worker; i++) {
		(void)snprintf(name, sizeof(name), "t-%u", i);
		harness_assert(harness_create(&program->creator, name, 4096, NULL, NULL) == 0, "%s", name);
		(void)harness_children(program->daemon.pid, &program->worker, 1);
	}
	harness_assert(kill(program->worker, SIGSTOP) == 0, "%s", strerror(errno));
}

/* Somebody makes the segment: the answer comes when it is ready. */
static void
create(struct program *program)
{
	struct protocol_create request = { .size_bytes = SIZE, .name = "t-slow" };

	harness_fill(&program->creator, &request.header, PROTOCOL_CREATE, sizeof(request));
	harness_assert(harness_send(program->creator.fd, &request, sizeof(request), NULL, 0) == sizeof(request), "%s",
	    strerror(errno));
}

static void
begin(struct program *program)
{
	struct itimerspec tick = { .it_interval = { .tv_nsec = TICK_NS }, .it_value = { .tv_nsec = TICK_NS } };
	int r;

	*program = (struct program) { .daemon = HARNESS_DAEMON_NULL, .creator = HARNESS_CONN_NULL };
	harness_daemon_start(&program->daemon, "workers = 1;", body);
	r = segment_connect(&program->client, program->daemon.socket);
	harness_assert(r == 0, "%s", segment_error());
	harness_open(&program->creator, program->daemon.socket);
	stop_worker(program);
	program->event_fd = segment_event_fd(program->client);
	harness_assert(program->event_fd >= 0, "%s", segment_error());
	create(program);
	/* It is asked for by another connection, and may not be there yet. */
	do
		r = segment_attach(program->client, "t-slow", NULL, SEGMENT_WRITE | SEGMENT_NOWAIT, &program->segment);
	while (r == -ENOENT);
	harness_assert(r == -EAGAIN, "%d: %s", r, segment_error());
	program->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	harness_assert(timerfd_settime(program->timer_fd, 0, &tick, NULL) == 0, "%s", strerror(errno));
}

static void
end(struct program *program)
{
	ck_assert_int_eq(segment_detach(program->segment), 0);
	segment_disconnect(program->client);
	harness_close(&program->creator);
	(void)close(program->timer_fd);
	harness_daemon_stop(&program->daemon);
}

START_TEST(ready_is_told_and_then_it_is_had)
{
	struct program program;

	begin(&program);
	run(&program, SIGCONT);
	ck_assert_int_eq(program.what, SEGMENT_EVENT_READY);
	ck_assert_uint_eq(program.n_attaches, 2);
	/* It stood still for longer than lies between two of them. */
	ck_assert_uint_ge(program.n_progress, 1);
	attach(&program, 0);
	ck_assert_uint_eq(segment_size(program.segment), SIZE);
	end(&program);
}
END_TEST

START_TEST(failure_is_told)
{
	struct program program;

	begin(&program);
	run(&program, SIGKILL);
	ck_assert_int_eq(program.what, SEGMENT_EVENT_FAILED);
	/* One that was created goes with its failure, of which its creator is told. */
	attach(&program, -ENOENT);
	ck_assert_ptr_null(program.segment);
	end(&program);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("nowait");
	TCase *tcase = tcase_create("nowait");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, ready_is_told_and_then_it_is_had);
	tcase_add_test(tcase, failure_is_told);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
