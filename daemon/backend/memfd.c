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

#ifndef MFD_HUGETLB
#define MFD_HUGETLB	0x0004U
#endif
#define MFD_SIZE_SHIFT	26		/* where the logarithm of the page size stands in the flags */

#define MEMFD_PAGE_BYTES	4096

static int
memfd_make(const char *segment_name, uint64_t huge_bytes, int *ret_fd)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char name[DEFINITION_NAME_MAX + 16];
	int fd;

	if (huge_bytes)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(huge_bytes) << MFD_SIZE_SHIFT;

	(void)snprintf(name, sizeof(name), "segmentd:%s", segment_name);
	fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	/* COMPAT(linux 6.3): before it the flag is EINVAL, and the mode alone keeps it from being executed. */
	if (fd < 0 && errno == EINVAL)
		fd = memfd_create(name, flags);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int
memfd_fail(const char *step, char *text, size_t text_size)
{
	int r = -errno;

	(void)snprintf(text, text_size, "%s failed: %s", step, strerror(-r));
	return r;
}

/* huge_bytes: of the pages of a hugetlb pool, or 0. */
static int
memfd_object_make(const char *name, uint64_t size_bytes, uint64_t huge_bytes, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	uint64_t map_bytes = round_up(size_bytes, huge_bytes ? huge_bytes : MEMFD_PAGE_BYTES);
	cleanup_close int fd = -1;
	int r;

	r = memfd_make(name, huge_bytes, &fd);
	if (r) {
		errno = -r;
		return memfd_fail("memfd_create", text, text_size);
	}
	if (ftruncate(fd, (off_t)map_bytes))
		return memfd_fail("ftruncate", text, text_size);
	/*
	 * A memfd is 0777 at birth: whoever is handed a read-only description could open it anew for writing. With
	 * 0600 only our own uid can, and every client goes through us.
	 */
	if (fchmod(fd, 0600))
		return memfd_fail("fchmod", text, text_size);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		return memfd_fail("sealing", text, text_size);
	/* Now, and not at the first attachment: who counts our descriptors is to find the same before and after it. */
	r = procfd_prepare();
	if (r) {
		errno = -r;
		return memfd_fail("opening /proc/self/fd", text, text_size);
	}
	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	ret_object->fd = take_fd(&fd);
	ret_object->is_born = true;
	ret_object->map_bytes = map_bytes;
	ret_object->page_bytes = huge_bytes;
	return 0;
}

int
memfd_object_new(const char *name, uint64_t size_bytes, struct backend_object *ret_object, char *text, size_t text_size)
{
	return memfd_object_make(name, size_bytes, 0, ret_object, text, text_size);
}

static int
memfd_create_object(const struct definition *definition, const struct backend_birth *birth, struct backend_object *ret_object,
    char *text, size_t text_size)
{
	return memfd_object_make(definition->name, definition->max_size_bytes, definition_huge_bytes(definition), ret_object, text,
	    text_size);
}

int
memfd_object_revive(int *fd, uint64_t map_bytes, uint64_t page_bytes, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	struct stat status;
	int has;

	if (*fd < 0)
		return BACKEND_E_GONE;
	/* Asked first: it reaches no file system, whatever this is a descriptor of. */
	has = fcntl(*fd, F_GET_SEALS);
	if (has < 0 || (has & seals) != seals || fstat(*fd, &status) || (uint64_t)status.st_size != map_bytes ||
	    status.st_uid != geteuid() || (page_bytes && (uint64_t)status.st_blksize != page_bytes))
		return BACKEND_E_OTHER;
	if (procfd_prepare())
		return memfd_fail("opening /proc/self/fd", text, text_size);
	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	ret_object->fd = take_fd(fd);
	ret_object->map_bytes = map_bytes;
	ret_object->page_bytes = page_bytes;
	return 0;
}

static int
memfd_revive(struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size)
{
	return memfd_object_revive(&remains->fds[0], remains->map_bytes, remains->page_bytes, ret_object, text, text_size);
}

const struct backend backend_memfd = {
	.name = "memfd",
	.features = BACKEND_FD | BACKEND_SEALED | BACKEND_MARKS | BACKEND_HUGE | BACKEND_HUGETLB,
	.create = memfd_create_object,
	.revive = memfd_revive,
	.kept = backend_kept_fd,
	.open = backend_open_fd,
	.map = backend_map_fd,
	.resident_bytes = backend_blocks,
};
