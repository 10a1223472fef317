/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * U3: what an undo log costs when its owner is gone. Timed from before the owner's last descriptor and its connection are
 * closed until another process's eyes see the lock's word free, which is after its bytes were restored. The same with an empty
 * log stands beside it: what is left between the two is the log's. The owner is this process, on the wire and without the
 * library, so that what an exit takes is not in the figure; it watches the word from one CPU, and the daemon is bound to the
 * other.
 */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/wire.h"
#include "client/control.h"

#define RESTORE_SEGMENT	"restored"
#define RESTORE_BYTES	(2 * MIB)
#define RESTORE_DEFINITION	",\n  { name = \"" RESTORE_SEGMENT "\"; size = \"2MiB\"; " \
	"locks = ( { name = \"one\"; offset = 0; length = \"2MiB\"; undo = \"1MiB\"; } ); }"
#define ENTRY_BYTES	1000u
#define ENTRY_LOG_BYTES	(ENTRY_BYTES + sizeof(struct control_footer))
#define TIMES		200		/* of each side in one round */
#define TIMES_LARGE	30		/* where a worker does it */
#define LIMIT_NS	(10 * NS_PER_SEC)

struct restore {
	struct daemon daemon;
	unsigned n_entries;
	unsigned n_times;
	struct wire_locked watch;	/* the watcher's attachment, for reading */
	int watch_fd;
	const struct control_lock *lock;	/* as it sees it */
	const unsigned char *data;
};

struct owner {
	int fd;				/* its connection */
	struct wire_locked locked;
	unsigned char *control;
	unsigned char *data;
};

static void *
restore_map(int fd, size_t size, int protection)
{
	void *at = mmap(NULL, size, protection, MAP_SHARED | MAP_POPULATE, fd, 0);

	if (at == MAP_FAILED)
		bench_fail("a segment with a lock cannot be mapped: %s", strerror(errno));
	return at;
}

/* Attaches, takes the lock, and changes so many entries' bytes in a section. */
static void
owner_begin(const struct restore *self, unsigned n_entries, struct owner *owner)
{
	struct protocol_attached *attached = &owner->locked.attached;
	struct control_place place;

	owner->fd = wire_attach_locked(self->daemon.socket, RESTORE_SEGMENT, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	    &owner->locked);
	owner->control = restore_map(owner->locked.control_fd, attached->control_bytes, PROT_READ | PROT_WRITE);
	owner->data = restore_map(owner->locked.fd, RESTORE_BYTES, PROT_READ | PROT_WRITE);
	place = (struct control_place){
		.lock = (struct control_lock *)(void *)owner->control, .log = owner->control + owner->locked.first.at_bytes,
		.data = owner->data, .length_bytes = RESTORE_BYTES, .log_bytes = owner->locked.first.log_bytes,
	};
	if (!control_try(place.lock, attached->attachment, 0))
		bench_fail("the lock is not free");
	for (unsigned i = 0; i < n_entries; i++) {
		if (control_log(&place, i * ENTRY_BYTES, ENTRY_BYTES) != 0)
			bench_fail("the log has no room for %u entries", n_entries);
		memset(owner->data + (size_t)i * ENTRY_BYTES, 'n', ENTRY_BYTES);
	}
}

/* All of it but what the kernel knows it by: its description and its connection. */
static void
owner_unmap(struct owner *owner)
{
	(void)munmap(owner->data, RESTORE_BYTES);
	(void)munmap(owner->control, owner->locked.attached.control_bytes);
	close_fd(&owner->locked.control_fd);
}

static void
restore_check(const struct restore *self, unsigned n_entries)
{
	for (size_t i = 0; i < (size_t)n_entries * ENTRY_BYTES; i++) {
		if (self->data[i] != 0)
			bench_fail("byte %zu was not restored", i);
	}
}

static void
restore_time(struct restore *self, unsigned n_entries, struct bench_round *round)
{
	uint64_t start_ns, now_ns;
	struct owner owner;

	for (unsigned i = 0; i < self->n_times; i++) {
		owner_begin(self, n_entries, &owner);
		owner_unmap(&owner);
		child_settle();
		start_ns = clock_monotonic_ns();
		close_fd(&owner.locked.fd);
		close_fd(&owner.fd);
		do {
			now_ns = clock_monotonic_ns();
			if (now_ns - start_ns > LIMIT_NS)
				bench_fail("the lock of an owner that is gone does not become free");
		} while (atomic_load_explicit(&self->lock->state, memory_order_acquire) != 0);
		samples_add(&round->samples, now_ns - start_ns);
		restore_check(self, n_entries);
	}
}

static void
empty_run(void *arg, struct bench_round *round)
{
	restore_time(arg, 0, round);
}

static void
logged_run(void *arg, struct bench_round *round)
{
	struct restore *self = arg;

	restore_time(self, self->n_entries, round);
}

static void
restore_watch(struct restore *self)
{
	self->watch_fd = wire_attach_locked(self->daemon.socket, RESTORE_SEGMENT, PROTOCOL_ACCESS_READ, &self->watch);
	self->lock = restore_map(self->watch.control_fd, CONTROL_RECORD_BYTES, PROT_READ);
	self->data = restore_map(self->watch.fd, RESTORE_BYTES, PROT_READ);
}

static void
restore_unwatch(struct restore *self)
{
	(void)munmap((void *)(uintptr_t)self->lock, CONTROL_RECORD_BYTES);
	(void)munmap((void *)(uintptr_t)self->data, RESTORE_BYTES);
	close_fd(&self->watch.fd);
	close_fd(&self->watch.control_fd);
	close_fd(&self->watch_fd);
}

static void
restore_measure(struct bench *bench, const struct bench_goal *goal, uint64_t log_bytes, unsigned n_times)
{
	struct daemon_config config = { .segments = RESTORE_DEFINITION };
	struct restore self = { .n_entries = (unsigned)(log_bytes / ENTRY_LOG_BYTES), .n_times = n_times };
	const struct bench_side sides[] = {
		{ "hang-up to lock free, empty log", empty_run, &self },
		{ "the same, bytes restored from the log", logged_run, &self },
	};

	if (bench->n_cpus < 2) {
		bench_skip(bench, goal, "who watches a word needs a CPU beside the daemon's");
		return;
	}
	daemon_init(&self.daemon, &config);
	daemon_start(bench, &self.daemon);
	bench_pin(bench, self.daemon.pid, bench->server_cpu);
	bench_pin(bench, 0, bench->client_cpu);
	restore_watch(&self);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	restore_unwatch(&self);
	daemon_stop(bench, &self.daemon);
	daemon_deinit(&self.daemon);
	bench_pin(bench, 0, -1);
}

void
restore_1(struct bench *bench, const struct bench_goal *goal)
{
	restore_measure(bench, goal, ENTRY_LOG_BYTES, TIMES);
}

void
restore_16(struct bench *bench, const struct bench_goal *goal)
{
	restore_measure(bench, goal, 16 * KIB, TIMES);
}

void
restore_64(struct bench *bench, const struct bench_goal *goal)
{
	restore_measure(bench, goal, 64 * KIB, TIMES);
}

void
restore_1024(struct bench *bench, const struct bench_goal *goal)
{
	restore_measure(bench, goal, MIB, TIMES_LARGE);
}
