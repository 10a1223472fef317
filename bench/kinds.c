/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/kinds.h"
#include "bench/settings.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#endif

#define PAGE_SHIFT_2MIB		21
#define PAGE_SHIFT_1GIB		30
#define PAGE_SHIFT_AT		26		/* in the flags of memfd_create(2) and shmget(2) */
#define BASE_PAGE_BYTES		4096
#define KEY			0x5e6d0000u	/* and the index */

/* How a bare program comes by it. */
enum maker {
	MAKER_MEMFD,
	MAKER_POSIX,
	MAKER_SYSV,
	MAKER_FILE,
};

struct kind_row {
	enum maker maker;
	const char *keys;
	unsigned flags;			/* of memfd_create or shmget */
	const char *pool;		/* the file that says how many of its pages are free */
};

#define POOL_2MIB	SETTINGS_POOL_FREE
#define POOL_1GIB	"/sys/kernel/mm/hugepages/hugepages-1048576kB/free_hugepages"

#define MEMFD_2MIB	(MFD_HUGETLB | (unsigned)PAGE_SHIFT_2MIB << PAGE_SHIFT_AT)
#define MEMFD_1GIB	(MFD_HUGETLB | (unsigned)PAGE_SHIFT_1GIB << PAGE_SHIFT_AT)
#define SYSV_2MIB	(SHM_HUGETLB | (unsigned)PAGE_SHIFT_2MIB << PAGE_SHIFT_AT)
#define SYSV_1GIB	(SHM_HUGETLB | (unsigned)PAGE_SHIFT_1GIB << PAGE_SHIFT_AT)

static const struct kind_row
	memfd_base = { MAKER_MEMFD, "page_size = \"base\";", 0, NULL },
	memfd_transparent = { MAKER_MEMFD, "page_size = \"transparent\";", 0, NULL },
	memfd_2mib = { MAKER_MEMFD, "page_size = \"2MiB\";", MEMFD_2MIB, POOL_2MIB },
	memfd_1gib = { MAKER_MEMFD, "page_size = \"1GiB\";", MEMFD_1GIB, POOL_1GIB },
	posix_base = { MAKER_POSIX, "backend = \"posix\"; page_size = \"base\";", 0, NULL },
	posix_transparent = { MAKER_POSIX, "backend = \"posix\"; page_size = \"transparent\";", 0, NULL },
	sysv_base = { MAKER_SYSV, "backend = \"sysv\"; page_size = \"base\";", 0, NULL },
	sysv_transparent = { MAKER_SYSV, "backend = \"sysv\"; page_size = \"transparent\";", 0, NULL },
	sysv_2mib = { MAKER_SYSV, "backend = \"sysv\"; page_size = \"2MiB\";", SYSV_2MIB, POOL_2MIB },
	sysv_1gib = { MAKER_SYSV, "backend = \"sysv\"; page_size = \"1GiB\";", SYSV_1GIB, POOL_1GIB },
	file_base = { MAKER_FILE, "backend = \"file\"; sync = \"none\";", 0, NULL };

#define BASE_KIND(name, row)		{ name, { &populate_base, NULL }, BASE_PAGE_BYTES, false, false, row }
#define TRANSPARENT_KIND(name, row)	{ name, { &populate_collapsed, &populate_advised }, 2 * MIB, true, false, row }
#define POOLED_KIND(name, bytes, row)	{ name, { &populate_hugetlb, NULL }, bytes, false, true, row }

const struct kind kinds[] = {
	BASE_KIND("memfd/base", &memfd_base),
	TRANSPARENT_KIND("memfd/transparent", &memfd_transparent),
	POOLED_KIND("memfd/2MiB", 2 * MIB, &memfd_2mib),
	POOLED_KIND("memfd/1GiB", GIB, &memfd_1gib),
	BASE_KIND("posix/base", &posix_base),
	TRANSPARENT_KIND("posix/transparent", &posix_transparent),
	BASE_KIND("sysv/base", &sysv_base),
	TRANSPARENT_KIND("sysv/transparent", &sysv_transparent),
	POOLED_KIND("sysv/2MiB", 2 * MIB, &sysv_2mib),
	POOLED_KIND("sysv/1GiB", GIB, &sysv_1gib),
	{ "file/base", { &populate_read, NULL }, BASE_PAGE_BYTES, false, false, &file_base },
};

const unsigned kinds_n = BASE_ARRAY_SIZE(kinds);

const struct kind *
kind_of_base_pages(const struct kind *kind)
{
	unsigned i;

	for (i = 0; i < kinds_n; i++) {
		if (kinds[i].row->maker == kind->row->maker && kinds[i].page_bytes == BASE_PAGE_BYTES)
			return &kinds[i];
	}
	return NULL;
}

const char *
kind_why_not(const struct kind *kind, uint64_t size_bytes)
{
	if (kind->is_pooled && settings_number(kind->row->pool) * kind->page_bytes < size_bytes)
		return "the pool of its pages has not so many free; BENCH_HOST_SETTINGS=1 fills that of 2 MiB pages for a while";
	if (!kind->is_pooled && settings_meminfo_bytes("MemAvailable:") < size_bytes + 2 * GIB)
		return "less memory is available than the size and 2 GiB; BENCH_SIZE=1024 takes less";
	return NULL;
}

