/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* FDSTORE, FDSTOREREMOVE and BARRIER, as sd_notify(3) describes them; by notify_post(), which does not wait. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "systemd/notify.h"
#include "systemd/store.h"

#define NAME_MAX_BYTES	255

/* What systemd takes as a name; a newline would begin a field of its own. */
static bool
name_is_valid(const char *name)
{
	size_t len = 0;

	for (; name[len] != '\0'; len++) {
		if (name[len] <= ' ' || name[len] >= 0x7f || name[len] == ':')
			return false;
	}
	return len > 0 && len <= NAME_MAX_BYTES;
}

static int
store_say(const char *what, const char *name, int fd)
{
	char message[NAME_MAX_BYTES + 64];

	if (!name_is_valid(name))
		return -EINVAL;
	(void)snprintf(message, sizeof(message), "%s\nFDNAME=%s", what, name);
	return notify_post(message, fd);
}

int
store_put(const char *name, int fd)
{
	return store_say("FDSTORE=1\nFDPOLL=0", name, fd);
}

int
store_remove(const char *name)
{
	return store_say("FDSTOREREMOVE=1", name, -1);
}

int
store_barrier(int *ret_fd)
{
	int ends[2], r;

	if (!notify_present())
		return -ENOENT;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	r = notify_post("BARRIER=1", ends[1]);
	(void)close(ends[1]);
	if (r) {
		(void)close(ends[0]);
		return r;
	}
	*ret_fd = ends[0];
	return 0;
}
