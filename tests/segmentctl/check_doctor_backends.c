/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor's checks of what only some backends and placements need, one by one, against a host of files: what the host lacks.
 * What is there already is check_doctor_left.
 */
#include "config.h"

#include <check.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/doctor_direct.h"
#include "tests/segmentctl/doctor_host.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

START_TEST(limits_of_system_v)
{
	direct_define(0, "a", DEFINITION_SYSV, 64 * MIB, false);
	direct_define(1, "b", DEFINITION_SYSV, 32 * MIB, false);
	direct_define(2, "c", DEFINITION_SYSV, 16 * MIB, true);
	direct_assert(doctor_check_sysv, DOCTOR_OK, "3 System V segments to be made: kernel.shmmax is unlimited", 0);
	tree_put("/proc/sys/kernel/shmmax", "33554432\n");
	direct_assert(doctor_check_sysv, DOCTOR_PROBLEM, "`sysctl -w kernel.shmmax=67108864`", 1);
	tree_put("/proc/sys/kernel/shmmax", "1048576\n");
	direct_assert(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmax=67108864`", 3);
	tree_put("/proc/sys/kernel/shmmax", "1073741824\n");
	tree_put("/proc/sys/kernel/shmall", "%lu\n", (unsigned long)(100 * MIB) / (unsigned long)sysconf(_SC_PAGESIZE));
	direct_assert(doctor_check_sysv, DOCTOR_REQUIRED, "kernel.shmall", 1);
	tree_put("/proc/sys/kernel/shmall", "18446744073692774399\n");
	tree_put("/proc/sys/kernel/shmmni", "2\n");
	direct_assert(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmni=3`", 1);
}
END_TEST

START_TEST(room_in_dev_shm)
{
	char one[] = "/a", two[] = "/b";

	direct_define(0, "a", DEFINITION_POSIX, MIB, true);
	direct_definitions[0].object = one;
	direct_assert(doctor_check_shm, DOCTOR_OK, "1 POSIX object: 1 MiB more are needed in /dev/shm", 0);
	direct_define(1, "b", DEFINITION_POSIX, UINT64_C(1) << 60, true);
	direct_definitions[0].object = one;
	direct_definitions[1].object = two;
	direct_assert(doctor_check_shm, DOCTOR_REQUIRED, "`mount -o remount,size=", 1);
	tree_put("/proc/self/mountinfo", "31 23 0:27 / /dev/shm rw,nosuid - ext4 /dev/sda1 rw\n");
	direct_assert(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm is no tmpfs", 2);
	tree_remove("/dev/shm");
	direct_assert(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm cannot be reached: No such file", 2);
}
END_TEST

/* Files of one file system share what is free there. */
START_TEST(room_on_disks)
{
	char one[] = "/data/book", two[] = "/data/prices";
	struct statvfs fs;

	tree_make_dir("/data");
	ck_assert_int_eq(statvfs(tree_root, &fs), 0);
	direct_define(0, "a", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, false);
	direct_define(1, "b", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, true);
	direct_definitions[0].path = one;
	direct_definitions[1].path = two;
	direct_assert(doctor_check_files, DOCTOR_PROBLEM, "more are needed on the file system of '/data/book', where", 1);
	ck_assert_str_eq(direct.rows[0].segments[0], "a");
}
END_TEST

/* A key that somebody has; what the uid has locked by SHM_LOCK already. */
START_TEST(keys_and_locks_of_system_v)
{
	const char *heading = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime "
	    "     dtime      ctime                   rss                  swap\n";

	direct_define(0, "a", DEFINITION_SYSV, 64 * MIB, true);
	direct_definitions[0].has_key = true;
	direct_definitions[0].key = 0x7a2f;
	tree_put("/proc/sysvipc/shm", "%s%10d          3   600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 0x7a2f, 0);
	direct_run(doctor_check_sysv, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "key 0x00007a2f is taken: a System V segment of 1 MiB has it, which belongs to uid 4242");
	assert_has(direct.rows[1].remedy, "`ipcrm -M 0x00007a2f`");
	direct_definitions[0].key = 0x7a30;
	direct_assert(doctor_check_sysv, DOCTOR_OK, "1 System V segment to be made", 0);

	direct_definitions[0].mlock = true;
	direct.limits = (struct limits) { .memlock_bytes = 64 * MIB, .uid = 4242 };
	direct_assert(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
	tree_put("/proc/sysvipc/shm", "%s%10d          3  2600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 1, 0);
	direct_run(doctor_check_memlock, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "all that uid 4242 has locked so");
	direct.limits.uid = 4243;
	direct_assert(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
}
END_TEST

START_TEST(objects_that_logind_removes)
{
	direct_define(0, "a", DEFINITION_SYSV, MIB, true);
	direct_assert(doctor_check_remove_ipc, DOCTOR_OK, "there is no logind", 0);
	tree_put("/usr/lib/systemd/systemd-logind", "x");
	direct.limits.uid = 0;
	direct_assert(doctor_check_remove_ipc, DOCTOR_OK, "system users, as 'root'", 0);
	direct.service_error = 0;
	(void)strcpy(direct.service.user, "no-such-user-there-is");
	direct_assert(doctor_check_remove_ipc, DOCTOR_PROBLEM, "`useradd --system no-such-user-there-is`", 0);
	(void)strcpy(direct.service.user, "4242");
	direct_assert(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (the default)", 1);
	tree_put("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\nRemoveIPC=yes\n");
	direct_assert(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (/etc/systemd/logind.conf)", 1);
	tree_put("/usr/lib/systemd/logind.conf.d/10.conf", "[Login]\nRemoveIPC = No\n");
	direct_assert(doctor_check_remove_ipc, DOCTOR_OK, "RemoveIPC=no", 0);
	/* One of the same name in /etc stands in its place. */
	tree_put("/etc/systemd/logind.conf.d/10.conf", "[Login]\n");
	direct_definitions[0].backend = DEFINITION_MEMFD;
	direct_assert(doctor_check_remove_ipc, DOCTOR_NOTE, "logind.conf", 0);
}
END_TEST

START_TEST(rules_of_orphans_need_who_may)
{
	struct conf_orphan rules[] = { { .is_sysv = true, .has_user = true, .user = 4242 }, { .is_sysv = true } };
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	char path[] = "/audit.sock";

	direct_define(0, "a", DEFINITION_MEMFD, MIB, true);
	direct.limits.uid = 4242;
	direct_conf.daemon.audit_socket = path;
	direct_assert(doctor_check_orphans, DOCTOR_OK, "there is no rule of orphans", 0);
	direct_conf.orphans = rules;
	direct_conf.n_orphans = 1;
	direct_assert(doctor_check_orphans, DOCTOR_OK, "1 rule of orphans, about objects of the daemon's own user alone", 0);
	direct_conf.n_orphans = 2;
	direct_assert(doctor_check_orphans, DOCTOR_PROBLEM, "nobody listens at /audit.sock, so that segmentd starts segmentd-audit "
	    "itself, and has of it no more rights than its own: 1 of 2 rules", 0);
	tree_put(path, "no socket\n");
	direct_assert(doctor_check_orphans, DOCTOR_PROBLEM, "`systemctl enable --now segmentd-audit.socket`", 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", tree_root, path);
	ck_assert_int_eq(unlink(address.sun_path), 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chmod(address.sun_path, 0600), 0);
	direct_assert(doctor_check_orphans, DOCTOR_PROBLEM, "/audit.sock does not let ", 0);
	ck_assert_int_eq(chmod(address.sun_path, 0666), 0);
	direct_assert(doctor_check_orphans, DOCTOR_OK, "2 rules of orphans: segmentd-audit listens at /audit.sock", 0);
	(void)close(fd);
}
END_TEST

static void
put_pool(const char *dir, unsigned kib, unsigned n_pages, unsigned n_free, unsigned n_reserved)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/nr_hugepages", dir, kib);
	tree_put(path, "%u\n", n_pages);
	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/free_hugepages", dir, kib);
	tree_put(path, "%u\n", n_free);
	(void)snprintf(path, sizeof(path), "%s/hugepages-%ukB/resv_hugepages", dir, kib);
	tree_put(path, "%u\n", n_reserved);
}

#define POOLS	"/sys/kernel/mm/hugepages"

/* The kernel commits its objects whole, and refuses what memory and swap together could never be. */
START_TEST(system_v_memory_is_committed_whole)
{
	direct_define(0, "a", DEFINITION_SYSV, 64 * MIB, true);
	direct_assert(doctor_check_overcommit, DOCTOR_OK, "bounds nothing here", 0);
	direct_definitions[0].max_size_bytes = 17 * GIB;
	direct_assert(doctor_check_overcommit, DOCTOR_REQUIRED, "17 GiB are needed at once, as System V memory of that max_size is, "
	    "but memory and swap together are 16 GiB", 1);
	tree_put("/proc/sys/vm/overcommit_memory", "1\n");
	direct_assert(doctor_check_overcommit, DOCTOR_OK, "bounds nothing here", 0);
	tree_put("/proc/sys/vm/overcommit_memory", "2\n");
	direct_assert(doctor_check_overcommit, DOCTOR_REQUIRED, "17 GiB of memory are needed, but 8.0 GiB may be committed", 1);
}
END_TEST

START_TEST(huge_pages_of_dev_shm)
{
	char object[] = "/a";

	direct_define(0, "a", DEFINITION_POSIX, 4 * MIB, true);
	direct_definitions[0].object = object;
	direct_definitions[0].page_size = DEFINITION_PAGE_TRANSPARENT;
	direct_assert(doctor_check_huge, DOCTOR_OK, "by advice", 0);
	tree_put("/proc/sys/kernel/osrelease", "5.15.0\n");
	doctor_drop_rows(&direct);
	doctor_check_huge(&direct);
	ck_assert(direct.rows[0].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[0].remedy, "`mount -o remount,huge=advise /dev/shm`");
	tree_put("/proc/self/mountinfo", "31 23 0:27 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=1g,huge=advise\n");
	direct_assert(doctor_check_huge, DOCTOR_OK, "by advice", 0);
}
END_TEST

START_TEST(pools_of_huge_pages)
{
	direct_define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	direct_assert(doctor_check_pools, DOCTOR_OK, "no segment asks for pages of the hugetlb pools; they have 0 of 2 MiB", 0);
	direct_definitions[0].page_size = DEFINITION_PAGE_2MIB;
	direct_assert(doctor_check_pools, DOCTOR_REQUIRED, "no huge pages of 2 MiB", 1);
	put_pool(POOLS, 2048, 8, 6, 2);
	direct_assert(doctor_check_pools, DOCTOR_OK, "8 MiB more of 2 MiB pages are needed, and 8 MiB are to be had", 0);
	put_pool(POOLS, 2048, 8, 6, 3);
	direct_assert(doctor_check_pools, DOCTOR_REQUIRED, "`sysctl -w vm.nr_hugepages=9`", 1);
	tree_put(POOLS "/hugepages-2048kB/surplus_hugepages", "0\n");
	tree_put(POOLS "/hugepages-2048kB/nr_overcommit_hugepages", "1\n");
	direct_assert(doctor_check_pools, DOCTOR_OK, "2 MiB of them by overcommitting", 0);
	direct_define(1, "b", DEFINITION_MEMFD, GIB, true);
	direct_definitions[1].page_size = DEFINITION_PAGE_1GIB;
	direct_definitions[1].placement = DEFINITION_PREFER;
	direct_definitions[0].page_size = DEFINITION_PAGE_BASE;
	direct_assert(doctor_check_pools, DOCTOR_PROBLEM, "no huge pages of 1 GiB", 1);
	/* It is of common memory then, and there is that much of it. */
	ck_assert_uint_eq(direct.fallen_back.n, 1);
	direct_assert(doctor_check_memory, DOCTOR_OK, "1.0 GiB more of memory are needed", 0);
	doctor_set_deinit(&direct.fallen_back);
	direct_assert(doctor_check_memory, DOCTOR_OK, "8 MiB more of memory are needed", 0);
}
END_TEST

START_TEST(cgroups_of_huge_pages)
{
	direct_define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	direct_definitions[0].page_size = DEFINITION_PAGE_2MIB;
	put_pool(POOLS, 2048, 8, 8, 0);
	tree_put("/proc/self/cgroup", "0::/a\n");
	tree_put("/sys/fs/cgroup/a/hugetlb.2MB.max", "4194304\n");
	tree_put("/sys/fs/cgroup/a/hugetlb.2MB.current", "0\n");
	direct_assert(doctor_check_pools, DOCTOR_REQUIRED, "the hugetlb cgroup leaves 4 MiB", 1);
	/* The daemon is in another one. */
	tree_put("/proc/17/cgroup", "0::/b\n");
	direct.place_pid = 17;
	direct_assert(doctor_check_pools, DOCTOR_OK, "16 MiB are to be had", 0);
}
END_TEST

START_TEST(huge_pages_of_system_v)
{
	direct_define(0, "a", DEFINITION_SYSV, 8 * MIB, true);
	direct_definitions[0].page_size = DEFINITION_PAGE_2MIB;
	put_pool(POOLS, 2048, 8, 8, 0);
	tree_put("/proc/sys/vm/hugetlb_shm_group", "0\n");
	direct.limits.gid = 4242;
	direct_run(doctor_check_pools, 2);
	assert_has(direct.rows[1].remedy, "`sysctl -w vm.hugetlb_shm_group=4242`");
	direct.limits.has_ipc_lock = true;
	direct_assert(doctor_check_pools, DOCTOR_OK, "8 MiB more of 2 MiB pages are needed, and 16 MiB are to be had", 0);
	/* All of it is reserved when it is made. */
	direct_definitions[0].max_size_bytes = 18 * MIB;
	direct_assert(doctor_check_pools, DOCTOR_REQUIRED, "18 MiB of 2 MiB pages are needed", 1);
}
END_TEST

START_TEST(nodes_and_their_memory)
{
	direct_define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	direct_assert(doctor_check_nodes, DOCTOR_OK, "no segment asks for nodes; the nodes with memory are 0", 0);
	tree_put("/sys/devices/system/node/has_memory", "0-1\n");
	tree_put("/sys/devices/system/node/node0/meminfo", "Node 0 MemFree: 16384 kB\n");
	tree_put("/sys/devices/system/node/node1/meminfo", "Node 1 MemFree: 4096 kB\n");
	direct_definitions[0].numa = DEFINITION_NUMA_BIND;
	direct_definitions[0].numa_nodes = 1;
	direct_run(doctor_check_nodes, 2);
	assert_has(direct.rows[0].what, "1 segment asks for nodes; those with memory are 0-1");
	assert_has(direct.rows[1].what, "8 MiB more are needed on node 0, and 16 MiB are left there");
	/* All that is bound to a node together. */
	direct_define(1, "b", DEFINITION_MEMFD, 12 * MIB, false);
	direct_definitions[1].numa = DEFINITION_NUMA_BIND;
	direct_definitions[1].numa_nodes = 1;
	doctor_check_nodes(&direct);
	ck_assert(direct.rows[1].level == DOCTOR_PROBLEM);
	assert_has(direct.rows[1].what, "20 MiB of memory are needed on node 0, but 16 MiB are left there");
	ck_assert_str_eq(direct.rows[1].segments[0], "b");
	ck_assert_uint_eq(direct.rows[1].n_segments, 1);
	/* Another node is judged by itself, and one that is not there is not judged twice. */
	direct_definitions[1].numa_nodes = 2;
	doctor_check_nodes(&direct);
	assert_has(direct.rows[4].what, "12 MiB of memory are needed on node 1, but 4 MiB are left there");
	direct_definitions[1].numa_nodes = 4;
	direct_run(doctor_check_nodes, 3);
	assert_has(direct.rows[1].what, "numa names node 2, which is not there for segmentd: the nodes with memory that it may use are "
	    "0-1");
	/* Kept away from it. */
	tree_put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t1\n");
	direct_definitions[1].numa_nodes = 2;
	doctor_drop_rows(&direct);
	doctor_check_nodes(&direct);
	assert_has(direct.rows[1].what, "numa names node 0");
}
END_TEST

START_TEST(parts_of_pools_on_nodes)
{
	direct_define(0, "a", DEFINITION_MEMFD, 8 * MIB, true);
	direct_definitions[0].page_size = DEFINITION_PAGE_2MIB;
	direct_definitions[0].numa = DEFINITION_NUMA_BIND;
	direct_definitions[0].numa_nodes = 2;
	put_pool(POOLS, 2048, 8, 8, 0);
	put_pool("/sys/devices/system/node/node1/hugepages", 2048, 2, 2, 0);
	direct_run(doctor_check_pools, 2);
	ck_assert(direct.rows[0].level == DOCTOR_OK && direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "8 MiB of 2 MiB pages are needed on node 1");
}
END_TEST

/* What a daemon has already is not needed once more; nor what it has of another backend. */
START_TEST(what_a_daemon_has_is_not_needed_again)
{
	char name[] = "a";
	struct doctor_held held = { .name = name, .backend = DEFINITION_MEMFD, .resident_bytes = 6 * GIB, .locked_bytes = 6 * GIB };

	direct_define(0, "a", DEFINITION_MEMFD, 12 * GIB, true);
	direct_definitions[0].mlock = true;
	direct.limits = (struct limits) { .memlock_bytes = 12 * GIB, .locked_bytes = 6 * GIB };
	direct_assert(doctor_check_memory, DOCTOR_REQUIRED, "12 GiB of memory are needed", 1);
	direct_assert(doctor_check_memlock, DOCTOR_REQUIRED, "12 GiB are to be locked in memory, but 6 GiB are left", 1);
	direct.held = &held;
	direct.n_held = 1;
	direct_assert(doctor_check_memory, DOCTOR_OK, "6 GiB more of memory are needed", 0);
	direct_assert(doctor_check_memlock, DOCTOR_OK, "6 GiB are to be locked", 0);
	held.backend = DEFINITION_SYSV;
	direct_assert(doctor_check_memory, DOCTOR_REQUIRED, "12 GiB of memory are needed", 1);
	held.backend = DEFINITION_MEMFD;
	held.resident_bytes = 12 * GIB;
	doctor_put_meminfo(1, 0, 1);
	direct_assert(doctor_check_memory, DOCTOR_OK, "0 B more of memory are needed", 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor-backends");
	TCase *tcase = tcase_create("backends");

	tcase_set_timeout(tcase, 120);
	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, doctor_put_host, direct_drop_rows);
	tcase_add_test(tcase, limits_of_system_v);
	tcase_add_test(tcase, room_in_dev_shm);
	tcase_add_test(tcase, room_on_disks);
	tcase_add_test(tcase, keys_and_locks_of_system_v);
	tcase_add_test(tcase, objects_that_logind_removes);
	tcase_add_test(tcase, rules_of_orphans_need_who_may);
	tcase_add_test(tcase, system_v_memory_is_committed_whole);
	tcase_add_test(tcase, huge_pages_of_dev_shm);
	tcase_add_test(tcase, pools_of_huge_pages);
	tcase_add_test(tcase, cgroups_of_huge_pages);
	tcase_add_test(tcase, huge_pages_of_system_v);
	tcase_add_test(tcase, nodes_and_their_memory);
	tcase_add_test(tcase, parts_of_pools_on_nodes);
	tcase_add_test(tcase, what_a_daemon_has_is_not_needed_again);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
