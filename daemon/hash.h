/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * uthash, which ends the process where memory is short unless it is told not to: with this HASH_ADD leaves the table as it was,
 * and says so in what was to be added. And whose keys' places anybody can compute: uids, which root of a container has by tens of
 * thousands to choose among, would all meet in one place. Included instead of <uthash.h> throughout the daemon.
 */
#ifndef DAEMON_HASH_H
#define DAEMON_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Of this process: another one has another. */
uint32_t hash_bytes(const void *bytes, size_t size);
/* By a key that is known, for tests. */
uint64_t hash_keyed(const uint64_t key[2], const void *bytes, size_t size);

#define HASH_NONFATAL_OOM	1
#define HASH_FUNCTION(bytes, size, ret_hash)	((ret_hash) = hash_bytes((bytes), (size)))
#include <uthash.h>

#ifndef IF_HASH_NONFATAL_OOM
#error "uthash 2.1 or newer is needed, which can do without memory"
#endif

/* Asked after each HASH_ADD: false where memory was short, and then it is in no table. */
#define HASH_TAKES(item)	((item)->hh.tbl != NULL)

#endif
