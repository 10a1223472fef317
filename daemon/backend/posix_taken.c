/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Why a name is not ours to take. Nothing is done to what stands there: it may be somebody's, with contents. Of what belongs to
 * our own uid the kernel says, by a lease, whether anybody has it at all; who has it is for segmentd-audit to tell.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/posix.h"
#include "host/findings.h"
#include "host/lease.h"

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
	if (posix_look(path, &status))
		(void)snprintf(text, text_size, "an object %s was there already, and is gone now; retry", object);
	else if (!S_ISREG(status.st_mode) || is_forsaken(path, &status))
		findings_posix_taken(text, text_size, object, &status, (uint32_t)geteuid(), NULL);
	else
		findings_posix_taken(text, text_size, object, &status, (uint32_t)geteuid(),
		    who ? who : "who has it could not be asked for");
}

bool
posix_taken_inquire(const char *object, struct audit_object *ret_object)
{
	char path[POSIX_PATH_SIZE];
	struct stat status;

	(void)snprintf(path, sizeof(path), "%s%s", POSIX_DIR, object);
	if (posix_look(path, &status) || !S_ISREG(status.st_mode) || is_forsaken(path, &status))
		return false;
	*ret_object = (struct audit_object) { .device = status.st_dev, .inode = status.st_ino, .shm_id = -1 };
	return true;
}
