/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * R1, U1 and U2: what a lock costs while nobody dies. Locks and sections of the library beside glibc's robust
 * process-shared mutex, which excludes as they do, tells of a death as they do, and puts no byte right. One operation is too
 * short for a clock, so that a sample is a batch of them.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/robust.h"

#define LOCK_SEGMENT	"locks"
#define LOCK_DEFINITION	",\n  { name = \"" LOCK_SEGMENT "\"; size = \"64KiB\"; " \
	"locks = ( { name = \"one\"; offset = 0; length = \"8KiB\"; undo = \"16KiB\"; } ); }"
#define LOCK_MAX_BYTES	4096
#define BATCHES		8000		/* of one round, of what is about as short as a lock */
#define LONG_BATCHES	2000
#define CONTEND_NS	(150 * NS_PER_MS)	/* of one side in one round */
#define CONTEND_TIMED	16		/* one section of so many is timed */

/* Keeps the compiler from moving, merging or leaving out what is stored. */
#define SETTLED()	__asm__ volatile("" ::: "memory")

/* What a bare lock protects, in memory that children share. */
struct bare {
	pthread_mutex_t mutex;
	_Alignas(64) unsigned char data[LOCK_MAX_BYTES];
	_Alignas(64) _Atomic bool stop;	/* U2 */
	_Alignas(64) _Atomic uint64_t n;	/* sections of the child */
};

struct lock_bench {
	struct bench *bench;
	struct daemon daemon;
	struct segment_client *client;
	struct segment *segment;
	int lock;
	unsigned char *data;		/* what the lock of the segment protects */
	struct bare *bare;
	size_t length;			/* of a section's change */
	unsigned n_batches;
	unsigned char source[LOCK_MAX_BYTES];
	struct child partner;		/* U2 */
};

static void
lock_attach(struct lock_bench *self)
{
	int r = segment_connect(&self->client, self->daemon.socket);

	if (r == 0)
		r = segment_attach(self->client, LOCK_SEGMENT, NULL, SEGMENT_WRITE | SEGMENT_DONTFORK, &self->segment);
	if (r == 0)
		r = self->lock = segment_find_lock(self->segment, "one");
	if (r < 0)
		bench_fail("the segment with the lock cannot be attached: %s (%s)", strerror(-r), segment_error());
	self->data = segment_data(self->segment);
}

static void
lock_start(struct bench *bench, struct lock_bench *self)
{
	struct daemon_config config = { .segments = LOCK_DEFINITION };

	self->bench = bench;
	self->bare = robust_shared_new(sizeof(*self->bare));
	robust_init(&self->bare->mutex);
	robust_be_threaded();
	memset(self->source, 'n', sizeof(self->source));
	daemon_init(&self->daemon, &config);
	daemon_start(bench, &self->daemon);
	bench_pin(bench, 0, bench->client_cpu);
	lock_attach(self);
}

static void
lock_stop(struct bench *bench, struct lock_bench *self)
{
	(void)segment_detach(self->segment);
	segment_disconnect(self->client);
	daemon_stop(bench, &self->daemon);
	daemon_deinit(&self->daemon);
	robust_shared_free(self->bare, sizeof(*self->bare));
	bench_pin(bench, 0, -1);
}

static void
lock_time(const struct lock_bench *self, void (*batch)(const struct lock_bench *self), struct bench_round *round)
{
	uint64_t start_ns;
	unsigned i;

	for (i = 0; i < self->n_batches; i++) {
		start_ns = clock_monotonic_ns();
		batch(self);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	}
}

/* The last one of a batch stands for all: they can only be refused alike. */
static void
lock_check(int r)
{
	if (r < 0)
		bench_fail("a section was refused: %s (%s)", strerror(-r), segment_error());
}

/* R1: lock and unlock. */

static void
robust_batch(const struct lock_bench *self)
{
	for (unsigned i = 0; i < BENCH_BATCH; i++) {
		(void)pthread_mutex_lock(&self->bare->mutex);
		(void)pthread_mutex_unlock(&self->bare->mutex);
	}
}

static void
robust_run(void *arg, struct bench_round *round)
{
	lock_time(arg, robust_batch, round);
}

static void
segment_batch(const struct lock_bench *self)
{
	int r = 0;

	for (unsigned i = 0; i < BENCH_BATCH; i++) {
		(void)segment_lock(self->segment, self->lock);
		r = segment_unlock(self->segment, self->lock);
	}
	lock_check(r);
}

static void
segment_run(void *arg, struct bench_round *round)
{
	lock_time(arg, segment_batch, round);
}

void
lock_uncontended(struct bench *bench, const struct bench_goal *goal)
{
	static struct lock_bench self;
	const struct bench_side sides[] = {
		{ "glibc's robust process-shared mutex", robust_run, &self },
		{ "segment_lock, segment_unlock", segment_run, &self },
	};

	self = (struct lock_bench){ .n_batches = BATCHES };
	lock_start(bench, &self);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	lock_stop(bench, &self);
}

/* U1: a section that changes some bytes. */

static void
copy_batch(const struct lock_bench *self)
{
	for (unsigned i = 0; i < BENCH_BATCH; i++) {
		memcpy(self->bare->data, self->source, self->length);
		SETTLED();
	}
}

static void
copy_run(void *arg, struct bench_round *round)
{
	lock_time(arg, copy_batch, round);
}

static void
robust_section_batch(const struct lock_bench *self)
{
	for (unsigned i = 0; i < BENCH_BATCH; i++) {
		(void)pthread_mutex_lock(&self->bare->mutex);
		memcpy(self->bare->data, self->source, self->length);
		SETTLED();
		(void)pthread_mutex_unlock(&self->bare->mutex);
	}
}

