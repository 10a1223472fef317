/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * D1, D2: one client dies by SIGKILL, and an observer that subscribed to events is told. Timed from before the signal is sent
 * until the observer has the event. Who dies is bound to one CPU; the daemon and the observer to the other, as the bare loop is.
 */
#include "config.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/settings.h"
#include "bench/wire.h"

#define DEATHS			100	/* of each side in one round */
#define DEATHS_LARGE		8	/* of clients with much memory; each has to be mapped before */
#define DEATHS_LARGE_BARE	3
#define DEATHS_NEWS_MS		10000
#define DEATH_HUGE_SHARE	0.95	/* of a segment, for D2 */

struct death {
	struct bench *bench;
	unsigned n;			/* deaths of a round */
	unsigned n_bare;
	const char *segment_name;
	struct daemon daemon;
	struct segment_client *client;	/* the observer's */
	struct segment *segment;
	int event_fd;
	int memory_fd;			/* of a bare victim's memory, or -1 */
	uint64_t memory_bytes;
	struct child teller;		/* D1: the bare loop of another process */
	pid_t awaited;			/* whose news are waited for, and */
	int awaited_what;		/* what of them */
	uint64_t came_ns;		/* when they had come; 0: not yet */
	unsigned flags;			/* of a client's attaching, more than usual */
};

static uint64_t
death_kill(const struct child *victim)
{
	uint64_t start_ns = clock_monotonic_ns();

	if (kill(victim->pid, SIGKILL) != 0)
		bench_fail("kill: %s", strerror(errno));
	return start_ns;
}

static void
death_poll(int fd, const char *what)
{
	struct pollfd pollfd = { .fd = fd, .events = POLLIN };

	if (poll(&pollfd, 1, DEATHS_NEWS_MS) != 1)
		bench_fail("%s was waited for in vain", what);
}

/* The bare victim: with a connection, to nobody who listens; with memory of one shared object mapped, or without. */
static void
bare_victim(int fd, void *arg)
{
	const struct death *self = arg;

	if (self->memory_fd >= 0 && mmap(NULL, self->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
	    self->memory_fd, 0) == MAP_FAILED)
		child_fail("the baseline's memory cannot be mapped: %s", strerror(errno));
	child_say(fd);
	child_sleep();
}

/* This process kills, and waits in epoll for the pidfd. */
static void
death_time_bare(const struct child *victim, struct bench_round *round)
{
	cleanup_close int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	cleanup_close int pidfd = child_pidfd(victim);
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t start_ns;

	(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfd, &event);
	child_settle();
	start_ns = death_kill(victim);
	if (epoll_wait(epoll_fd, &event, 1, DEATHS_NEWS_MS) != 1)
		bench_fail("a pidfd was waited for in vain");
	samples_add(&round->samples, clock_monotonic_ns() - start_ns);
}

/* The baseline. */
static void
bare_run(void *arg, struct bench_round *round)
{
	const struct death *self = arg;
	struct child victim;

	for (unsigned i = 0; i < self->n_bare; i++) {
		child_start(self->bench, self->bench->server_cpu, self->memory_fd, bare_victim, arg, &victim);
		child_await(&victim);
		death_time_bare(&victim, round);
		child_end(&victim);
	}
}

/*
 * What no daemon that tells others can leave out: another process sees the pidfd, and sends a message of an event's size. It
 * is no baseline of the goal, but the floor of anything that is told by somebody else.
 */
static void
teller_run(int fd, void *arg)
{
	struct protocol_event message = { .kind = PROTOCOL_EVENT_DIED };
	struct epoll_event event = { .events = EPOLLIN };
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	pid_t pid;

	(void)arg;
	while (recv(fd, &pid, sizeof(pid), 0) == sizeof(pid)) {
		struct child victim = { .pid = pid };
		int pidfd = child_pidfd(&victim);

		(void)epoll_ctl(epoll_fd, EPOLL_CTL_ADD, pidfd, &event);
		child_say(fd);
		if (epoll_wait(epoll_fd, &event, 1, -1) == 1)
			(void)send(fd, &message, sizeof(message), MSG_NOSIGNAL);
		(void)close(pidfd);
	}
	_exit(EXIT_SUCCESS);
}

