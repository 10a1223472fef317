/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor against hosts of files: a host where everything fits, and from it each finding by one change; who it is about, how
 * grave it is, and that the commands it prints could be run. Against this machine it is check_doctor_real.
 */
#include "config.h"

#include <check.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "client/segmentctl/segmentctl.h"
#include "client/segmentctl/text.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/run.h"

#define LIMITS	"Limit                     Soft Limit           Hard Limit           Units     \n" \
	"Max open files            1024                 %s               files     \n" \
	"Max locked memory         %s              %s              bytes     \n"

static char conf[128];			/* a configuration below the tree */

static void
put_meminfo(unsigned available_mib, unsigned swap_mib, unsigned commit_mib)
{
	tree_put("/proc/meminfo", "MemTotal:       16777216 kB\nMemAvailable:   %u kB\nSwapTotal:      %u kB\nSwapFree:  %u kB\n"
	    "CommitLimit:    %u kB\nCommitted_AS:   1024 kB\n", available_mib * 1024, swap_mib * 1024, swap_mib * 1024,
	    commit_mib * 1024);
}

static void
put_limits(const char *nofile, const char *memlock)
{
	tree_put("/proc/self/limits", LIMITS, nofile, memlock, memlock);
}

/* A host on which everything fits, and nothing is to be noted. */
static void
put_host(void)
{
	tree_make();
	put_meminfo(8192, 0, 8192);
	put_limits("524288", "1073741824");
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
	(void)snprintf(conf, sizeof(conf), "%s/conf", tree_root);
	doctor_root = tree_root;
	(void)setenv("NO_COLOR", "1", 1);
	(void)setenv("LC_ALL", "C.UTF-8", 1);
}

/* Whether there is what a command is about, where that can be told without running it. */
static void
try_sysctl(const char *command)
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

/* Commands, a line each, are a shell's. */
static void
try_commands(const char *commands)
{
	FILE *shell;
	char line[1024];

	if (!*commands)
		return;
	shell = popen("sh -n", "w");
	ck_assert_ptr_nonnull(shell);
	fputs(commands, shell);
	ck_assert_msg(pclose(shell) == 0, "a shell cannot parse: %s", commands);
	for (; *commands; commands += strcspn(commands, "\n") + 1) {
		(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(commands, "\n"), commands);
		try_sysctl(line);
	}
}

/* Those of a document, into static memory. */
static const char *
collect_commands(const char *out)
{
	static char commands[16384];
	const char *p = out, *end;
	size_t len = 0;

	commands[0] = '\0';
	while ((p = strstr(p, "\"commands\": ["))) {
		const char *close = strchr(p, ']');

		p += strlen("\"commands\": [");
		while ((p = strchr(p, '"')) && p < close) {
			end = strchr(p + 1, '"');
			len += (size_t)snprintf(commands + len, sizeof(commands) - len, "%.*s\n", (int)(end - p - 1), p + 1);
			p = end + 1;
		}
		p = close;
	}
	return commands;
}

static const struct run *
doctor(int status)
{
	const struct run *run = run_segmentctl("--json", "doctor", conf, NULL);

	ck_assert_msg(run->status == status, "status %d: %.2000s%.500s", run->status, run->out, run->err);
	ck_assert_str_eq(run->err, "");
	try_commands(collect_commands(run->out));
	return run;
}

/* The finding of a check with a level, as JSON; a copy that the next call overwrites. */
static const char *
find(const char *out, const char *level, const char *check)
{
	static char row[8192];
	char head[256];
	const char *from, *to;

	(void)snprintf(head, sizeof(head), "\"level\": \"%s\",\n      \"check\": \"%s\"", level, check);
	from = strstr(out, head);
	ck_assert_msg(from, "no %s of %s in %.3000s", level, check, out);
	to = strstr(from, "\n    }");
	(void)snprintf(row, sizeof(row), "%.*s", (int)(to - from), from);
	return row;
}

static void
assert_has(const char *text, const char *part)
{
	ck_assert_msg(strstr(text, part), "\"%s\" lacks \"%s\"", text, part);
}

