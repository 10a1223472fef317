/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What memory is left: on trees of files as cgroup v1, v2, hybrid hosts and containers show them, and on this machine. */
#include "config.h"

#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/base.h"
#include "host/memory.h"
#include "tests/suite_run.h"

static char top[] = "/tmp/check_memory.XXXXXX";	/* the runner's, which removes it */
static char root[64];				/* a test's own, below it */

/* Writes a file below root, and the directories above it. */
static void BASE_PRINTF(2, 3)
put(const char *path, const char *format, ...)
{
	char full[512];
	FILE *f;
	va_list args;

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	for (char *p = strchr(full + strlen(root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(full, 0755);
		*p = '/';
	}
	f = fopen(full, "we");
	ck_assert_msg(f, "%s: %s", full, strerror(errno));
	va_start(args, format);
	ck_assert_int_ge(vfprintf(f, format, args), 0);
	va_end(args);
	ck_assert_int_eq(fclose(f), 0);
}

static void
put_v2(const char *dir, const char *max, const char *high, uint64_t current)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/memory.max", dir);
	put(path, "%s\n", max);
	(void)snprintf(path, sizeof(path), "%s/memory.high", dir);
	put(path, "%s\n", high);
	(void)snprintf(path, sizeof(path), "%s/memory.current", dir);
	put(path, "%llu\n", (unsigned long long)current);
}

static void
put_v1(const char *dir, uint64_t limit, uint64_t usage)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/memory.limit_in_bytes", dir);
	put(path, "%llu\n", (unsigned long long)limit);
	(void)snprintf(path, sizeof(path), "%s/memory.usage_in_bytes", dir);
	put(path, "%llu\n", (unsigned long long)usage);
}

static struct memory_headroom
headroom_for(uint64_t reserve_bytes, uint64_t needed_bytes)
{
	struct memory_headroom headroom;
	struct memory *memory;

	ck_assert_int_eq(memory_new_at(root, 0, &memory), 0);
	ck_assert_int_eq(memory_headroom_for(memory, reserve_bytes, needed_bytes, &headroom), 0);
	ck_assert_ptr_null(memory_free(memory));
	return headroom;
}

static struct memory_headroom
headroom(void)
{
	return headroom_for(0, UINT64_MAX);
}

/* Asserts that the file at path, below root, is what limits. */
static void
assert_where(const struct memory_headroom *headroom, const char *path)
{
	char full[512];

	(void)snprintf(full, sizeof(full), "%s%s", root, path);
	ck_assert_str_eq(headroom->where, full);
}

#define MOUNT_V2	"30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
#define MOUNT_V1	"35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
#define UNLIMITED_V1	UINT64_C(9223372036854771712)

static void
make_top(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
}

