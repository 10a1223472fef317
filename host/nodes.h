/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The nodes of this machine (NUMA): which have memory that this process may use, how much of it is left, and which CPUs are
 * theirs. Sets of nodes are masks: bit N is node N, of the nodes 0 to 63 that a configuration can name. Reads only.
 */
#ifndef HOST_NODES_H
#define HOST_NODES_H

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NODES_MAX	64
#define NODES_TEXT_SIZE	192		/* all 64 of them */

/* Those with memory that this process may use: its cpuset's. Of a kernel that knows no nodes: node 0. */
uint64_t nodes_there(void);
/* The same of another process (0: of this one), below another root ("" but for tests). */
uint64_t nodes_there_at(const char *root, pid_t pid);

/* How many nodes of this machine have memory, whoever may use it. Asked once. */
unsigned nodes_known(void);

/*
 * What may be allocated on them now without the kernel reclaiming what is in use, or killing: free pages, and page cache that
 * it gives up, above each zone's high watermark. 0 or the negative errno of reading.
 */
int nodes_room(uint64_t nodes, uint64_t *ret_bytes);
int nodes_room_at(const char *root, uint64_t nodes, uint64_t *ret_bytes);

/* The CPUs of the nodes; none where they have none. */
void nodes_cpus(uint64_t nodes, cpu_set_t *ret_cpus);
void nodes_cpus_at(const char *root, uint64_t nodes, cpu_set_t *ret_cpus);

/*
 * Whether bytes are spread over the nodes as evenly as interleaving pages of this size spreads them: pages are whole, several
 * processes make them, and the kernel takes some for itself in between.
 */
bool nodes_are_even(uint64_t nodes, const uint64_t *node_bytes, uint64_t bytes, uint64_t page_bytes);

/* The nodes of a list as the kernel writes it ("0-1,3"); what is none is left out. */
uint64_t nodes_parse(const char *list);

/* "0-1,3"; "none". Returns buf. */
const char *nodes_format(char *buf, size_t size, uint64_t nodes);

#endif
