/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Limits, processes and the sentences of findings. */
#include "config.h"

#include <check.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "base/base.h"
#include "host/findings.h"
#include "host/limits.h"
#include "host/memory.h"
#include "host/process.h"
#include "tests/suite_run.h"

static char text[FINDINGS_TEXT_SIZE];

static void
assert_says(const char *words)
{
	ck_assert_msg(strstr(text, words), "\"%s\" does not say \"%s\"", text, words);
}

START_TEST(sizes_for_people)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} rows[] = {
		{ 0, "0 B" }, { 17, "17 B" }, { 1024, "1 KiB" }, { 1536 * KIB, "1.5 MiB" },
		{ 12 * GIB, "12 GiB" }, { 10 * TIB, "10 TiB" }, { UINT64_MAX, "16777216.0 TiB" },
	};
	char buf[32], tiny[4];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++)
		ck_assert_str_eq(findings_size(buf, sizeof(buf), rows[i].bytes), rows[i].text);
	ck_assert_str_eq(findings_size(tiny, sizeof(tiny), 12 * GIB), "12 ");
}
END_TEST

START_TEST(available_memory_names_the_reserve)
{
	struct memory_headroom h = { .bytes = 3 * GIB, .limit = MEMORY_LIMIT_AVAILABLE,
		.limit_bytes = 4 * GIB, .used_bytes = GIB, .where = "/proc/meminfo" };

	findings_memory(text, sizeof(text), 10 * TIB, &h);
	assert_says("10 TiB");
	assert_says("3 GiB");
	assert_says("4 GiB");
	assert_says("memory_reserve keeps 1 GiB");
}
END_TEST

START_TEST(cgroup_names_its_file_and_a_setting_that_suffices)
{
	struct memory_headroom h = { .bytes = GIB, .limit = MEMORY_LIMIT_CGROUP, .limit_bytes = 2 * GIB,
		.used_bytes = GIB, .where = "/sys/fs/cgroup/a/memory.max" };

	findings_memory(text, sizeof(text), 2 * GIB, &h);
	assert_says("/sys/fs/cgroup/a/memory.max is 2 GiB");
	assert_says("`echo 3137M > /sys/fs/cgroup/a/memory.max`");
	assert_says("MemoryMax=3137M");
	(void)strcpy(h.where, "/sys/fs/cgroup/a/memory.high");
	findings_memory(text, sizeof(text), UINT64_MAX, &h);
	assert_says("MemoryHigh=");
	(void)strcpy(h.where, "/m/memory.memsw.limit_in_bytes");
	findings_memory(text, sizeof(text), GIB, &h);
	assert_says("memory and swap");
}
END_TEST

START_TEST(longest_sentences_fit)
{
	struct memory_headroom h = { .bytes = GIB + 1, .limit = MEMORY_LIMIT_CGROUP, .limit_bytes = UINT64_MAX,
		.used_bytes = UINT64_MAX - 1 };
	char small[8];

	memset(h.where, 'x', sizeof(h.where) - 1);
	findings_memory(text, sizeof(text), UINT64_MAX, &h);
	assert_says("that it belongs to");
	findings_worker_killed(text, sizeof(text), SIGKILL, &h);
	assert_says("or more memory");
	findings_memory(small, sizeof(small), 1, &h);
	ck_assert_uint_eq(strlen(small), sizeof(small) - 1);
}
END_TEST

START_TEST(worker_killed_or_crashed)
{
	struct memory_headroom h = { .bytes = MIB, .limit = MEMORY_LIMIT_AVAILABLE, .limit_bytes = GIB,
		.where = "/proc/meminfo" };

	findings_worker_killed(text, sizeof(text), SIGKILL, &h);
	assert_says("out-of-memory killer");
	assert_says("1 MiB left");
	findings_worker_killed(text, sizeof(text), SIGBUS, &h);
	assert_says("signal 7");
	ck_assert_ptr_null(strstr(text, "out-of-memory"));
}
END_TEST