static void
assert_lacks(const char *text, const char *part)
{
	ck_assert_msg(!strstr(text, part), "\"%s\" has \"%s\"", text, part);
}

/* Runs, and asserts that the check has a row of the level that says the words, and is about the segment ("": about none). */
static void
assert_finding(const char *level, const char *check, const char *words, const char *segment)
{
	const struct run *run = doctor(streq(level, "required") ? SEGMENTCTL_FAILED : SEGMENTCTL_DONE);
	const char *row = find(run->out, level, check);
	char quoted[160];

	assert_has(row, words);
	(void)snprintf(quoted, sizeof(quoted), "\n        \"%s\"", segment);
	assert_has(row, *segment ? quoted : "\"segments\": []");
}

START_TEST(everything_fits)
{
	const struct run *run = doctor(SEGMENTCTL_DONE);
	bool known;

	ck_assert(run_is_json(run->out, &known));
	assert_lacks(run->out, "\"level\": \"note\"");
	assert_lacks(run->out, "\"level\": \"problem\"");
	assert_has(run->out, "\"fits\": true");
	assert_has(run->out, "\"required\": 0");
	assert_has(find(run->out, "ok", "memory"), "112 MiB of memory are needed, and 7.5 GiB are left");
	assert_has(find(run->out, "ok", "configuration"), "3 segments");
	assert_has(find(run->out, "ok", "memlock"), "this process");
}
END_TEST

START_TEST(memory_is_short_for_what_comes_last)
{
	/* 512 of reserve, 40 of slack: room for what is required, and no more. */
	put_meminfo(512 + 40 + 100, 0, 8192);
	assert_finding("problem", "memory", "112 MiB of memory are needed, but 100 MiB are left", "cache");
	put_meminfo(512 + 40 + 33, 0, 8192);
	assert_finding("required", "memory", "will fail; and the start, which requires book\"", "book");
	assert_lacks(find(doctor(SEGMENTCTL_FAILED)->out, "required", "memory"), "\"prices\"");
}
END_TEST

START_TEST(a_cgroup_is_named_with_its_setting)
{
	tree_put("/proc/self/cgroup", "0::/a\n");
	tree_put("/sys/fs/cgroup/a/memory.max", "67108864\n");
	tree_put("/sys/fs/cgroup/a/memory.current", "1048576\n");
	assert_finding("required", "memory", "/sys/fs/cgroup/a/memory.max is 64 MiB", "book");
	assert_has(find(doctor(SEGMENTCTL_FAILED)->out, "required", "memory"), "MemoryMax=");
}
END_TEST

START_TEST(the_units_memory_limit)
{
	tree_put("/etc/systemd/system/segmentd.service", "[Service]\nUser=root\nMemoryMax=infinity\nMemoryHigh=80M\n");
	assert_finding("required", "unit-memory", "segmentd.service has MemoryHigh=80 MiB", "book");
	tree_put("/etc/systemd/system/segmentd.service.d/50.conf", "[Service]\nMemoryHigh=1G\n");
	assert_finding("ok", "unit-memory", "may use 1 GiB", "");
	tree_put("/run/systemd/system/segmentd.service.d/60.conf", "[Service]\nMemoryHigh=infinity\n");
	assert_finding("ok", "unit-memory", "sets no memory limit", "");
}
END_TEST

START_TEST(strict_overcommit)
{
	tree_put("/proc/sys/vm/overcommit_memory", "2\n");
	assert_finding("ok", "overcommit", "CommitLimit leaves enough", "");
	put_meminfo(8192, 0, 64);
	assert_finding("required", "overcommit", "`sysctl -w vm.overcommit_memory=0`", "book");
}
END_TEST

START_TEST(swap_is_for_what_is_not_locked)
{
	put_meminfo(8192, 1024, 8192);
	assert_finding("ok", "swap", "all segments are locked", "");
	tree_put("/conf", "segments = ( { name = \"book\"; size = \"1MiB\"; mlock = false; } );\n");
	assert_finding("note", "swap", "there are 1 GiB of swap", "book");
}
END_TEST

