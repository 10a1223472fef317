/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * H1 to H4: what one hand-out costs one client that asks again and again. The baseline is a server that does nothing but
 * pass a descriptor; who asks and who answers are bound to one CPU each, or, for H4, both to the same.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/baseline.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/wire.h"
#include "client/segment.h"

#define HANDOUT_TIMES		20000		/* requests of one side in one round: some tenths of a second */
#define HANDOUT_WARM_UP		200
#define HANDOUT_SEGMENT_BYTES	MIB

/* Both sides of a hand-out goal. */
struct handout {
	struct baseline baseline;
	struct baseline marked;		/* H1, H4 */
	struct daemon daemon;
	bool cpu_time;			/* the figure is the server's CPU time, and not the client's wait */
	int fd;				/* the daemon's connection */
	uint64_t serial;
	struct protocol_attach attach;
	struct segment_client *client;
	uint64_t attach_ns;		/* of segment_attach alone, summed over handout_n */
	uint64_t n_attaches;
};

static void
handout_start_with(struct bench *bench, struct handout *handout, enum baseline_kind kind, int server_cpu, const char *segments)
{
	struct daemon_config config = { .segments = segments };

	handout->fd = -1;
	wire_attach_init(&handout->attach, DAEMON_SEGMENT);
	baseline_start(bench, kind, server_cpu, HANDOUT_SEGMENT_BYTES, &handout->baseline);
	daemon_init(&handout->daemon, &config);
	daemon_start(bench, &handout->daemon);
	bench_pin(bench, handout->daemon.pid, server_cpu);
	bench_pin(bench, 0, bench->client_cpu);
}

static void
handout_start(struct bench *bench, struct handout *handout, enum baseline_kind kind, int server_cpu)
{
	handout_start_with(bench, handout, kind, server_cpu, NULL);
}

static void
handout_stop(struct bench *bench, struct handout *handout)
{
	close_fd(&handout->fd);
	daemon_stop(bench, &handout->daemon);
	daemon_deinit(&handout->daemon);
	baseline_stop(bench, &handout->baseline);
	bench_pin(bench, 0, -1);
}

static void
handout_connect(struct handout *handout)
{
	handout->fd = wire_connect(handout->daemon.socket);
	wire_hello(handout->fd);
	wire_welcome(handout->fd);
	handout->serial = 1;
}

/* Times once() until there are enough samples, or how much CPU time pid took for them. */
static void
handout_time(struct handout *handout, void (*once)(struct handout *handout), pid_t pid, struct bench_round *round)
{
	uint64_t before_ns = 0, start_ns, i;

	for (i = 0; i < HANDOUT_WARM_UP; i++)
		once(handout);
	if (handout->cpu_time)
		before_ns = bench_process_cpu_ns(pid, NULL);
	for (i = 0; i < HANDOUT_TIMES; i++) {
		start_ns = clock_monotonic_ns();
		once(handout);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
	if (handout->cpu_time)
		round->figure = (double)(bench_process_cpu_ns(pid, NULL) - before_ns) / HANDOUT_TIMES / 1000.0;
}

/* H1, H4: an open connection; from the request to the closed descriptor. */

static void
raw_open_once(struct handout *handout)
{
	baseline_ask(handout->baseline.fd);
	(void)close(baseline_receive(handout->baseline.fd));
}

static void
raw_open(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, raw_open_once, handout->baseline.pid, round);
}

static void
marked_open_once(struct handout *handout)
{
	baseline_ask(handout->marked.fd);
	(void)close(baseline_receive(handout->marked.fd));
}

static void
marked_open(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, marked_open_once, handout->marked.pid, round);
}

static void
daemon_open_once(struct handout *handout)
{
	wire_send(handout->fd, &handout->attach.header, ++handout->serial);
	(void)close(wire_attached(handout->fd));
}

static void
daemon_open(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, daemon_open_once, handout->daemon.pid, round);
}

static void
handout_measure_open(struct bench *bench, const struct bench_goal *goal, int server_cpu, bool cpu_time)
{
	struct handout handout = { .cpu_time = cpu_time };
	const struct bench_side sides[] = {
		{ "raw SCM_RIGHTS round trip", raw_open, &handout },
		{ "bare marks: no baseline, but the floor", marked_open, &handout },
		{ "segmentd", daemon_open, &handout },
	};

	handout_start(bench, &handout, BASELINE_PAIR, server_cpu);
	baseline_start(bench, BASELINE_MARKED, server_cpu, HANDOUT_SEGMENT_BYTES, &handout.marked);
	handout_connect(&handout);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	baseline_stop(bench, &handout.marked);
	handout_stop(bench, &handout);
}

void
handout_open(struct bench *bench, const struct bench_goal *goal)
{
	handout_measure_open(bench, goal, bench->server_cpu, false);
}

void
handout_same_core(struct bench *bench, const struct bench_goal *goal)
{
	handout_measure_open(bench, goal, bench->client_cpu, false);
}

void
handout_cpu(struct bench *bench, const struct bench_goal *goal)
{
	handout_measure_open(bench, goal, bench->client_cpu, true);
}

/* H2: the library's two calls against what they stand for. Beside it: many segments, one by one and at once. */