START_TEST(pages_and_descriptors)
{
	findings_page_size(text, sizeof(text), "transparent", 4 * GIB, GIB);
	assert_says("1 GiB of 4 GiB");
	assert_says("Remedy: ");
	findings_page_size(text, sizeof(text), "1GiB", GIB, 0);
	assert_says("hugepages-1048576kB");
	findings_nofile(text, sizeof(text));
	assert_says("LimitNOFILE=");
	findings_memlock(text, sizeof(text), GIB, 8 * MIB);
	assert_says("1 GiB");
	assert_says("8 MiB");
	assert_says("LimitMEMLOCK=infinity");
}
END_TEST

START_TEST(locked_memory_is_counted)
{
	size_t bytes = 64 * KIB;
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t before = limits_locked_bytes();

	ck_assert_ptr_ne(p, MAP_FAILED);
	if (mlock(p, bytes) < 0) {
		printf("skipped: no memory may be locked: %s\n", strerror(errno));
		return;
	}
	if (limits_locked_bytes() == before) {
		printf("skipped: this build does not lock (sanitizers make mlock a no-op)\n");
		return;
	}
	ck_assert_uint_eq(limits_locked_bytes(), before + bytes);
	ck_assert_int_eq(munlock(p, bytes), 0);
	ck_assert_uint_eq(limits_locked_bytes(), before);
}
END_TEST

START_TEST(locking_limit_holds_without_the_capability)
{
	struct rlimit limit = { .rlim_cur = 128 * KIB, .rlim_max = 128 * KIB };
	uint64_t left;

	ck_assert_int_eq(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	left = limits_memlock_left_bytes();
	if (geteuid() == 0 && left == LIMITS_UNLIMITED) {
		/* CAP_IPC_LOCK lifts it; without that it holds. */
		if (setresuid(65534, 65534, 65534) < 0) {
			printf("skipped: cannot become another user: %s\n", strerror(errno));
			return;
		}
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);	/* else /proc/self is root's */
		left = limits_memlock_left_bytes();
	}
	ck_assert_uint_eq(left, 128 * KIB - limits_locked_bytes());
}
END_TEST

START_TEST(descriptors_are_raised_to_the_hard_limit)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max / 2;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(limits_raise_nofile(), limit.rlim_max);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(limit.rlim_cur, limit.rlim_max);
}
END_TEST

START_TEST(command_of_a_process_cannot_speak_to_a_terminal)
{
	char name[64], tiny[5];

	ck_assert_int_eq(prctl(PR_SET_NAME, "a\x1b[31m\n\xc3\xa9z", 0, 0, 0), 0);
	process_command(getpid(), name, sizeof(name));
	ck_assert_str_eq(name, "a?[31m???z");
	process_command(getpid(), tiny, sizeof(tiny));
	ck_assert_str_eq(tiny, "a?[3");
	process_command(0, name, sizeof(name));
	ck_assert_str_eq(name, "");
	process_command(-1, name, sizeof(name));
	ck_assert_str_eq(name, "");
	process_command(INT32_MAX, name, sizeof(name));
	ck_assert_str_eq(name, "");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("host");
	TCase *tcase = tcase_create("host");

	tcase_add_test(tcase, sizes_for_people);
	tcase_add_test(tcase, available_memory_names_the_reserve);
	tcase_add_test(tcase, cgroup_names_its_file_and_a_setting_that_suffices);
	tcase_add_test(tcase, longest_sentences_fit);
	tcase_add_test(tcase, worker_killed_or_crashed);
	tcase_add_test(tcase, pages_and_descriptors);
	tcase_add_test(tcase, locked_memory_is_counted);
	tcase_add_test(tcase, locking_limit_holds_without_the_capability);
	tcase_add_test(tcase, descriptors_are_raised_to_the_hard_limit);
	tcase_add_test(tcase, command_of_a_process_cannot_speak_to_a_terminal);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
