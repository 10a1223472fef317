/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What bounds System V segments and /dev/shm: in trees of files, in an IPC namespace, on a tiny tmpfs; and the sentences. */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/shm.h>

#include "base/base.h"
#include "host/file.h"
#include "host/findings.h"
#include "host/shm.h"
#include "tests/host/tree.h"
#include "tests/suite_run.h"

static char text[FINDINGS_TEXT_SIZE];

static void
assert_says(const char *words)
{
	ck_assert_msg(strstr(text, words), "\"%s\" does not say \"%s\"", text, words);
}

static void
put_limits(const char *max, const char *all, const char *count)
{
	tree_put("/proc/sys/kernel/shmmax", "%s\n", max);
	tree_put("/proc/sys/kernel/shmall", "%s\n", all);
	tree_put("/proc/sys/kernel/shmmni", "%s\n", count);
	tree_put("/proc/sysvipc/shm", "       key      shmid perms                  size  cpid\n"
	    "         0          0  1600                  4097     1\n"
	    "         0          1  1600                  8192     1\n");
}

START_TEST(limits_are_read_and_what_is_used)
{
	struct shm_limits limits;

	put_limits("1048576", "512", "4096");
	ck_assert_int_eq(shm_limits_read_at(tree_root, &limits), 0);
	ck_assert_uint_eq(limits.max_bytes, MIB);
	ck_assert_uint_eq(limits.all_bytes, 512 * (uint64_t)sysconf(_SC_PAGESIZE));
	ck_assert_uint_eq(limits.max_count, 4096);
	ck_assert_uint_eq(limits.used_count, 2);
	ck_assert_uint_ge(limits.used_bytes, 4 * 4096);
	put_limits("18446744073692774399", "18446744073692774399", "4096");
	ck_assert_int_eq(shm_limits_read_at(tree_root, &limits), 0);
	ck_assert_uint_eq(limits.all_bytes, UINT64_MAX);
	ck_assert_int_eq(shm_limits_judge(&limits, TIB, 100 * TIB, 4094), SHM_LIMIT_NONE);
	tree_remove("/proc/sys/kernel/shmall");
	ck_assert_int_eq(shm_limits_read_at(tree_root, &limits), -ENOENT);
}
END_TEST

START_TEST(each_limit_is_named_with_a_setting_that_suffices)
{
	struct shm_limits limits = { .max_bytes = MIB, .all_bytes = 4 * MIB, .max_count = 3, .used_bytes = MIB, .used_count = 1 };
	char expected[64];

	ck_assert_int_eq(shm_limits_judge(&limits, MIB, 3 * MIB, 2), SHM_LIMIT_NONE);
	ck_assert_int_eq(shm_limits_judge(&limits, MIB + 1, 2 * MIB, 1), SHM_LIMIT_MAX);
	findings_sysv(text, sizeof(text), SHM_LIMIT_MAX, GIB, 1, &limits);
	assert_says("kernel.shmmax allows 1 MiB");
	assert_says("`sysctl -w kernel.shmmax=1073741824`");
	ck_assert_int_eq(shm_limits_judge(&limits, MIB, 3 * MIB + 1, 2), SHM_LIMIT_ALL);
	findings_sysv(text, sizeof(text), SHM_LIMIT_ALL, GIB, 1, &limits);
	(void)snprintf(expected, sizeof(expected), "`sysctl -w kernel.shmall=%lu`",
	    (unsigned long)((GIB + MIB) / (uint64_t)sysconf(_SC_PAGESIZE)));
	assert_says(expected);
	assert_says("1 MiB are in use");
	ck_assert_int_eq(shm_limits_judge(&limits, 1, 3, 3), SHM_LIMIT_COUNT);
	findings_sysv(text, sizeof(text), SHM_LIMIT_COUNT, GIB, 3, &limits);
	assert_says("`sysctl -w kernel.shmmni=4`");
	findings_sysv(text, sizeof(text), SHM_LIMIT_ALL, UINT64_MAX, 1, &limits);
	assert_says("/etc/sysctl.d/segmentd.conf");
}
END_TEST

/* The kernel of an IPC namespace of ours refuses what is judged too large, and takes what the remedy says. */
START_TEST(limits_of_a_real_namespace)
{
	struct shm_limits limits;
	int id;

	if (unshare(CLONE_NEWIPC) < 0) {
		printf("skipped: no IPC namespace can be made: %s\n", strerror(errno));
		return;
	}
	if (system("echo 1048576 >/proc/sys/kernel/shmmax 2>/dev/null") != 0) {
		printf("skipped: kernel.shmmax cannot be written here\n");
		return;
	}
	ck_assert_int_eq(shm_limits_read(&limits), 0);
	ck_assert_uint_eq(limits.max_bytes, MIB);
	ck_assert_uint_eq(limits.used_count, 0);
	ck_assert_int_lt(shmget(IPC_PRIVATE, 2 * MIB, IPC_CREAT | 0600), 0);
	ck_assert_int_eq(errno, EINVAL);
	findings_sysv(text, sizeof(text), shm_limits_judge(&limits, 2 * MIB, 2 * MIB, 1), 2 * MIB, 1, &limits);
	assert_says("`sysctl -w kernel.shmmax=2097152`");
	ck_assert_int_eq(system("sysctl -qw kernel.shmmax=2097152"), 0);
	id = shmget(IPC_PRIVATE, 2 * MIB, IPC_CREAT | 0600);
	ck_assert_int_ge(id, 0);
	ck_assert_int_eq(shm_limits_read(&limits), 0);
	ck_assert_uint_eq(limits.used_bytes, 2 * MIB);
	ck_assert_uint_eq(limits.used_count, 1);
	ck_assert_int_eq(shmctl(id, IPC_RMID, NULL), 0);
}
END_TEST

