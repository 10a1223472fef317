/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* System V memory is attached whole, wherever the range is: the kernel knows no other way, and makes no page by it. */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/worker/object.h"

int
object_size(int fd, const struct job_object *object, uint64_t *ret_bytes)
{
	struct shmid_ds shm;
	struct stat st;

	if (object->kind == JOB_OBJECT_SHM) {
		if (shmctl(object->shm_id, IPC_STAT, &shm))
			return -errno;
		*ret_bytes = shm.shm_segsz;
		return 0;
	}
	if (fstat(fd, &st))
		return -errno;
	*ret_bytes = (uint64_t)st.st_size;
	return 0;
}

/* Address space to put it into, with room to align it. */
static int
reserve(struct object_map *map, size_t length, size_t alignment)
{
	uint64_t bytes;
	void *area;

	if (!checked_add(length, alignment, &bytes) || bytes > SIZE_MAX)
		return -ENOMEM;
	area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return -errno;
	map->area = area;
	map->area_bytes = bytes;
	return 0;
}

int
object_map(int fd, const struct job_object *object, uint64_t offset, size_t length, size_t alignment,
    struct object_map *ret_map)
{
	struct object_map map = OBJECT_MAP_NULL;
	bool is_shm = object->kind == JOB_OBJECT_SHM;
	/* Hugetlb memory is mapped by its own pages only. */
	size_t unit = object->page_bytes ? object->page_bytes : 1, before = offset % unit, asked = length;
	uint64_t size = offset + length;
	char *at;
	void *mapped;
	int r = is_shm ? object_size(fd, object, &size) : 0;

	if (r)
		return r;
	offset -= before;
	length = round_up(length + before, unit);
	alignment = max_u64(alignment, unit);
	if (is_shm && (offset > size || length > round_up(size, (uint64_t)sysconf(_SC_PAGESIZE)) - offset))
		return -ERANGE;
	/* What is mapped begins where the object does, or at the range: where its multiple of alignment would be. */
	r = reserve(&map, is_shm ? size : length + offset % alignment, alignment);
	if (r)
		return r;
	at = (char *)(uintptr_t)round_up((uintptr_t)map.area, alignment);
	if (is_shm) {
		mapped = shmat(object->shm_id, at, SHM_REMAP);
		map.start = at + offset;
	} else {
		map.start = at + offset % alignment;
		mapped = mmap(map.start, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);
	}
	if (mapped == MAP_FAILED) {
		r = -errno;
		(void)munmap(map.area, map.area_bytes);
		return r;
	}
	/*
	 * Whatever the definition says of dumps: a worker's own core has no use for it. Of System V memory all that is attached:
	 * for a part the kernel would make two mappings of it, and count one more than there are.
	 */
	(void)madvise(mapped, is_shm ? round_up(size, max_u64(unit, (uint64_t)sysconf(_SC_PAGESIZE))) : length, MADV_DONTDUMP);
	map.start += before;
	map.length = asked;
	*ret_map = map;
	return 0;
}

void
object_unmap(struct object_map *map)
{
	/* Of System V memory, too: a mapping that ends is detached. */
	if (map->start)
		(void)munmap(map->area, map->area_bytes);
	*map = (struct object_map) OBJECT_MAP_NULL;
}

/* Keeps all but root from attaching System V memory to write to it, its owner, too. *shm: how it was. 0 or a negative errno. */
static int
shm_close(int shm_id, struct shmid_ds *shm)
{
	struct shmid_ds closed;

	if (shmctl(shm_id, IPC_STAT, shm))
		return -errno;
	closed = *shm;
	/* Without the right to read it, it could not be asked who has it. */
	closed.shm_perm.mode = 0400;
	return shmctl(shm_id, IPC_SET, &closed) ? -errno : 0;
}

/*
 * The daemon saw that nobody has it, and since then those may have come whom no mode keeps away for long: root, and programs of
 * our own uid. The latter are kept from writing for the time that it takes, after it was attached here; who is there already
 * has the pages left. Only who is within shmat(2) at this moment, past the judgement of its rights, is not seen.
 */
static int
shm_punch_alone(const struct job_object *object, const struct object_map *map, uint64_t length)
{
	struct shmid_ds was, now;
	int r = shm_close(object->shm_id, &was);

	if (r)
		return r;
	if (shmctl(object->shm_id, IPC_STAT, &now))
		r = -errno;
	else if (now.shm_nattch > (uint64_t)object->n_ours + 1)
		r = -EBUSY;
	else if (madvise(map->start, length, MADV_REMOVE))
		r = -errno;
	if (shmctl(object->shm_id, IPC_SET, &was) && r == 0)
		r = -errno;
	return r;
}

static int
fd_punch(int fd, uint64_t offset, uint64_t length)
{
	int r;

	do
		r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length) ? -errno : 0;
	while (r == -EINTR);
	return r;
}

/* Likewise of what has a name: whoever opens it now waits for the lease. */
static int
fd_punch_alone(int fd, uint64_t offset, uint64_t length)
{
	int r;

	if (fcntl(fd, F_SETLEASE, F_WRLCK))
		return -EBUSY;
	r = fd_punch(fd, offset, length);
	(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return r;
}

int
object_punch(int fd, const struct job_object *object, uint64_t offset, uint64_t length)
{
	cleanup_object_map struct object_map map = OBJECT_MAP_NULL;
	int r;

	if (object->kind != JOB_OBJECT_SHM)
		return object->n_ours ? fd_punch_alone(fd, offset, length) : fd_punch(fd, offset, length);
	r = object_map(fd, object, offset, length, (size_t)sysconf(_SC_PAGESIZE), &map);
	if (r)
		return r;
	if (object->n_ours)
		return shm_punch_alone(object, &map, length);
	return madvise(map.start, length, MADV_REMOVE) ? -errno : 0;
}