START_TEST(huge_pages_that_are_not_to_be_had)
{
	tree_put("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "always advise never [deny] force\n");
	assert_finding("note", "huge-pages", "shmem_enabled is deny", "book");
	tree_put("/conf", "segments = ( { name = \"book\"; size = \"4MiB\"; page_size = \"transparent\"; },\n"
	    "{ name = \"prices\"; size = \"4MiB\"; page_size = \"transparent\"; placement = \"prefer\"; } );\n");
	assert_finding("required", "huge-pages", "`echo advise > /sys/kernel/mm/transparent_hugepage/shmem_enabled`", "book");
	assert_has(find(doctor(SEGMENTCTL_FAILED)->out, "problem", "huge-pages"), "placement is \\\"prefer\\\"");
	tree_remove("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
	assert_finding("required", "huge-pages", "could not be read", "book");
	tree_put("/conf", "segments = ( { name = \"book\"; size = \"4MiB\"; page_size = \"base\"; } );\n");
	assert_finding("note", "huge-pages", "could not be read", "");
}
END_TEST

START_TEST(locked_memory_of_this_process)
{
	bool known;

	put_limits("524288", "67108864");
	/* What is required takes what there is: 64 MiB of book; of prices it is preferred, of cache not required. */
	assert_finding("problem", "memlock", "112 MiB are to be locked in memory, but 64 MiB are left of what this process may lock",
	    "cache");
	assert_has(find(doctor(SEGMENTCTL_DONE)->out, "problem", "memlock"), "will fail; the start goes on without");
	assert_has(doctor(SEGMENTCTL_DONE)->out, "\"means\": \"will be ready without it, since placement is \\\"prefer\\\"\",\n"
	    "      \"segments\": [\n        \"prices\"\n      ],");
	put_limits("524288", "65536");
	assert_finding("required", "memlock", "LimitMEMLOCK=infinity", "book");
	ck_assert(run_is_json(doctor(SEGMENTCTL_FAILED)->out, &known));
	/* The capability lifts it, in the initial user namespace alone. */
	tree_put("/proc/self/status", "CapEff:\t0000000000004000\n");
	assert_finding("ok", "memlock", "any amount", "");
	tree_put("/proc/self/uid_map", "         0       1000          1\n");
	assert_finding("required", "memlock", "64 KiB", "book");
}
END_TEST

START_TEST(limits_of_the_unit_count_where_there_is_one)
{
	put_limits("64", "65536");
	tree_put("/usr/lib/systemd/system/segmentd.service", "[Unit]\nDescription=x\n[Service]\nUser=nobody\n");
	assert_finding("required", "memlock", "8 MiB are left of what segmentd.service may lock", "book");
	assert_finding("required", "memlock", "8 MiB", "book");
	tree_put("/etc/systemd/system.conf", "[Manager]\nDefaultLimitMEMLOCK=1G:2G\n");
	assert_finding("ok", "memlock", "segmentd.service may lock 1 GiB", "");
	tree_put("/etc/systemd/system/segmentd.service", "[Service]\nUser=nobody\nLimitMEMLOCK=1M\nLimitNOFILE=20:40\n");
	assert_finding("required", "descriptors", "segmentd.service may have 40", "book");
}
END_TEST

START_TEST(capability_of_the_unit)
{
	tree_put("/etc/systemd/system/segmentd.service", "[Service]\nUser=nobody\nAmbientCapabilities=CAP_CHOWN CAP_IPC_LOCK\n");
	assert_finding("ok", "memlock", "segmentd.service may lock any amount", "");
	tree_put("/etc/systemd/system/segmentd.service", "[Service]\nCapabilityBoundingSet=~CAP_IPC_LOCK\n");
	assert_finding("required", "memlock", "segmentd.service", "book");
	tree_put("/etc/systemd/system/segmentd.service", "[Service]\nCapabilityBoundingSet=CAP_IPC_LOCK\n");
	assert_finding("ok", "memlock", "any amount", "");
}
END_TEST

START_TEST(descriptors)
{
	put_limits("8192", "1073741824");
	assert_finding("note", "descriptors", "but this process may have 8192", "");
	put_limits("45", "1073741824");
	assert_finding("problem", "descriptors", "LimitNOFILE=524288", "cache");
	put_limits("20", "1073741824");
	assert_finding("required", "descriptors", "20", "book");
}
END_TEST

START_TEST(watches)
{
	tree_put("/proc/sys/fs/inotify/max_user_watches", "2\n");
	assert_finding("problem", "inotify", "`sysctl -w fs.inotify.max_user_watches=8192`", "");
	tree_put("/proc/sys/fs/inotify/max_user_watches", "100\n");
	tree_put("/conf", "templates = ( { name = \"scratch-\"; max_size = \"1MiB\"; max_count = 101; } );\n");
	assert_finding("problem", "inotify", "101 segments", "");
	tree_put("/proc/sys/fs/inotify/max_user_instances", "0\n");
	assert_finding("required", "inotify", "max_user_instances", "");
}
END_TEST

START_TEST(an_older_kernel)
{
	const struct run *run;

	tree_put("/proc/sys/kernel/osrelease", "6.1.0-27-amd64\n");
	assert_finding("note", "kernel", "Linux 6.1.0-27-amd64 has no SO_PEERPIDFD", "");
	run = doctor(SEGMENTCTL_DONE);
	assert_has(run->out, "PAGEMAP_SCAN");
	assert_lacks(run->out, "no MADV_COLLAPSE");
	tree_put("/proc/sys/kernel/osrelease", "5.10.1\n");
	assert_finding("note", "kernel", "has no MADV_POPULATE_WRITE", "");
	assert_has(doctor(SEGMENTCTL_DONE)->out, "no MADV_COLLAPSE");
}
END_TEST

START_TEST(security_modules)
{
	tree_put("/sys/kernel/security/lsm", "lockdown,capability,apparmor\n");
	assert_finding("note", "security", "could not be read (No such file or directory)", "");
	tree_put("/sys/kernel/security/apparmor/profiles", "firefox (enforce)\n");
	assert_finding("ok", "security", "no profile of segmentd is installed", "");
	tree_put("/etc/apparmor.d/usr.sbin.segmentd", "x\n");
	assert_finding("note", "security", "`apparmor_parser -r /etc/apparmor.d/usr.sbin.segmentd`", "");
	tree_put("/sys/kernel/security/apparmor/profiles", "segmentd (enforce)\n");
	assert_finding("ok", "security", "has segmentd's profile", "");
	tree_put("/sys/kernel/security/lsm", "capability,selinux\n");
	tree_put("/sys/fs/selinux/enforce", "1\n");
	assert_finding("note", "security", "SELinux is enforcing", "");
	tree_put("/sys/fs/selinux/enforce", "0\n");
	assert_finding("ok", "security", "selinux", "");
}
END_TEST

START_TEST(versions_of_systemd)
{
	assert_finding("ok", "systemd", "does not run this host", "");
	tree_make_dir("/run/systemd/system");
	assert_finding("note", "systemd", "could not be read", "");
	tree_put("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so", "x");
	assert_finding("note", "systemd", "systemd 252 keeps no descriptors over a stop", "book");
	tree_remove("/usr/lib/x86_64-linux-gnu/systemd/libsystemd-shared-252.so");
	tree_put("/usr/lib/systemd/libsystemd-shared-257.6-1.so", "x");
	assert_finding("note", "systemd", "systemd 257 can keep descriptors", "book");
	tree_put("/conf", "# empty\n");
	assert_finding("ok", "systemd", "systemd 257", "");
}
END_TEST

START_TEST(configuration_that_is_none)
{
	tree_put("/conf", "segments = ( { name = \"book\"; size = 3; sise = 4; } );\n");
	assert_finding("required", "configuration", "1 problem: ", "");
	assert_has(doctor(SEGMENTCTL_FAILED)->out, "`segmentctl check");
	tree_remove("/conf");
	assert_finding("required", "configuration", "No such file", "");
}
END_TEST

/* What cannot be read is said, with the reason, and everything else is judged. */
START_TEST(what_cannot_be_read_is_a_note)
{
	static const struct {
		const char *path, *check;
	} rows[] = {
		{ "/proc/meminfo", "memory" }, { "/proc/meminfo", "swap" }, { "/proc/sys/vm/overcommit_memory", "overcommit" },
		{ "/proc/self/limits", "memlock" }, { "/proc/self/limits", "descriptors" }, { "/proc/sys/fs/inotify", "inotify" },
		{ "/proc/sys/kernel/shmmni", "sysv" }, { "/proc/sysvipc", "sysv" }, { "/dev/shm", "dev-shm" },
		{ "/sys/kernel/security", "security" }, { "/proc/sys/kernel/osrelease", "kernel" },
	};

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++) {
		tree_remove(rows[i].path);
		assert_finding("note", rows[i].check, "could not be read (No such file or directory), and is not judged", "");
	}
}
END_TEST

/* Checks of backends by definitions that are made here, whatever the configuration's grammar takes. */

static struct doctor direct;
static struct conf direct_conf;
static struct definition definitions[3], *list[3] = { &definitions[0], &definitions[1], &definitions[2] };

static void
define(size_t i, const char *name, enum definition_backend backend, uint64_t size_bytes, bool required)
{
	char *copy = strdup(name);

	definitions[i] = (struct definition) { .name = copy, .backend = backend, .size_bytes = size_bytes,
		.max_size_bytes = size_bytes, .required = required, .prefault = true };
	direct_conf = (struct conf) { .segments = list, .n_segments = i + 1 };
	direct = (struct doctor) { .root = tree_root, .conf = &direct_conf, .service_error = -ENOENT, .check = "x",
		.limits.uid = geteuid() };
}

/* Runs one check; its only row has the level, says the words, and is about so many segments. */
static const struct doctor_row *
assert_check(doctor_check_fn check, enum doctor_level level, const char *words, size_t n_segments)
{
	const struct doctor_row *row = direct.rows;
	char copy[FINDINGS_TEXT_SIZE];

	direct.n_rows = 0;
	direct.rows = NULL;
	check(&direct);
	row = direct.rows;
	ck_assert_uint_eq(direct.n_rows, 1);
	ck_assert_msg(row->level == level, "%s: %s", doctor_level_name(row->level), row->what);
	(void)snprintf(copy, sizeof(copy), "%s. %s", row->what, row->remedy ? row->remedy : "");
	assert_has(copy, words);
	ck_assert_uint_eq(row->n_segments, n_segments);
	for (char *p = strchr(copy, '`'); p; p = strchr(p + 1, '`')) {
		char *command = p + 1;

		p = strchr(command, '`');
		*p = '\0';
		try_sysctl(command);
	}
	return row;
}

START_TEST(limits_of_system_v)
{
	define(0, "a", DEFINITION_SYSV, 64 * MIB, false);
	define(1, "b", DEFINITION_SYSV, 32 * MIB, false);
	define(2, "c", DEFINITION_SYSV, 16 * MIB, true);
	(void)assert_check(doctor_check_sysv, DOCTOR_OK, "3 more System V segments: kernel.shmmax is unlimited", 0);
	tree_put("/proc/sys/kernel/shmmax", "33554432\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_PROBLEM, "`sysctl -w kernel.shmmax=67108864`", 1);
	tree_put("/proc/sys/kernel/shmmax", "1048576\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmax=67108864`", 3);
	tree_put("/proc/sys/kernel/shmmax", "1073741824\n");
	tree_put("/proc/sys/kernel/shmall", "%lu\n", (unsigned long)(100 * MIB) / (unsigned long)sysconf(_SC_PAGESIZE));
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "kernel.shmall", 1);
	tree_put("/proc/sys/kernel/shmall", "18446744073692774399\n");
	tree_put("/proc/sys/kernel/shmmni", "2\n");
	(void)assert_check(doctor_check_sysv, DOCTOR_REQUIRED, "`sysctl -w kernel.shmmni=3`", 1);
}
END_TEST

START_TEST(room_in_dev_shm)
{
	char one[] = "/a", two[] = "/b";

	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
	(void)assert_check(doctor_check_shm, DOCTOR_OK, "1 POSIX object: 1 MiB more are needed in /dev/shm", 0);
	define(1, "b", DEFINITION_POSIX, UINT64_C(1) << 60, true);
	definitions[0].object = one;
	definitions[1].object = two;
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "`mount -o remount,size=", 1);
	tree_put("/proc/self/mountinfo", "31 23 0:27 / /dev/shm rw,nosuid - ext4 /dev/sda1 rw\n");
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm is no tmpfs", 2);
	tree_remove("/dev/shm");
	(void)assert_check(doctor_check_shm, DOCTOR_REQUIRED, "/dev/shm cannot be reached: No such file", 2);
}
END_TEST

