/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Copying into memory that clients can write. What is looked for here is whether the thread has slept in it, as the kernel counts:
 * a machine that is busy makes a copy slow, and is not to be mistaken for that.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/guard.h"
#include "tests/suite_run.h"

#define SIZE		(128 * MIB)
/* Linux 5.14; for older headers. */
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE	23
#endif

#define ROUNDS		12
#define COPIES_MIN	6
#define SLEPT_MAX	2		/* the page may go between the look and the copy */

static int fd;
static _Atomic unsigned *rounds;	/* the child's */

/* All of it comes, and goes again, over and over. */
static pid_t
spawn_puncher(unsigned char *map)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* What is reserved, and was never touched, does not count as there. */
	while (madvise(map, SIZE, MADV_POPULATE_WRITE) == 0 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE) == 0)
		++*rounds;
	_exit(1);
}

static long
sleeps(void)
{
	struct rusage usage;

	ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_nvcsw;
}

START_TEST(who_gives_pages_back_meanwhile_is_not_waited_for)
{
	unsigned char *map, *there;
	unsigned n = 0, n_slept = 0;
	pid_t pid;

	fd = memfd_create("guarded", MFD_CLOEXEC);
	ck_assert(fd >= 0 && ftruncate(fd, SIZE) == 0);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rounds = mmap(NULL, sizeof(*rounds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert(map != MAP_FAILED && rounds != MAP_FAILED && guard_init() == 0);
	there = map + SIZE / 8 * 7;
	pid = spawn_puncher(map);
	while (*rounds < ROUNDS) {
		long before;

		ck_assert_int_eq(waitpid(pid, NULL, WNOHANG), 0);
		/* Seldom: what is looked for is there for half of the time, and a look at the wrong moment is not. */
		(void)poll(NULL, 0, 1);
		if (!guard_is_resident(there, 1))
			continue;
		before = sleeps();
		ck_assert_int_eq(guard_copy(there, "x", 1), 0);
		n++;
		n_slept += sleeps() != before;
	}
	printf("%u copies while pages came and went %u times: %u slept\n", n, *rounds, n_slept);
	ck_assert_uint_ge(n, COPIES_MIN);
	ck_assert_uint_le(n_slept, SLEPT_MAX);
	ck_assert(kill(pid, SIGKILL) == 0 && waitpid(pid, NULL, 0) == pid);
	(void)munmap(rounds, sizeof(*rounds));
	(void)munmap(map, SIZE);
	close_fd(&fd);
}
END_TEST

START_TEST(what_is_copied_is_all_of_it)
{
	static unsigned char from[3 * 4096 + 5], to[sizeof(from) + 64];

	for (size_t i = 0; i < sizeof(from); i++)
		from[i] = (unsigned char)(i * 7 + i / 4096);
	for (size_t at = 0; at < 32; at += 5) {
		memset(to, 0, sizeof(to));
		ck_assert_int_eq(guard_copy(to + at, from, sizeof(from)), 0);
		ck_assert_mem_eq(to + at, from, sizeof(from));
		ck_assert_uint_eq(to[at + sizeof(from)], 0);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("daemon/guard");
	TCase *tcase = tcase_create("guard");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, who_gives_pages_back_meanwhile_is_not_waited_for);
	tcase_add_test(tcase, what_is_copied_is_all_of_it);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
