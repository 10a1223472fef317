/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Maps a segment where huge pages can map it: on a boundary of its alignment. The kernel's own choice is taken when it
 * happens to be one (newer kernels care); else more than enough address space is reserved and the ends are given back.
 */
#include "config.h"

#include <sys/mman.h>
#include <sys/shm.h>

#include "client/client.h"

/* Linux 5.14; for older headers. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

static bool
is_aligned(const void *p, size_t alignment_bytes)
{
	return ((uintptr_t)p & (alignment_bytes - 1)) == 0;
}

/*
 * System V memory at start, where nothing is mapped; NULL: anywhere. An id is given anew, and the memory was looked at before:
 * what is attached stays what it is, and is looked at again. MAP_FAILED, with errno.
 */
static void *
attach_at(const struct mapping *mapping, char *start)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *data = shmat(mapping->shm_id, start, mapping->write ? 0 : SHM_RDONLY);
	struct shmid_ds shm;

	if (data == MAP_FAILED)
		return MAP_FAILED;
	if (shmctl(mapping->shm_id, IPC_STAT, &shm) == 0 && shm.shm_perm.cuid == mapping->shm_uid &&
	    round_up(shm.shm_segsz, page_bytes) == round_up(mapping->map_bytes, page_bytes))
		return data;
	(void)shmdt(data);
	errno = EIDRM;
	return MAP_FAILED;
}

/* At start, where address space is reserved for it; NULL: anywhere. MAP_FAILED, with errno. */
static void *
map_at(const struct mapping *mapping, char *start, size_t length)
{
	int protection = PROT_READ | (mapping->write ? PROT_WRITE : 0);

	if (mapping->is_shm)
		return attach_at(mapping, start);
	/* Of a hugetlb pool it would reserve up to the maximum size what the daemon reserved up to the size. */
	return mmap(start, length, protection, MAP_SHARED | MAP_NORESERVE | (start ? MAP_FIXED : 0), mapping->fd, 0);
}

/* The mapping on a boundary, by way of a reservation. MAP_FAILED, with errno. */
static void *
map_reserved(const struct mapping *mapping, size_t page_bytes)
{
	size_t length = round_up(mapping->map_bytes, page_bytes);
	size_t reserved = length + mapping->alignment_bytes - page_bytes;
	char *base, *start;
	void *data;

	base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return MAP_FAILED;
	start = (char *)round_up((uintptr_t)base, mapping->alignment_bytes);
	if (mapping->is_shm) {
		/* In place of the reservation all of it would come, however much it is. Anywhere, if somebody else was faster. */
		(void)munmap(base, reserved);
		data = attach_at(mapping, start);
		return data == MAP_FAILED && errno == EINVAL ? attach_at(mapping, NULL) : data;
	}
	data = map_at(mapping, start, length);
	if (data == MAP_FAILED) {
		int saved = errno;

		(void)munmap(base, reserved);
		errno = saved;
		return MAP_FAILED;
	}
	if (start > base)
		(void)munmap(base, (size_t)(start - base));
	if (start + length < base + reserved)
		(void)munmap(start + length, (size_t)(base + reserved - (start + length)));
	return data;
}

static void *
map(const struct mapping *mapping)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *data;

	data = map_at(mapping, NULL, mapping->map_bytes);
	/* No huge page fits into what is smaller than the alignment. */
	if (data == MAP_FAILED || mapping->alignment_bytes <= page_bytes ||
	    mapping->map_bytes < mapping->alignment_bytes || is_aligned(data, mapping->alignment_bytes))
		return data;
	(void)munmap(data, mapping->map_bytes);
	return map_reserved(mapping, page_bytes);
}

/* errno's sentence where the mapping failed. */
static int
refuse_map(const struct mapping *mapping)
{
	int error = errno;

	if (mapping->is_shm && error == EACCES)
		return error_set(-EACCES, "the kernel refuses to attach System V memory %d: its group and mode do not let this process "
		    "have it in this way, or it is being removed", mapping->shm_id);
	if (mapping->is_shm && (error == EINVAL || error == EIDRM))
		return error_set(-ESTALE, "System V memory %d is gone: the segment was removed meanwhile", mapping->shm_id);
	return error_set(-error, "mapping %zu bytes failed: %s%s", mapping->map_bytes, strerrordesc_np(error),
	    error == ENOMEM ? " (RLIMIT_AS, vm.max_map_count or the address space are used up)" : "");
}

/*
 * Maps the pages, which are resident: nothing is written. 0 or a negative errno. By reading, also for who will write: what
 * is shared is mapped for writing at once unless the kernel has to be told of the first store, as with files, and there
 * populating by writing would have every page written back. And the kernel maps neighbours along with what is read.
 */
static int
populate(const struct mapping *mapping, char *data)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	size_t length = min_u64(round_up(mapping->populate_bytes, page_bytes), round_up(mapping->map_bytes, page_bytes));

	if (length == 0)
		return 0;
	if (madvise(data, length, MADV_POPULATE_READ) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	/* COMPAT(linux 5.14): no populating by advice. */
	for (size_t i = 0; i < length; i += page_bytes)
		(void)*(volatile char *)(data + i);
	return 0;
}

int
mapping_new(const struct mapping *mapping, void **ret_data)
{
	void *data = map(mapping);
	int r = 0;

	if (data == MAP_FAILED)
		return refuse_map(mapping);
	if (mapping->dontfork && madvise(data, mapping->map_bytes, MADV_DONTFORK) < 0)
		r = error_set(-errno, "the mapping cannot be kept from forked children: %s", strerrordesc_np(errno));
	if (r == 0 && mapping->dontdump && madvise(data, mapping->map_bytes, MADV_DONTDUMP) < 0)
		r = error_set(-errno, "the mapping cannot be kept out of core dumps: %s", strerrordesc_np(errno));
	if (r == 0 && (r = populate(mapping, data)) < 0)
		r = error_set(r, "mapping all pages of %zu bytes failed: %s", mapping->populate_bytes, strerrordesc_np(-r));
	if (r < 0) {
		(void)munmap(data, mapping->map_bytes);
		return r;
	}
	*ret_data = data;
	return 0;
}

int
mapping_stand_in(const struct mapping *mapping, void **ret_page)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *page = mmap(NULL, page_bytes, PROT_NONE, MAP_SHARED, mapping->fd, 0);

	if (page == MAP_FAILED)
		return error_set(-errno, "mapping the page that stands in for System V memory failed: %s", strerrordesc_np(errno));
	if (mapping->dontfork && madvise(page, page_bytes, MADV_DONTFORK) < 0) {
		int r = -errno;

		(void)munmap(page, page_bytes);
		return error_set(r, "the mapping cannot be kept from forked children: %s", strerrordesc_np(-r));
	}
	*ret_page = page;
	return 0;
}
