/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Memory without a name: reached only through us, sealed against every change of size, and gone with its last holder.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/procfd.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL	0x0008U		/* COMPAT(linux 6.3): glibc 2.36 does not name it */
#endif

#define MEMFD_PAGE_BYTES	4096

static int
memfd_make(const char *segment_name, int *ret_fd)
{
	char name[DEFINITION_NAME_MAX + 16];
	int fd;

	(void)snprintf(name, sizeof(name), "segmentd:%s", segment_name);
	fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
	/* COMPAT(linux 6.3): before it the flag is EINVAL, and the mode alone keeps it from being executed. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int
memfd_object_new(const char *name, uint64_t size_bytes, struct backend_object *ret_object, const char **ret_step)
{
	uint64_t map_bytes = round_up(size_bytes, MEMFD_PAGE_BYTES);
	cleanup_close int fd = -1;
	int r;

	*ret_step = "memfd_create";
	r = memfd_make(name, &fd);
	if (r)
		return r;
	*ret_step = "ftruncate";
	if (ftruncate(fd, (off_t)map_bytes))
		return -errno;
	/*
	 * A memfd is 0777 at birth: whoever is handed a read-only description could open it anew for writing. With
	 * 0600 only our own uid can, and every client goes through us.
	 */
	*ret_step = "fchmod";
	if (fchmod(fd, 0600))
		return -errno;
	*ret_step = "sealing";
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return -errno;
	/* Now, and not at the first attachment: who counts our descriptors is to find the same before and after it. */
	*ret_step = "opening /proc/self/fd";
	r = procfd_prepare();
	if (r)
		return r;
	*ret_object = (struct backend_object) { .fd = take_fd(&fd), .is_born = true, .map_bytes = map_bytes };
	return 0;
}

static int
memfd_create_object(const struct definition *definition, struct backend_object *ret_object, const char **ret_step)
{
	return memfd_object_new(definition->name, definition->max_size_bytes, ret_object, ret_step);
}

static int
memfd_open(const struct backend_object *object, bool write, int *ret_fd)
{
	return procfd_reopen(object->fd, write ? O_RDWR : O_RDONLY, ret_fd);
}

static uint64_t
memfd_resident_bytes(const struct backend_object *object)
{
	struct stat status;

	if (fstat(object->fd, &status))
		return 0;
	return (uint64_t)status.st_blocks * 512;
}

const struct backend backend_memfd = {
	.name = "memfd",
	.features = BACKEND_HAS_FD | BACKEND_SEALED | BACKEND_MARKS | BACKEND_HUGE,
	.create = memfd_create_object,
	.open = memfd_open,
	.resident_bytes = memfd_resident_bytes,
};
