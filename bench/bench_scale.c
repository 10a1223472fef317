/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * N/...: what one operation costs among 10 segments, and among 15,000. A daemon for each count lives all the while, and the
 * sides take turns, so that all of them meet the same machine. Which segment an operation is about is drawn anew each time,
 * from all there are: what grows with their number shows, be it a walk of ours or a miss of the processor's cache.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/families.h"
#include "bench/scale.h"
#include "bench/wire.h"

#define SCALE_TIMES		3000	/* operations of one side in one round */
#define SCALE_PAGE_ROWS		(PROTOCOL_MESSAGE_MAX / sizeof(struct protocol_segment))
#define SCALE_DEATHS		60
#define SCALE_RELOADS		3
#define SCALE_NEWS_MS		10000
#define SCALE_FDS		(2 * 16)	/* of clients that a daemon has at once: connection and pidfd */

struct scale;

/* One count of segments. */
struct scale_daemon {
	struct scale *scale;
	char name[32];
	unsigned n;			/* segments whose names are scale_name()s */
	struct daemon daemon;
	int fd;				/* a connection, and */
	uint64_t serial;		/* of its last request */
	int observer_fd;		/* another, which is told of everything */
	char victim[SCALE_NAME_SIZE];	/* what the next one to die attaches */
	int changed;			/* the definition that is other than at first; -1: none */
};

struct scale {
	struct bench *bench;
	uint64_t random;
	unsigned first;			/* count that is compared */
	struct scale_daemon daemons[SCALE_N];
};

/* xorshift64*: the same segments in every run. */
static unsigned
scale_draw(struct scale *self, unsigned n)
{
	self->random ^= self->random >> 12;
	self->random ^= self->random << 25;
	self->random ^= self->random >> 27;
	return (unsigned)(self->random * UINT64_C(2685821657736338717) >> 33) % n;
}

static void
scale_draw_name(struct scale_daemon *one, char name[SCALE_NAME_SIZE])
{
	scale_name(name, scale_draw(one->scale, one->n));
}

/* Attaches a segment that is drawn. Its descriptor, and its reply. */
static int
scale_attach(struct scale_daemon *one, const char *name, struct protocol_attached *ret_reply)
{
	struct protocol_attach attach;
	int fd;

	wire_attach_init(&attach, name);
	attach.header.serial = ++one->serial;
	if (send(one->fd, &attach, sizeof(attach), MSG_NOSIGNAL) != sizeof(attach))
		bench_fail("the daemon takes no request: %s", strerror(errno));
	if (wire_receive(one->fd, ret_reply, sizeof(*ret_reply), &fd) < (ssize_t)sizeof(*ret_reply) || fd < 0)
		bench_fail("the daemon does not attach '%s'", name);
	return fd;
}

static void
scale_detach(struct scale_daemon *one, const struct protocol_attached *attached)
{
	struct protocol_detach detach = {
		.header = { .size = sizeof(detach), .type = PROTOCOL_DETACH },
		.attachment = attached->attachment,
		.generation = attached->generation,
	};
	struct protocol_header reply;

	if (wire_request(one->fd, &detach.header, ++one->serial, &reply, sizeof(reply)) != 0)
		bench_fail("the daemon does not detach: %s", strerror(-reply.status));
}

/* What is timed. */

static void
attach_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	struct protocol_attached attached;
	char name[SCALE_NAME_SIZE];
	uint64_t start_ns;
	int fd;

	for (unsigned i = 0; i < SCALE_TIMES; i++) {
		scale_draw_name(one, name);
		start_ns = clock_monotonic_ns();
		fd = scale_attach(one, name, &attached);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
		(void)close(fd);
		scale_detach(one, &attached);
	}
}