static void
object_name(unsigned index, char *text, size_t size)
{
	(void)snprintf(text, size, "/segmentd-bench-%d-%u", (int)getpid(), index);
}

static void
file_path(const char *directory, unsigned index, char *text, size_t size)
{
	(void)snprintf(text, size, "%s/file-%u", directory, index);
}

void
kind_define(const struct kind *kind, const char *directory, unsigned index, char *text, size_t size)
{
	char name[128] = "";
	size_t len = (size_t)snprintf(text, size, "%s placement = \"require\";", kind->row->keys);

	if (kind->row->maker == MAKER_POSIX) {
		object_name(index, name, sizeof(name));
		(void)snprintf(text + len, size - len, " object = \"%s\";", name);
	} else if (kind->row->maker == MAKER_SYSV) {
		(void)snprintf(text + len, size - len, " key = %u;", KEY + index);
	} else if (kind->row->maker == MAKER_FILE) {
		file_path(directory, index, name, sizeof(name));
		(void)snprintf(text + len, size - len, " path = \"%s\";", name);
	}
}

static int
make_object(struct kind_memory *memory, unsigned flags, const char *directory)
{
	switch (memory->kind->row->maker) {
	case MAKER_MEMFD:
		memory->fd = memfd_create("bench", MFD_CLOEXEC | flags);
		break;
	case MAKER_POSIX:
		object_name(UINT32_MAX, memory->path, sizeof(memory->path));
		memory->fd = shm_open(memory->path, O_RDWR | O_CREAT | O_EXCL, 0600);
		break;
	case MAKER_FILE:
		file_path(directory, UINT32_MAX, memory->path, sizeof(memory->path));
		memory->fd = open(memory->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		break;
	case MAKER_SYSV:
		memory->shm_id = shmget(IPC_PRIVATE, memory->size_bytes, IPC_CREAT | IPC_EXCL | 0600 | (int)flags);
		return memory->shm_id < 0 ? -errno : 0;
	}
	return memory->fd < 0 ? -errno : 0;
}

int
kind_make(const struct kind *kind, const char *directory, uint64_t size_bytes, struct kind_memory *memory)
{
	int r;

	*memory = (struct kind_memory){ .kind = kind, .size_bytes = size_bytes, .fd = -1, .shm_id = -1 };
	r = make_object(memory, kind->row->flags, directory);
	if (r || memory->fd < 0)
		return r;
	if (kind->row->maker == MAKER_FILE)	/* blocks as well, so that no store into a hole fails on a full disk */
		r = -posix_fallocate(memory->fd, 0, (off_t)size_bytes);
	else if (ftruncate(memory->fd, (off_t)size_bytes) != 0)
		r = -errno;
	if (r)
		kind_remove(memory);
	return r;
}

int
kind_find(const struct kind *kind, unsigned index, int fd, uint64_t size_bytes, struct kind_memory *memory)
{
	*memory = (struct kind_memory){ .kind = kind, .size_bytes = size_bytes, .fd = fd, .shm_id = -1 };
	if (kind->row->maker != MAKER_SYSV)
		return fd < 0 ? -EBADF : 0;
	memory->shm_id = shmget((key_t)(KEY + index), 0, 0);
	return memory->shm_id < 0 ? -errno : 0;
}

static char *
map_sysv(const struct kind_memory *memory, char *hole, bool populate)
{
	char *at = shmat(memory->shm_id, hole, 0);

	if (at == (void *)-1)
		return NULL;
	if (populate)
		(void)madvise(at, memory->size_bytes, MADV_POPULATE_READ);
	return at;
}

char *
kind_map(const struct kind_memory *memory, bool populate)
{
	uint64_t align_bytes = memory->kind->page_bytes < 2 * MIB ? 2 * MIB : memory->kind->page_bytes;
	char *hole = populate_hole(memory->size_bytes, align_bytes), *at;

	if (!hole)
		return NULL;
	if (memory->shm_id >= 0)
		return map_sysv(memory, hole, populate);
	at = mmap(hole, memory->size_bytes, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_FIXED_NOREPLACE | (populate ? MAP_POPULATE : 0), memory->fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

void
kind_unmap(const struct kind_memory *memory, char *at)
{
	if (memory->shm_id >= 0)
		(void)shmdt(at);
	else
		(void)munmap(at, memory->size_bytes);
}

void
kind_remove(struct kind_memory *memory)
{
	close_fd(&memory->fd);
	if (memory->shm_id >= 0)
		(void)shmctl(memory->shm_id, IPC_RMID, NULL);
	if (memory->path[0] && memory->kind->row->maker == MAKER_POSIX)
		(void)shm_unlink(memory->path);
	else if (memory->path[0])
		(void)unlink(memory->path);
	*memory = (struct kind_memory){ .kind = memory->kind, .fd = -1, .shm_id = -1 };
}

void
kind_remove_kept(const struct kind *kind, const char *directory, unsigned index)
{
	char path[128];

	if (kind->row->maker != MAKER_FILE)
		return;
	file_path(directory, index, path, sizeof(path));
	(void)unlink(path);
}
