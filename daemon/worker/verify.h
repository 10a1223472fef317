/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the kernel says of a mapping of this process: how much is resident, how much of it on huge pages. Reads only. */
#ifndef DAEMON_WORKER_VERIFY_H
#define DAEMON_WORKER_VERIFY_H

#include <stddef.h>
#include <stdint.h>

struct verify {
	int pagemap_fd;			/* -1: the kernel cannot be asked there (before 6.7) */
};

#define VERIFY_NULL	{ .pagemap_fd = -1 }

void verify_init(struct verify *verify);
void verify_deinit(struct verify *verify);

/* Bytes of [address, address + length_bytes) that are in memory. 0 or a negative errno. */
int verify_resident(const void *address, size_t length_bytes, uint64_t *ret_bytes);

/* Bytes of [address, address + length_bytes) that huge pages map. 0 or a negative errno. */
int verify_huge(struct verify *verify, const void *address, size_t length_bytes, uint64_t *ret_bytes);

#endif
