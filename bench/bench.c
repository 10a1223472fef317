/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Paired rounds. The sides take turns within a round, so that whatever changes slowly (clock rates, neighbours) meets all
 * of them alike; medians of the rounds are compared; a round that others disturbed is thrown away and done again. The
 * first round of each run warms caches and the host's pages up, and is never counted.
 */
#include "config.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/gate.h"
#include "bench/report.h"

#define BENCH_TRIES		4	/* times the rounds that are wanted, before a run is called noisy */
#define BENCH_CALM_NS		(200 * NS_PER_MS)
#define BENCH_CALM_TIMES	25	/* five seconds */

void
bench_fail(const char *format, ...)
{
	va_list args;

	(void)fflush(stdout);
	(void)fputs("bench: ", stderr);
	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(EXIT_FAILURE);
}

#define DIRECTORIES_MAX	(2 * BENCH_OWN_MAX)	/* of a daemon two */

static char directories[DIRECTORIES_MAX][64];

/* Few levels: ours, and what the daemon makes in it. */
static void
remove_tree(const char *path)
{
	struct dirent *entry;
	char below[512];
	DIR *dir;

	if (unlink(path) == 0 || rmdir(path) == 0)
		return;
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		(void)snprintf(below, sizeof(below), "%s/%s", path, entry->d_name);
		remove_tree(below);
	}
	if (dir)
		(void)closedir(dir);
	(void)rmdir(path);
}

static void
remove_directories(void)
{
	unsigned i;

	for (i = 0; i < DIRECTORIES_MAX; i++) {
		if (directories[i][0])
			remove_tree(directories[i]);
	}
}

static void
make_directory_in(const char *parent, char *path, size_t size)
{
	unsigned i = 0;

	while (i < DIRECTORIES_MAX && directories[i][0])
		i++;
	(void)snprintf(path, size, "%s/segmentd-bench.XXXXXX", parent);
	if (i == DIRECTORIES_MAX || strlen(path) >= sizeof(directories[0]) || !mkdtemp(path))
		bench_fail("%s: no directory of that name can be made: %s", path, strerror(errno));
	memcpy(directories[i], path, strlen(path) + 1);
}

static const char *
bench_parent(void)
{
	const char *parent = getenv("TMPDIR");

	return parent && parent[0] ? parent : "/tmp";
}

void
bench_make_directory(char *path, size_t size)
{
	make_directory_in(bench_parent(), path, size);
}

static bool
is_in_memory(const char *path)
{
	struct statfs fs;

	return path && access(path, W_OK | X_OK) == 0 && statfs(path, &fs) == 0 && fs.f_type == TMPFS_MAGIC;
}

void
bench_make_state_directory(char *path, size_t size)
{
	const char *const parents[] = { "/run", getenv("XDG_RUNTIME_DIR"), "/dev/shm" };
	size_t i = 0;

	while (i < BASE_ARRAY_SIZE(parents) && !is_in_memory(parents[i]))
		i++;
	make_directory_in(i < BASE_ARRAY_SIZE(parents) ? parents[i] : bench_parent(), path, size);
}

void
bench_remove_directory(const char *path)
{
	unsigned i;

	for (i = 0; i < DIRECTORIES_MAX; i++) {
		if (streq(directories[i], path))
			directories[i][0] = '\0';
	}
	remove_tree(path);
}

void
bench_init(struct bench *bench)
{
	int cpu;

	(void)atexit(remove_directories);
	if (sched_getaffinity(0, sizeof(bench->cpus), &bench->cpus) != 0)
		bench_fail("sched_getaffinity: %s", strerror(errno));
	bench->n_cpus = (unsigned)CPU_COUNT(&bench->cpus);
	bench->client_cpu = -1;
	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &bench->cpus))
			continue;
		if (bench->client_cpu >= 0) {
			bench->server_cpu = cpu;
			return;
		}
		bench->client_cpu = bench->server_cpu = cpu;
	}
}

void
bench_pin(const struct bench *bench, pid_t pid, int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	if (cpu >= 0)
		CPU_SET(cpu, &one);
	if (sched_setaffinity(pid, sizeof(one), cpu >= 0 ? &one : &bench->cpus) != 0)
		bench_fail("process %d cannot be bound to CPU %d: %s", (int)pid, cpu, strerror(errno));
}

