/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * H8: the descriptors of many segments come to a daemon's successor. Of the box that is reading what the one before has put aside,
 * a long time ago, and putting all of it aside anew; bare it is sending them to another process.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/families.h"
#include "bench/scale.h"
#include "daemon/box.h"
#include "daemon/box_pair.h"

#define HANDOVER_FDS		9000
#define HANDOVER_MESSAGE	253	/* descriptors that the kernel takes in one message, at most */

struct handing {
	struct bench *bench;
	unsigned per_message;
	int fds[HANDOVER_FDS];
};

static int
make_object(void)
{
	int fd = memfd_create("handed-over", MFD_CLOEXEC);

	if (fd < 0)
		bench_fail("a memfd cannot be made: %s", strerror(errno));
	return fd;
}

/* Takes messages until it has them all, and says so; and again, until the bench hangs up. */
static void
successor_run(int fd, void *arg)
{
	static int fds[HANDOVER_FDS];
	union {
		char bytes[CMSG_SPACE(sizeof(int) * HANDOVER_MESSAGE)];
		struct cmsghdr align;
	} control;
	unsigned n = 0, n_more;

	(void)arg;
	while (n < HANDOVER_FDS) {
		struct iovec iov = { &(char){ 0 }, 1 };
		struct msghdr msg = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
		};
		const struct cmsghdr *c;

		if (recvmsg(fd, &msg, MSG_CMSG_CLOEXEC) != 1 || !(c = CMSG_FIRSTHDR(&msg)) || msg.msg_flags & MSG_CTRUNC)
			child_fail("descriptors were lost");
		n_more = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds + n, CMSG_DATA(c), n_more * sizeof(int));
		n += n_more;
	}
	child_say(fd);
	child_sleep();
}

static void
handing_send(const struct handing *self, int fd, unsigned from, unsigned n)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * HANDOVER_MESSAGE)];
		struct cmsghdr align;
	} control = { .bytes = { 0 } };
	struct iovec iov = { &(char){ 1 }, 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = CMSG_SPACE(sizeof(int) * n),
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	*c = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int) * n) };
	memcpy(CMSG_DATA(c), self->fds + from, sizeof(int) * n);
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) != 1)
		bench_fail("%u descriptors cannot be sent: %s", n, strerror(errno));
}

static void
handing_run(void *arg, struct bench_round *round)
{
	struct handing *self = arg;
	struct child successor;
	uint64_t start_ns;

	for (unsigned i = 0; i < HANDOVER_FDS; i++)
		self->fds[i] = make_object();
	child_start(self->bench, self->bench->server_cpu, -1, successor_run, NULL, &successor);
	child_settle();
	start_ns = clock_monotonic_ns();
	for (unsigned i = 0; i < HANDOVER_FDS; i += self->per_message)
		handing_send(self, successor.fd, i, (unsigned)min_u64(self->per_message, HANDOVER_FDS - i));
	child_await(&successor);
	samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	child_end(&successor);
	for (unsigned i = 0; i < HANDOVER_FDS; i++)
		(void)close(self->fds[i]);
}

/* The box's side. */

struct boxing {
	struct bench *bench;
	const char *notify;		/* the manager's socket: nobody reads it but in between */
	int manager_fd;
	bool puts_aside;		/* the successor does, after it has read */
	int end_fd;			/* in which they lie */
};

static struct {
	unsigned n;
	struct box_label labels[HANDOVER_FDS];
	int fds[HANDOVER_FDS];
} taken;

static int
boxing_take(const struct box_label *label, int fd, void *arg)
{
	(void)arg;
	if (taken.n == HANDOVER_FDS)
		child_fail("there are more than were put aside");
	taken.labels[taken.n] = *label;
	taken.fds[taken.n++] = fd;
	return 0;
}

static void
boxing_tell(const char *text, void *arg)
{
	(void)arg;
	child_fail("%s", text);
}

static void
boxing_fill(struct box *box, void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < taken.n; i++) {
		if (box_put(box, &taken.labels[i], taken.fds[i]))
			child_fail("not all can be put aside anew; raise net.core.wmem_max");
	}
}

