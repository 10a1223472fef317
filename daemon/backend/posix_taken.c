/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Why a name is not ours to take. Nothing is done to what stands there: it may be somebody's, with contents. Of what belongs to
 * our own uid the kernel says, by a lease, whether anybody has it at all; of others /proc says who maps it, to those who may
 * see it, and only now and then: a start that finds a thousand names taken does not look a thousand times.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "daemon/kernelcount.h"
#include "host/findings.h"
#include "host/mappers.h"

#define LOOK_NS		(4 * NS_PER_MS)		/* through /proc, which takes 6 to 55 ms of 500 processes */
#define LOOK_EVERY_NS	(NS_PER_SEC / 2)
#define WHO_SIZE	320

/* Whether nobody has it open or mapped; false where the kernel does not answer us, too. */
static bool
is_forsaken(const char *path, const struct stat *status)
{
	cleanup_close int fd = -1;
	struct stat opened;

	if (status->st_uid != geteuid())
		return false;
	fd = open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 && fstat(fd, &opened) == 0 && opened.st_dev == status->st_dev && opened.st_ino == status->st_ino &&
	    kernelcount_alone(fd);
}

static void
describe_mappers(const struct stat *status, char *buf, size_t size)
{
	static uint64_t looked_ns;
	uint64_t now_ns = clock_monotonic_ns();
	struct mappers mappers = { .is_complete = false };
	size_t len;

	if (looked_ns && now_ns - looked_ns < LOOK_EVERY_NS) {
		(void)snprintf(buf, size, "who maps it was not looked for so soon after another one");
	} else if (mappers_find(status->st_dev, status->st_ino, LOOK_NS, &mappers)) {
		(void)snprintf(buf, size, "who maps it cannot be told");
	} else {
		looked_ns = now_ns;
		(void)mappers_describe(buf, size, &mappers);
	}
	len = strlen(buf);
	if (mappers.n_hidden || !mappers.is_complete)
		(void)snprintf(buf + len, size - len, "; `fuser -v` of it, as root, tells of all");
}

void
posix_taken_explain(const char *path, char *text, size_t text_size)
{
	const char *object = path + strlen(POSIX_DIR);
	char who[WHO_SIZE];
	struct stat status;

	if (lstat(path, &status)) {
		(void)snprintf(text, text_size, "an object %s was there already, and is gone now; retry", object);
		return;
	}
	if (!S_ISREG(status.st_mode) || is_forsaken(path, &status)) {
		findings_posix_taken(text, text_size, object, &status, NULL);
		return;
	}
	describe_mappers(&status, who, sizeof(who));
	findings_posix_taken(text, text_size, object, &status, who);
}
