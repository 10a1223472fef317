/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the kernel says of a mapping of this process. Verification is paid for with each piece, so that it asks for
 * nothing but the piece: mincore for what is resident; for huge pages PAGEMAP_SCAN, which returns a region instead of a
 * word a page, else the mapping's entry in /proc/self/smaps.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/worker/verify.h"

/* Of linux/fs.h since 6.7; Debian 12's headers are older. */
struct scan_region {
	uint64_t start, end, categories;
};

struct scan_arg {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_IOCTL	_IOWR('f', 16, struct scan_arg)
#define SCAN_IS_PRESENT	(UINT64_C(1) << 3)
#define SCAN_IS_HUGE	(UINT64_C(1) << 6)	/* PAGE_IS_HUGE: mapped by a huge page */

void
verify_init(struct verify *verify)
{
	verify->pagemap_fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
}

void
verify_deinit(struct verify *verify)
{
	close_fd(&verify->pagemap_fd);
}

int
verify_resident(const void *address, size_t length_bytes, uint64_t *ret_bytes)
{
	size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char vec[16384];
	uint64_t n_pages = 0;

	for (size_t done = 0; done < length_bytes;) {
		size_t n = min_u64(length_bytes - done, sizeof(vec) * page_bytes);

		/* mincore's prototype takes a void pointer, and only reads. */
		if (mincore((char *)(uintptr_t)address + done, n, vec) < 0)
			return -errno;
		for (size_t i = 0; i < (n + page_bytes - 1) / page_bytes; i++)
			n_pages += vec[i] & 1;
		done += n;
	}
	*ret_bytes = min_u64(n_pages * page_bytes, length_bytes);
	return 0;
}

static int
huge_by_scan(int pagemap_fd, const void *address, size_t length_bytes, uint64_t *ret_bytes)
{
	struct scan_region regions[32];
	struct scan_arg arg = {
		.size = sizeof(arg),
		.start = (uintptr_t)address,
		.end = (uintptr_t)address + length_bytes,
		.vec = (uintptr_t)regions,
		.vec_len = BASE_ARRAY_SIZE(regions),
		.category_mask = SCAN_IS_HUGE | SCAN_IS_PRESENT,	/* a hugetlb mapping is huge where nothing is, too */
		.return_mask = SCAN_IS_HUGE,
	};
	uint64_t bytes = 0;

	while (arg.start < arg.end) {
		int n = ioctl(pagemap_fd, SCAN_IOCTL, &arg);

		if (n < 0)
			return -errno;
		for (int i = 0; i < n; i++)
			bytes += regions[i].end - regions[i].start;
		if (arg.walk_end <= arg.start)
			return -EPROTO;
		arg.start = arg.walk_end;
	}
	*ret_bytes = bytes;
	return 0;
}

/*
 * COMPAT(linux 6.7): no PAGEMAP_SCAN. The range may be part of a mapping, of System V memory, or several of them: what this
 * process has touched of those is the range.
 */
static int
huge_by_smaps(const void *address, size_t length_bytes, uint64_t *ret_bytes)
{
	cleanup_fclose FILE *f = fopen("/proc/self/smaps", "re");
	cleanup_free char *line = NULL;
	uint64_t start, end, kib, total_kib = 0;
	bool ours = false, seen = false;
	size_t size = 0;

	if (!f)
		return -errno;
	while (getline(&line, &size, f) > 0) {
		if (sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
			if (start >= (uintptr_t)address + length_bytes)
				break;
			ours = end > (uintptr_t)address;
			seen |= ours;
		} else if (ours && (sscanf(line, "ShmemPmdMapped: %" SCNu64, &kib) == 1 ||
		    sscanf(line, "FilePmdMapped: %" SCNu64, &kib) == 1 ||
		    sscanf(line, "Shared_Hugetlb: %" SCNu64, &kib) == 1 ||
		    sscanf(line, "Private_Hugetlb: %" SCNu64, &kib) == 1))
			total_kib += kib;
	}
	if (!seen)
		return -ENOENT;
	*ret_bytes = min_u64(total_kib * KIB, length_bytes);
	return 0;
}

int
verify_huge(struct verify *verify, const void *address, size_t length_bytes, uint64_t *ret_bytes)
{
	int r = -ENOTTY;

	if (verify->pagemap_fd >= 0)
		r = huge_by_scan(verify->pagemap_fd, address, length_bytes, ret_bytes);
	if (r == -ENOTTY) {
		verify_deinit(verify);
		r = huge_by_smaps(address, length_bytes, ret_bytes);
	}
	return r;
}
