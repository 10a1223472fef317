/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor against hosts of files: a host where everything fits, and from it each finding by one change; who it is about, how
 * grave it is, and that the commands it prints could be run. Against this machine it is check_doctor_real.
 */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/doctor.h"
#include "client/segmentctl/segmentctl.h"
#include "client/segmentctl/text.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/doctor_host.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

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
		doctor_try_command(line);
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
	const struct run *run = run_segmentctl("--json", "doctor", doctor_conf, NULL);

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
	assert_has(find(run->out, "ok", "memory"), "112 MiB more of memory are needed, and 7.5 GiB are left (MemAvailable less memory_reserve)");
	assert_has(find(run->out, "ok", "configuration"), "3 segments");
	assert_has(find(run->out, "ok", "memlock"), "this process");
}
END_TEST

START_TEST(memory_is_short_for_what_comes_last)
{
	/* 512 of reserve, 40 of slack: room for what is required, and no more. */
	doctor_put_meminfo(512 + 40 + 100, 0, 8192);
	assert_finding("problem", "memory", "112 MiB of memory are needed, but 100 MiB are left", "cache");
	doctor_put_meminfo(512 + 40 + 33, 0, 8192);
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
	assert_finding("ok", "overcommit", "CommitLimit leaves 8.0 GiB", "");
	doctor_put_meminfo(8192, 0, 64);
	assert_finding("required", "overcommit", "`sysctl -w vm.overcommit_memory=0`", "book");
}
END_TEST

START_TEST(swap_is_for_what_is_not_locked)
{
	doctor_put_meminfo(8192, 1024, 8192);
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

	doctor_put_limits("524288", "67108864");
	/* What is required takes what there is: 64 MiB of book; of prices it is preferred, of cache not required. */
	assert_finding("problem", "memlock", "112 MiB are to be locked in memory, but 64 MiB are left of what this process may lock",
	    "cache");
	assert_has(find(doctor(SEGMENTCTL_DONE)->out, "problem", "memlock"), "will fail; the start goes on without");
	assert_has(doctor(SEGMENTCTL_DONE)->out, "\"means\": \"will be ready without it, since placement is \\\"prefer\\\"\",\n"
	    "      \"segments\": [\n        \"prices\"\n      ],");
	doctor_put_limits("524288", "65536");
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
	doctor_put_limits("64", "65536");
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
	doctor_put_limits("8192", "1073741824");
	assert_finding("note", "descriptors", "but this process may have 8192", "");
	doctor_put_limits("45", "1073741824");
	assert_finding("problem", "descriptors", "LimitNOFILE=524288", "cache");
	doctor_put_limits("20", "1073741824");
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

/* Lines are not wider than the terminal, but for a command, which is never broken. */
START_TEST(sentences_fit_the_terminal)
{
	const struct run *run;
	char line[2048];

	doctor_put_limits("20", "65536");
	for (unsigned columns = 60; columns <= 160; columns += 20) {
		run_set_terminal(columns);
		run = run_segmentctl("doctor", doctor_conf, NULL);
		ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
		for (const char *p = run->out; *p; p += strcspn(p, "\n") + (strchr(p, '\n') != NULL)) {
			(void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(p, "\r\n"), p);
			ck_assert_msg(strchr(line, '`') || strchr(line, '/') || text_width(line) <= columns, "%u: '%s'", columns, line);
		}
		assert_has(run->out, "`systemctl edit segmentd.service`");
		assert_has(run->out, "`ulimit -l unlimited`");
		assert_has(run->out, "book");
		assert_has(run->out, "The start will fail: 2 findings about book, cache, prices.\r\n");
	}
	run = run_segmentctl("doctor", doctor_conf, NULL);
	assert_has(run->out, "\n                           book, cache: will fail; and the start, which requires book\n");
	(void)unsetenv("NO_COLOR");
	(void)setenv("TERM", "xterm", 1);
	run_set_terminal(100);
	assert_has(run_segmentctl("doctor", doctor_conf, NULL)->out, "\033[31mrequired\033[0m");
}
END_TEST

START_TEST(usage)
{
	ck_assert_int_eq(run_segmentctl("doctor", doctor_conf, "more", NULL)->status, SEGMENTCTL_USAGE);
	ck_assert_int_eq(run_segmentctl("doctor", "--now", NULL)->status, SEGMENTCTL_USAGE);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-doctor");
	TCase *tcase = tcase_create("doctor");

	tcase_set_timeout(tcase, 120);
	tcase_add_unchecked_fixture(tcase, tree_make_top, tree_remove_top);
	tcase_add_checked_fixture(tcase, doctor_put_host, NULL);
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
	tcase_add_test(tcase, sentences_fit_the_terminal);
	tcase_add_test(tcase, usage);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
