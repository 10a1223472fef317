/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * K: the daemon is killed, and started again by a small service manager. Timed from before the signal is sent until an attach of
 * the segment that was declared last has been served by the library. Bare is what no successor can leave out: the same signal to
 * a process that sleeps, its end awaited, and the daemon's executable started and run to its end with nothing to do.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/families.h"
#include "bench/keeper.h"
#include "bench/scale.h"
#include "bench/settings.h"
#include "bench/wire.h"

#define KILLS			5		/* of a round */
#define KILLS_GAP		20
#define GAP_SEGMENTS		1000
#define DEFINITION_TEXT		160

#define LARGE_SEGMENTS		4
#define LARGE_MOST_BYTES	(12 * GIB)
#define LARGE_LEAST_BYTES	GIB
#define LARGE_SPARED_BYTES	(4 * GIB)	/* for everything else on this host */
#define LOCKED_SHARE		0.999		/* of the bytes; by then it is all of them but rounding */
#define LOCKED_TIMEOUT_NS	(60 * NS_PER_SEC)

struct survived {
	struct bench *bench;
	struct keeper keeper;
	struct segment_client *client;		/* connected before the first kill */
	char name[SCALE_NAME_SIZE];		/* the segment that was declared last */
	bool is_new;				/* each attach has a connection of its own */
	uint64_t locked_bytes;			/* that the daemon has locked at rest; 0: none of it is looked at */
	struct samples locked;			/* from the signal until it has them again */
};

/* Bare */

static void
bare_victim(int fd, void *arg)
{
	(void)arg;
	child_say(fd);
	child_sleep();
}

