/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Maps a segment where huge pages can map it: on a boundary of its alignment. The kernel's own choice is taken when it
 * happens to be one (newer kernels care); else more than enough address space is reserved and the ends are given back.
 */
#include "config.h"

#include <sys/mman.h>

#include "client/client.h"

/* Linux 5.14; for older headers. */
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

static bool
is_aligned(const void *p, size_t alignment_bytes)
{
	return ((uintptr_t)p & (alignment_bytes - 1)) == 0;
}

/* The mapping on a boundary, by way of a reservation. MAP_FAILED, with errno. */
static void *
map_reserved(const struct mapping *mapping, int protection, size_t page_bytes)
{
	size_t length = round_up(mapping->map_bytes, page_bytes);
	size_t reserved = length + mapping->alignment_bytes - page_bytes;
	char *base, *start;
	void *data;

	base = mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (base == MAP_FAILED)
		return MAP_FAILED;
	start = (char *)round_up((uintptr_t)base, mapping->alignment_bytes);
	data = mmap(start, length, protection, MAP_SHARED | MAP_FIXED, mapping->fd, 0);
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
	int protection = PROT_READ | (mapping->write ? PROT_WRITE : 0);
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	void *data;

	data = mmap(NULL, mapping->map_bytes, protection, MAP_SHARED, mapping->fd, 0);
	/* No huge page fits into what is smaller than the alignment. */
	if (data == MAP_FAILED || mapping->alignment_bytes <= page_bytes ||
	    mapping->map_bytes < mapping->alignment_bytes || is_aligned(data, mapping->alignment_bytes))
		return data;
	(void)munmap(data, mapping->map_bytes);
	return map_reserved(mapping, protection, page_bytes);
}

/* Maps the pages, which are resident: nothing is written. 0 or a negative errno. */
static int
populate(const struct mapping *mapping, char *data)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	size_t length = min_u64(round_up(mapping->populate_bytes, page_bytes), round_up(mapping->map_bytes, page_bytes));

	if (length == 0)
		return 0;
	if (madvise(data, length, mapping->write ? MADV_POPULATE_WRITE : MADV_POPULATE_READ) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	/* COMPAT(linux 5.14): no populating by advice. Reading maps shared pages for writing, too. */
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
		return error_set(-errno, "mapping %zu bytes failed: %s%s", mapping->map_bytes, strerrordesc_np(errno),
		    errno == ENOMEM ? " (RLIMIT_AS, vm.max_map_count or the address space are used up)" : "");
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