static void
detach_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	struct protocol_attached attached;
	char name[SCALE_NAME_SIZE];
	uint64_t start_ns;
	int fd;

	for (unsigned i = 0; i < SCALE_TIMES; i++) {
		scale_draw_name(one, name);
		fd = scale_attach(one, name, &attached);
		start_ns = clock_monotonic_ns();
		(void)close(fd);
		scale_detach(one, &attached);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

static void
show_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	struct protocol_segment row;
	char name[SCALE_NAME_SIZE];
	uint64_t start_ns;

	for (unsigned i = 0; i < SCALE_TIMES; i++) {
		scale_draw_name(one, name);
		start_ns = clock_monotonic_ns();
		wire_show(one->fd, ++one->serial, name, &row);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* A page that is full, from anywhere. */
static void
list_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	struct protocol_list list = { .header = { .size = sizeof(list), .type = PROTOCOL_LIST } };
	union {
		struct protocol_listed listed;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;
	uint64_t start_ns;

	for (unsigned i = 0; i < SCALE_TIMES; i++) {
		list.cursor = scale_draw(one->scale, one->n - SCALE_PAGE_ROWS);
		start_ns = clock_monotonic_ns();
		if (wire_request(one->fd, &list.header, ++one->serial, &reply, sizeof(reply)) != 0)
			bench_fail("the daemon does not list its segments");
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

static void
victim_run(int fd, void *arg)
{
	const struct scale_daemon *one = arg;
	struct segment *segment;

	child_attach(one->daemon.socket, one->victim, 0, &segment);
	child_rest(fd);
}

/* Waits until the observer is told this of the process. */
static void
scale_await(const struct scale_daemon *one, pid_t pid, uint32_t kind)
{
	struct pollfd pollfd = { .fd = one->observer_fd, .events = POLLIN };
	struct protocol_event event;

	do {
		if (poll(&pollfd, 1, SCALE_NEWS_MS) != 1 ||
		    recv(one->observer_fd, &event, sizeof(event), 0) < (ssize_t)sizeof(event))
			bench_fail("news of process %d were waited for in vain", (int)pid);
		if (event.lost)
			bench_fail("the daemon lost %llu events", (unsigned long long)event.lost);
	} while (event.pid != pid || event.kind != kind);
}

static void
death_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	struct bench *bench = one->scale->bench;
	struct child victim;
	uint64_t start_ns;

	for (unsigned i = 0; i < SCALE_DEATHS; i++) {
		scale_draw_name(one, one->victim);
		child_start(bench, bench->client_cpu, -1, victim_run, one, &victim);
		child_await(&victim);
		scale_await(one, victim.pid, PROTOCOL_EVENT_ATTACHED);
		child_settle();
		start_ns = clock_monotonic_ns();
		(void)kill(victim.pid, SIGKILL);
		scale_await(one, victim.pid, PROTOCOL_EVENT_DIED);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
		child_end(&victim);
	}
}

/* Writes the configuration anew, with one definition changed or as it was. */
static void
scale_change(struct scale_daemon *one)
{
	struct daemon_config config = { 0 };
	char *text;

	one->changed = one->changed < 0 ? (int)(one->n / 2) : -1;
	text = scale_definitions(one->n, one->changed);
	config.segments = text;
	daemon_configure(&one->daemon, &config);
	free(text);
}

static void
scale_check_change(struct scale_daemon *one)
{
	struct protocol_segment row;
	char name[SCALE_NAME_SIZE];

	scale_name(name, one->n / 2);
	wire_show(one->fd, ++one->serial, name, &row);
	if (row.mode != (one->changed < 0 ? 0600 : 0640))
		bench_fail("a reload was done, and '%s' has still mode %04o", name, row.mode);
}

/* The whole of it: SIGHUP to READY=1, for each definition that is read. */
static void
reload_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;

	for (unsigned i = 0; i < SCALE_RELOADS; i++) {
		scale_change(one);
		samples_add(&round->samples, daemon_reload(&one->daemon));
		scale_check_change(one);
	}
	round->figure = (double)samples_percentile(&round->samples, 0.5) / 1000.0 / one->n;
	samples_clear(&round->samples);
}

/* The daemon's own CPU time for it: a worker process reads the files. */
static void
change_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	uint64_t cpu_ns = 0, before_ns;

	for (unsigned i = 0; i < SCALE_RELOADS; i++) {
		scale_change(one);
		before_ns = bench_process_cpu_ns(one->daemon.pid, NULL);
		(void)daemon_reload(&one->daemon);
		cpu_ns += bench_process_cpu_ns(one->daemon.pid, NULL) - before_ns;
		scale_check_change(one);
	}
	round->figure = (double)cpu_ns / SCALE_RELOADS / 1000.0 / one->n;
}

/* CPU time of the daemon for attaching and detaching, with what it looks after meanwhile. */
static void
work_run(void *arg, struct bench_round *round)
{
	struct scale_daemon *one = arg;
	uint64_t before_ns = bench_process_cpu_ns(one->daemon.pid, NULL);

	detach_run(one, round);
	samples_clear(&round->samples);
	round->figure = (double)(bench_process_cpu_ns(one->daemon.pid, NULL) - before_ns) / SCALE_TIMES / 1000.0;
}

/* The daemons. */

static int
scale_connect(const struct scale_daemon *one)
{
	int fd = wire_connect(one->daemon.socket);

	wire_hello(fd);
	wire_welcome(fd);
	return fd;
}

static int
scale_observe(const struct scale_daemon *one)
{
	struct protocol_subscribe subscribe = {
		.header = { .size = sizeof(subscribe), .type = PROTOCOL_SUBSCRIBE },
		.flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL,
	};
	struct protocol_header reply;
	int fd = scale_connect(one);

	if (wire_request(fd, &subscribe.header, 2, &reply, sizeof(reply)) != 0)
		bench_fail("the daemon lets nobody subscribe: %s", strerror(-reply.status));
	return fd;
}

/* Each segment once: the first attachment of all has the kernel watch it, and costs more than the later ones. */
static void
scale_touch(struct scale_daemon *one)
{
	struct protocol_attached attached;
	char name[SCALE_NAME_SIZE];

	for (unsigned i = 0; i < one->n; i++) {
		scale_name(name, i);
		(void)close(scale_attach(one, name, &attached));
		scale_detach(one, &attached);
	}
}

static void
scale_start(struct bench *bench, struct scale *self, unsigned first, bool is_observed)
{
	*self = (struct scale){ .bench = bench, .first = first, .random = 88172645463325252 };
	for (unsigned i = first; i < SCALE_N; i++) {
		struct scale_daemon *one = &self->daemons[i];
		unsigned n = scale_count(i, SCALE_FDS);

		*one = (struct scale_daemon){ .scale = self, .n = n - 1, .serial = 1, .observer_fd = -1, .changed = -1 };
		(void)snprintf(one->name, sizeof(one->name), "%u segments", n);
		scale_init(&one->daemon, n);
		daemon_start(bench, &one->daemon);
		bench_pin(bench, one->daemon.pid, bench->server_cpu);
		one->fd = scale_connect(one);
		scale_touch(one);
		if (is_observed)
			one->observer_fd = scale_observe(one);
	}
	scale_note_limit(SCALE_FDS);
}

static void
scale_stop(struct scale *self)
{
	for (unsigned i = self->first; i < SCALE_N; i++) {
		struct scale_daemon *one = &self->daemons[i];

		close_fd(&one->fd);
		close_fd(&one->observer_fd);
		daemon_stop(self->bench, &one->daemon);
		daemon_deinit(&one->daemon);
	}
	bench_pin(self->bench, 0, -1);
}

struct scale_operation {
	void (*run)(void *arg, struct bench_round *round);
	unsigned first;			/* which count is the baseline */
	bool is_observed;
	bool is_bound;
};

static void
scale_measure(struct bench *bench, const struct bench_goal *goal, const struct scale_operation *operation)
{
	static struct scale self;
	struct bench_side sides[SCALE_N];
	unsigned n_sides = 0;

	scale_start(bench, &self, operation->first, operation->is_observed);
	/* As for D1: who observes is where the daemon is, and who dies where it is not. */
	if (operation->is_bound)
		bench_pin(bench, 0, operation->is_observed ? bench->server_cpu : bench->client_cpu);
	for (unsigned i = operation->first; i < SCALE_N; i++)
		sides[n_sides++] = (struct bench_side){
			self.daemons[i].name, operation->run, &self.daemons[i], i > operation->first && i < SCALE_N - 1,
		};
	bench_measure(bench, goal, sides, n_sides);
	scale_stop(&self);
}

void
scale_attach_one(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = attach_run, .is_bound = true });
}

void
scale_detach_one(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = detach_run, .is_bound = true });
}

void
scale_show_one(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = show_run, .is_bound = true });
}

void
scale_list_page(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = list_run, .first = SCALE_MANY, .is_bound = true });
}

void
scale_death_one(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = death_run, .is_observed = true, .is_bound = true });
}

void
scale_reload_whole(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = reload_run, .first = SCALE_MANY });
}

void
scale_reload_change(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = change_run, .first = SCALE_MANY });
}

void
scale_work(struct bench *bench, const struct bench_goal *goal)
{
	scale_measure(bench, goal, &(struct scale_operation){ .run = work_run, .is_bound = true });
}
