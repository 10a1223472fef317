/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * P1 to P5 of one kind of memory each, beside what a bare program does for the same pages. Timed of the daemon: from
 * fork to READY=1, with judging, creating, reserving, populating in its workers, locking, and asking the kernel whether the
 * pages and their size are there; of a bare program: from making the object until its last page is there.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/kinds.h"
#include "bench/populate.h"
#include "bench/settings.h"
#include "client/segment.h"

#define SEGMENTS_MANY	64
#define GONE_NS		(60 * NS_PER_SEC)
#define GONE_SLACK	(32 * MIB)
#define ROUDI_CHUNK	MIB		/* of its one pool */
#define ROUDI_READY	"RouDi is ready for clients"

/* One side: the kind, and how. */
struct made {
	struct bench *bench;
	const struct kind *kind;
	const struct populate_method *method;
	unsigned n_threads;
	unsigned n_segments;
	char directory[64];
	struct daemon daemon;
};

static double
rate(const struct bench *bench, uint64_t ns)
{
	return (double)bench->provision_bytes / (double)GIB / ((double)ns / 1e9);
}

static void
prime(const struct made *made)
{
	if (!made->kind->is_pooled)		/* its pool is ours already */
		populate_prime(made->bench, made->bench->provision_bytes, made->kind->primes_huge);
}

static void
bare_run(void *arg, struct bench_round *round)
{
	struct made *made = arg;
	struct kind_memory memory;
	uint64_t start_ns;
	char *at;
	int r;

	prime(made);
	start_ns = clock_monotonic_ns();
	r = kind_make(made->kind, made->directory, made->bench->provision_bytes, &memory);
	if (r)
		bench_fail("%s cannot be made: %s", made->kind->name, strerror(-r));
	at = kind_map(&memory, false);
	if (!at)
		bench_fail("%s cannot be mapped: %s", made->kind->name, strerror(errno));
	r = populate_run(made->bench, made->method, made->n_threads, at, made->bench->provision_bytes);
	if (r)
		bench_fail("%s of %s: %s", populate_name(made->method), made->kind->name, strerror(r));
	round->figure = rate(made->bench, clock_monotonic_ns() - start_ns);
	kind_unmap(&memory, at);
	kind_remove(&memory);
}

/* Nobody tells us when the last page is given back. */
static void
await_gone(uint64_t before_bytes)
{
	uint64_t until_ns = clock_monotonic_ns() + GONE_NS;
	struct timespec t = { .tv_nsec = (long)NS_PER_MS };

	while (settings_meminfo_bytes("Shmem:") > before_bytes + GONE_SLACK) {
		if (clock_monotonic_ns() > until_ns)
			bench_fail("the daemon did not give its memory back within a minute of its end");
		(void)nanosleep(&t, NULL);
	}
}

static void
daemon_run(void *arg, struct bench_round *round)
{
	struct made *made = arg;
	uint64_t before_bytes = settings_meminfo_bytes("Shmem:");
	unsigned i;

	prime(made);
	daemon_start(made->bench, &made->daemon);
	round->figure = rate(made->bench, made->daemon.boot_ns);
	daemon_stop(made->bench, &made->daemon);
	await_gone(before_bytes);
	for (i = 0; i < made->n_segments; i++)
		kind_remove_kept(made->kind, made->daemon.directory, i);
}

/* The configuration of a daemon with so many segments, of a size in all. */
static void
made_configure(struct made *made, const char *keys)
{
	static char text[65536];
	const struct daemon_config none = { .segments = NULL };
	struct daemon_config config = { .keys = keys, .segments = text };
	char own[256];
	size_t at = 0;
	unsigned i;

	daemon_init(&made->daemon, &none);
	text[0] = '\0';
	for (i = 0; i < made->n_segments; i++) {
		kind_define(made->kind, made->daemon.directory, i, own, sizeof(own));
		at += (size_t)snprintf(text + at, sizeof(text) - at, ",\n  { name = \"kind-%u\"; size = \"%" PRIu64 "KiB\"; "
		    "prefault = true; mlock = true; required = true; %s }", i,
		    made->bench->provision_bytes / made->n_segments / KIB, own);
	}
	daemon_configure(&made->daemon, &config);
}