static void
setup(void)
{
	(void)snprintf(root, sizeof(root), "%s/%ld", top, (long)getpid());
	ck_assert_int_eq(mkdir(root, 0755), 0);
	put("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:         1 kB\nMemAvailable:    8388608 kB\n");
	put("/proc/self/cgroup", "0::/\n");
	put("/proc/self/mountinfo", MOUNT_V2);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void
remove_top(void)
{
	(void)nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

START_TEST(without_cgroups_available_memory_less_the_reserve)
{
	struct memory_headroom h = headroom_for(GIB, UINT64_MAX);

	ck_assert_uint_eq(h.bytes, 7 * GIB);
	ck_assert_int_eq(h.limit, MEMORY_LIMIT_AVAILABLE);
	ck_assert_uint_eq(h.limit_bytes, 8 * GIB);
	ck_assert_uint_eq(h.used_bytes, GIB);
	assert_where(&h, "/proc/meminfo");
	ck_assert_uint_eq(headroom_for(9 * GIB, UINT64_MAX).bytes, 0);
}
END_TEST

START_TEST(v2_least_of_all_ancestors)
{
	struct memory_headroom h;

	put("/proc/self/cgroup", "0::/system.slice/segmentd.service\n");
	put_v2("/sys/fs/cgroup/system.slice/segmentd.service", "2147483648", "max", GIB);
	put_v2("/sys/fs/cgroup/system.slice", "4294967296", "max", 4 * GIB - 100 * MIB);
	h = headroom();
	ck_assert_uint_eq(h.bytes, 100 * MIB);
	ck_assert_int_eq(h.limit, MEMORY_LIMIT_CGROUP);
	ck_assert_uint_eq(h.limit_bytes, 4 * GIB);
	ck_assert_uint_eq(h.used_bytes, 4 * GIB - 100 * MIB);
	assert_where(&h, "/sys/fs/cgroup/system.slice/memory.max");
}
END_TEST

START_TEST(v2_high_limits_like_max)
{
	struct memory_headroom h;

	put("/proc/self/cgroup", "0::/a\n");
	put_v2("/sys/fs/cgroup/a", "2147483648", "1073741824", 600 * MIB);
	h = headroom();
	ck_assert_uint_eq(h.bytes, 424 * MIB);
	assert_where(&h, "/sys/fs/cgroup/a/memory.high");
	put_v2("/sys/fs/cgroup/a", "2147483648", "1073741824", 3 * GIB);
	ck_assert_uint_eq(headroom().bytes, 0);
}
END_TEST

START_TEST(v2_unlimited_and_unreadable_set_no_limit)
{
	put("/proc/self/cgroup", "0::/a/b/c\n");
	put_v2("/sys/fs/cgroup/a", "max", "max", 20 * GIB);
	put("/sys/fs/cgroup/a/b/memory.max", "garbage\n");
	put("/sys/fs/cgroup/a/b/memory.current", "1\n");
	ck_assert_int_eq(headroom().limit, MEMORY_LIMIT_AVAILABLE);
	ck_assert_uint_eq(headroom().bytes, 8 * GIB);
}
END_TEST

START_TEST(v2_limits_are_read_anew)
{
	struct memory_headroom h;
	struct memory *memory;

	put("/proc/self/cgroup", "0::/a\n");
	put_v2("/sys/fs/cgroup/a", "max", "max", 0);
	ck_assert_int_eq(memory_new_at(root, 0, &memory), 0);
	ck_assert_int_eq(memory_headroom(memory, 0, &h), 0);
	ck_assert_uint_eq(h.bytes, 8 * GIB);
	put_v2("/sys/fs/cgroup/a", "1073741824", "max", 24 * MIB);
	ck_assert_int_eq(memory_headroom(memory, 0, &h), 0);
	ck_assert_uint_eq(h.bytes, 1000 * MIB);
	memory_free(memory);
}
END_TEST

START_TEST(page_cache_is_given_up_but_shared_memory_is_not)
{
	struct memory_headroom h;

	put("/proc/self/cgroup", "0::/a\n");
	put_v2("/sys/fs/cgroup/a", "1073741824", "max", GIB);
	put("/sys/fs/cgroup/a/memory.stat", "anon 1\nfile %llu\nshmem %llu\nfile_dirty %llu\nfile_writeback %llu\n"
	    "inactive_anon %llu\ninactive_file %llu\nactive_file %llu\n",
	    (unsigned long long)(900 * MIB), (unsigned long long)(600 * MIB), (unsigned long long)(10 * MIB),
	    (unsigned long long)(5 * MIB), (unsigned long long)(600 * MIB), (unsigned long long)(200 * MIB),
	    (unsigned long long)(100 * MIB));
	h = headroom();
	ck_assert_uint_eq(h.bytes, 235 * MIB);		/* 200 + 100 / 2 - 10 - 5 */
	ck_assert_uint_eq(h.used_bytes, GIB - 235 * MIB);
	/* It is not asked for where what is free is enough. */
	put_v2("/sys/fs/cgroup/a", "1073741824", "max", 512 * MIB);
	ck_assert_uint_eq(headroom_for(0, 512 * MIB).bytes, 512 * MIB);
	ck_assert_uint_eq(headroom_for(0, 513 * MIB).bytes, 747 * MIB);
}
END_TEST

START_TEST(v1_memory_controller_and_swap)
{
	struct memory_headroom h;

	put("/proc/self/cgroup", "9:name=systemd:/x\n4:cpu,memory:/a/b\n1:cpuset:/y\n0::/\n");
	put("/proc/self/mountinfo", "34 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n" MOUNT_V1);
	put_v1("/sys/fs/cgroup/memory", UNLIMITED_V1, 12 * GIB);
	put_v1("/sys/fs/cgroup/memory/a", 2 * GIB, GIB);
	put_v1("/sys/fs/cgroup/memory/a/b", UNLIMITED_V1, GIB);
	put("/sys/fs/cgroup/memory/a/memory.stat", "inactive_file 1\ntotal_inactive_file %llu\n",
	    (unsigned long long)(24 * MIB));
	h = headroom();
	ck_assert_uint_eq(h.bytes, 1048 * MIB);
	assert_where(&h, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes");
	put("/sys/fs/cgroup/memory/a/b/memory.memsw.limit_in_bytes", "%llu\n", (unsigned long long)GIB);
	put("/sys/fs/cgroup/memory/a/b/memory.memsw.usage_in_bytes", "%llu\n", (unsigned long long)(GIB - MIB));
	h = headroom();
	ck_assert_uint_eq(h.bytes, MIB);
	assert_where(&h, "/sys/fs/cgroup/memory/a/b/memory.memsw.limit_in_bytes");
}
END_TEST

START_TEST(hybrid_memory_on_either_side)
{
	put("/proc/self/cgroup", "4:memory:/a\n0::/b\n");
	put("/proc/self/mountinfo", MOUNT_V1
	    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
	put_v1("/sys/fs/cgroup/memory/a", 2 * GIB, GIB);
	put("/sys/fs/cgroup/unified/b/cgroup.procs", "1\n");
	ck_assert_uint_eq(headroom().bytes, GIB);
	put_v2("/sys/fs/cgroup/unified/b", "1048576", "max", 0);
	ck_assert_uint_eq(headroom().bytes, MIB);
}
END_TEST

START_TEST(container_sees_the_part_that_is_mounted)
{
	/* Without a cgroup namespace: paths are the host's, the mount shows a part. */
	put("/proc/self/cgroup", "0::/docker/abc/inner\n");
	put("/proc/self/mountinfo", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
	put_v2("/sys/fs/cgroup", "1073741824", "max", 0);
	put_v2("/sys/fs/cgroup/inner", "max", "max", 0);
	ck_assert_uint_eq(headroom().bytes, GIB);
	/* A neighbour's name that begins alike is not ours, and another part is not either. */
	put("/proc/self/cgroup", "0::/docker/abcd\n");
	ck_assert_int_eq(headroom().limit, MEMORY_LIMIT_AVAILABLE);
}
END_TEST

START_TEST(namespace_within_a_wider_mount)
{
	/* A mount from outside the namespace: its root is two levels above ours, whose names are not told. */
	put("/proc/self/cgroup", "0::/leaf\n");
	put("/proc/self/mountinfo", "30 23 0:26 /../.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
	put_v2("/sys/fs/cgroup", "4294967296", "max", 0);
	put("/sys/fs/cgroup/x/y/leaf/cgroup.procs", "1\n2\n");
	put_v2("/sys/fs/cgroup/x/y", "1048576", "max", 0);
	put("/sys/fs/cgroup/x/z/leaf/cgroup.procs", "1\n%ld\n", (long)getpid());
	put_v2("/sys/fs/cgroup/x/z", "2147483648", "max", 0);
	ck_assert_uint_eq(headroom().bytes, 2 * GIB);
	/* Not found: the mount's root is above us all the same. */
	put("/sys/fs/cgroup/x/z/leaf/cgroup.procs", "1\n");
	ck_assert_uint_eq(headroom().bytes, 4 * GIB);
}
END_TEST

START_TEST(process_outside_its_namespaces_root)
{
	/* /.. of both is the same place. */
	put("/proc/self/cgroup", "0::/../other\n");
	put("/proc/self/mountinfo", "30 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
	put_v2("/sys/fs/cgroup/other", "1073741824", "max", 0);
	ck_assert_uint_eq(headroom().bytes, GIB);
	/* The mount shows only the namespace, where we are not. */
	put("/proc/self/mountinfo", MOUNT_V2);
	put_v2("/sys/fs/cgroup", "1048576", "max", 0);
	ck_assert_int_eq(headroom().limit, MEMORY_LIMIT_AVAILABLE);
}
END_TEST

START_TEST(mount_point_with_spaces_and_widest_mount)
{
	put("/proc/self/cgroup", "0::/a/b\n");
	put("/proc/self/mountinfo", "29 23 0:26 /a/b /narrow rw - cgroup2 cgroup rw\n"
	    "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup rw\nnonsense\n");
	put_v2("/narrow", "max", "max", 0);
	put_v2("/my groups/a", "1073741824", "max", 0);
	ck_assert_uint_eq(headroom().bytes, GIB);
}
END_TEST

START_TEST(long_path_keeps_its_end)
{
	char dir[256] = "/sys/fs/cgroup", own[300];
	struct memory_headroom h;

	for (int i = 0; i < 5; i++)
		(void)strcat(dir, "/0123456789012345678901234567890123456789");
	(void)snprintf(own, sizeof(own), "0::%s\n", dir + strlen("/sys/fs/cgroup"));
	put("/proc/self/cgroup", "%s", own);
	put_v2(dir, "1048576", "max", 0);
	h = headroom();
	ck_assert_uint_eq(h.bytes, MIB);
	ck_assert_ptr_nonnull(strstr(h.where, "6789/memory.max"));
}
END_TEST

START_TEST(missing_meminfo_is_an_error)
{
	struct memory *memory;
	struct memory_headroom h;

	put("/proc/meminfo", "MemTotal: 1 kB\n");
	ck_assert_int_eq(memory_new_at(root, 0, &memory), 0);
	ck_assert_int_eq(memory_headroom(memory, 0, &h), -EPROTO);
	memory_free(memory);
	ck_assert_int_eq(memory_new_at("/nonexistent", 0, &memory), -ENOENT);
	ck_assert_ptr_null(memory_free(NULL));
}
END_TEST

START_TEST(this_machine_answers)
{
	struct memory_headroom h;
	struct memory *memory;
	uint64_t page_bytes = 0, start;

	ck_assert_int_eq(memory_new(&memory), 0);
	ck_assert_int_eq(memory_headroom(memory, 0, &h), 0);
	ck_assert_uint_gt(h.bytes, 0);
	ck_assert_uint_le(h.bytes, h.limit_bytes);
	ck_assert_int_eq(access(h.where, R_OK), 0);
	start = clock_monotonic_ns();
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(memory_headroom_for(memory, 0, MIB, &h), 0);
	printf("a question takes %.1f us\n", (double)(clock_monotonic_ns() - start) / 100e3);
	memory_free(memory);
	ck_assert_int_le(memory_huge(&page_bytes), MEMORY_HUGE_COLLAPSE);
	ck_assert_uint_ge(page_bytes, MIB);
	ck_assert_uint_eq(page_bytes & (page_bytes - 1), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("host/memory");
	TCase *tcase = tcase_create("headroom");

	tcase_add_unchecked_fixture(tcase, make_top, remove_top);
	tcase_add_checked_fixture(tcase, setup, NULL);
	tcase_add_test(tcase, without_cgroups_available_memory_less_the_reserve);
	tcase_add_test(tcase, v2_least_of_all_ancestors);
	tcase_add_test(tcase, v2_high_limits_like_max);
	tcase_add_test(tcase, v2_unlimited_and_unreadable_set_no_limit);
	tcase_add_test(tcase, v2_limits_are_read_anew);
	tcase_add_test(tcase, page_cache_is_given_up_but_shared_memory_is_not);
	tcase_add_test(tcase, v1_memory_controller_and_swap);
	tcase_add_test(tcase, hybrid_memory_on_either_side);
	tcase_add_test(tcase, container_sees_the_part_that_is_mounted);
	tcase_add_test(tcase, namespace_within_a_wider_mount);
	tcase_add_test(tcase, process_outside_its_namespaces_root);
	tcase_add_test(tcase, mount_point_with_spaces_and_widest_mount);
	tcase_add_test(tcase, long_path_keeps_its_end);
	tcase_add_test(tcase, missing_meminfo_is_an_error);
	tcase_add_test(tcase, this_machine_answers);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