static void
told_run(void *arg, struct bench_round *round)
{
	const struct death *self = arg;
	struct protocol_event message;
	struct child victim;
	uint64_t start_ns;

	for (unsigned i = 0; i < self->n_bare; i++) {
		child_start(self->bench, self->bench->server_cpu, -1, bare_victim, arg, &victim);
		child_await(&victim);
		(void)send(self->teller.fd, &victim.pid, sizeof(victim.pid), MSG_NOSIGNAL);
		child_await(&self->teller);
		child_settle();
		start_ns = death_kill(&victim);
		death_poll(self->teller.fd, "a message");
		(void)recv(self->teller.fd, &message, sizeof(message), 0);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
		child_end(&victim);
	}
}

/* The daemon's side: the victim is a client, and this process observes. */

static void
client_victim(int fd, void *arg)
{
	const struct death *self = arg;
	struct segment *segment;

	child_attach(self->daemon.socket, self->segment_name, self->flags, &segment);
	child_rest(fd);
}

static void
death_on_event(const struct segment_event *event, void *arg)
{
	struct death *self = arg;

	if (event->lost)
		bench_fail("the daemon lost %llu events", (unsigned long long)event->lost);
	if (event->pid == self->awaited && event->what == self->awaited_what)
		self->came_ns = clock_monotonic_ns();
}

/* Waits until the observer is told this of the process. */
static void
death_await(struct death *self, pid_t pid, int what)
{
	int r;

	self->awaited = pid;
	self->awaited_what = what;
	self->came_ns = 0;
	while (!self->came_ns) {
		death_poll(self->event_fd, what == SEGMENT_EVENT_DIED ? "a death's event" : "an attachment's event");
		r = segment_dispatch(self->client, death_on_event, self);
		if (r < 0)
			bench_fail("segment_dispatch: %s (%s)", strerror(-r), segment_error());
	}
}

/* The daemon's own row of the segment. */
static struct protocol_segment
death_row(const struct death *self)
{
	cleanup_close int fd = wire_connect(self->daemon.socket);
	struct protocol_segment row;

	wire_hello(fd);
	wire_welcome(fd);
	wire_show(fd, 2, self->segment_name, &row);
	return row;
}

static void
client_run(void *arg, struct bench_round *round)
{
	struct death *self = arg;
	struct child victim;
	uint64_t start_ns;

	for (unsigned i = 0; i < self->n; i++) {
		child_start(self->bench, self->bench->server_cpu, -1, client_victim, arg, &victim);
		child_await(&victim);
		death_await(self, victim.pid, SEGMENT_EVENT_ATTACHED);
		child_settle();
		start_ns = death_kill(&victim);
		death_await(self, victim.pid, SEGMENT_EVENT_DIED);
		samples_add(&round->samples, self->came_ns - start_ns);
		if (death_row(self).writers != 1)
			bench_fail("a death was told, and the daemon's table still has the dead");
		child_end(&victim);
	}
}

/*
 * Such clients again, to their pidfds in the bare loop, while the daemon is stopped: what the kernel takes to end a client,
 * which is more than it takes to end a bare process, and none of the daemon's time.
 */
static void
unheard_run(void *arg, struct bench_round *round)
{
	struct death *self = arg;
	struct child victim;

	for (unsigned i = 0; i < self->n; i++) {
		child_start(self->bench, self->bench->server_cpu, -1, client_victim, arg, &victim);
		child_await(&victim);
		death_await(self, victim.pid, SEGMENT_EVENT_ATTACHED);
		(void)kill(self->daemon.pid, SIGSTOP);
		death_time_bare(&victim, round);
		(void)kill(self->daemon.pid, SIGCONT);
		death_await(self, victim.pid, SEGMENT_EVENT_DIED);
		child_end(&victim);
	}
}

static void
death_observe(struct death *self)
{
	int r = segment_connect(&self->client, self->daemon.socket);

	if (r == 0)
		r = segment_attach(self->client, self->segment_name, NULL, SEGMENT_WRITE | SEGMENT_DONTFORK, &self->segment);
	if (r == 0)
		r = self->event_fd = segment_event_fd(self->client);
	if (r < 0)
		bench_fail("the observer: %s (%s)", strerror(-r), segment_error());
}

