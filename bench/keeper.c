/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/keeper.h"
#include "bench/wire.h"

#define KEEPER_BACKLOG		4096
#define KEEPER_TIMEOUT_MS	120000
#define KEEPER_MESSAGE_FDS	4
#define KEEPER_ENDS		2	/* of a box: they are removed one by one */

/* What one message asks for. */
struct wish {
	bool stores, removes;
	char name[KEEPER_NAME_SIZE];
};

static int
keeper_listen(const char *path)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	wire_address(path, &address);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 || listen(fd, KEEPER_BACKLOG) != 0)
		bench_fail("%s: %s", path, strerror(errno));
	return fd;
}

static void
keeper_forget(struct keeper *keeper, const char *name)
{
	unsigned i = keeper->n_stored;

	while (i-- > 0) {
		if (!streq(keeper->stored[i].name, name))
			continue;
		close_fd(&keeper->stored[i].fd);
		keeper->stored[i] = keeper->stored[--keeper->n_stored];
	}
	keeper->has_removed = true;
}

static bool
keeper_has(const struct keeper *keeper, const char *name, int fd)
{
	for (unsigned i = 0; i < keeper->n_stored; i++) {
		if (streq(keeper->stored[i].name, name) &&
		    syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, keeper->stored[i].fd, fd) == 0)
			return true;
	}
	return false;
}

/* Consumes the descriptor. The same description is not kept twice. */
static void
keeper_keep(struct keeper *keeper, const char *name, int fd)
{
	unsigned i = keeper->n_stored;

	if (keeper_has(keeper, name, fd)) {
		(void)close(fd);
		return;
	}
	keeper->n_stored++;
	if (i == KEEPER_STORED_MAX)
		daemon_fail(&keeper->daemon, "the daemon stores more descriptors than it needs");
	keeper->stored[i].fd = fd;
	(void)snprintf(keeper->stored[i].name, sizeof(keeper->stored[i].name), "%s", name);
}

static void
keeper_understand(struct keeper *keeper, char *text, struct wish *ret_wish)
{
	static const char name[] = "FDNAME=";
	char *line, *rest = NULL;

	*ret_wish = (struct wish){ .name = "stored" };
	for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
		ret_wish->stores |= streq(line, "FDSTORE=1");
		ret_wish->removes |= streq(line, "FDSTOREREMOVE=1");
		keeper->is_ready |= streq(line, "READY=1");
		if (strncmp(line, name, strlen(name)) == 0)
			(void)snprintf(ret_wish->name, sizeof(ret_wish->name), "%s", line + strlen(name));
	}
}

/* One message, if there is one. What comes with it and is not to be kept is closed: of a barrier, too. */
static bool
keeper_hear(struct keeper *keeper)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int) * KEEPER_MESSAGE_FDS)];
		struct cmsghdr align;
	} control;
	char text[4096];
	struct iovec iov = { text, sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control.bytes, .msg_controllen = sizeof(control.bytes),
	};
	ssize_t n = recvmsg(keeper->daemon.notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	unsigned n_fds = c ? (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)) : 0;
	int fds[KEEPER_MESSAGE_FDS];
	struct wish wish;

	if (n < 0)
		return false;
	text[n] = '\0';
	if (n_fds > 0)
		memcpy(fds, CMSG_DATA(c), n_fds * sizeof(int));
	keeper_understand(keeper, text, &wish);
	if (wish.removes)
		keeper_forget(keeper, wish.name);
	for (unsigned i = 0; i < n_fds; i++) {
		if (wish.stores)
			keeper_keep(keeper, wish.name, fds[i]);
		else
			(void)close(fds[i]);
	}
	return true;
}

static void
keeper_await(struct keeper *keeper)
{
	struct pollfd pollfd = { .fd = keeper->daemon.notify_fd, .events = POLLIN };

	if (keeper_hear(keeper))
		return;
	if (poll(&pollfd, 1, KEEPER_TIMEOUT_MS) != 1)
		daemon_fail(&keeper->daemon, "the daemon says nothing for two minutes");
}

static void
keeper_launch(struct bench *bench, struct keeper *keeper)
{
	char names[DAEMON_HANDED_MAX * KEEPER_NAME_SIZE] = "segmentd.socket";
	int fds[DAEMON_HANDED_MAX] = { keeper->listen_fd };
	size_t at = strlen(names);

	for (unsigned i = 0; i < keeper->n_stored; i++) {
		fds[1 + i] = keeper->stored[i].fd;
		at += (size_t)snprintf(names + at, sizeof(names) - at, ":%s", keeper->stored[i].name);
	}
	keeper->is_ready = keeper->has_removed = false;
	keeper->daemon.handed = fds;
	keeper->daemon.handed_names = names;
	keeper->daemon.n_handed = 1 + keeper->n_stored;
	daemon_launch(bench, &keeper->daemon);
	keeper->daemon.n_handed = 0;
}

void
keeper_start(struct bench *bench, struct keeper *keeper, const struct daemon_config *config)
{
	*keeper = (struct keeper){ .listen_fd = -1 };
	daemon_init(&keeper->daemon, config);
	keeper->listen_fd = keeper_listen(keeper->daemon.socket);
	keeper_launch(bench, keeper);
	while (!keeper->is_ready || keeper->n_stored == 0)
		keeper_await(keeper);
}

uint64_t
keeper_restart(struct bench *bench, struct keeper *keeper)
{
	uint64_t start_ns = clock_monotonic_ns();

	(void)kill(keeper->daemon.pid, SIGKILL);
	(void)waitpid(keeper->daemon.pid, NULL, 0);
	bench_disown(bench, keeper->daemon.pid);
	while (keeper_hear(keeper))
		continue;
	keeper_launch(bench, keeper);
	return start_ns;
}

static unsigned
keeper_n_ends(const struct keeper *keeper)
{
	unsigned n = 0;

	for (unsigned i = 0; i < keeper->n_stored; i++)
		n += strncmp(keeper->stored[i].name, "box-", 4) == 0;
	return n;
}

void
keeper_settle(struct keeper *keeper)
{
	while (!keeper->is_ready || !keeper->has_removed || keeper_n_ends(keeper) > KEEPER_ENDS)
		keeper_await(keeper);
}

void
keeper_stop(struct bench *bench, struct keeper *keeper)
{
	daemon_stop(bench, &keeper->daemon);
	for (unsigned i = 0; i < keeper->n_stored; i++)
		close_fd(&keeper->stored[i].fd);
	close_fd(&keeper->listen_fd);
	daemon_deinit(&keeper->daemon);
}
