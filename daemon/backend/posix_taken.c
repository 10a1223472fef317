/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Why a name is not ours to take. Nothing is done to what stands there: it may be somebody's, with contents. Of what belongs to
 * our own uid the kernel says, by a lease, whether anybody has it at all; of others a worker looks in /proc who maps it.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "host/findings.h"
#include "host/lease.h"
#include "host/object.h"

/* Nobody has it open or mapped. Others' objects are left alone, whatever our rights are, and so is what is mounted there. */
static bool
is_forsaken(const char *path, const struct stat *status)
{
	struct stat dir;

	return status->st_uid == geteuid() && stat(POSIX_DIR, &dir) == 0 && dir.st_dev == status->st_dev && lease_ask(path, status) == LEASE_FREE;
}

void
posix_taken_explain(const char *object, const char *who, char *text, size_t text_size)
{
	char path[POSIX_PATH_SIZE];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s%s", POSIX_DIR, object);
	if (object_stat(AT_FDCWD, path, &status))
		(void)snprintf(text, text_size, "an object %s was there already, and is gone now; retry", object);
	else if (!S_ISREG(status.st_mode) || is_forsaken(path, &status))
		findings_posix_taken(text, text_size, object, &status, (uint32_t)geteuid(), NULL);
	else
		findings_posix_taken(text, text_size, object, &status, (uint32_t)geteuid(),
		    who ? who : "who maps it could not be looked for");
}

bool
posix_taken_inquire(const char *object, struct backend_errand *ret_errand)
{
	char path[POSIX_PATH_SIZE];
	struct stat status;
	int fd;

	(void)snprintf(path, sizeof(path), "%s%s", POSIX_DIR, object);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (object_stat(fd, "", &status) || !S_ISREG(status.st_mode) || is_forsaken(path, &status)) {
		(void)close(fd);
		return false;
	}
	*ret_errand = (struct backend_errand) { .job = { .kind = JOB_MAPPERS }, .fds = { fd, -1, -1 } };
	return true;
}