/* Whether so much can be had of the kind; the host is set for it first, if that is allowed. */
static bool
kind_is_here(struct bench *bench, const struct bench_goal *goal)
{
	const struct kind *kind = goal->arg;
	const char *why_not;
	char pages[32];

	if (bench->host_settings && kind->is_pooled && kind->page_bytes == 2 * MIB) {
		(void)snprintf(pages, sizeof(pages), "%" PRIu64, bench->provision_bytes / (2 * MIB));
		(void)settings_change(SETTINGS_POOL, pages);
	}
	why_not = kind_why_not(kind, bench->provision_bytes);
	if (why_not)
		bench_skip(bench, goal, why_not);
	return !why_not;
}

static bool
method_is_here(const struct populate_method *method)
{
	return method && (method != &populate_advised || populate_possible(method, 2 * MIB));
}

void
kinds_provision(struct bench *bench, const struct bench_goal *goal)
{
	const struct kind *kind = goal->arg;
	struct made bare[2], one_thread, one_worker, all;
	struct bench_side sides[BENCH_SIDES_MAX];
	unsigned n = 0, i;

	if (!kind_is_here(bench, goal)) {
		settings_restore();
		return;
	}
	one_thread = (struct made){ .bench = bench, .kind = kind, .n_threads = 1, .n_segments = 1 };
	bench_make_directory(one_thread.directory, sizeof(one_thread.directory));
	one_worker = all = one_thread;
	for (i = 0; i < BASE_ARRAY_SIZE(bare); i++) {
		bare[i] = one_thread;
		bare[i].method = kind->methods[i];
		bare[i].n_threads = 2;
		if (method_is_here(kind->methods[i]))
			sides[n++] = (struct bench_side){ populate_name(bare[i].method), bare_run, &bare[i] };
	}
	one_thread.method = kind->methods[0];
	made_configure(&one_worker, "workers = 1;");
	made_configure(&all, "");
	sides[n++] = (struct bench_side){ "the first, 1 thread", bare_run, &one_thread, .is_beside = true };
	sides[n++] = (struct bench_side){ "segmentd, 1 worker", daemon_run, &one_worker, .is_beside = true };
	sides[n++] = (struct bench_side){ "segmentd, boot with one segment", daemon_run, &all };
	bench_measure(bench, goal, sides, n);
	daemon_deinit(&one_worker.daemon);
	daemon_deinit(&all.daemon);
	bench_remove_directory(one_thread.directory);
	settings_restore();
}

/* Boot with one segment of the kind beside base pages of its backend, made resident by a bare program. */
static void
measure_against(struct bench *bench, const struct bench_goal *goal, const struct populate_method *method, unsigned n_threads)
{
	struct made bare = { .bench = bench, .kind = kind_of_base_pages(goal->arg), .n_threads = n_threads, .n_segments = 1 };
	struct made all = { .bench = bench, .kind = goal->arg, .n_segments = 1 };
	const struct bench_side sides[] = {
		{ populate_name(method), bare_run, &bare },
		{ "segmentd, boot with one segment", daemon_run, &all },
	};

	if (kind_is_here(bench, goal)) {
		bare.method = method;
		bench_make_directory(bare.directory, sizeof(bare.directory));
		made_configure(&all, "");
		bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
		daemon_deinit(&all.daemon);
		bench_remove_directory(bare.directory);
	}
	settings_restore();
}

void
kinds_base_pages(struct bench *bench, const struct bench_goal *goal)
{
	const struct kind *kind = goal->arg;

	if (kind == kind_of_base_pages(kind))
		bench_skip(bench, goal, "base pages themselves, which P1 compares");
	else
		measure_against(bench, goal, &populate_base, 2);
}

void
kinds_touch(struct bench *bench, const struct bench_goal *goal)
{
	measure_against(bench, goal, &populate_touch, 1);
}

