/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * D5: many clients die at once, each attached and in a section of a lock of its own. Timed from before the first signal
 * until no lock's word in control memory names anybody, and the daemon says that it knows none of them any more and has
 * recovered all their locks. Nothing is bound to a CPU.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/wire.h"
#include "client/control.h"

#define MASS_CLIENTS	500
#define MASS_SEGMENT	"mass"
#define MASS_CHANGE	64			/* bytes that each has changed, a lock's all */
#define MASS_SETTLE_NS	(100 * NS_PER_MS)
#define MASS_LOOK_NS	(100 * 1000)		/* from look to look: of what is measured, a hundredth */
#define MASS_LIMIT_NS	(30 * NS_PER_SEC)
#define MASS_LOCK_TEXT	96			/* of one lock's definition, at most */

struct mass;

struct mass_client {
	const struct mass *mass;
	int lock;
	struct child child;
};

struct mass {
	struct bench *bench;
	struct daemon daemon;
	int fd;				/* the observer's connection */
	uint64_t serial;
	struct wire_locked locked;	/* its attachment, for reading */
	const struct control_lock *locks;
	struct mass_client clients[MASS_CLIENTS];
};

static void
mass_settle(void)
{
	(void)nanosleep(&(struct timespec){ .tv_nsec = (long)MASS_SETTLE_NS }, NULL);
}

static void
mass_start_clients(struct mass *self, child_fn run)
{
	unsigned i;

	for (i = 0; i < MASS_CLIENTS; i++) {
		self->clients[i].mass = self;
		self->clients[i].lock = (int)i;
		child_start(self->bench, -1, -1, run, &self->clients[i], &self->clients[i].child);
	}
	for (i = 0; i < MASS_CLIENTS; i++) {
		child_await(&self->clients[i].child);
		close_fd(&self->clients[i].child.fd);
	}
}

static uint64_t
mass_kill(const struct mass *self)
{
	uint64_t start_ns = clock_monotonic_ns();

	for (unsigned i = 0; i < MASS_CLIENTS; i++)
		(void)kill(self->clients[i].child.pid, SIGKILL);
	return start_ns;
}

static void
mass_reap(struct mass *self)
{
	for (unsigned i = 0; i < MASS_CLIENTS; i++)
		child_end(&self->clients[i].child);
}

/* The baseline: a bare loop with a pidfd of each. */

static void
bare_client(int fd, void *arg)
{
	(void)arg;
	child_rest(fd);
}

/* Watches all pidfds, kills, and waits for all of them. */
static void
mass_time_bare(struct mass *self, struct bench_round *round)
{
	cleanup_close int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event events[256];
	uint64_t start_ns;
	int i, n, left;

	for (left = 0; left < MASS_CLIENTS; left++) {
		events[0] = (struct epoll_event){ .events = EPOLLIN };
		events[0].data.fd = child_pidfd(&self->clients[left].child);
		(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, events[0].data.fd, &events[0]);
	}
	mass_settle();
	start_ns = mass_kill(self);
	while (left > 0) {
		n = epoll_wait(epoll_fd, events, BASE_ARRAY_SIZE(events), (int)(MASS_LIMIT_NS / NS_PER_MS));
		if (n <= 0)
			bench_fail("%d deaths were waited for in vain", left);
		for (i = 0; i < n; i++, left--) {
			(void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, events[i].data.fd, NULL);
			(void)close(events[i].data.fd);
		}
	}
	samples_add(&round->samples, clock_monotonic_ns() - start_ns);
}

static void
bare_run(void *arg, struct bench_round *round)
{
	struct mass *self = arg;

	mass_start_clients(self, bare_client);
	mass_time_bare(self, round);
	mass_reap(self);
}

/* The daemon's side. */

static void
locking_client(int fd, void *arg)
{
	const struct mass_client *client = arg;
	unsigned char *data;
	struct segment *segment;
	int r;

	child_attach(client->mass->daemon.socket, MASS_SEGMENT, 0, &segment);
	data = (unsigned char *)segment_data(segment) + client->lock * MASS_CHANGE;
	r = segment_lock(segment, client->lock);
	if (r == 0)
		r = segment_modify(segment, client->lock, data, MASS_CHANGE);
	if (r < 0)
		child_fail("a client that is to die got no lock: %s (%s)", strerror(-r), segment_error());
	memset(data, 'n', MASS_CHANGE);
	child_rest(fd);
}

static bool
all_free(const struct mass *self)
{
	for (unsigned i = 0; i < MASS_CLIENTS; i++) {
		if (atomic_load_explicit(&self->locks[i].state, memory_order_acquire) != 0)
			return false;
	}
	return true;
}

