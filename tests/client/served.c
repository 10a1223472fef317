/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One fake daemon and one client of it. */
#include "config.h"

#include <sys/wait.h>

#include "tests/client/served.h"

struct fake served_fake;
struct segment_client *served_client;

void
served_start(fake_fn fn, void *arg)
{
	fake_start(&served_fake, fn, arg);
	ck_assert_int_eq(segment_connect(&served_client, served_fake.path), 0);
}

void
served_stop(void)
{
	segment_disconnect(served_client);
	fake_stop(&served_fake);
}

struct segment *
served_attach(const char *name, unsigned flags)
{
	struct segment *segment = NULL;
	int r = segment_attach(served_client, name, NULL, flags, &segment);

	ck_assert_msg(r == 0, "attaching %s: %d: %s", name, r, segment_error());
	return segment;
}

void
served_one(int listen_fd, void *arg)
{
	fake_serve(fake_accept(listen_fd));
}

void *
served_attach_slow(void *arg)
{
	segment_detach(served_attach("slow", SEGMENT_READ));
	return NULL;
}

void
served_await_child(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child failed: status 0x%x", status);
}
