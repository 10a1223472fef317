/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that waits for no worker longer than a second: this stands in place of daemon/patience.c. Ten minutes of a disk that does
 * not answer are over soon.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/patience.h"

uint64_t
patience_begin(struct patience *patience, uint64_t limit_ns, pid_t pid BASE_UNUSED)
{
	*patience = (struct patience) { .limit_ns = limit_ns };
	return min_u64(limit_ns, NS_PER_SEC);
}

uint64_t
patience_look(struct patience *patience BASE_UNUSED, pid_t pid BASE_UNUSED)
{
	return 0;
}
