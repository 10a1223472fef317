/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The kernel gives a lease for writing only to the one description of a file, and only to its owner or who has CAP_LEASE. */
#include "config.h"

#include <fcntl.h>
#include <signal.h>

#include "base/base.h"
#include "host/lease.h"

enum lease
lease_ask(const char *path, const struct stat *st)
{
	cleanup_close int fd = -1;
	struct stat opened;

	if (!S_ISREG(st->st_mode))
		return LEASE_UNKNOWN;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &opened) || opened.st_dev != st->st_dev || opened.st_ino != st->st_ino)
		return LEASE_UNKNOWN;
	/* Who opens it while we have the lease waits, and we are told: by SIGIO, which would end us, unless by one that is ignored. */
	if (fcntl(fd, F_SETSIG, SIGURG))
		return LEASE_UNKNOWN;
	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		return errno == EAGAIN ? LEASE_HELD : LEASE_UNKNOWN;
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return LEASE_FREE;
}