START_TEST(dev_shm_and_its_options)
{
	struct shm_mount mount;

	ck_assert_int_eq(shm_mount_read_at(tree_root, &mount), -ENOENT);
	tree_make_dir("/dev/shm");
	tree_put("/proc/self/mountinfo", "25 24 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=1k\n"
	    "26 24 0:24 / /dev/shmx ro - tmpfs tmpfs ro\n"
	    "30 25 0:27 / /dev/shm rw,nosuid,noexec shared:9 - tmpfs tmpfs rw,size=24684084k,noswap\n");
	ck_assert_int_eq(shm_mount_read_at(tree_root, &mount), 0);
	ck_assert(mount.is_mounted);
	ck_assert(!mount.is_swapped);
	ck_assert_str_eq(mount.options, "rw,nosuid,noexec,rw,size=24684084k,noswap");
	tree_put("/proc/self/mountinfo", "25 24 0:23 / /dev rw - devtmpfs dev rw\n");
	ck_assert_int_eq(shm_mount_read_at(tree_root, &mount), 0);
	ck_assert(!mount.is_mounted && mount.is_swapped);
}
END_TEST

START_TEST(a_tiny_dev_shm_is_full_and_grows_as_the_remedy_says)
{
	struct shm_mount shm;
	char *command;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=1m,nr_inodes=16") < 0) {
		printf("skipped: no tmpfs can be mounted: %s\n", strerror(errno));
		return;
	}
	fd = open("/dev/shm/x", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(posix_fallocate(fd, 0, MIB / 2), 0);
	ck_assert_int_eq(shm_mount_read(&shm), 0);
	ck_assert(shm.is_mounted && !shm.is_read_only);
	ck_assert_uint_eq(shm.size_bytes, MIB);
	ck_assert_uint_eq(shm.free_bytes, MIB / 2);
	findings_shm(text, sizeof(text), 4 * MIB, &shm);
	assert_says("512 KiB of its 1 MiB are free");
	assert_says("size=5M");
	command = strchr(text, '`') + 1;
	*strchr(command, '`') = '\0';
	ck_assert_int_eq(system(command), 0);
	ck_assert_int_eq(posix_fallocate(fd, MIB / 2, 4 * MIB), 0);
	ck_assert_int_eq(close(fd), 0);
	ck_assert_int_eq(mount("tmpfs", "/dev/shm", "tmpfs", MS_REMOUNT | MS_RDONLY, NULL), 0);
	ck_assert_int_eq(shm_mount_read(&shm), 0);
	ck_assert(shm.is_read_only);
	findings_shm(text, sizeof(text), 1, &shm);
	assert_says("remount,rw");
}
END_TEST

START_TEST(inodes_of_dev_shm)
{
	struct shm_mount mount = { .is_tmpfs = true, .n_inodes = 8, .n_free_inodes = 0, .free_bytes = MIB };

	ck_assert(!shm_mount_has(&mount, 0));
	findings_shm(text, sizeof(text), 1, &mount);
	assert_says("nr_inodes=16");
	mount.n_free_inodes = 1;
	ck_assert(shm_mount_has(&mount, MIB) && !shm_mount_has(&mount, MIB + 1));
	mount.is_tmpfs = false;
	ck_assert(!shm_mount_has(&mount, 0));
	findings_shm(text, sizeof(text), 1, &mount);
	assert_says("is no tmpfs");
}
END_TEST

START_TEST(small_files_are_read_or_the_error_is_told)
{
	char word[16];
	uint64_t value;

	tree_put("/n", "17\n");
	tree_put("/max", "max\n");
	tree_put("/bad", "x\n");
	tree_put("/choice", "always [madvise] never\n");
	ck_assert_int_eq(file_read_number(tree_root, "/n", &value), 0);
	ck_assert_uint_eq(value, 17);
	ck_assert_int_eq(file_read_number(tree_root, "/max", &value), 0);
	ck_assert_uint_eq(value, UINT64_MAX);
	ck_assert_int_eq(file_read_number(tree_root, "/bad", &value), -EPROTO);
	ck_assert_int_eq(file_read_number(tree_root, "/none", &value), -ENOENT);
	ck_assert_int_eq(file_read_choice(tree_root, "/choice", word, sizeof(word)), 0);
	ck_assert_str_eq(word, "madvise");
	ck_assert_int_eq(file_read_choice(tree_root, "/n", word, sizeof(word)), -EPROTO);
	ck_assert(file_find_number("a 1\nab:\t22 kB\n", "ab:", &value) && value == 22);
	ck_assert(!file_find_number("a 1\nab: 2\n", "b:", &value));
	ck_assert(file_exists(tree_root, "/n") && !file_exists(tree_root, "/none"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("host/shm");
	TCase *tcase = tcase_create("shm");

	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, tree_make, NULL);
	tcase_add_test(tcase, limits_are_read_and_what_is_used);
	tcase_add_test(tcase, each_limit_is_named_with_a_setting_that_suffices);
	tcase_add_test(tcase, limits_of_a_real_namespace);
	tcase_add_test(tcase, dev_shm_and_its_options);
	tcase_add_test(tcase, a_tiny_dev_shm_is_full_and_grows_as_the_remedy_says);
	tcase_add_test(tcase, inodes_of_dev_shm);
	tcase_add_test(tcase, small_files_are_read_or_the_error_is_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