void
kinds_boot(struct bench *bench, const struct bench_goal *goal)
{
	struct made one = { .bench = bench, .kind = goal->arg, .n_segments = 1 }, many = one;
	const struct bench_side sides[] = {
		{ "segmentd, boot with one segment", daemon_run, &one },
		{ "segmentd, boot with 64 of a 64th each", daemon_run, &many },
	};

	many.n_segments = SEGMENTS_MANY;
	if (one.kind->page_bytes > bench->provision_bytes / SEGMENTS_MANY) {
		bench_skip(bench, goal, "a 64th of the size is less than one of its pages");
	} else if (kind_is_here(bench, goal)) {
		made_configure(&one, "");
		made_configure(&many, "");
		bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
		daemon_deinit(&one.daemon);
		daemon_deinit(&many.daemon);
	}
	settings_restore();
}

/* P5: from attaching to the first store to every page. */

struct written {
	struct bench *bench;
	const struct kind *kind;
	struct segment_client *client;
	struct kind_memory memory;	/* the daemon's own */
	bool populate;
};

static void
write_pages(char *at, const struct written *written)
{
	uint64_t i;

	for (i = 0; i < written->bench->provision_bytes; i += written->kind->page_bytes)
		((volatile char *)at)[i] = 1;
}

static void
raw_written(void *arg, struct bench_round *round)
{
	struct written *written = arg;
	uint64_t start_ns = clock_monotonic_ns();
	char *at = kind_map(&written->memory, written->populate);

	if (!at)
		bench_fail("%s cannot be mapped: %s", written->kind->name, strerror(errno));
	write_pages(at, written);
	round->figure = (double)(clock_monotonic_ns() - start_ns) / 1e3;
	kind_unmap(&written->memory, at);
}

static void
attached_written(void *arg, struct bench_round *round)
{
	struct written *written = arg;
	uint64_t start_ns = clock_monotonic_ns();
	struct segment *segment;
	int r = segment_attach(written->client, "kind-0", NULL, SEGMENT_WRITE | SEGMENT_POPULATE, &segment);

	if (r < 0)
		bench_fail("segment_attach: %s (%s)", strerror(-r), segment_error());
	write_pages(segment_data(segment), written);
	round->figure = (double)(clock_monotonic_ns() - start_ns) / 1e3;
	(void)segment_detach(segment);
}

static void
kinds_write_measured(struct bench *bench, const struct bench_goal *goal, const struct made *made)
{
	struct written raw = { .bench = bench, .kind = made->kind, .populate = true }, faulting, attached;
	const struct bench_side sides[] = {
		{ "map with MAP_POPULATE, store to each page", raw_written, &raw },
		{ "map, store to each page", raw_written, &faulting, .is_beside = true },
		{ "segment_attach, store to each page", attached_written, &attached },
	};
	struct segment *held;
	int r = segment_connect(&raw.client, made->daemon.socket);

	if (r == 0)
		r = segment_attach(raw.client, "kind-0", NULL, SEGMENT_WRITE, &held);
	if (r < 0)
		bench_fail("segment_attach: %s (%s)", strerror(-r), segment_error());
	r = kind_find(made->kind, 0, segment_fd(held), bench->provision_bytes, &raw.memory);
	if (r)
		bench_fail("the daemon's %s cannot be found: %s", made->kind->name, strerror(-r));
	faulting = attached = raw;
	faulting.populate = false;
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	(void)segment_detach(held);
	segment_disconnect(raw.client);
}

void
kinds_write(struct bench *bench, const struct bench_goal *goal)
{
	struct made made = { .bench = bench, .kind = goal->arg, .n_segments = 1 };

	if (kind_is_here(bench, goal)) {
		made_configure(&made, "");
		daemon_start(bench, &made.daemon);
		kinds_write_measured(bench, goal, &made);
		daemon_stop(bench, &made.daemon);
		kind_remove_kept(made.kind, made.daemon.directory, 0);
		daemon_deinit(&made.daemon);
	}
	settings_restore();
}

/* Beside another daemon that keeps shared memory: the same bytes, from fork until it says that it is ready. */

struct roudi {
	struct bench *bench;
	char directory[64];
	char config[96];
};

static void
roudi_child(const struct roudi *roudi, int out)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGINT, SIG_DFL);
	(void)signal(SIGTERM, SIG_DFL);
	(void)dup2(out, STDOUT_FILENO);
	(void)dup2(out, STDERR_FILENO);
	(void)execlp("iox-roudi", "iox-roudi", "-c", roudi->config, "-m", "off", (char *)NULL);
	_exit(127);
}

