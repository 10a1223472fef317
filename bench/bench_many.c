/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What many segments cost the daemon: memory (S1), time at the start (S2), and time in its answers to others (S4). */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/families.h"
#include "bench/report.h"
#include "bench/scale.h"
#include "bench/wire.h"

#define SEGMENT_BYTES		4096
#define IDLE_CLIENTS		1000
#define IDLE_FDS		(2 * (IDLE_CLIENTS + 8))	/* connections and pidfds, in the daemon */
#define ANSWER_TIMES		10000

/* S1 */

static uint64_t
rss_bytes(pid_t pid)
{
	uint64_t size, resident = 0;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/statm", (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	if (!f || fscanf(f, "%" SCNu64 " %" SCNu64, &size, &resident) != 2)
		bench_fail("%s cannot be read", path);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Connects and greets: what the daemon had to tidy up after its start is done when it answers. */
static int
many_connect(const struct daemon *daemon)
{
	int fd = wire_connect(daemon->socket);

	wire_hello(fd);
	wire_welcome(fd);
	return fd;
}

/* RSS of a daemon with n segments that is ready. */
static uint64_t
memory_of(struct bench *bench, unsigned n)
{
	struct daemon daemon;
	uint64_t bytes;
	int fd;

	scale_init(&daemon, n);
	daemon_start(bench, &daemon);
	fd = many_connect(&daemon);
	bytes = rss_bytes(daemon.pid);
	(void)close(fd);
	daemon_stop(bench, &daemon);
	daemon_deinit(&daemon);
	return bytes;
}

void
many_memory(struct bench *bench, const struct bench_goal *goal)
{
	uint64_t bytes[SCALE_N];
	unsigned i, n;

	for (i = 0; i < SCALE_N; i++)
		bytes[i] = memory_of(bench, scale_count(i, 0));
	n = scale_largest(0) - scale_count(0, 0);
	report_figure(bench, goal, "bytes of RSS for each segment more:", (double)(bytes[SCALE_N - 1] - bytes[0]) / n,
	    goal->must, goal->stretch);
	for (i = 0; i < SCALE_N; i++)
		bench_note("%u segments: %" PRIu64 " KiB", scale_count(i, 0), bytes[i] / KIB);
	scale_note_limit(0);
}

/* S2 */

struct creation {
	struct bench *bench;
	unsigned n;
	struct daemon one, many;
	int *fds;
	double without_us;		/* of one segment, less what reading the same file takes `segmentd --check` */
};

static int
bare_create(unsigned i)
{
	char name[SCALE_NAME_SIZE];
	int fd;

	scale_name(name, i);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, SEGMENT_BYTES) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		bench_fail("memfd %u cannot be made: %s", i, strerror(errno));
	return fd;
}

static void
bare_creation_run(void *arg, struct bench_round *round)
{
	struct creation *self = arg;
	uint64_t start_ns = clock_monotonic_ns();

	for (unsigned i = 0; i < self->n; i++)
		self->fds[i] = bare_create(i);
	round->figure = (double)(clock_monotonic_ns() - start_ns) / self->n / 1000.0;
	for (unsigned i = 0; i < self->n; i++)
		(void)close(self->fds[i]);
}

static void
boot(struct bench *bench, struct daemon *daemon, double *ret_read_us, double *ret_boot_us)
{
	*ret_read_us = (double)daemon_check(bench, daemon) / 1000.0;
	daemon_start(bench, daemon);
	*ret_boot_us = (double)daemon->boot_ns / 1000.0;
	daemon_stop(bench, daemon);
}

static void
read_creation_run(void *arg, struct bench_round *round)
{
	struct creation *self = arg;
	double one_read_us, one_us, read_us, us;

	boot(self->bench, &self->one, &one_read_us, &one_us);
	boot(self->bench, &self->many, &read_us, &us);
	round->figure = (us - one_us) / (self->n - 1);
	self->without_us = (us - read_us - (one_us - one_read_us)) / (self->n - 1);
}

static void
creation_run(void *arg, struct bench_round *round)
{
	const struct creation *self = arg;

	round->figure = self->without_us;
}

