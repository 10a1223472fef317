/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A filter that looks at one argument of one system call: see lacking.h. */
#include "config.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/base.h"
#include "tests/system/lacking.h"

#define PEERPIDFD	77		/* SO_PEERPIDFD */

const struct lacking lacking_peer_process = { SYS_getsockopt, 2, PEERPIDFD, false, ENODATA };

void
lacking_deny(void *arg)
{
	const struct lacking *lacking = arg;
	/* The low half of the argument, on a little-endian machine. */
	const uint32_t offset = (uint32_t)(offsetof(struct seccomp_data, args) + 8 * lacking->arg);
	const uint16_t compare = lacking->is_any ? BPF_JGE : BPF_JEQ;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, lacking->number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset),
		BPF_JUMP((uint16_t)(BPF_JMP | compare | BPF_K), lacking->value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)lacking->error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = BASE_ARRAY_SIZE(filter), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(98);
}
