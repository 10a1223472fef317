/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Names, sockets and messages; what is stored when is box.c's. */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/box_pair.h"

#define NAME_PREFIX	"box-"
#define NAME_DIGITS	18

void
box_pair_name(uint64_t n, enum box_side side, char *ret_name)
{
	(void)snprintf(ret_name, BOX_PAIR_NAME_SIZE, NAME_PREFIX "%" PRIu64 "-%c", n, side == BOX_A ? 'a' : 'b');
}

bool
box_pair_parse_name(const char *name, uint64_t *ret_n, enum box_side *ret_side)
{
	size_t prefix = strlen(NAME_PREFIX), digits;
	const char *at = name + prefix;

	if (strncmp(name, NAME_PREFIX, prefix) != 0)
		return false;
	digits = strspn(at, "0123456789");
	if (digits == 0 || digits > NAME_DIGITS || at[0] == '0')
		return false;
	if (!streq(at + digits, "-a") && !streq(at + digits, "-b"))
		return false;
	*ret_n = strtoull(at, NULL, 10);
	*ret_side = at[digits + 1] == 'a' ? BOX_A : BOX_B;
	return true;
}

int
box_pair_new(uint64_t n, struct box_pair **ret_pair)
{
	struct box_pair *pair = calloc(1, sizeof(*pair));
	int most = INT_MAX / 2, r;

	if (!pair)
		return -ENOMEM;
	pair->n = n;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair->ends) < 0) {
		r = -errno;
		free(pair);
		return r;
	}
	/* As much as net.core.wmem_max lets us. */
	for (unsigned i = 0; i < BOX_SIDE_N; i++)
		(void)setsockopt(pair->ends[i], SOL_SOCKET, SO_SNDBUF, &most, sizeof(most));
	*ret_pair = pair;
	return 0;
}

void
box_pair_leave(struct box_pair *pair)
{
	pair->leaves = true;
	if (event_initialized(&pair->closed_event))
		(void)event_del(&pair->closed_event);
	close_fd(&pair->ends[BOX_A]);
	close_fd(&pair->ends[BOX_B]);
}

struct box_pair *
box_pair_free(struct box_pair *pair)
{
	if (!pair)
		return NULL;
	box_pair_leave(pair);
	free(pair);
	return NULL;
}

void
box_pairs_leave_older(struct box_pairs *pairs)
{
	struct box_pair *pair;
	bool is_older = false;

	TAILQ_FOREACH_REVERSE(pair, pairs, box_pairs, entry) {
		if (is_older && !pair->leaves)
			box_pair_leave(pair);
		is_older |= pair->is_filled && pair->is_kept && !pair->leaves;
	}
}

void
box_pairs_leave_empty(struct box_pairs *pairs)
{
	struct box_pair *pair;

	TAILQ_FOREACH(pair, pairs, entry) {
		if (!pair->is_used)
			box_pair_leave(pair);
	}
}

int
box_pair_send(const struct box_pair *pair, enum box_side side, const struct box_label *labels, const int *fds, unsigned n)
{
	struct box_wire_header header = {
		.magic = BOX_WIRE_MAGIC, .version = BOX_WIRE_VERSION, .n_labels = (uint16_t)n, .flags = n ? 0 : BOX_WIRE_FILLED,
	};
	struct box_wire_label wire[BOX_MESSAGE_FDS];
	struct iovec parts[] = { { &header, sizeof(header) }, { wire, n * sizeof(wire[0]) } };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(BOX_MESSAGE_FDS * sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = parts, .msg_iovlen = BASE_ARRAY_SIZE(parts),
		.msg_control = n ? &control : NULL, .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0,
	};

	for (unsigned i = 0; i < n; i++)
		wire[i] = (struct box_wire_label) {
			labels[i].kind, (uint32_t)labels[i].id, (uint32_t)(labels[i].id >> 32) };
	control.header = (struct cmsghdr) {
		.cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
	if (sendmsg(pair->ends[side], &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	return 0;
}

bool
box_pair_hung_up(const struct box_pair *pair)
{
	struct pollfd poll_fd = { .fd = pair->ends[BOX_A] };

	return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0;
}
