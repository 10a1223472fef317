/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Without libcap: two system calls, and the layout of their arguments is the kernel's ABI. */
#include "config.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/privileges.h"

int
privileges_drop(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };
	uint32_t had;

	if (syscall(SYS_capget, &header, data))
		return -errno;
	had = data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted & CAP_TO_MASK(CAP_IPC_LOCK);
	memset(data, 0, sizeof(data));
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].permitted = had;
	data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective = had;
	if (syscall(SYS_capset, &header, data))
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return 0;
}
