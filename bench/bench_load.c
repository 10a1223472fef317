/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * H5 and H6: many clients in a closed loop. One generator plays all of them from one CPU; it speaks either to a bare server
 * or to the daemon, and differs between the two only in the messages (struct dialect).
 */
#include "config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#include "bench/baseline.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/wire.h"

#define LOAD_ROUND_NS		(500 * NS_PER_MS)
#define LOAD_WARM_UP_NS		(50 * NS_PER_MS)
#define LOAD_EVENTS		256
#define LOAD_STALL_MS		5000
#define LOAD_FDS_MAX		4096		/* descriptors that the generator can have */

struct load;

/* How clients talk to one of the two servers. */
struct dialect {
	int (*connect)(struct load *load);		/* a connection that takes requests */
	void (*ask)(struct load *load, int fd);
	bool (*receive)(struct load *load, int fd);	/* whether that was the reply to a request */
};

struct load {
	struct baseline baseline;
	struct daemon daemon;
	const struct dialect *dialect;
	unsigned n_clients;
	bool reconnect;			/* a connection for each request */
	int epoll_fd;
	struct protocol_attach attach;
	uint64_t serial;
	uint64_t asked_ns[LOAD_FDS_MAX];
};

static int
bare_connect(struct load *load)
{
	return baseline_connect(&load->baseline);
}

static void
bare_ask(struct load *load, int fd)
{
	(void)load;
	baseline_ask(fd);
}

static bool
bare_receive(struct load *load, int fd)
{
	(void)load;
	(void)close(baseline_receive(fd));
	return true;
}

static const struct dialect bare = { bare_connect, bare_ask, bare_receive };

static int
daemon_connect(struct load *load)
{
	int fd = wire_connect(load->daemon.socket);

	wire_hello(fd);
	return fd;
}

/* Serials only need to rise within a session, so one counter serves them all. */
static void
daemon_ask(struct load *load, int fd)
{
	wire_send(fd, &load->attach.header, ++load->serial);
}

static bool
daemon_receive(struct load *load, int fd)
{
	int segment_fd = wire_either(fd);

	(void)load;
	if (segment_fd < 0)
		return false;
	(void)close(segment_fd);
	return true;
}

static const struct dialect wire = { daemon_connect, daemon_ask, daemon_receive };

static int
load_connect(struct load *load)
{
	struct epoll_event event = { .events = EPOLLIN };
	int fd = load->dialect->connect(load);

	if (fd >= LOAD_FDS_MAX)
		bench_fail("too many clients for the generator");
	event.data.fd = fd;
	if (epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
		bench_fail("epoll: %s", strerror(errno));
	return fd;
}

static void
load_ask(struct load *load, int fd, uint64_t now_ns)
{
	load->asked_ns[fd] = now_ns;
	load->dialect->ask(load, fd);
}

/* One readable connection: takes the reply, and asks again. True: a request was answered. */
static bool
load_turn(struct load *load, int fd, int *fds, uint64_t *ret_asked_ns)
{
	uint64_t now_ns;
	int fresh;

	if (!load->dialect->receive(load, fd))
		return false;
	*ret_asked_ns = load->asked_ns[fd];
	now_ns = clock_monotonic_ns();
	if (load->reconnect) {
		(void)close(fd);
		fds[fd] = -1;
		fresh = load_connect(load);
		fds[fresh] = fresh;
		load_ask(load, fresh, now_ns);
	} else {
		load_ask(load, fd, now_ns);
	}
	return true;
}

/* Replies that are still under way at the end of a round must not meet the next one: the connections are closed. */
static void
load_close(struct load *load, const int *fds)
{
	int i;

	for (i = 0; i < LOAD_FDS_MAX; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
	}
	(void)close(load->epoll_fd);
}

static void
load_generate(struct load *load, struct bench_round *round)
{
	uint64_t start_ns, begin_ns, now_ns, asked_ns;
	struct epoll_event events[LOAD_EVENTS];
	int fds[LOAD_FDS_MAX];
	unsigned i;
	int fd, k, n;

	memset(fds, 0xff, sizeof(fds));
	load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	for (i = 0; i < load->n_clients; i++) {
		fd = load_connect(load);
		fds[fd] = fd;
	}
	start_ns = clock_monotonic_ns();
	for (fd = 0; fd < LOAD_FDS_MAX; fd++) {
		if (fds[fd] >= 0)
			load_ask(load, fd, start_ns);
	}
	begin_ns = start_ns + LOAD_WARM_UP_NS;
	now_ns = start_ns;
	while (now_ns < begin_ns + LOAD_ROUND_NS) {
		n = epoll_wait(load->epoll_fd, events, LOAD_EVENTS, LOAD_STALL_MS);
		if (n <= 0)
			bench_fail("no reply to any of %u clients in %d s", load->n_clients, LOAD_STALL_MS / 1000);
		for (k = 0; k < n; k++) {
			if (!load_turn(load, events[k].data.fd, fds, &asked_ns))
				continue;
			now_ns = clock_monotonic_ns();
			if (now_ns > begin_ns)
				samples_add(&round->samples, now_ns - asked_ns);
		}
	}
	round->figure = (double)round->samples.n * 1e9 / (double)(now_ns - begin_ns);
	load_close(load, fds);
}

static void
load_bare(void *arg, struct bench_round *round)
{
	struct load *load = arg;

	load->dialect = &bare;
	load_generate(load, round);
}

static void
load_daemon(void *arg, struct bench_round *round)
{
	struct load *load = arg;

	load->dialect = &wire;
	load_generate(load, round);
}

static void
load_measure(struct bench *bench, const struct bench_goal *goal, enum baseline_kind kind, unsigned n_clients,
    bool reconnect)
{
	struct load *load = calloc(1, sizeof(*load));
	const struct bench_side sides[] = {
		{ kind == BASELINE_LIBEVENT ? "minimal libevent server" : "minimal epoll server", load_bare, load },
		{ "segmentd", load_daemon, load },
	};
	struct daemon_config config = { 0 };

	if (!load)
		bench_fail("no memory");
	load->n_clients = n_clients;
	load->reconnect = reconnect;
	wire_attach_init(&load->attach, DAEMON_SEGMENT);
	load->serial = 1;
	baseline_start(bench, kind, bench->server_cpu, MIB, &load->baseline);
	daemon_init(&load->daemon, &config);
	daemon_start(bench, &load->daemon);
	bench_pin(bench, load->daemon.pid, bench->server_cpu);
	bench_pin(bench, 0, bench->client_cpu);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench_pin(bench, 0, -1);
	daemon_stop(bench, &load->daemon);
	daemon_deinit(&load->daemon);
	baseline_stop(bench, &load->baseline);
	free(load);
}

void
load_open_100(struct bench *bench, const struct bench_goal *goal)
{
	load_measure(bench, goal, BASELINE_LIBEVENT, 100, false);
}

void
load_open_1000(struct bench *bench, const struct bench_goal *goal)
{
	load_measure(bench, goal, BASELINE_LIBEVENT, 1000, false);
}

void
load_storm(struct bench *bench, const struct bench_goal *goal)
{
	load_measure(bench, goal, BASELINE_EPOLL, 100, true);
}