static void
robust_section_run(void *arg, struct bench_round *round)
{
	lock_time(arg, robust_section_batch, round);
}

static void
segment_section_batch(const struct lock_bench *self)
{
	int r = 0;

	for (unsigned i = 0; i < BENCH_BATCH; i++) {
		(void)segment_lock(self->segment, self->lock);
		r |= segment_modify(self->segment, self->lock, self->data, self->length);
		memcpy(self->data, self->source, self->length);
		SETTLED();
		(void)segment_unlock(self->segment, self->lock);
	}
	lock_check(r);
}

static void
segment_section_run(void *arg, struct bench_round *round)
{
	lock_time(arg, segment_section_batch, round);
}

static void
lock_measure_section(struct bench *bench, const struct bench_goal *goal, size_t length, unsigned n_batches)
{
	static struct lock_bench self;
	const struct bench_side sides[] = {
		{ "memcpy alone: no baseline, but the floor", copy_run, &self, true },
		{ "robust mutex, memcpy", robust_section_run, &self },
		{ "lock, segment_modify, memcpy, unlock", segment_section_run, &self },
	};

	self = (struct lock_bench){ .length = length, .n_batches = n_batches };
	lock_start(bench, &self);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	lock_stop(bench, &self);
}

void
lock_section_64(struct bench *bench, const struct bench_goal *goal)
{
	lock_measure_section(bench, goal, 64, BATCHES);
}

void
lock_section_4096(struct bench *bench, const struct bench_goal *goal)
{
	lock_measure_section(bench, goal, 4096, LONG_BATCHES);
}

/*
 * U2: two processes, a CPU each, that do nothing but sections of 64 bytes, one of which counts them: so it is seen whether
 * they exclude each other.
 */

#define CONTEND_BYTES	64

static void
count_section(unsigned char *data)
{
	uint64_t next[CONTEND_BYTES / sizeof(uint64_t)] = { 0 };

	memcpy(next, data, sizeof(next[0]));
	next[0]++;
	memcpy(data, next, sizeof(next));
	SETTLED();
}

static void
robust_contend(const struct lock_bench *self)
{
	(void)pthread_mutex_lock(&self->bare->mutex);
	count_section(self->bare->data);
	(void)pthread_mutex_unlock(&self->bare->mutex);
}

static void
segment_contend(const struct lock_bench *self)
{
	(void)segment_lock(self->segment, self->lock);
	(void)segment_modify(self->segment, self->lock, self->data, CONTEND_BYTES);
	count_section(self->data);
	(void)segment_unlock(self->segment, self->lock);
}

static uint64_t
counted(const unsigned char *data)
{
	uint64_t n;

	memcpy(&n, data, sizeof(n));
	return n;
}

/* The partner takes part in a round of each side by turns, from a byte to the sign to stop. */
static void
partner_run(int fd, void *arg)
{
	static void (*const sides[])(const struct lock_bench *self) = { robust_contend, segment_contend };
	struct lock_bench *self = arg;
	struct segment *segment;

	child_attach(self->daemon.socket, LOCK_SEGMENT, 0, &segment);
	self->segment = segment;
	self->data = segment_data(segment);
	child_say(fd);
	for (unsigned turn = 0; child_hear(fd); turn++) {
		uint64_t n = 0;

		child_say(fd);
		for (; !atomic_load_explicit(&self->bare->stop, memory_order_relaxed); n++)
			sides[turn % BASE_ARRAY_SIZE(sides)](self);
		atomic_store(&self->bare->n, n);
		child_say(fd);
	}
	_exit(EXIT_SUCCESS);
}

static void
contend(struct lock_bench *self, void (*section)(const struct lock_bench *self), const unsigned char *data,
    struct bench_round *round)
{
	uint64_t before = counted(data), start_ns, now_ns, section_ns, n = 0;

	atomic_store(&self->bare->stop, false);
	child_tell(&self->partner);
	child_await(&self->partner);
	start_ns = now_ns = clock_monotonic_ns();
	while (now_ns - start_ns < CONTEND_NS) {
		section_ns = clock_monotonic_ns();
		section(self);
		now_ns = clock_monotonic_ns();
		samples_add(&round->samples, now_ns - section_ns);
		for (unsigned i = 1; i < CONTEND_TIMED; i++)
			section(self);
		n += CONTEND_TIMED;
	}
	atomic_store(&self->bare->stop, true);
	child_await(&self->partner);
	n += atomic_load(&self->bare->n);
	round->figure = (double)n / ((double)(now_ns - start_ns) / 1e9);
	if (counted(data) - before != n)
		bench_fail("%llu sections counted %llu: the lock does not exclude", (unsigned long long)n,
		    (unsigned long long)(counted(data) - before));
}

static void
robust_contend_run(void *arg, struct bench_round *round)
{
	struct lock_bench *self = arg;

	contend(self, robust_contend, self->bare->data, round);
}

static void
segment_contend_run(void *arg, struct bench_round *round)
{
	struct lock_bench *self = arg;

	contend(self, segment_contend, self->data, round);
}

void
lock_contended(struct bench *bench, const struct bench_goal *goal)
{
	static struct lock_bench self;
	const struct bench_side sides[] = {
		{ "robust mutex, memcpy", robust_contend_run, &self },
		{ "lock, segment_modify, memcpy, unlock", segment_contend_run, &self },
	};

	if (bench->n_cpus < 2) {
		bench_skip(bench, goal, "two processes that contend need two CPUs");
		return;
	}
	self = (struct lock_bench){ 0 };
	lock_start(bench, &self);
	child_start(bench, bench->server_cpu, -1, partner_run, &self, &self.partner);
	bench_own(bench, self.partner.pid);
	child_await(&self.partner);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench_disown(bench, self.partner.pid);
	child_end(&self.partner);
	lock_stop(bench, &self);
}