/* Reads what it says until it is ready, at most a minute. */
static void
roudi_await(int in)
{
	struct pollfd pollfd = { .fd = in, .events = POLLIN };
	char text[65536];
	size_t at = 0;
	ssize_t n;

	while (at < sizeof(text) - 1 && poll(&pollfd, 1, 60000) == 1) {
		n = read(in, text + at, sizeof(text) - 1 - at);
		if (n <= 0)
			break;
		at += (size_t)n;
		text[at] = '\0';
		if (strstr(text, ROUDI_READY))
			return;
	}
	text[at] = '\0';
	bench_fail("iox-roudi did not get ready: %s", text);
}

static void
roudi_run(void *arg, struct bench_round *round)
{
	struct roudi *roudi = arg;
	uint64_t before_bytes = settings_meminfo_bytes("Shmem:"), start_ns;
	int out[2], status;
	pid_t pid;

	populate_prime(roudi->bench, roudi->bench->provision_bytes, false);
	(void)fflush(NULL);
	if (pipe2(out, O_CLOEXEC) != 0)
		bench_fail("pipe2: %s", strerror(errno));
	start_ns = clock_monotonic_ns();
	pid = fork();
	if (pid < 0)
		bench_fail("fork: %s", strerror(errno));
	if (pid == 0)
		roudi_child(roudi, out[1]);
	bench_own(roudi->bench, pid);
	close_fd(&out[1]);
	roudi_await(out[0]);
	round->figure = rate(roudi->bench, clock_monotonic_ns() - start_ns);
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, &status, 0);
	bench_disown(roudi->bench, pid);
	close_fd(&out[0]);
	await_gone(before_bytes);
}

static bool
roudi_is_here(void)
{
	const char *path = getenv("PATH");
	char directories[4096], file[4096 + 16], *directory, *rest = NULL;

	(void)snprintf(directories, sizeof(directories), "%s", path ? path : "");
	for (directory = strtok_r(directories, ":", &rest); directory; directory = strtok_r(NULL, ":", &rest)) {
		(void)snprintf(file, sizeof(file), "%s/iox-roudi", directory);
		if (access(file, X_OK) == 0)
			return true;
	}
	return false;
}

static void
roudi_configure(struct roudi *roudi)
{
	FILE *f;

	bench_make_directory(roudi->directory, sizeof(roudi->directory));
	(void)snprintf(roudi->config, sizeof(roudi->config), "%s/roudi.toml", roudi->directory);
	f = fopen(roudi->config, "we");
	if (!f)
		bench_fail("%s: %s", roudi->config, strerror(errno));
	(void)fprintf(f, "[general]\nversion = 1\n\n[[segment]]\n\n[[segment.mempool]]\nsize = %" PRIu64 "\ncount = %" PRIu64 "\n",
	    (uint64_t)ROUDI_CHUNK, roudi->bench->provision_bytes / ROUDI_CHUNK);
	if (fclose(f) != 0)
		bench_fail("%s: %s", roudi->config, strerror(errno));
}

void
kinds_roudi(struct bench *bench, const struct bench_goal *goal)
{
	static const struct kind *const kind = &kinds[0];
	struct roudi roudi = { .bench = bench };
	struct made transparent = { .bench = bench, .kind = &kinds[1], .n_segments = 1 }, made = transparent;
	const struct bench_side sides[] = {
		{ "iox-roudi, one pool of 1 MiB chunks", roudi_run, &roudi },
		{ "segmentd, base pages", daemon_run, &made, .is_beside = true },
		{ "segmentd, transparent huge pages", daemon_run, &transparent },
	};
	const char *why_not = roudi_is_here() ? kind_why_not(kind, bench->provision_bytes) :
	    "iox-roudi is not installed; Debian has it in the package iceoryx";

	if (why_not) {
		bench_skip(bench, goal, why_not);
		return;
	}
	made.kind = kind;
	roudi_configure(&roudi);
	made_configure(&transparent, "");
	made_configure(&made, "");
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	daemon_deinit(&transparent.daemon);
	daemon_deinit(&made.daemon);
	bench_remove_directory(roudi.directory);
}
