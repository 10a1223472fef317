/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the suites of this folder share: temporary sockets. */
#ifndef TESTS_SERVICE_SUITE_H
#define TESTS_SERVICE_SUITE_H

#include <check.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/suite_run.h"

/* A socket bound to path. */
static inline int
suite_bind(const char *path, int type)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_uint_lt(strlen(path), sizeof(address.sun_path));
	memcpy(address.sun_path, path, strlen(path) + 1);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* The next datagram that waits on fd, as a string; false: none waits. */
static inline int
suite_receive(int fd, char *buf, size_t size)
{
	ssize_t n = recv(fd, buf, size - 1, MSG_DONTWAIT);

	if (n < 0)
		return 0;
	buf[n] = '\0';
	return 1;
}

#endif
