/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * uthash, which ends the process where memory is short unless it is told not to: with this HASH_ADD leaves the table as it was,
 * and says so in what was to be added. Included instead of <uthash.h> throughout the daemon.
 */
#ifndef DAEMON_HASH_H
#define DAEMON_HASH_H

#define HASH_NONFATAL_OOM	1
#include <uthash.h>

#ifndef IF_HASH_NONFATAL_OOM
#error "uthash 2.1 or newer is needed, which can do without memory"
#endif

/* Asked after each HASH_ADD: false where memory was short, and then it is in no table. */
#define HASH_TAKES(item)	((item)->hh.tbl != NULL)

#endif
