/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who maps an object, found the bare way: by looking at every process of /proc. */
#ifndef BENCH_SCAN_H
#define BENCH_SCAN_H

#include <stdbool.h>
#include <sys/stat.h>

/* Reads and searches the text of each process's maps. How many processes have it. */
unsigned scan_texts(const struct stat *object);

/* Asks for each mapping of a file of each process (PROCMAP_QUERY), and has the kernel leave out those of none. */
unsigned scan_queries(const struct stat *object);

/* Whether the kernel answers such questions: 6.11 and later. */
bool scan_can_query(void);

#endif
