/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "client/protocol.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/wire_peer.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD	77
#endif

#define LIVING_MAX	64

static uint64_t last_address;
static int living[LIVING_MAX];	/* processes that have closed all that they had */
static unsigned n_living;

static uint32_t
uid_of(enum peer_identity identity)
{
	return identity == PEER_ADMINISTRATOR ? (uint32_t)geteuid() : PEER_UID_FIRST + (uint32_t)identity;
}

/* Whether the socket's other end is one of ours; then who, and what stands for its pidfd. */
static bool
find_peer(int fd, enum peer_identity *ret_identity, int *ret_death_fd)
{
	struct sockaddr_un address = { 0 };
	socklen_t size = sizeof(address);
	unsigned identity;
	int pid;

	if (getpeername(fd, (struct sockaddr *)&address, &size) || size <= sizeof(sa_family_t) || address.sun_path[0] ||
	    sscanf(address.sun_path + 1, "segment-fuzz %d %u %d", &pid, &identity, ret_death_fd) != 3 || pid != (int)getpid())
		return false;
	*ret_identity = identity;
	return true;
}

/* In the place of the C library's: the daemon asks who its peers are. */
int
getsockopt(int fd, int level, int name, void *restrict value, socklen_t *restrict size)
{
	enum peer_identity identity;
	int death_fd;

	if (level != SOL_SOCKET || (name != SO_PEERCRED && name != SO_PEERPIDFD && name != SO_PEERGROUPS) ||
	    !find_peer(fd, &identity, &death_fd))
		return (int)syscall(SYS_getsockopt, fd, level, name, value, size);
	if (name == SO_PEERCRED) {
		*(struct ucred *)value = (struct ucred) {
			.uid = uid_of(identity), .gid = uid_of(identity), .pid = identity == PEER_HIDDEN ? 0 : getpid(),
		};
		return 0;
	}
	if (name == SO_PEERGROUPS) {
		if (identity != PEER_MEMBER) {
			*size = 0;
			return 0;
		}
		if (*size < sizeof(gid_t)) {
			*size = sizeof(gid_t);
			errno = ERANGE;
			return -1;
		}
		*(gid_t *)value = PEER_GROUP;
		return 0;
	}
	if (identity == PEER_HIDDEN) {
		errno = EINVAL;
		return -1;
	}
	*(int *)value = fcntl(death_fd, F_DUPFD_CLOEXEC, 3);
	return *(int *)value < 0 ? -1 : 0;
}

void
peer_connect(struct peer *peer, const char *path, enum peer_identity identity)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX }, own = { .sun_family = AF_UNIX };
	int n;

	peer->identity = identity;
	peer->serial = peer->highest_serial = 0;
	if (peer->death_fd < 0)
		peer->death_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	peer->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(peer->death_fd >= 0 && peer->fd >= 0);
	n = snprintf(own.sun_path + 1, sizeof(own.sun_path) - 1, "segment-fuzz %d %u %d %ju", (int)getpid(), identity, peer->death_fd,
	    (uintmax_t)++last_address);
	fuzz_check(bind(peer->fd, (struct sockaddr *)&own, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) == 0);
	fuzz_check(strlen(path) < sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	if (connect(peer->fd, (struct sockaddr *)&address, sizeof(address)))
		peer_close(peer);
}

static void
give_back(struct peer_held *held)
{
	for (unsigned i = 0; i < PROTOCOL_ATTACH_FDS; i++)
		close_fd(&held->fds[i]);
	if (held->shm)
		(void)shmdt(held->shm);
	held->shm = NULL;
}

static void
end_process(int *death_fd)
{
	const uint64_t one = 1;

	if (*death_fd >= 0)
		fuzz_check(write(*death_fd, &one, sizeof(one)) == sizeof(one));
	close_fd(death_fd);
}

void
peer_die(struct peer *peer)
{
	end_process(&peer->death_fd);
	peer_close(peer);
}

void
peer_end_all(void)
{
	while (n_living)
		end_process(&living[--n_living]);
}

void
peer_close(struct peer *peer)
{
	for (unsigned i = 0; i < peer->n_held; i++)
		give_back(&peer->held[i]);
	close_fd(&peer->fd);
	if (n_living < LIVING_MAX && peer->death_fd >= 0)
		living[n_living++] = take_fd(&peer->death_fd);
	end_process(&peer->death_fd);
	*peer = (struct peer) PEER_NULL;
}

bool
peer_send(struct peer *peer, const void *bytes, size_t size, const int *fds, unsigned n_fds)
{
	struct protocol_header header = { 0 };

	if (peer->fd < 0)
		return false;
	memcpy(&header, bytes, min_u64(size, sizeof(header)));
	peer->highest_serial = max_u64(peer->highest_serial, header.serial);
	return fuzz_send(peer->fd, bytes, size, fds, n_fds) == (ssize_t)size;
}