#define MANY_N		64
#define MANY_TIMES	500

static void
many_describe(char *text, size_t size)
{
	size_t len = 0;

	for (unsigned i = 0; i < MANY_N; i++)
		len += (size_t)snprintf(text + len, size - len, ", { name = \"many%u\"; size = \"4KiB\"; mlock = false; }", i);
}

static void
many_check(int r)
{
	if (r < 0)
		bench_fail("attaching many segments: %s (%s)", strerror(-r), segment_error());
}

/* How long it takes to attach all, on average. */
static double
many_attach_us(struct segment_client *client, bool at_once)
{
	struct segment_request requests[MANY_N];
	char names[MANY_N][16];
	uint64_t start_ns, ns = 0;

	for (unsigned i = 0; i < MANY_N; i++) {
		(void)snprintf(names[i], sizeof(names[i]), "many%u", i);
		requests[i] = (struct segment_request){ .name = names[i], .flags = SEGMENT_WRITE };
	}
	for (unsigned times = 0; times < MANY_TIMES; times++) {
		start_ns = clock_monotonic_ns();
		if (at_once)
			many_check(segment_attach_many(client, requests, MANY_N));
		else
			for (unsigned i = 0; i < MANY_N; i++)
				many_check(segment_attach(client, names[i], NULL, SEGMENT_WRITE, &requests[i].segment));
		ns += clock_monotonic_ns() - start_ns;
		for (unsigned i = 0; i < MANY_N; i++)
			(void)segment_detach(requests[i].segment);
	}
	return (double)ns / MANY_TIMES / 1000.0;
}

static void
raw_mapped_once(struct handout *handout)
{
	void *data;
	int fd;

	baseline_ask(handout->baseline.fd);
	fd = baseline_receive(handout->baseline.fd);
	data = mmap(NULL, HANDOUT_SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED)
		bench_fail("the baseline's segment cannot be mapped: %s", strerror(errno));
	(void)munmap(data, HANDOUT_SEGMENT_BYTES);
	(void)close(fd);
}

static void
raw_mapped(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, raw_mapped_once, handout->baseline.pid, round);
}

static void
daemon_mapped_once(struct handout *handout)
{
	uint64_t start_ns = clock_monotonic_ns();
	struct segment *segment;
	int r;

	r = segment_attach(handout->client, DAEMON_SEGMENT, NULL, SEGMENT_WRITE, &segment);
	if (r < 0)
		bench_fail("segment_attach: %s (%s)", strerror(-r), segment_error());
	handout->attach_ns += clock_monotonic_ns() - start_ns;
	handout->n_attaches++;
	(void)segment_detach(segment);
}

static void
daemon_mapped(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, daemon_mapped_once, handout->daemon.pid, round);
}

void
handout_mapped(struct bench *bench, const struct bench_goal *goal)
{
	struct handout handout = { 0 };
	const struct bench_side sides[] = {
		{ "raw request, mmap, munmap, close", raw_mapped, &handout },
		{ "segment_attach, segment_detach", daemon_mapped, &handout },
	};
	char many[MANY_N * 64];
	double one_by_one_us;
	int r;

	many_describe(many, sizeof(many));
	handout_start_with(bench, &handout, BASELINE_PAIR, bench->server_cpu, many);
	r = segment_connect(&handout.client, handout.daemon.socket);
	if (r < 0)
		bench_fail("segment_connect: %s (%s)", strerror(-r), segment_error());
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench_note("of it segment_attach alone, on average: %.2f us",
	    (double)handout.attach_ns / (double)handout.n_attaches / 1000.0);
	one_by_one_us = many_attach_us(handout.client, false);
	bench_note("%d segments attached one by one: %.0f us; in one message: %.0f us", MANY_N, one_by_one_us,
	    many_attach_us(handout.client, true));
	segment_disconnect(handout.client);
	handout_stop(bench, &handout);
}

/* H3: a connection for one request. HELLO is not waited for: the library does not, either. */

static void
raw_cold_once(struct handout *handout)
{
	int fd = baseline_connect(&handout->baseline);

	baseline_ask(fd);
	(void)close(baseline_receive(fd));
	(void)close(fd);
}

static void
raw_cold(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, raw_cold_once, handout->baseline.pid, round);
}

static void
daemon_cold_once(struct handout *handout)
{
	int fd = wire_connect(handout->daemon.socket);

	wire_hello(fd);
	wire_send(fd, &handout->attach.header, 2);
	wire_welcome(fd);
	(void)close(wire_attached(fd));
	(void)close(fd);
}

static void
daemon_cold(void *arg, struct bench_round *round)
{
	struct handout *handout = arg;

	handout_time(handout, daemon_cold_once, handout->daemon.pid, round);
}

void
handout_cold(struct bench *bench, const struct bench_goal *goal)
{
	struct handout handout = { 0 };
	const struct bench_side sides[] = {
		{ "raw connect, identity, pidfd, request, close", raw_cold, &handout },
		{ "segmentd", daemon_cold, &handout },
	};

	handout_start(bench, &handout, BASELINE_COLD, bench->server_cpu);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	handout_stop(bench, &handout);
}