/* What the daemon's successor does, with the event loop that it has anyway. */
static void
boxing_successor(int fd, void *arg)
{
	const struct boxing *self = arg;
	struct inherited_entry entry = { .fd = self->end_fd };
	struct inherited inherited = { .listen_fd = -1, .n = 1, .entries = &entry };
	struct event_base *base = event_base_new();
	struct box box;

	box_pair_name(1, BOX_A, entry.name);
	(void)setenv("NOTIFY_SOCKET", self->notify, 1);
	if (!base || box_init(&box, base, boxing_fill, NULL))
		child_fail("the box cannot be used");
	child_say(fd);
	if (!child_hear(fd))
		_exit(EXIT_SUCCESS);
	if (box_peek(&box, &inherited, boxing_take, boxing_tell, NULL) || taken.n != HANDOVER_FDS)
		child_fail("descriptors were lost");
	if (self->puts_aside)
		box_begin(&box);
	if (self->puts_aside && box_n_live(&box) != HANDOVER_FDS)
		child_fail("nothing was put aside anew");
	child_say(fd);
	child_sleep();
}

/* As the daemon before has left them. */
static struct box_pair *
boxing_leave(void)
{
	struct box_label labels[HANDOVER_MESSAGE];
	int fds[HANDOVER_MESSAGE];
	struct box_pair *pair;

	if (box_pair_new(1, &pair))
		bench_fail("no sockets: %s", strerror(errno));
	for (unsigned i = 0; i < HANDOVER_FDS; i += HANDOVER_MESSAGE) {
		unsigned n = (unsigned)min_u64(HANDOVER_MESSAGE, HANDOVER_FDS - i);

		for (unsigned k = 0; k < n; k++) {
			labels[k] = (struct box_label){ .kind = BOX_SEGMENT_DATA, .id = i + k };
			fds[k] = make_object();
		}
		if (box_pair_send(pair, BOX_B, labels, fds, n))
			bench_fail("%u descriptors cannot be put aside: %s", i + n, strerror(errno));
		for (unsigned k = 0; k < n; k++)
			(void)close(fds[k]);
	}
	return pair;
}

static void
boxing_run(void *arg, struct bench_round *round)
{
	struct boxing *self = arg;
	struct box_pair *pair = boxing_leave();
	struct child successor;
	uint64_t start_ns;
	char byte;

	self->end_fd = pair->ends[BOX_A];
	child_start(self->bench, self->bench->server_cpu, self->end_fd, boxing_successor, self, &successor);
	child_await(&successor);
	child_settle();
	start_ns = clock_monotonic_ns();
	child_tell(&successor);
	child_await(&successor);
	samples_add(&round->samples, clock_monotonic_ns() - start_ns);
	child_end(&successor);
	while (recv(self->manager_fd, &byte, sizeof(byte), MSG_DONTWAIT) >= 0)
		continue;
	(void)box_pair_free(pair);
}

static int
boxing_manager(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		bench_fail("%s: %s", path, strerror(errno));
	return fd;
}

void
box_handed_over(struct bench *bench, const struct bench_goal *goal)
{
	static struct handing single, full;
	struct boxing reading, whole;
	const struct bench_side sides[] = {
		{ "1 a message", handing_run, &single, true },
		{ "box, read alone", boxing_run, &reading, true },
		{ "253 a message", handing_run, &full },
		{ "box, read and put aside anew", boxing_run, &whole },
	};
	char directory[64], path[96];

	if (scale_largest(0) < HANDOVER_FDS) {
		bench_skip(bench, goal, "this process may not have as many descriptors (ulimit -n)");
		return;
	}
	bench_make_directory(directory, sizeof(directory));
	(void)snprintf(path, sizeof(path), "%s/notify", directory);
	single = (struct handing){ .bench = bench, .per_message = 1 };
	full = (struct handing){ .bench = bench, .per_message = HANDOVER_MESSAGE };
	reading = (struct boxing){ .bench = bench, .notify = path, .manager_fd = boxing_manager(path) };
	whole = reading;
	whole.puts_aside = true;
	bench_pin(bench, 0, bench->client_cpu);
	bench_measure(bench, goal, sides, BASE_ARRAY_SIZE(sides));
	bench_pin(bench, 0, -1);
	(void)close(reading.manager_fd);
	bench_remove_directory(directory);
}
