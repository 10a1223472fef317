/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The capabilities in force. */
#include "config.h"

#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/audit/rights.h"

static const struct {
	unsigned number;
	const char *name;
} names[] = {
	{ CAP_SYS_PTRACE, "CAP_SYS_PTRACE" },
	{ CAP_DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH" },
	{ CAP_LEASE, "CAP_LEASE" },
	{ CAP_FOWNER, "CAP_FOWNER" },
	{ CAP_SYS_ADMIN, "CAP_SYS_ADMIN" },
};

static uint64_t
rights_in_force(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	if (syscall(SYS_capget, &header, data))
		return 0;
	return data[0].effective | (uint64_t)data[1].effective << 32;
}

const char *
rights_missing(uint64_t wanted, char *buf, size_t size)
{
	uint64_t missing = wanted & ~rights_in_force();
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names) && len < size; i++) {
		uint64_t bit = RIGHTS_BIT(names[i].number);

		if (!(missing & bit))
			continue;
		missing &= ~bit;
		len += (size_t)snprintf(buf + len, size - len, "%s%s", !len ? "" : missing ? ", " : " and ", names[i].name);
	}
	return buf;
}
