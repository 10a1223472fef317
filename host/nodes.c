/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The nodes of this machine, as /sys/devices/system/node shows them. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "host/file.h"
#include "host/nodes.h"

#define NODE_DIR	"/sys/devices/system/node"
#define LIST_SIZE	1024
#define EVEN_BYTES	(64 * KIB)	/* that base pages may differ by, of whatever is spread */

/* Calls for each number of a list like "0-3,8". */
static void
list_walk(const char *list, void (*fn)(unsigned long number, void *arg), void *arg)
{
	const char *at = list;

	while (*at >= '0' && *at <= '9') {
		char *end;
		unsigned long first = strtoul(at, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (; first <= last && first < CPU_SETSIZE; first++)
			fn(first, arg);
		if (*end != ',')
			return;
		at = end + 1;
	}
}

static void
add_node(unsigned long number, void *arg)
{
	if (number < NODES_MAX)
		*(uint64_t *)arg |= (uint64_t)1 << number;
}

static void
add_cpu(unsigned long number, void *arg)
{
	CPU_SET(number, (cpu_set_t *)arg);
}

uint64_t
nodes_parse(const char *list)
{
	uint64_t nodes = 0;

	list_walk(list, add_node, &nodes);
	return nodes;
}

const char *
nodes_format(char *buf, size_t size, uint64_t nodes)
{
	size_t n = 0;

	(void)snprintf(buf, size, "none");
	for (unsigned i = 0; i < NODES_MAX; i++) {
		unsigned first = i;

		if (!(nodes >> i & 1))
			continue;
		while (i + 1 < NODES_MAX && nodes >> (i + 1) & 1)
			i++;
		if (n < size)
			n += (size_t)snprintf(buf + n, size - n, i > first ? "%s%u-%u" : "%s%u", n ? "," : "", first, i);
	}
	return buf;
}

uint64_t
nodes_there_at(const char *root, pid_t pid)
{
	uint64_t nodes = 1;
	char text[8192];
	const char *allowed;

	/* A kernel without NUMA has no such directory, and one node. */
	if (file_read_text(root, NODE_DIR "/has_memory", text, sizeof(text)) == 0 ||
	    file_read_text(root, NODE_DIR "/online", text, sizeof(text)) == 0)
		nodes = nodes_parse(text);
	if (file_read_process(root, pid, "status", text, sizeof(text)) == 0 &&
	    (allowed = strstr(text, "\nMems_allowed_list:")))
		nodes &= nodes_parse(allowed + strlen("\nMems_allowed_list:") + strspn(allowed + 19, " \t"));
	return nodes;
}

uint64_t
nodes_there(void)
{
	return nodes_there_at("", 0);
}

unsigned
nodes_known(void)
{
	static unsigned n;
	char text[LIST_SIZE];

	if (n == 0 && (file_read_text("", NODE_DIR "/has_memory", text, sizeof(text)) < 0 ||
	    (n = (unsigned)__builtin_popcountll(nodes_parse(text))) == 0))
		n = 1;
	return n;
}

/* The number of one of a node's lines, "Node 0 MemFree: 17 kB", in bytes; 0: there is none. */
static uint64_t
node_value(const char *meminfo, unsigned node, const char *key)
{
	char line[64];
	uint64_t kib;
	const char *at;

	(void)snprintf(line, sizeof(line), "Node %u %s:", node, key);
	at = strstr(meminfo, line);
	return at && sscanf(at + strlen(line), "%" SCNu64, &kib) == 1 ? kib * KIB : 0;
}

/* Pages that the kernel keeps on the nodes for itself: below the high watermark it reclaims, and below the low one kills. */
static uint64_t
watermarks(const char *root, uint64_t nodes)
{
	cleanup_free char *line = NULL;
	cleanup_fclose FILE *f = NULL;
	uint64_t n_pages = 0, high;
	unsigned node = NODES_MAX;
	size_t size = 0;

	(void)file_open_text(root, "/proc/zoneinfo", &f);
	while (f && getline(&line, &size, f) > 0)
		if (sscanf(line, "Node %u, zone", &node) != 1 && node < NODES_MAX && (nodes >> node & 1) &&
		    sscanf(line, " high %" SCNu64, &high) == 1)
			n_pages += high;
	return n_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

int
nodes_room_at(const char *root, uint64_t nodes, uint64_t *ret_bytes)
{
	uint64_t bytes = 0, kept;

	for (unsigned i = 0; i < NODES_MAX; i++) {
		char path[64], text[4096];
		uint64_t cache, dirty;
		int r;

		if (!(nodes >> i & 1))
			continue;
		(void)snprintf(path, sizeof(path), NODE_DIR "/node%u/meminfo", i);
		r = file_read_text(root, path, text, sizeof(text));
		if (r < 0)
			return r;
		/* Half of what is in use may be given up, as of a cgroup's page cache: host/memory.c. */
		cache = node_value(text, i, "Inactive(file)") + node_value(text, i, "Active(file)") / 2 +
		    node_value(text, i, "SReclaimable") / 2;
		dirty = node_value(text, i, "Dirty") + node_value(text, i, "Writeback");
		bytes += node_value(text, i, "MemFree") + cache - min_u64(cache, dirty);
	}
	kept = watermarks(root, nodes);
	*ret_bytes = bytes - min_u64(bytes, kept);
	return 0;
}

int
nodes_room(uint64_t nodes, uint64_t *ret_bytes)
{
	return nodes_room_at("", nodes, ret_bytes);
}

bool
nodes_are_even(uint64_t nodes, const uint64_t *node_bytes, uint64_t bytes, uint64_t page_bytes)
{
	uint64_t share = bytes / (unsigned)__builtin_popcountll(nodes), slack = max_u64(page_bytes, EVEN_BYTES) + share / 64;

	for (unsigned i = 0; i < NODES_MAX; i++)
		if ((nodes >> i & 1) && (node_bytes[i] + slack < share || node_bytes[i] > share + slack))
			return false;
	return true;
}

void
nodes_cpus_at(const char *root, uint64_t nodes, cpu_set_t *ret_cpus)
{
	char path[64], list[LIST_SIZE];

	CPU_ZERO(ret_cpus);
	for (unsigned i = 0; i < NODES_MAX; i++) {
		(void)snprintf(path, sizeof(path), NODE_DIR "/node%u/cpulist", i);
		if ((nodes >> i & 1) && file_read_text(root, path, list, sizeof(list)) == 0)
			list_walk(list, add_cpu, ret_cpus);
	}
}

void
nodes_cpus(uint64_t nodes, cpu_set_t *ret_cpus)
{
	nodes_cpus_at("", nodes, ret_cpus);
}