START_TEST(objects_that_are_there)
{
	char one[] = "/a";

	define(0, "a", DEFINITION_POSIX, MIB, true);
	definitions[0].object = one;
	tree_put("/dev/shm/a", "123");
	direct.n_rows = 0;
	doctor_check_shm(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "an object /a is there already, and not ours: 3 B, of uid ");
	assert_has(direct.rows[1].remedy, "`rm /dev/shm/a`");
}
END_TEST

static const struct passwd *
nobody(void)
{
	const struct passwd *nobody = getpwnam("nobody");

	return geteuid() == 0 ? nobody : NULL;
}

/* A file of so many bytes, without blocks, that its owner alone may open. */
static void
put_file(const char *path, off_t size_bytes)
{
	char full[512];

	tree_put(path, "%s", "");
	(void)snprintf(full, sizeof(full), "%s%s", tree_root, path);
	ck_assert_int_eq(chmod(full, 0600), 0);
	ck_assert_int_eq(truncate(full, size_bytes), 0);
}

START_TEST(files_that_are_there)
{
	char path[] = "/data/book", full[512], other[512];
	const struct passwd *user = nobody();

	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "there is no directory '/data'. `install -d -o ", 1);
	tree_make_dir("/data");
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file on the file system of '/data/book': 1 MiB more are needed", 0);
	put_file("/data/book", 17);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 17 bytes, and max_size is 1048576", 1);
	put_file("/data/book", MIB);
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 MiB more are needed", 0);
	(void)snprintf(full, sizeof(full), "%s/data/book", tree_root);
	(void)snprintf(other, sizeof(other), "%s/data/other", tree_root);
	ck_assert_int_eq(link(full, other), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "has 2 hard links", 1);
	ck_assert_int_eq(unlink(other), 0);
	ck_assert_int_eq(chmod(full, 0640), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book`", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(symlink("/etc/passwd", full), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "is a symbolic link; a regular file is expected", 1);
	ck_assert_int_eq(unlink(full), 0);
	ck_assert_int_eq(mkfifo(full, 0600), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "is a fifo", 1);
	ck_assert_int_eq(unlink(full), 0);
	direct.limits.uid = geteuid() + 1;
	put_file("/data/book", MIB);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, geteuid() == 0 ? "its directory: Permission denied" : "uid", 1);
	if (!user) {
		printf("skipped: another owner's files are root's to make\n");
		return;
	}
	ck_assert_int_eq(chown(full, user->pw_uid, (gid_t)-1), 0);
	direct.limits.uid = 0;
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "one of the daemon's own uid, 0, is expected. `chown 0 /data/book`", 1);
}
END_TEST

START_TEST(a_file_that_another_daemon_has)
{
	char path[] = "/data/book", full[512];
	struct stat st;

	define(0, "a", DEFINITION_FILE, MIB, true);
	definitions[0].path = path;
	put_file("/data/book", MIB);
	put_file("/data/book.segmentd", 0);
	(void)snprintf(full, sizeof(full), "%s/data/book.segmentd", tree_root);
	ck_assert_int_eq(stat(full, &st), 0);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "'/data/book' is in use by pid ", 1);
	tree_put("/proc/locks", "1: FLOCK  ADVISORY  WRITE %d 00:1a:%lu 0 EOF\n", (int)getpid(), (unsigned long)st.st_ino + 1);
	(void)assert_check(doctor_check_files, DOCTOR_OK, "1 file", 0);
	ck_assert_int_eq(chmod(full, 0644), 0);
	(void)assert_check(doctor_check_files, DOCTOR_REQUIRED, "`chmod 0600 /data/book.segmentd`", 1);
}
END_TEST

/* Files of one file system share what is free there. */
START_TEST(room_on_disks)
{
	char one[] = "/data/book", two[] = "/data/prices";
	struct statvfs fs;

	tree_make_dir("/data");
	ck_assert_int_eq(statvfs(tree_root, &fs), 0);
	define(0, "a", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, false);
	define(1, "b", DEFINITION_FILE, (uint64_t)fs.f_bavail * fs.f_frsize * 2 / 3, true);
	definitions[0].path = one;
	definitions[1].path = two;
	(void)assert_check(doctor_check_files, DOCTOR_PROBLEM, "more are needed on the file system of '/data/book', where", 1);
	ck_assert_str_eq(direct.rows[0].segments[0], "a");
}
END_TEST

/* A key that somebody has; what the uid has locked by SHM_LOCK already. */
START_TEST(keys_and_locks_of_system_v)
{
	const char *heading = "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime "
	    "     dtime      ctime                   rss                  swap\n";

	define(0, "a", DEFINITION_SYSV, 64 * MIB, true);
	definitions[0].has_key = true;
	definitions[0].key = 0x7a2f;
	tree_put("/proc/sysvipc/shm", "%s%10d          3   600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 0x7a2f, 0);
	direct.n_rows = 0;
	doctor_check_sysv(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "key 0x00007a2f is taken: a System V segment of 1 MiB has it, which belongs to uid 4242");
	assert_has(direct.rows[1].remedy, "`ipcrm -M 0x00007a2f`");
	definitions[0].key = 0x7a30;
	(void)assert_check(doctor_check_sysv, DOCTOR_OK, "1 more System V segment", 0);

	definitions[0].mlock = true;
	direct.limits = (struct limits) { .memlock_bytes = 64 * MIB, .uid = 4242 };
	(void)assert_check(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
	tree_put("/proc/sysvipc/shm", "%s%10d          3  2600              1048576 %5d     0      2  4242     0     0     0          0 "
	    "         0          0                     0                     0\n", heading, 1, 0);
	direct.n_rows = 0;
	doctor_check_memlock(&direct);
	ck_assert_uint_eq(direct.n_rows, 2);
	ck_assert(direct.rows[1].level == DOCTOR_REQUIRED);
	assert_has(direct.rows[1].what, "all that uid 4242 has locked so");
	direct.limits.uid = 4243;
	(void)assert_check(doctor_check_memlock, DOCTOR_OK, "0 B are to be locked", 0);
}
END_TEST

START_TEST(objects_that_logind_removes)
{
	define(0, "a", DEFINITION_SYSV, MIB, true);
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "there is no logind", 0);
	tree_put("/usr/lib/systemd/systemd-logind", "x");
	direct.limits.uid = 0;
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "system users, as 'root'", 0);
	direct.service_error = 0;
	(void)strcpy(direct.service.user, "no-such-user-there-is");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "`useradd --system no-such-user-there-is`", 0);
	(void)strcpy(direct.service.user, "4242");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (the default)", 1);
	tree_put("/etc/systemd/logind.conf", "[Login]\n#RemoveIPC=no\nRemoveIPC=yes\n");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_PROBLEM, "RemoveIPC is yes (/etc/systemd/logind.conf)", 1);
	tree_put("/usr/lib/systemd/logind.conf.d/10.conf", "[Login]\nRemoveIPC = No\n");
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_OK, "RemoveIPC=no", 0);
	/* One of the same name in /etc stands in its place. */
	tree_put("/etc/systemd/logind.conf.d/10.conf", "[Login]\n");
	definitions[0].backend = DEFINITION_MEMFD;
	(void)assert_check(doctor_check_remove_ipc, DOCTOR_NOTE, "logind.conf", 0);
}
END_TEST

/* Lines are not wider than the terminal, but for a command, which is never broken. */
START_TEST(sentences_fit_the_terminal)
{
	const struct run *run;
	char line[2048];

	put_limits("20", "65536");
	for (unsigned columns = 60; columns <= 160; columns += 20) {
		run_set_terminal(columns);
		run = run_segmentctl("doctor", conf, NULL);
		ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
		for (const char *p = run->out; *p; p += strcspn(p, "\n") + (strchr(p, '\n') != NULL)) {
			(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(p, "\r\n"), p);
			ck_assert_msg(strchr(line, '`') || strchr(line, '/') || text_width(line) <= columns, "%u: '%s'", columns, line);
		}
		assert_has(run->out, "`systemctl edit segmentd.service`");
		assert_has(run->out, "`ulimit -l unlimited`");
		assert_has(run->out, "book");
		assert_has(run->out, "What is required will not fit: 2 findings.\r\n");
	}
	run = run_segmentctl("doctor", conf, NULL);
	assert_has(run->out, "\n                           book, cache: will fail; and the start, which requires book\n");
	(void)unsetenv("NO_COLOR");
	(void)setenv("TERM", "xterm", 1);
	run_set_terminal(100);
	assert_has(run_segmentctl("doctor", conf, NULL)->out, "\033[31mrequired\033[0m");
}
END_TEST