void
bench_own(struct bench *bench, pid_t pid)
{
	unsigned i;

	for (i = 0; i < BENCH_OWN_MAX; i++) {
		if (bench->own[i] == 0) {
			bench->own[i] = pid;
			return;
		}
	}
	bench_fail("more than %d children at once", BENCH_OWN_MAX);
}

void
bench_disown(struct bench *bench, pid_t pid)
{
	unsigned i;

	for (i = 0; i < BENCH_OWN_MAX; i++) {
		if (bench->own[i] == pid)
			bench->own[i] = 0;
	}
}

uint64_t
bench_process_cpu_ns(pid_t pid, uint64_t *ret_times)
{
	uint64_t cpu_ns = 0, waited_ns = 0, times = 0;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/schedstat", (int)pid);
	cleanup_fclose FILE *f = fopen(path, "re");
	if (f && fscanf(f, "%" SCNu64 " %" SCNu64 " %" SCNu64, &cpu_ns, &waited_ns, &times) != 3)
		bench_fail("%s cannot be read: this kernel does not count what CPU time a process takes", path);
	if (ret_times)
		*ret_times = times;
	return cpu_ns;
}

/* One round of all sides. Samples of a round that does not count must not reach the pools, so they go there last. */
static double
bench_round(const struct bench *bench, const struct bench_side *sides, unsigned n_sides, struct bench_round *rounds)
{
	struct gate before, after;
	unsigned i;

	gate_read(bench, &before);
	for (i = 0; i < n_sides; i++) {
		samples_clear(&rounds[i].samples);
		rounds[i].figure = 0;
		sides[i].run(sides[i].arg, &rounds[i]);
	}
	gate_read(bench, &after);
	return gate_other(&before, &after);
}

static void
series_take(struct series *series, struct bench_round *round)
{
	if (round->figure <= 0)
		round->figure = (double)samples_percentile(&round->samples, 0.5) / 1000.0;
	series->figures[series->n++] = round->figure;
	samples_append(&series->pool, &round->samples);
}

/* Lets a burst of other load pass before the next try, if it passes soon. */
static void
bench_calm(const struct bench *bench, double gate)
{
	struct timespec t = { .tv_nsec = (long)BENCH_CALM_NS };
	struct gate before, after;
	unsigned i;

	for (i = 0; i < BENCH_CALM_TIMES; i++) {
		gate_read(bench, &before);
		(void)nanosleep(&t, NULL);
		gate_read(bench, &after);
		if (gate_other(&before, &after) < gate)
			return;
	}
}

void
bench_measure(struct bench *bench, const struct bench_goal *goal, const struct bench_side *sides, unsigned n_sides)
{
	struct bench_round rounds[BENCH_SIDES_MAX] = { 0 };
	struct comparison comparison = { .goal = goal, .n_sides = n_sides, .n_wanted = bench->n_rounds };
	double gate = goal->gate > bench->gate ? goal->gate : bench->gate, other;
	unsigned i, try_;

	assert(n_sides <= BENCH_SIDES_MAX);
	for (i = 0; i < n_sides; i++)
		comparison.series[i] = (struct series){ .name = sides[i].name, .is_beside = sides[i].is_beside };
	(void)bench_round(bench, sides, n_sides, rounds);
	for (try_ = 0; try_ < bench->n_rounds * BENCH_TRIES && comparison.series[0].n < bench->n_rounds; try_++) {
		other = bench_round(bench, sides, n_sides, rounds);
		comparison.other_max = other > comparison.other_max ? other : comparison.other_max;
		if (other >= gate) {
			comparison.n_disturbed++;
			bench_calm(bench, gate);
			continue;
		}
		for (i = 0; i < n_sides; i++)
			series_take(&comparison.series[i], &rounds[i]);
	}
	report_comparison(bench, &comparison);
	for (i = 0; i < n_sides; i++) {
		samples_deinit(&rounds[i].samples);
		samples_deinit(&comparison.series[i].pool);
	}
}

void
bench_skip(struct bench *bench, const struct bench_goal *goal, const char *why)
{
	bench->result = (struct bench_result){ .outcome = BENCH_SKIPPED, .ratio = -1 };
	report_skipped(bench, goal, why);
}

void
bench_note(const char *format, ...)
{
	va_list args;

	(void)fputs("      ", stdout);
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)putchar('\n');
}
