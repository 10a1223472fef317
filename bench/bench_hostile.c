/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * W: one uid has 4,096 connections and is as much of a nuisance as it can be, and another one attaches and gives back. The sides are
 * this with nobody about, and with the nuisance going on. The daemon and who asks are bound to one CPU each, and the nuisance to the
 * latter: what it takes of a CPU is the scheduler's matter, and it never sleeps. So it is at the lowest priority there.
 */
#include "config.h"

#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/daemon.h"
#include "bench/families.h"
#include "bench/wire.h"

#define HOSTILE_SESSIONS	4096
#define HOSTILE_UID		65533
#define HOSTILE_FDS		(3 * HOSTILE_SESSIONS)	/* connections and pidfds in the daemon, and some */
#define HOSTILE_PIPELINE	16			/* requests that one sends before the next one does */
#define HOSTILE_TIMES		4000			/* attachments of a round */
#define HOSTILE_DRAIN_BYTES	PROTOCOL_MESSAGE_MAX

struct hostile;

/* A way of being a nuisance: what it does to one of its connections when its turn has come. */
struct hostile_way {
	const char *name;
	void (*act)(struct hostile *hostile, int *fd);
};

struct hostile {
	struct bench *bench;
	struct daemon daemon;
	const struct hostile_way *way;		/* NULL: each of them in turn */
	struct child child;
	struct protocol_attach attach;
	int honest_fd;
	uint64_t serial;
	int fds[HOSTILE_SESSIONS];
	unsigned turn;
	char drain[HOSTILE_DRAIN_BYTES];
};

/* Of the nuisance. Nothing of it waits, and what fails is what it is after. */

static int
hostile_connect(struct hostile *hostile)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO, .serial = 1 },
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	wire_address(hostile->daemon.socket, &address);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		(void)send(fd, &hello, sizeof(hello), MSG_NOSIGNAL);
	else
		close_fd(&fd);
	return fd;
}

