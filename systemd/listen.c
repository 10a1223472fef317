/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Takes over what socket activation handed down. It trusts the manager's word for nothing: a socket of another kind is
 * refused here, and not found out by the first client.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <systemd/sd-daemon.h>

#include "base/base.h"
#include "systemd/listen.h"

static int
socket_set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
		return -errno;
	return 0;
}

/* 0: fd is what we serve on, and ready for the loop. */
static int
socket_take(int fd)
{
	int r;

	r = sd_is_socket_unix(fd, SOCK_SEQPACKET, 1, NULL, 0);
	if (r < 0)
		return r;
	if (r == 0)
		return -EINVAL;
	return socket_set_nonblocking(fd);
}

int
listen_inherited(int *ret_fd)
{
	int i, n, r;

	/* Forgotten from the environment at once: children must not take these numbers for theirs. It sets CLOEXEC. */
	n = sd_listen_fds(1);
	if (n < 0)
		return n;
	if (n == 0) {
		*ret_fd = -1;
		return 0;
	}
	/* Serving one of several would leave the clients of the others waiting for ever. */
	r = n == 1 ? socket_take(SD_LISTEN_FDS_START) : -EINVAL;
	if (r < 0) {
		for (i = 0; i < n; i++)
			(void)close(SD_LISTEN_FDS_START + i);	/* ours by the protocol, and of no use */
		return r;
	}
	*ret_fd = SD_LISTEN_FDS_START;
	return 0;
}