/* Keeps the fds of one attachment, in their order; returns how many there were. */
static unsigned
keep(struct peer *peer, const struct protocol_attached *attached, const int *fds, unsigned n_fds)
{
	unsigned n = attached->n_locks && attached->control_bytes ? 2 : 1;
	struct peer_held *held = &peer->held[peer->n_held % PEER_HELD_MAX];

	fuzz_check_msg(n <= n_fds, "an attachment with %u descriptors of %u", n_fds, n);
	if (peer->n_held >= PEER_HELD_MAX)
		give_back(held);
	else
		peer->n_held++;
	*held = (struct peer_held) { .fds = { -1, -1 }, .attachment = attached->attachment, .generation = attached->generation };
	for (unsigned i = 0; i < n; i++)
		held->fds[i] = fds[i];
	if (attached->flags & PROTOCOL_ATTACHED_SHM)
		held->shm = shmat(attached->shm_id, NULL, attached->access & PROTOCOL_ACCESS_WRITE ? 0 : SHM_RDONLY);
	/* It may be gone already. */
	if (held->shm == (void *)-1)
		held->shm = NULL;
	return n;
}

static unsigned
keep_all(struct peer *peer, const char *bytes, size_t size, const int *fds, unsigned n_fds)
{
	struct protocol_attached attached;
	struct protocol_attached_many many;
	unsigned n = 0;
	size_t at = sizeof(many);

	memcpy(&many, bytes, sizeof(many));
	if (many.header.type != PROTOCOL_ATTACH_MANY) {
		fuzz_check(size >= sizeof(attached));
		memcpy(&attached, bytes, sizeof(attached));
		return keep(peer, &attached, fds, n_fds);
	}
	fuzz_check(many.n_rows >= 1 && many.n_rows <= PROTOCOL_ATTACH_ROWS && many.n_fds == n_fds);
	for (uint32_t i = 0; i < many.n_rows; i++) {
		fuzz_check(at + sizeof(attached) <= size);
		memcpy(&attached, bytes + at, sizeof(attached));
		fuzz_check(attached.header.size >= sizeof(attached) && attached.header.size <= size - at);
		at += attached.header.size;
		n += keep(peer, &attached, fds + n, n_fds - n);
	}
	fuzz_check(at == size);
	return n;
}

static void
check_message(const struct peer *peer, const struct protocol_header *header, const char *bytes, size_t size)
{
	fuzz_check(header->size == size && header->flags & PROTOCOL_REPLY && header->status <= 0);
	fuzz_check(header->serial <= peer->highest_serial);
	if (header->status < 0)
		fuzz_check(size > sizeof(*header) && bytes[size - 1] == '\0' && strlen(bytes + sizeof(*header)) > 0);
}

ssize_t
peer_receive(struct peer *peer, void *bytes, size_t size)
{
	union {
		char bytes[CMSG_SPACE(FUZZ_FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { .iov_base = bytes, .iov_len = size };
	struct msghdr message = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
	};
	struct protocol_header header;
	const struct cmsghdr *cmsg;
	unsigned n_fds = 0, n_kept = 0;
	int fds[FUZZ_FDS_MAX];
	ssize_t n;

	if (peer->fd < 0)
		return -1;
	n = recvmsg(peer->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n <= 0)
		return n < 0 && errno != EAGAIN ? 0 : n;
	cmsg = CMSG_FIRSTHDR(&message);
	if (cmsg && cmsg->cmsg_type == SCM_RIGHTS) {
		n_fds = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), n_fds * sizeof(int));
	}
	fuzz_check(!(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) && (size_t)n >= sizeof(header));
	memcpy(&header, bytes, sizeof(header));
	check_message(peer, &header, bytes, (size_t)n);
	peer->n_replies++;
	if (header.type == PROTOCOL_HELLO && header.status == 0)
		memcpy(&peer->session, (char *)bytes + offsetof(struct protocol_welcome, session), sizeof(peer->session));
	/* What brings descriptors says how many, and nothing else does. */
	if (header.status == 0 && !(header.flags & PROTOCOL_PUSHED) &&
	    (header.type == PROTOCOL_ATTACH || header.type == PROTOCOL_CREATE || header.type == PROTOCOL_ATTACH_MANY))
		n_kept = keep_all(peer, bytes, (size_t)n, fds, n_fds);
	fuzz_check_msg(n_kept == n_fds, "%u descriptors with a reply to type %u", n_fds, header.type);
	return n;
}
