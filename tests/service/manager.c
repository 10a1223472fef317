/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The socket is in a directory of its own, and both go with the test. */
#include "config.h"

#include "tests/service/manager.h"

#include "base/base.h"
#include "tests/service/suite.h"

static char directory[] = "/tmp/segmentd-notify-XXXXXX";
char manager_path[sizeof(directory) + 16];
int manager = -1;

void
manager_start(void)
{
	ck_assert_ptr_nonnull(mkdtemp(directory));
	(void)snprintf(manager_path, sizeof(manager_path), "%s/notify", directory);
	manager = suite_bind(manager_path, SOCK_DGRAM);
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", manager_path, 1), 0);
}

void
manager_stop(void)
{
	(void)unlink(manager_path);
	(void)rmdir(directory);
	close_fd(&manager);
}
