/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A filter of a few comparisons: see hosts.h. */
#include "config.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "tests/faults/hosts.h"

#define SCAN_IOCTL	0xc0606610	/* PAGEMAP_SCAN, 6.7 */
#define NOEXEC_SEAL	0x0008		/* MFD_NOEXEC_SEAL, 6.3 */
#define CACHESTAT	451		/* 6.5 */
#define PEERPIDFD	77		/* SO_PEERPIDFD, 6.5 */
#define LACKS_MAX	10
#define STEPS		7		/* of the filter, of each */

struct lack {
	enum hosts_host host;
	uint32_t number;
	unsigned arg;
	uint32_t mask, value;		/* of the argument; a mask of 0: whatever it is */
	int error;
};

static const struct lack lacks[] = {
	{ HOSTS_OLDER, SYS_memfd_create, 1, NOEXEC_SEAL, NOEXEC_SEAL, EINVAL },
	{ HOSTS_OLDER, SYS_ioctl, 1, UINT32_MAX, SCAN_IOCTL, ENOTTY },
	{ HOSTS_OLDER, CACHESTAT, 0, 0, 0, ENOSYS },
	{ HOSTS_OLDER, SYS_madvise, 2, UINT32_MAX, MADV_POPULATE_READ, EINVAL },
	{ HOSTS_OLDER, SYS_madvise, 2, UINT32_MAX, MADV_POPULATE_WRITE, EINVAL },
	{ HOSTS_OLDER, SYS_getsockopt, 2, UINT32_MAX, PEERPIDFD, ENOPROTOOPT },
	{ HOSTS_NO_PROCESS, SYS_getsockopt, 2, UINT32_MAX, PEERPIDFD, ENODATA },
	/* Holes are punched all the same: of memory that is always to be had. */
	{ HOSTS_POOR, SYS_fallocate, 1, UINT32_MAX, FALLOC_FL_KEEP_SIZE, EOPNOTSUPP },
	{ HOSTS_POOR, SYS_renameat2, 0, 0, 0, EINVAL },
	{ HOSTS_POOR, SYS_fsetxattr, 0, 0, 0, EOPNOTSUPP },
};
_Static_assert(BASE_ARRAY_SIZE(lacks) <= LACKS_MAX, "all of them are filtered");

/* Each begins with the number, and goes on with the next one where it is not that. */
static size_t
add(struct sock_filter *filter, const struct lack *lack)
{
	/* The low half of the argument, on a little-endian machine. */
	const uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * lack->arg);
	const struct sock_filter steps[STEPS] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lack->number, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, lack->mask),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lack->value & lack->mask, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)lack->error),
		/* It is not that. */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
	};

	memcpy(filter, steps, sizeof(steps));
	return STEPS;
}

void
hosts_lessen(enum hosts_host host)
{
	struct sock_filter filter[LACKS_MAX * STEPS + 1];
	struct sock_fprog program = { .filter = filter };
	size_t n = 0;

	if (host == HOSTS_OWN)
		return;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(lacks); i++)
		if (lacks[i].host == host)
			n += add(filter + n, &lacks[i]);
	filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	program.len = (unsigned short)n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(98);
}