void
many_created(struct bench *bench, const struct bench_goal *goal)
{
	struct creation self = { .bench = bench, .n = scale_largest(0) };
	const struct bench_side sides[] = {
		{ "memfd_create, ftruncate, seals", bare_creation_run, &self },
		{ "segmentd, reading the file included: no baseline", read_creation_run, &self, true },
		{ "segmentd, start to READY=1 less reading", creation_run, &self },
	};

	self.fds = calloc(self.n, sizeof(self.fds[0]));
	if (!self.fds)
		bench_fail("no memory for %u descriptors", self.n);
	scale_init(&self.one, 1);
	scale_init(&self.many, self.n);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	scale_note_limit(0);
	daemon_deinit(&self.one);
	daemon_deinit(&self.many);
	free(self.fds);
}

/* N/start */

struct start {
	struct bench *bench;
	unsigned n;
	char name[32];
	struct daemon daemon;
};

static void
start_run(void *arg, struct bench_round *round)
{
	struct start *self = arg;

	daemon_start(self->bench, &self->daemon);
	round->figure = (double)self->daemon.boot_ns / 1000.0 / self->n;
	daemon_stop(self->bench, &self->daemon);
}

void
many_started(struct bench *bench, const struct bench_goal *goal)
{
	struct start starts[SCALE_N];
	struct bench_side sides[SCALE_N];
	unsigned n_sides = 0;

	for (unsigned i = SCALE_MANY; i < SCALE_N; i++) {
		struct start *start = &starts[n_sides];

		*start = (struct start){ .bench = bench, .n = scale_count(i, 0) };
		scale_init(&start->daemon, start->n);
		(void)snprintf(start->name, sizeof(start->name), "%u segments", start->n);
		sides[n_sides++] = (struct bench_side){ start->name, start_run, start, i > SCALE_MANY && i < SCALE_N - 1 };
	}
	bench_measure(bench, goal, sides, n_sides);
	scale_note_limit(0);
	for (unsigned i = 0; i < n_sides; i++)
		daemon_deinit(&starts[i].daemon);
}

/* S4 */

struct answers {
	struct bench *bench;
	struct daemon daemon;
	int fd;
	uint64_t serial;
	struct protocol_attach attach;
};

static void
answers_run(void *arg, struct bench_round *round)
{
	struct answers *self = arg;
	uint64_t start_ns;

	for (unsigned i = 0; i < ANSWER_TIMES; i++) {
		start_ns = clock_monotonic_ns();
		wire_send(self->fd, &self->attach.header, ++self->serial);
		(void)close(wire_attached(self->fd));
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
	round->figure = (double)samples_percentile(&round->samples, 0.99) / 1000.0;
}

static void
answers_start(struct bench *bench, struct answers *self, unsigned n)
{
	*self = (struct answers){ .bench = bench, .serial = 1 };
	wire_attach_init(&self->attach, DAEMON_SEGMENT);
	scale_init(&self->daemon, n);
	daemon_start(bench, &self->daemon);
	bench_pin(bench, self->daemon.pid, bench->server_cpu);
	self->fd = many_connect(&self->daemon);
}

static void
answers_stop(struct answers *self)
{
	(void)close(self->fd);
	daemon_stop(self->bench, &self->daemon);
	daemon_deinit(&self->daemon);
}

void
many_answered(struct bench *bench, const struct bench_goal *goal)
{
	struct answers one, many;
	int idle[IDLE_CLIENTS];
	const struct bench_side sides[] = {
		{ "1 segment, 1 client", answers_run, &one },
		{ "all segments, 1000 idle clients", answers_run, &many },
	};

	answers_start(bench, &one, 1);
	answers_start(bench, &many, scale_largest(IDLE_FDS));
	for (unsigned i = 0; i < IDLE_CLIENTS; i++)
		idle[i] = many_connect(&many.daemon);
	bench_pin(bench, 0, bench->client_cpu);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	scale_note_limit(IDLE_FDS);
	for (unsigned i = 0; i < IDLE_CLIENTS; i++)
		(void)close(idle[i]);
	answers_stop(&many);
	answers_stop(&one);
	bench_pin(bench, 0, -1);
}