START_TEST(usage)
{
	ck_assert_int_eq(run_segmentctl("doctor", conf, "more", NULL)->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(run_segmentctl("doctor", "--now", NULL)->status, SEGMENTCTL_USAGE);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor");
	TCase *tcase = tcase_create("doctor");
	SRunner *runner;
	int n_failed;

	tcase_set_timeout(tcase, 60);
	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, put_host, NULL);
	tcase_add_test(tcase, everything_fits);
	tcase_add_test(tcase, memory_is_short_for_what_comes_last);
	tcase_add_test(tcase, a_cgroup_is_named_with_its_setting);
	tcase_add_test(tcase, the_units_memory_limit);
	tcase_add_test(tcase, strict_overcommit);
	tcase_add_test(tcase, swap_is_for_what_is_not_locked);
	tcase_add_test(tcase, huge_pages_that_are_not_to_be_had);
	tcase_add_test(tcase, locked_memory_of_this_process);
	tcase_add_test(tcase, limits_of_the_unit_count_where_there_is_one);
	tcase_add_test(tcase, capability_of_the_unit);
	tcase_add_test(tcase, descriptors);
	tcase_add_test(tcase, watches);
	tcase_add_test(tcase, an_older_kernel);
	tcase_add_test(tcase, security_modules);
	tcase_add_test(tcase, versions_of_systemd);
	tcase_add_test(tcase, configuration_that_is_none);
	tcase_add_test(tcase, what_cannot_be_read_is_a_note);
	tcase_add_test(tcase, limits_of_system_v);
	tcase_add_test(tcase, room_in_dev_shm);
	tcase_add_test(tcase, objects_that_are_there);
	tcase_add_test(tcase, room_on_disks);
	tcase_add_test(tcase, files_that_are_there);
	tcase_add_test(tcase, a_file_that_another_daemon_has);
	tcase_add_test(tcase, keys_and_locks_of_system_v);
	tcase_add_test(tcase, objects_that_logind_removes);
	tcase_add_test(tcase, sentences_fit_the_terminal);
	tcase_add_test(tcase, usage);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	n_failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return n_failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
