/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The one source of sentences about what a host does not give: the cause, the limit that bit with its figures, and the
 * remedy. Provisioning prints them as a segment's reason, doctor as rows.
 */
#ifndef HOST_FINDINGS_H
#define HOST_FINDINGS_H

#include <stddef.h>
#include <stdint.h>

#include "host/memory.h"
#include "host/shm.h"

#define FINDINGS_TEXT_SIZE	768

/* Not enough memory for needed_bytes more: which limit leaves how much, and how to raise it. */
void findings_memory(char *buf, size_t size, uint64_t needed_bytes, const struct memory_headroom *headroom);

/* mlock would exceed RLIMIT_MEMLOCK: needed and left, and the unit's line or the shell's command that raises it. */
void findings_memlock(char *buf, size_t size, uint64_t needed_bytes, uint64_t left_bytes);

/* A worker was killed while it allocated (signal as waitid says): most likely the out-of-memory killer at a limit. */
void findings_worker_killed(char *buf, size_t size, int signal, const struct memory_headroom *headroom);

/* Asked for huge pages (page_size as in the configuration), had huge_bytes of size_bytes. */
void findings_page_size(char *buf, size_t size, const char *page_size, uint64_t size_bytes, uint64_t huge_bytes);

/* Out of descriptors: the limit, and how to raise it. */
void findings_nofile(char *buf, size_t size);

/*
 * The limit stands against System V segments: needed_bytes is what it is held against (SHM_LIMIT_MAX: of one segment,
 * SHM_LIMIT_ALL: of all that are still to be made), needed_count how many they are.
 */
void findings_sysv(char *buf, size_t size, enum shm_limit limit, uint64_t needed_bytes, uint64_t needed_count,
    const struct shm_limits *limits);

/* /dev/shm has no room for needed_bytes more, no inode, or is read-only. */
void findings_shm(char *buf, size_t size, uint64_t needed_bytes, const struct shm_mount *mount);

/* A size for people: "12 GiB", "1.5 MiB", "17 B". Returns buf. */
const char *findings_size(char *buf, size_t size, uint64_t bytes);

#endif