static void
hostile_send(struct hostile *hostile, int fd, struct protocol_header *request)
{
	request->serial = ++hostile->serial + 1;
	(void)send(fd, request, request->size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* What has come, and the descriptors with it. */
static void
hostile_drain(struct hostile *hostile, int fd)
{
	while (recv(fd, hostile->drain, sizeof(hostile->drain), MSG_DONTWAIT) > 0)
		;
}

/* Requests without end, each of a page of rows. */
static void
hostile_flood(struct hostile *hostile, int *fd)
{
	struct protocol_clients clients = { .header = { .size = sizeof(clients), .type = PROTOCOL_CLIENTS } };

	for (unsigned i = 0; i < HOSTILE_PIPELINE; i++)
		hostile_send(hostile, *fd, &clients.header);
	hostile_drain(hostile, *fd);
}

/* A message that is none: it is told so and disconnected, and comes again. */
static void
hostile_halve(struct hostile *hostile, int *fd)
{
	struct protocol_clients clients = { .header = { .size = sizeof(clients), .type = PROTOCOL_CLIENTS } };

	(void)send(*fd, &clients, sizeof(clients) / 2, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_fd(fd);
}

/* It attaches and never reads. */
static void
hostile_ignore(struct hostile *hostile, int *fd)
{
	hostile_send(hostile, *fd, &hostile->attach.header);
}

/* It attaches, and gives back by closing what it got. */
static void
hostile_attach(struct hostile *hostile, int *fd)
{
	hostile_drain(hostile, *fd);
	hostile_send(hostile, *fd, &hostile->attach.header);
}

/* It sends descriptors along, with what takes none; so it is disconnected, and comes again. */
static void
hostile_bring(struct hostile *hostile, int *fd)
{
	struct protocol_clients clients = {
		.header = { .size = sizeof(clients), .type = PROTOCOL_CLIENTS, .serial = ++hostile->serial + 1 },
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int) * PROTOCOL_FDS_MAX)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec io = { &clients, sizeof(clients) };
	struct msghdr message = {
		.msg_iov = &io, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = CMSG_SPACE(sizeof(int)),
	};
	struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

	rights->cmsg_level = SOL_SOCKET;
	rights->cmsg_type = SCM_RIGHTS;
	rights->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(rights), fd, sizeof(*fd));
	(void)sendmsg(*fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	close_fd(fd);
}

/* It comes and goes. */
static void
hostile_reconnect(struct hostile *hostile, int *fd)
{
	(void)hostile;
	close_fd(fd);
}

static const struct hostile_way hostile_ways[] = {
	{ "floods", hostile_flood },
	{ "half messages", hostile_halve },
	{ "never reading", hostile_ignore },
	{ "attach and detach", hostile_attach },
	{ "descriptors sent along", hostile_bring },
	{ "connect and close", hostile_reconnect },
};

static void
hostile_act(struct hostile *hostile, unsigned i)
{
	const struct hostile_way *way = hostile->way;

	if (!way)
		way = &hostile_ways[hostile->turn++ % BASE_ARRAY_SIZE(hostile_ways)];
	if (hostile->fds[i] < 0)
		hostile->fds[i] = hostile_connect(hostile);
	if (hostile->fds[i] >= 0)
		way->act(hostile, &hostile->fds[i]);
	if (hostile->fds[i] < 0)
		hostile->fds[i] = hostile_connect(hostile);
}

static void
hostile_run(int fd, void *arg)
{
	struct hostile *hostile = arg;
	unsigned i;

	(void)sched_setscheduler(0, SCHED_IDLE, &(struct sched_param) { 0 });
	if (geteuid() == 0 && (setgroups(0, NULL) || setgid(HOSTILE_UID) || setuid(HOSTILE_UID)))
		child_fail("the hostile uid: %s", strerror(errno));
	for (i = 0; i < HOSTILE_SESSIONS; i++) {
		hostile->fds[i] = -1;
		hostile_act(hostile, i);
	}
	child_say(fd);
	for (i = 0;; i = (i + 1) % HOSTILE_SESSIONS)
		hostile_act(hostile, i);
}

/* Of who is to be none the worse for it. */

static void
honest_run(struct hostile *hostile, struct bench_round *round)
{
	for (unsigned i = 0; i < HOSTILE_TIMES; i++) {
		uint64_t start_ns = clock_monotonic_ns();
		int fd;

		wire_send(hostile->honest_fd, &hostile->attach.header, ++hostile->serial + 1);
		fd = wire_attached(hostile->honest_fd);
		samples_add(&round->samples, clock_monotonic_ns() - start_ns);
		(void)close(fd);
	}
}

static void
idle_run(void *arg, struct bench_round *round)
{
	honest_run(arg, round);
}

static void
beset_run(void *arg, struct bench_round *round)
{
	struct hostile *hostile = arg;

	child_start(hostile->bench, hostile->bench->client_cpu, -1, hostile_run, hostile, &hostile->child);
	bench_own(hostile->bench, hostile->child.pid);
	child_await(&hostile->child);
	honest_run(hostile, round);
	bench_disown(hostile->bench, hostile->child.pid);
	child_end(&hostile->child);
}

void
hostile_beset(struct bench *bench, const struct bench_goal *goal)
{
	struct hostile *hostile = calloc(1, sizeof(*hostile));
	const struct bench_side sides[] = {
		{ "nobody else is there", idle_run, hostile },
		{ "4,096 hostile connections", beset_run, hostile },
	};
	const struct daemon_config config = {
		.segments = ", { name = \"open\"; size = \"64KiB\"; mode = \"0666\"; }",
	};
	struct rlimit limit;

	if (!hostile)
		bench_fail("no memory");
	if (geteuid() != 0 || getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_max < HOSTILE_FDS) {
		bench_skip(bench, goal, geteuid() ? "another uid needs root" : "too few descriptors for 4,096 connections");
		free(hostile);
		return;
	}
	hostile->bench = bench;
	for (size_t i = 0; goal->arg && i < BASE_ARRAY_SIZE(hostile_ways); i++)
		if (strcmp(hostile_ways[i].name, goal->arg) == 0)
			hostile->way = &hostile_ways[i];
	wire_attach_init(&hostile->attach, "open");
	daemon_init(&hostile->daemon, &config);
	(void)chmod(hostile->daemon.directory, 0755);
	daemon_start(bench, &hostile->daemon);
	bench_pin(bench, hostile->daemon.pid, bench->server_cpu);
	bench_pin(bench, 0, bench->client_cpu);
	hostile->honest_fd = wire_connect(hostile->daemon.socket);
	wire_hello(hostile->honest_fd);
	wire_welcome(hostile->honest_fd);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	(void)close(hostile->honest_fd);
	bench_pin(bench, 0, -1);
	daemon_stop(bench, &hostile->daemon);
	daemon_deinit(&hostile->daemon);
	free(hostile);
}
