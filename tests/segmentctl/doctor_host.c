/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A host of files. */
#include "config.h"

#include "tests/segmentctl/doctor_host.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "tests/host/tree.h"

#define LIMITS	"Limit                     Soft Limit           Hard Limit           Units     \n" \
	"Max open files            1024                 %s               files     \n" \
	"Max locked memory         %s              %s              bytes     \n"

char doctor_conf[128];

void
doctor_put_meminfo(unsigned available_mib, unsigned swap_mib, unsigned commit_mib)
{
	tree_put("/proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:   %u kB\nSwapTotal:      %u kB\nSwapFree:  %u kB\n"
	    "CommitLimit:    %u kB\nCommitted_AS:   1024 kB\n", available_mib * 1024, swap_mib * 1024, swap_mib * 1024,
	    commit_mib * 1024);
}

void
doctor_put_limits(const char *nofile, const char *memlock)
{
	tree_put("/proc/self/limits", LIMITS, nofile, memlock, memlock);
}

void
doctor_put_host(void)
{
	tree_make();
	doctor_put_meminfo(8192, 0, 8192);
	doctor_put_limits("524288", "1073741824");
	tree_put("/proc/self/status", "Name:\tx\nCapEff:\t0000000000000000\n");
	tree_put("/proc/self/uid_map", "         0          0 4294967295\n");
	tree_put("/proc/self/cgroup", "0::/\n");
	tree_put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
	    "31 23 0:27 / /dev/shm rw,nosuid - tmpfs tmpfs rw,size=1g\n");
	tree_put("/proc/sys/kernel/osrelease", "6.12.1\n");
	tree_put("/proc/sys/kernel/shmmax", "18446744073692774399\n");
	tree_put("/proc/sys/kernel/shmall", "18446744073692774399\n");
	tree_put("/proc/sys/kernel/shmmni", "4096\n");
	tree_put("/proc/sysvipc/shm", "       key      shmid perms                  size\n");
	tree_put("/proc/sys/vm/overcommit_memory", "0\n");
	tree_put("/proc/sys/fs/inotify/max_user_watches", "65536\n");
	tree_put("/proc/sys/fs/inotify/max_user_instances", "128\n");
	tree_put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always within_size [advise] never deny force\n");
	tree_put("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
	tree_put("/sys/kernel/security/lsm", "capability,yama\n");
	tree_make_dir("/dev/shm");
	tree_put("/conf", "segments = (\n"
	    "  { name = \"book\"; size = \"64MiB\"; },\n"
	    "  { name = \"prices\"; size = \"32MiB\"; placement = \"prefer\"; },\n"
	    "  { name = \"cache\"; size = \"16MiB\"; required = false; }\n"
	    ");\n");
	(void)snprintf(doctor_conf, sizeof(doctor_conf), "%s/conf", tree_root);
	doctor_root = tree_root;
	(void)unsetenv("SEGMENTD_SOCKET");
	(void)setenv("NO_COLOR", "1", 1);
	(void)setenv("LC_ALL", "C.UTF-8", 1);
}

void
doctor_try_command(const char *command)
{
	const char *name = strstr(command, "sysctl -w ");
	char path[512];

	if (!name)
		return;
	name += strlen("sysctl -w ");
	(void)snprintf(path, sizeof(path), "/proc/sys/%.*s", (int)strcspn(name, "="), name);
	for (char *p = path + strlen("/proc/sys/"); *p; p++)
		*p = *p == '.' ? '/' : *p;
	ck_assert_msg(access(path, F_OK) == 0, "%s: %s", command, strerror(errno));
}

