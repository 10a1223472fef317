/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/populate.h"
#include "bench/settings.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE		25
#endif
#ifndef MFD_HUGE_2MB
#define MFD_HUGE_2MB		(21U << 26)
#endif

#define HUGE_BYTES		(2 * MIB)
#define THREADS_MAX		2

struct populate_method {
	const char *name;
	int (*fill)(char *at, uint64_t length);		/* 0 or an errno */
	unsigned n_threads;
	unsigned memfd_flags;
	bool advise;			/* MADV_HUGEPAGE */
	bool primes_huge;
};

static int
fill_touch(char *at, uint64_t length)
{
	uint64_t i;

	for (i = 0; i < length; i += 4096)
		((volatile char *)at)[i] = 0;
	return 0;
}

static int
fill_advised(char *at, uint64_t length, int advice)
{
	while (madvise(at, length, advice) != 0) {
		if (errno != EINTR && errno != EAGAIN)
			return errno;
	}
	return 0;
}

static int
fill_populate(char *at, uint64_t length)
{
	return fill_advised(at, length, MADV_POPULATE_WRITE);
}

static int
fill_read(char *at, uint64_t length)
{
	return fill_advised(at, length, MADV_POPULATE_READ);
}

/* A range with no page at all cannot be collapsed; one base page in each huge one is the least that will do. */
static int
fill_collapse(char *at, uint64_t length)
{
	uint64_t i;

	for (i = 0; i < length; i += HUGE_BYTES)
		((volatile char *)at)[i] = 0;
	return madvise(at, length, MADV_COLLAPSE) == 0 ? 0 : errno;
}

const struct populate_method populate_touch = { "touch loop, 1 thread", fill_touch, 1, 0, false, false };
const struct populate_method populate_base = { "POPULATE_WRITE, base pages, 2 threads", fill_populate, 2, 0, false, false };
const struct populate_method populate_advised = { "MADV_HUGEPAGE, populate, 2 threads", fill_populate, 2, 0, true, true };
const struct populate_method populate_collapsed = { "MADV_COLLAPSE, 2 threads", fill_collapse, 2, 0, false, true };
const struct populate_method populate_hugetlb = {
	"hugetlb 2 MiB, populate, 2 threads", fill_populate, 2, MFD_HUGETLB | MFD_HUGE_2MB, false, false
};

const struct populate_method populate_read = { "POPULATE_READ, 2 threads", fill_read, 2, 0, false, false };

const char *
populate_name(const struct populate_method *method)
{
	return method->name;
}

bool
populate_primes_huge(const struct populate_method *method)
{
	return method->primes_huge;
}

struct part {
	const struct bench *bench;
	int (*fill)(char *at, uint64_t length);
	char *at;
	uint64_t length;
	int cpu;			/* -1: any */
	int error;
};

static void *
part_run(void *arg)
{
	struct part *part = arg;

	if (part->cpu >= 0)
		bench_pin(part->bench, 0, part->cpu);
	part->error = part->fill(part->at, part->length);
	return NULL;
}

/* Fills disjoint halves, a CPU each. 0 or an errno. */
static int
populate_fill(const struct bench *bench, int (*fill)(char *at, uint64_t length), unsigned n_threads, char *at,
    uint64_t length)
{
	struct part parts[THREADS_MAX];
	pthread_t threads[THREADS_MAX];
	unsigned i;
	int error = 0;

	if (n_threads == 1)
		return fill(at, length);
	for (i = 0; i < n_threads; i++) {
		parts[i] = (struct part){ bench, fill, at + length / n_threads * i, length / n_threads,
			i == 0 ? bench->client_cpu : bench->server_cpu, 0 };
		if (pthread_create(&threads[i], NULL, part_run, &parts[i]) != 0)
			bench_fail("no thread for a baseline");
	}
	for (i = 0; i < n_threads; i++) {
		(void)pthread_join(threads[i], NULL);
		error = error ? error : parts[i].error;
	}
	return error;
}

int
populate_run(const struct bench *bench, const struct populate_method *method, unsigned n_threads, char *at, uint64_t length)
{
	if (method->advise)
		(void)madvise(at, length, MADV_HUGEPAGE);
	return populate_fill(bench, method->fill, n_threads, at, length);
}

char *
populate_hole(uint64_t size_bytes, uint64_t align_bytes)
{
	char *hole = mmap(NULL, size_bytes + align_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (hole == MAP_FAILED)
		return NULL;
	(void)munmap(hole, size_bytes + align_bytes);
	return (char *)round_up((uint64_t)(uintptr_t)hole, align_bytes);
}

/* Maps at a multiple of the huge page size, without which nothing is mapped by huge pages. */
static char *
map_aligned(int fd, uint64_t size_bytes)
{
	char *at = populate_hole(size_bytes, HUGE_BYTES);

	if (!at)
		return MAP_FAILED;
	return mmap(at, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
}

/* The seconds it took, or a negative errno. */
static double
populate_once(const struct bench *bench, const struct populate_method *method, uint64_t size_bytes)
{
	uint64_t start_ns = clock_monotonic_ns();
	cleanup_close int fd = memfd_create("bench", MFD_CLOEXEC | method->memfd_flags);
	double seconds;
	char *at;
	int error;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) != 0)
		return -errno;
	at = map_aligned(fd, size_bytes);
	if (at == MAP_FAILED)
		return -errno;
	error = populate_run(bench, method, method->n_threads, at, size_bytes);
	seconds = (double)(clock_monotonic_ns() - start_ns) / 1e9;
	(void)munmap(at, size_bytes);
	return error ? -error : seconds;
}

double
populate_time(const struct bench *bench, const struct populate_method *method, uint64_t size_bytes)
{
	double seconds = populate_once(bench, method, size_bytes);

	if (seconds < 0)
		bench_fail("%s: %s", method->name, strerror((int)-seconds));
	return seconds;
}

bool
populate_possible(const struct populate_method *method, uint64_t size_bytes)
{
	static const struct bench none = { .n_cpus = 1 };
	struct populate_method probe = *method;

	if (method->advise)
		return settings_chosen(SETTINGS_SHMEM, "advise") || settings_chosen(SETTINGS_SHMEM, "within_size") ||
		    settings_chosen(SETTINGS_SHMEM, "always") || settings_chosen(SETTINGS_SHMEM, "force");
	if (method->memfd_flags & MFD_HUGETLB)
		return settings_number(SETTINGS_POOL_FREE) * HUGE_BYTES >= size_bytes;
	probe.n_threads = 1;
	return populate_once(&none, &probe, HUGE_BYTES) >= 0;
}

void
populate_prime(const struct bench *bench, uint64_t size_bytes, bool huge)
{
	char *at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		bench_fail("%" PRIu64 " bytes cannot be mapped: %s", size_bytes, strerror(errno));
	(void)madvise(at, size_bytes, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	if (populate_fill(bench, fill_populate, 2, at, size_bytes) != 0)
		bench_fail("this machine has no %" PRIu64 " bytes of memory to measure with", size_bytes);
	(void)munmap(at, size_bytes);
}