static void
death_start(struct bench *bench, struct death *self, const struct daemon_config *config)
{
	self->bench = bench;
	daemon_init(&self->daemon, config);
	daemon_start(bench, &self->daemon);
	bench_pin(bench, self->daemon.pid, bench->client_cpu);
	bench_pin(bench, 0, bench->client_cpu);
	death_observe(self);
}

static void
death_stop(struct bench *bench, struct death *self)
{
	(void)segment_detach(self->segment);
	segment_disconnect(self->client);
	daemon_stop(bench, &self->daemon);
	daemon_deinit(&self->daemon);
	bench_pin(bench, 0, -1);
}

void
death_told(struct bench *bench, const struct bench_goal *goal)
{
	struct daemon_config config = { 0 };
	struct death self = { .n = DEATHS, .n_bare = DEATHS, .segment_name = DAEMON_SEGMENT, .memory_fd = -1 };
	const struct bench_side sides[] = {
		{ "kill to pidfd in a bare epoll loop", bare_run, &self },
		{ "bare loop tells a third: no baseline", told_run, &self, true },
		{ "such a client's own end, bare loop: no baseline", unheard_run, &self, true },
		{ "segmentd, kill to the observer's event", client_run, &self },
	};

	death_start(bench, &self, &config);
	child_start(bench, bench->client_cpu, -1, teller_run, NULL, &self.teller);
	bench_own(bench, self.teller.pid);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench_disown(bench, self.teller.pid);
	child_end(&self.teller);
	death_stop(bench, &self);
}

/* D2: the victim has a large segment mapped: of huge pages, as the daemon makes them, or of base pages, as they come. */

#define LARGE_SEGMENT	"large"

static int
large_memory(uint64_t size_bytes)
{
	int fd = memfd_create("bench", MFD_CLOEXEC);
	void *at;

	if (fd < 0 || ftruncate(fd, (off_t)size_bytes) != 0)
		bench_fail("the baseline's memfd: %s", strerror(errno));
	at = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		bench_fail("the baseline's memfd cannot be mapped: %s", strerror(errno));
	(void)madvise(at, size_bytes, MADV_NOHUGEPAGE);
	for (uint64_t i = 0; i < size_bytes; i += 4096)
		((volatile char *)at)[i] = 0;
	(void)munmap(at, size_bytes);
	return fd;
}

void
death_large(struct bench *bench, const struct bench_goal *goal)
{
	char text[256];
	struct daemon_config config = { .segments = text };
	struct death self = {
		.n = DEATHS_LARGE, .n_bare = DEATHS_LARGE_BARE, .segment_name = LARGE_SEGMENT, .memory_fd = -1,
		.memory_bytes = bench->provision_bytes, .flags = SEGMENT_POPULATE,
	};
	const struct bench_side sides[] = {
		{ "the bare loop, base pages", bare_run, &self },
		{ "such a client's own end, bare loop: no baseline", unheard_run, &self, true },
		{ "segmentd, kill to the observer's event", client_run, &self },
	};

	if (settings_meminfo_bytes("MemAvailable:") < 2 * bench->provision_bytes + GIB) {
		bench_skip(bench, goal, "less memory is available than twice the size and 1 GiB; BENCH_SIZE=1024 takes less");
		return;
	}
	(void)snprintf(text, sizeof(text), ",\n  { name = \"" LARGE_SEGMENT "\"; size = \"%lluMiB\"; prefault = true; }",
	    (unsigned long long)(bench->provision_bytes / MIB));
	death_start(bench, &self, &config);
	if ((double)death_row(&self).huge_bytes >= DEATH_HUGE_SHARE * (double)bench->provision_bytes) {
		self.memory_fd = large_memory(bench->provision_bytes);
		bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
		(void)close(self.memory_fd);
	} else {
		bench_skip(bench, goal, "this host gives the daemon no huge pages for a segment of that size");
	}
	death_stop(bench, &self);
}