static void
bare_exec(const char *program)
{
	int status, null_fd;
	pid_t pid = fork();

	if (pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (pid == 0) {
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
		(void)dup2(null_fd, STDOUT_FILENO);
		(void)execl(program, "segmentd", "--version", (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) != pid || status != 0)
		bench_fail("%s --version ended with status %d", program, WEXITSTATUS(status));
}

static void
bare_run(void *arg, struct bench_round *round)
{
	const struct survived *self = arg;
	struct child victim;
	uint64_t start_ns;

	for (unsigned i = 0; i < KILLS; i++) {
		child_start(self->bench, -1, -1, bare_victim, NULL, &victim);
		child_await(&victim);
		child_settle();
		(void)fflush(NULL);
		start_ns = clock_monotonic_ns();
		child_end(&victim);
		bare_exec(self->bench->daemon);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
	round->figure = (double)samples_percentile(&round->samples, 0.5) / 1e6;
}

/* The daemon */

static void
survived_attach(const struct survived *self, struct segment_client *client)
{
	struct segment *segment;
	int r = segment_attach(client, self->name, NULL, SEGMENT_WRITE, &segment);

	if (r < 0)
		daemon_fail(&self->keeper.daemon, segment_error());
	if (segment_data(segment) == NULL)
		bench_fail("'%s' was attached without memory", self->name);
	(void)segment_detach(segment);
}

static struct segment_client *
survived_connect(const struct survived *self)
{
	struct segment_client *client;

	if (segment_connect(&client, self->keeper.daemon.socket) < 0)
		daemon_fail(&self->keeper.daemon, segment_error());
	return client;
}

/* A detach is served when another request of its connection is, and falls out of the time. */
static uint64_t
survived_time(const struct survived *self, uint64_t start_ns)
{
	struct segment_client *client = self->is_new ? survived_connect(self) : self->client;
	struct segment *segment;
	uint64_t end_ns;

	if (segment_attach(client, self->name, NULL, SEGMENT_WRITE, &segment) < 0)
		daemon_fail(&self->keeper.daemon, segment_error());
	end_ns = clock_monotonic_ns();
	(void)segment_detach(segment);
	if (self->is_new)
		segment_disconnect(client);
	return end_ns - start_ns;
}

static uint64_t
locked_bytes(pid_t pid)
{
	char path[64], line[256];
	unsigned long long kib = 0;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmLck: %llu kB", &kib) == 1)
			break;
	}
	return kib * 1024;
}

/* Nobody tells when the last of it is locked again. */
static void
survived_await_locked(const struct survived *self)
{
	const struct timespec t = { .tv_nsec = (long)NS_PER_MS };
	uint64_t until_ns = clock_monotonic_ns() + LOCKED_TIMEOUT_NS;

	while ((double)locked_bytes(self->keeper.daemon.pid) < LOCKED_SHARE * (double)self->locked_bytes) {
		if (clock_monotonic_ns() > until_ns)
			daemon_fail(&self->keeper.daemon, "a minute after it was started anew the daemon has not locked its memory");
		(void)nanosleep(&t, NULL);
	}
}

static void
survived_run(void *arg, struct bench_round *round)
{
	struct survived *self = arg;
	uint64_t start_ns;

	for (unsigned i = 0; i < KILLS; i++) {
		start_ns = keeper_restart(self->bench, &self->keeper);
		samples_add(&round->samples, survived_time(self, start_ns));
		keeper_settle(&self->keeper);
		if (!self->locked_bytes)
			continue;
		survived_await_locked(self);
		samples_add(&self->locked, clock_monotonic_ns() - start_ns);
	}
	round->figure = (double)samples_percentile(&round->samples, 0.5) / 1e6;
}

static void
survived_start(struct bench *bench, struct survived *self, const char *segments)
{
	const struct daemon_config config = { .segments = segments };

	self->bench = bench;
	keeper_start(bench, &self->keeper, &config);
	self->client = survived_connect(self);
	survived_attach(self, self->client);
	if (daemon_may_lock())
		self->locked_bytes = locked_bytes(self->keeper.daemon.pid);
}

static void
survived_measure(struct survived *self, const struct bench_goal *goal)
{
	const struct bench_side sides[] = {
		{ "bare: kill, reap, exec to the end", bare_run, self },
		{ self->is_new ? "segmentd, kill to an attach, new connection" : "segmentd, kill to an attach, old connection",
		    survived_run, self },
	};

	bench_measure(self->bench, goal, sides, BASE_ARRAY_SIZE(sides));
	if (self->locked.n > 0)
		bench_note("from the kill until all %llu MiB were locked again: p50 %.1f ms, longest %.1f ms",
		    (unsigned long long)(self->locked_bytes / MIB), (double)samples_percentile(&self->locked, 0.5) / 1e6,
		    (double)samples_percentile(&self->locked, 1.0) / 1e6);
}

static void
survived_stop(struct survived *self)
{
	segment_disconnect(self->client);
	keeper_stop(self->bench, &self->keeper);
	samples_deinit(&self->locked);
}

/* K/10, K/1000, K/8000 */

/* The daemon's first segment is one of them. */
static char *
small_definitions(unsigned n)
{
	const char *lock = daemon_may_lock() ? "true" : "false";
	size_t size = (size_t)n * DEFINITION_TEXT + 1, at = 0;
	char *text = malloc(size), name[SCALE_NAME_SIZE];

	if (!text)
		bench_fail("no memory for %u definitions", n);
	for (unsigned i = 0; i < n - 1; i++) {
		scale_name(name, i);
		at += (size_t)snprintf(text + at, size - at, ",\n  { name = \"%s\"; size = \"4KiB\"; mlock = %s; "
		    "placement = \"prefer\"; }", name, lock);
	}
	return text;
}

static void
survived_small(struct bench *bench, const struct bench_goal *goal, unsigned n, bool is_new)
{
	struct survived self = { .is_new = is_new };
	char *text;

	/* The next box is filled before the one before is let go, and all that lies in boxes counts as its owner's. */
	if (scale_largest(n) < n) {
		bench_skip(bench, goal, "this process may not have twice as many descriptors (ulimit -n)");
		return;
	}
	text = small_definitions(n);
	scale_name(self.name, n - 2);
	survived_start(bench, &self, text);
	free(text);
	survived_measure(&self, goal);
	survived_stop(&self);
}

void
survival_10(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 10, false);
}

void
survival_10_new(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 10, true);
}

void
survival_1000(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 1000, false);
}

void
survival_1000_new(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 1000, true);
}

