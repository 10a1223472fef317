/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Nodes and pools of huge pages, in trees of files as hosts have them; and the sentences. */
#include "config.h"

#include <check.h>

#include "host/findings.h"
#include "tests/host/tree.h"
#include "tests/suite_run.h"

#define HUGE	(2 * MIB)
#define NODE	"/sys/devices/system/node"
#define POOL	"/sys/kernel/mm/hugepages/hugepages-2048kB"
#define GROUP	"/sys/fs/cgroup/a"

static char text[FINDINGS_TEXT_SIZE];

static void
assert_says(const char *words)
{
	ck_assert_msg(strstr(text, words), "\"%s\" does not say \"%s\"", text, words);
}

START_TEST(lists_are_read_and_written)
{
	static const struct {
		const char *list;
		uint64_t nodes;
		const char *written;
	} rows[] = {
		{ "0\n", 1, "0" },
		{ "0-1\n", 3, "0-1" },
		{ "0-1,3", 11, "0-1,3" },
		{ "0,2,4-6,63\n", UINT64_C(0x8000000000000075), "0,2,4-6,63" },
		{ "0-63", UINT64_MAX, "0-63" },
		{ "62-80", UINT64_C(3) << 62, "62-63" },
		{ "", 0, "none" },
		{ "\n", 0, "none" },
		{ "5-3", 0, "none" },
		{ "1-99999999999999999999", ~UINT64_C(1), "1-63" },
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		char buf[NODES_TEXT_SIZE];

		ck_assert_uint_eq(nodes_parse(rows[i].list), rows[i].nodes);
		ck_assert_str_eq(nodes_format(buf, sizeof(buf), rows[i].nodes), rows[i].written);
	}
	/* Every second one is the longest there is. */
	ck_assert_uint_lt(strlen(nodes_format(text, NODES_TEXT_SIZE, UINT64_C(0x5555555555555555))), NODES_TEXT_SIZE - 1);
}
END_TEST

START_TEST(nodes_are_those_with_memory_that_a_cpuset_allows)
{
	cpu_set_t cpus;

	ck_assert_uint_eq(nodes_there_at(tree_root, 0), 1);
	tree_put(NODE "/online", "0-2\n");
	ck_assert_uint_eq(nodes_there_at(tree_root, 0), 7);
	tree_put(NODE "/has_memory", "0,2\n");
	ck_assert_uint_eq(nodes_there_at(tree_root, 0), 5);
	tree_put("/proc/self/status", "Name:\tx\nMems_allowed:\t6\nMems_allowed_list:\t1-2\n");
	ck_assert_uint_eq(nodes_there_at(tree_root, 0), 4);
	tree_put(NODE "/node2/cpulist", "4-5,9\n");
	nodes_cpus_at(tree_root, 4, &cpus);
	ck_assert_int_eq(CPU_COUNT(&cpus), 3);
	ck_assert(CPU_ISSET(9, &cpus));
	nodes_cpus_at(tree_root, 2, &cpus);
	ck_assert_int_eq(CPU_COUNT(&cpus), 0);
}
END_TEST

START_TEST(room_on_nodes_leaves_what_the_kernel_keeps)
{
	uint64_t bytes;

	tree_put(NODE "/node0/meminfo", "Node 0 MemTotal: 9999 kB\nNode 0 MemFree: 4096 kB\n");
	tree_put(NODE "/node1/meminfo", "Node 1 MemTotal: 9999 kB\nNode 1 MemFree: 8192 kB\nNode 1 Active(file): 2048 kB\n"
	    "Node 1 Inactive(file): 1024 kB\nNode 1 Dirty: 512 kB\nNode 1 SReclaimable: 64 kB\n");
	ck_assert_int_eq(nodes_room_at(tree_root, 1, &bytes), 0);
	ck_assert_uint_eq(bytes, 4 * MIB);
	ck_assert_int_eq(nodes_room_at(tree_root, 2, &bytes), 0);
	ck_assert_uint_eq(bytes, (8192 + 1024 + 1024 + 32 - 512) * KIB);
	tree_put("/proc/zoneinfo", "Node 0, zone DMA\n        high     3\nNode 0, zone Normal\n        high     5\n"
	    "Node 1, zone Normal\n  pages free     1\n        min      1\n        low      2\n        high     7\n");
	ck_assert_int_eq(nodes_room_at(tree_root, 3, &bytes), 0);
	ck_assert_uint_eq(bytes, (4096 + 8192 + 1024 + 1024 + 32 - 512) * KIB - 15 * (uint64_t)sysconf(_SC_PAGESIZE));
	ck_assert_int_eq(nodes_room_at(tree_root, 4, &bytes), -ENOENT);
}
END_TEST

