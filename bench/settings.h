/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Settings of the host that provisioning depends on: read always, changed only on demand, and always put back. */
#ifndef BENCH_SETTINGS_H
#define BENCH_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#define SETTINGS_SHMEM		"/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define SETTINGS_POOL		"/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages"
#define SETTINGS_POOL_FREE	"/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"

/* Whether the word that is chosen in the file, as in "always [never]", is this one. */
bool settings_chosen(const char *path, const char *word);

/* The number in the file; 0 where there is none. */
uint64_t settings_number(const char *path);

/* Writes a value, and remembers what was there before. What cannot be written stays, and false is returned. */
bool settings_change(const char *path, const char *value);

/* Puts back what was changed; also done at the end of the program. */
void settings_restore(void);

/* The value of a line of /proc/meminfo, as in "Shmem:". */
uint64_t settings_meminfo_bytes(const char *key);

#endif