static struct protocol_segment
mass_row(struct mass *self)
{
	struct protocol_segment row;

	wire_show(self->fd, ++self->serial, MASS_SEGMENT, &row);
	return row;
}

static void
mass_await(struct mass *self, uint64_t recoveries, uint64_t start_ns)
{
	struct protocol_segment row;

	for (;;) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = MASS_LOOK_NS }, NULL);
		if (all_free(self)) {
			row = mass_row(self);
			if (row.writers == 0 && row.recoveries >= recoveries)
				return;
		}
		if (clock_monotonic_ns() - start_ns > MASS_LIMIT_NS)
			bench_fail("the daemon did not give back %d clients' locks", MASS_CLIENTS);
	}
}

static void
daemon_run(void *arg, struct bench_round *round)
{
	struct mass *self = arg;
	struct protocol_segment row;
	uint64_t start_ns;

	mass_start_clients(self, locking_client);
	mass_settle();
	row = mass_row(self);
	if (row.writers != MASS_CLIENTS)
		bench_fail("%u of %d clients are attached", row.writers, MASS_CLIENTS);
	start_ns = mass_kill(self);
	mass_await(self, row.recoveries + MASS_CLIENTS, start_ns);
	samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	mass_reap(self);
}

/* The same clients while the daemon is stopped: what the kernel takes to end them. */
static void
unheard_run(void *arg, struct bench_round *round)
{
	struct mass *self = arg;
	struct protocol_segment row;

	mass_start_clients(self, locking_client);
	row = mass_row(self);
	(void)kill(self->daemon.pid, SIGSTOP);
	mass_time_bare(self, round);
	(void)kill(self->daemon.pid, SIGCONT);
	mass_await(self, row.recoveries + MASS_CLIENTS, clock_monotonic_ns());
	mass_reap(self);
}

static void
mass_observe(struct mass *self)
{
	void *control;

	self->fd = wire_attach_locked(self->daemon.socket, MASS_SEGMENT, PROTOCOL_ACCESS_READ, &self->locked);
	self->serial = 2;
	control = mmap(NULL, self->locked.attached.control_bytes, PROT_READ, MAP_SHARED, self->locked.control_fd, 0);
	if (control == MAP_FAILED)
		bench_fail("control memory cannot be mapped: %s", strerror(errno));
	self->locks = control;
}

/* A definition with a lock for each client. The caller's. */
static char *
mass_definition(void)
{
	size_t size = (MASS_CLIENTS + 2) * MASS_LOCK_TEXT, at;
	char *text = malloc(size);

	if (!text)
		bench_fail("no memory for a definition");
	at = (size_t)snprintf(text, size, ",\n  { name = \"" MASS_SEGMENT "\"; size = \"64KiB\"; locks = (");
	for (unsigned i = 0; i < MASS_CLIENTS; i++)
		at += (size_t)snprintf(text + at, size - at,
		    "%s { name = \"l%u\"; offset = \"%uB\"; length = \"%dB\"; undo = \"1KiB\"; }", i ? "," : "", i,
		    i * MASS_CHANGE, MASS_CHANGE);
	(void)snprintf(text + at, size - at, " ); }");
	return text;
}

/* Root is not limited. */
static bool
may_fork_all(void)
{
	struct rlimit limit;

	return geteuid() == 0 || getrlimit(RLIMIT_NPROC, &limit) != 0 || limit.rlim_cur >= 2 * MASS_CLIENTS;
}

void
mass_death(struct bench *bench, const struct bench_goal *goal)
{
	static struct mass self;
	cleanup_free char *definition = mass_definition();
	struct daemon_config config = { .segments = definition };
	const struct bench_side sides[] = {
		{ "kill to all pidfds in a bare epoll loop", bare_run, &self },
		{ "such clients' own end, bare loop: no baseline", unheard_run, &self, true },
		{ "segmentd, kill to all free, none attached", daemon_run, &self },
	};

	if (!may_fork_all()) {
		bench_skip(bench, goal, "500 processes more are not allowed to this user (ulimit -u)");
		return;
	}
	self = (struct mass){ .bench = bench };
	daemon_init(&self.daemon, &config);
	daemon_start(bench, &self.daemon);
	mass_observe(&self);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	(void)munmap((void *)(uintptr_t)self.locks, self.locked.attached.control_bytes);
	close_fd(&self.locked.fd);
	close_fd(&self.locked.control_fd);
	close_fd(&self.fd);
	daemon_stop(bench, &self.daemon);
	daemon_deinit(&self.daemon);
}