START_TEST(even_is_what_interleaving_makes)
{
	uint64_t bytes[NODES_MAX] = { [0] = 33 * MIB, [3] = 31 * MIB };

	ck_assert(nodes_are_even(9, bytes, 64 * MIB, HUGE));
	ck_assert(!nodes_are_even(9, bytes, 64 * MIB, 4096));
	bytes[0] = 36 * MIB;
	bytes[3] = 28 * MIB;
	ck_assert(!nodes_are_even(9, bytes, 64 * MIB, HUGE));
	bytes[0] = 64 * MIB;
	bytes[3] = 0;
	ck_assert(!nodes_are_even(9, bytes, 64 * MIB, HUGE));
}
END_TEST

static void
put_pool(const char *dir, uint64_t n, uint64_t n_free, uint64_t n_reserved)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/nr_hugepages", dir);
	tree_put(path, "%llu\n", (unsigned long long)n);
	(void)snprintf(path, sizeof(path), "%s/free_hugepages", dir);
	tree_put(path, "%llu\n", (unsigned long long)n_free);
	(void)snprintf(path, sizeof(path), "%s/resv_hugepages", dir);
	tree_put(path, "%llu\n", (unsigned long long)n_reserved);
}

static struct pools_room
room_of(uint64_t nodes)
{
	struct pools_room room;

	ck_assert_int_eq(pools_room_at(tree_root, 0, HUGE, nodes, &room), 0);
	findings_pool(text, sizeof(text), 20 * HUGE, &room);
	return room;
}

START_TEST(pool_has_what_is_free_and_not_reserved)
{
	ck_assert_int_eq(room_of(0).limit, POOLS_LIMIT_NONE);
	assert_says("has no huge pages of 2 MiB");
	put_pool(POOL, 16, 10, 4);
	ck_assert_uint_eq(room_of(0).bytes, 6 * HUGE);
	assert_says("40 MiB of 2 MiB pages are needed, but the pool has 12 MiB");
	assert_says("`sysctl -w vm.nr_hugepages=30`");
	/* What may be added is counted, and is not in the pool. */
	tree_put(POOL "/surplus_hugepages", "2\n");
	tree_put(POOL "/nr_overcommit_hugepages", "5\n");
	ck_assert_uint_eq(room_of(0).bytes, 9 * HUGE);
	ck_assert_uint_eq(room_of(0).added_bytes, 3 * HUGE);
	assert_says("`sysctl -w vm.nr_hugepages=25`");
}
END_TEST

START_TEST(part_of_a_node_is_asked_for_there)
{
	put_pool(POOL, 16, 10, 0);
	put_pool(NODE "/node0/hugepages/hugepages-2048kB", 12, 7, 0);
	put_pool(NODE "/node1/hugepages/hugepages-2048kB", 4, 3, 0);
	ck_assert_uint_eq(room_of(2).bytes, 3 * HUGE);
	ck_assert_int_eq(room_of(2).limit, POOLS_LIMIT_NODES);
	assert_says("on node 1, but its part of the pool has 6 MiB");
	assert_says("`echo 21 > " NODE "/node1/hugepages/hugepages-2048kB/nr_hugepages`");
	/* Of all of it so much is reserved that the node's part says too much; more is asked for on the node all the same. */
	put_pool(POOL, 16, 10, 9);
	ck_assert_uint_eq(room_of(2).bytes, HUGE);
	ck_assert_int_eq(room_of(2).limit, POOLS_LIMIT_POOL);
	assert_says("`echo 23 > " NODE "/node1/");
	ck_assert_uint_eq(room_of(3).bytes, HUGE);
}
END_TEST

START_TEST(cgroups_above_are_asked)
{
	put_pool(POOL, 64, 64, 0);
	tree_put("/proc/self/cgroup", "0::/a/b\n");
	tree_put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
	tree_put(GROUP "/b/hugetlb.2MB.max", "max\n");
	tree_put(GROUP "/b/hugetlb.2MB.current", "0\n");
	ck_assert_uint_eq(room_of(0).bytes, 64 * HUGE);
	tree_put(GROUP "/hugetlb.2MB.rsvd.max", "%llu\n", 30 * (unsigned long long)HUGE);
	tree_put(GROUP "/hugetlb.2MB.rsvd.current", "%llu\n", 12 * (unsigned long long)HUGE);
	ck_assert_uint_eq(room_of(0).bytes, 18 * HUGE);
	ck_assert_int_eq(room_of(0).limit, POOLS_LIMIT_CGROUP);
	assert_says("the hugetlb cgroup leaves 36 MiB");
	assert_says("/a/hugetlb.2MB.rsvd.max is 60 MiB, 24 MiB are in use");
	assert_says("`echo 67108864 > ");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("nodes");
	TCase *tcase = tcase_create("nodes");

	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, tree_make, NULL);
	tcase_add_test(tcase, lists_are_read_and_written);
	tcase_add_test(tcase, nodes_are_those_with_memory_that_a_cpuset_allows);
	tcase_add_test(tcase, room_on_nodes_leaves_what_the_kernel_keeps);
	tcase_add_test(tcase, even_is_what_interleaving_makes);
	tcase_add_test(tcase, pool_has_what_is_free_and_not_reserved);
	tcase_add_test(tcase, part_of_a_node_is_asked_for_there);
	tcase_add_test(tcase, cgroups_above_are_asked);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
