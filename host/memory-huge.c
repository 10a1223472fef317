/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How shared memory gets huge pages on this host. What the kernel's files promise is checked once by collapsing one huge
 * page, since kernels differ in whether MADV_COLLAPSE heeds shmem_enabled.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/base.h"
#include "host/file.h"
#include "host/memory.h"

#define HUGE_DIR	"/sys/kernel/mm/transparent_hugepage"
#define HUGE_DEFAULT	(2 * MIB)

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25	/* 6.1; glibc 2.37 */
#endif

static uint64_t
huge_read_size(const char *root)
{
	uint64_t size;

	if (file_read_number(root, HUGE_DIR "/hpage_pmd_size", &size) < 0 || (size & (size - 1)))
		return 0;
	return size;
}

/*
 * Whether one huge page can be made by collapse. Only what says that the kernel never will is a no: short of memory now
 * is not.
 */
static bool
huge_probe_collapse(uint64_t page_bytes)
{
	cleanup_close int fd = memfd_create("segmentd-probe", MFD_CLOEXEC);
	char *area, *page;
	bool can = false;

	if (fd < 0 || ftruncate(fd, (off_t)page_bytes) < 0)
		return false;
	area = mmap(NULL, 2 * page_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (area == MAP_FAILED)
		return false;
	page = (char *)(uintptr_t)round_up((uintptr_t)area, page_bytes);
	if (mmap(page, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != MAP_FAILED &&
	    pwrite(fd, "", 1, 0) == 1) {
		/* Linux 6.1 refuses where nothing is mapped, although it has made a huge page. */
		(void)*(volatile char *)page;
		can = madvise(page, page_bytes, MADV_COLLAPSE) == 0 || errno != EINVAL;
	}
	(void)munmap(area, 2 * page_bytes);
	return can;
}

/* What shmem_enabled says for pages of this size; "" where there is no such file. */
static void
huge_read_enabled(const char *root, uint64_t page_bytes, char *word, size_t size)
{
	char path[128], own[32];

	if (file_read_choice(root, HUGE_DIR "/shmem_enabled", word, size) < 0)
		word[0] = '\0';
	/* Since 6.11 each size has a file of its own, which may say "inherit". force, like deny, overrides it. */
	(void)snprintf(path, sizeof(path), HUGE_DIR "/hugepages-%llukB/shmem_enabled",
	    (unsigned long long)(page_bytes / KIB));
	if (file_read_choice(root, path, own, sizeof(own)) == 0 && !streq(own, "inherit") && !streq(word, "force") &&
	    !streq(word, "deny"))
		(void)snprintf(word, size, "%s", own);
}

enum memory_huge
memory_huge_at(const char *root, uint64_t *ret_page_bytes)
{
	static enum { UNKNOWN, NO, YES } collapses;	/* the kernel's nature: asked once */
	uint64_t page_bytes = huge_read_size(root);
	char word[32];

	*ret_page_bytes = page_bytes ? page_bytes : HUGE_DEFAULT;
	if (page_bytes == 0)
		return MEMORY_HUGE_NONE;
	huge_read_enabled(root, page_bytes, word, sizeof(word));
	if (word[0] == '\0' || streq(word, "deny"))
		return MEMORY_HUGE_NONE;
	if (!streq(word, "never"))
		return MEMORY_HUGE_ADVISE;
	if (collapses == UNKNOWN)
		collapses = huge_probe_collapse(page_bytes) ? YES : NO;
	return collapses == YES ? MEMORY_HUGE_COLLAPSE : MEMORY_HUGE_NONE;
}

enum memory_huge
memory_huge(uint64_t *ret_page_bytes)
{
	return memory_huge_at("", ret_page_bytes);
}
