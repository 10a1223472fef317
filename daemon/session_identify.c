/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who a peer is, as the kernel has it from when it connected; also where it has died since, and others have its socket. */
#include "config.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/session_parts.h"
#include "host/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD	77		/* COMPAT(linux 6.5): glibc 2.36 does not name it */
#endif

#define GROUPS_MAX	65536
#define OVERFLOW_ID	65534		/* unless an administrator has set another */

/*
 * What the kernel says in place of a uid or gid that our user namespace has no number for; UINT32_MAX: it has one for each, as the
 * host's first has. Where the namespace has that number, too, nobody can tell the two apart.
 */
static uint32_t
session_overflow_id(const char *map_path, const char *overflow_path)
{
	unsigned long first, outside, n = 0, overflow = OVERFLOW_ID;
	cleanup_fclose FILE *map = fopen(map_path, "re"), *number = fopen(overflow_path, "re");

	if (map && fscanf(map, "%lu %lu %lu", &first, &outside, &n) == 3 && n == UINT32_MAX)
		return UINT32_MAX;
	if (number && fscanf(number, "%lu", &overflow) != 1)
		overflow = OVERFLOW_ID;
	return (uint32_t)overflow;
}

/* Asked of the kernel once: maps are written once, and nobody but an administrator writes the other two. */
static struct {
	bool is_known;
	uint32_t uid, gid;
} session_overflow;

static void
session_know_overflow(void)
{
	if (session_overflow.is_known)
		return;
	session_overflow.uid = session_overflow_id("/proc/self/uid_map", "/proc/sys/kernel/overflowuid");
	session_overflow.gid = session_overflow_id("/proc/self/gid_map", "/proc/sys/kernel/overflowgid");
	session_overflow.is_known = true;
}

/* Groups that have no number are left out. */
static void
session_drop_unknown_groups(struct identity *identity)
{
	size_t n = 0;

	for (size_t i = 0; i < identity->n_groups; i++)
		if (session_overflow.gid == UINT32_MAX || identity->groups[i] != session_overflow.gid)
			identity->groups[n++] = identity->groups[i];
	identity->n_groups = n;
}

static int
session_identify_groups(struct session *session)
{
	struct identity *identity = &session->identity;
	socklen_t size = 0;

	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE || size == 0)
		return 0;
	if (size > GROUPS_MAX * sizeof(gid_t))
		return -E2BIG;
	identity->groups = malloc(size);
	if (!identity->groups)
		return -ENOMEM;
	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERGROUPS, identity->groups, &size))
		return -errno;
	identity->n_groups = size / sizeof(gid_t);
	session_drop_unknown_groups(identity);
	identity_order_groups(identity);
	return 0;
}

/*
 * COMPAT(linux 6.5): without SO_PEERPIDFD the pid is looked up, and could be another process's by then. It is not while the
 * one that connected keeps the socket open: if that is so after the look-up, the pidfd is its. Who has passed the socket
 * on and died can still be mistaken for a stranger, whose death then ends the session early, and recovers the locks of
 * whoever has the socket now.
 */
static int
session_open_pidfd(int fd, pid_t pid)
{
	struct pollfd peer = { .fd = fd, .events = POLLRDHUP };
	int pidfd = -1;

	if (pid > 0)
		pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd >= 0 && (poll(&peer, 1, 0) < 0 || peer.revents & (POLLHUP | POLLRDHUP)))
		close_fd(&pidfd);
	return pidfd;
}

bool
session_peer_has_ended(struct session *session)
{
	struct pollfd pidfd = { .fd = session->pidfd, .events = POLLIN };

	if (!session->has_ended)
		session->has_ended = session->pidfd >= 0 && poll(&pidfd, 1, 0) == 1;
	return session->has_ended;
}

/* A pid is not enough where it is 0: all whom their pid namespace hides have that one. */
bool
session_is_sibling(const struct session *session, const struct session *other)
{
	const struct identity *one = &session->identity, *another = &other->identity;

	if (one->uid != another->uid || one->pid != another->pid)
		return false;
	if (!one->process || !another->process)
		return one->pid != 0;
	return one->process == another->process;
}

int
session_identify(struct session *session)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		return -errno;
	session_know_overflow();
	session->identity = (struct identity) {
		.uid = peer.uid,
		.gid = peer.gid,
		.is_uid_unknown = session_overflow.uid != UINT32_MAX && peer.uid == session_overflow.uid,
		.is_gid_unknown = session_overflow.gid != UINT32_MAX && peer.gid == session_overflow.gid,
		.pid = peer.pid,
	};
	size = sizeof(session->pidfd);
	if (getsockopt(session->fd, SOL_SOCKET, SO_PEERPIDFD, &session->pidfd, &size)) {
		session->pidfd = -1;
		if (errno == ENOPROTOOPT)
			session->pidfd = session_open_pidfd(session->fd, peer.pid);
		else if (errno != EINVAL && errno != ENODATA && errno != ESRCH)
			return -errno;
	}
	session->identity.process = process_number(session->pidfd);
	return session_identify_groups(session);
}