void
survival_8000(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 8000, false);
}

void
survival_8000_new(struct bench *bench, const struct bench_goal *goal)
{
	survived_small(bench, goal, 8000, true);
}

/* K/locked */

static void
survived_large(struct bench *bench, const struct bench_goal *goal, bool is_new)
{
	uint64_t available_bytes = settings_meminfo_bytes("MemAvailable:"), each_bytes;
	struct survived self = { .is_new = is_new };
	char text[LARGE_SEGMENTS * DEFINITION_TEXT], name[SCALE_NAME_SIZE];
	size_t at = 0;

	if (!daemon_may_lock()) {
		bench_skip(bench, goal, "this process may not lock memory (ulimit -l)");
		return;
	}
	if (available_bytes < LARGE_LEAST_BYTES + LARGE_SPARED_BYTES) {
		bench_skip(bench, goal, "less memory is available than 5 GiB, of which 4 are left alone");
		return;
	}
	each_bytes = min_u64(available_bytes - LARGE_SPARED_BYTES, LARGE_MOST_BYTES) / LARGE_SEGMENTS;
	for (unsigned i = 0; i < LARGE_SEGMENTS; i++) {
		scale_name(name, i);
		at += (size_t)snprintf(text + at, sizeof(text) - at, ",\n  { name = \"%s\"; size = \"%lluMiB\"; mlock = true; "
		    "placement = \"prefer\"; }", name, (unsigned long long)(each_bytes / (2 * MIB) * 2));
	}
	scale_name(self.name, LARGE_SEGMENTS - 1);
	survived_start(bench, &self, text);
	survived_measure(&self, goal);
	survived_stop(&self);
}

void
survival_locked(struct bench *bench, const struct bench_goal *goal)
{
	survived_large(bench, goal, false);
}

void
survival_locked_new(struct bench *bench, const struct bench_goal *goal)
{
	survived_large(bench, goal, true);
}

/* K/gap */

/* Asks without pause on one connection, until it is told to end; says how long the longest answer took. */
static void
asking_run(int fd, void *arg)
{
	const struct survived *self = arg;
	struct protocol_segment row;
	int daemon_fd = wire_connect(self->keeper.daemon.socket);
	uint64_t serial = 1, longest_ns = 0, start_ns;
	char byte;

	wire_hello(daemon_fd);
	wire_welcome(daemon_fd);
	child_say(fd);
	while (recv(fd, &byte, 1, MSG_DONTWAIT) < 0) {
		start_ns = clock_monotonic_ns();
		wire_show(daemon_fd, ++serial, self->name, &row);
		longest_ns = max_u64(longest_ns, clock_monotonic_ns() - start_ns);
	}
	(void)send(fd, &longest_ns, sizeof(longest_ns), MSG_NOSIGNAL);
	child_sleep();
}

static void
gap_run(void *arg, struct bench_round *round)
{
	struct survived *self = arg;
	struct child child;
	uint64_t longest_ns;

	child_start(self->bench, -1, -1, asking_run, self, &child);
	bench_own(self->bench, child.pid);
	child_await(&child);
	for (unsigned i = 0; i < KILLS_GAP; i++) {
		(void)keeper_restart(self->bench, &self->keeper);
		keeper_settle(&self->keeper);
	}
	child_tell(&child);
	if (recv(child.fd, &longest_ns, sizeof(longest_ns), 0) != sizeof(longest_ns))
		bench_fail("who asked without pause lost its connection");
	bench_disown(self->bench, child.pid);
	child_end(&child);
	round->figure = (double)longest_ns / 1e6;
}

void
survival_gap(struct bench *bench, const struct bench_goal *goal)
{
	struct survived self = { .is_new = false };
	const struct bench_side sides[] = {
		{ "bare: kill, reap, exec to the end", bare_run, &self },
		{ "segmentd, longest answer of 20 restarts", gap_run, &self },
	};
	char *text = small_definitions(GAP_SEGMENTS);

	scale_name(self.name, GAP_SEGMENTS - 2);
	survived_start(bench, &self, text);
	free(text);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	survived_stop(&self);
}
