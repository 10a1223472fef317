/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Marks, leases and looks against real processes: the kernel's word, and when it comes. */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/base.h"
#include "daemon/kernelcount.h"
#include "daemon/procfd.h"
#include "tests/suite_run.h"

#define PAGE	4096

static int own = -1;

static void
make_object(void)
{
	int first = memfd_create("kernelcount", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(first, 0);
	ck_assert_int_eq(ftruncate(first, 4 * PAGE), 0);
	ck_assert_int_eq(procfd_reopen(first, O_RDWR, &own), 0);
	(void)close(first);
	(void)signal(SIGIO, SIG_IGN);
}

static int
hand_out(int flags, uint32_t slot)
{
	int fd = -1;

	ck_assert_int_eq(procfd_reopen(own, flags, &fd), 0);
	ck_assert_int_eq(kernelcount_mark(fd, slot), 0);
	return fd;
}

/* A process that only maps the description, until it is killed. */
static pid_t
start_mapper(int fd)
{
	int said[2];
	char byte;
	pid_t pid;

	ck_assert_int_eq(pipe2(said, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED)
			_exit(1);
		(void)close(fd);
		(void)!write(said[1], "m", 1);
		for (;;)
			(void)pause();
	}
	(void)close(said[1]);
	ck_assert_int_eq(read(said[0], &byte, 1), 1);
	(void)close(said[0]);
	return pid;
}

static void
end(pid_t pid)
{
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}

START_TEST(mark_is_held_by_a_mapping_alone)
{
	pid_t pid;
	int fd;

	make_object();
	ck_assert(!kernelcount_held(own, 7, true));
	fd = hand_out(_i ? O_RDWR : O_RDONLY, 7);
	pid = start_mapper(fd);
	(void)close(fd);
	ck_assert(kernelcount_held(own, 7, true));
	ck_assert(!kernelcount_held(own, 6, true));
	ck_assert(!kernelcount_held(own, 8, true));
	end(pid);
	ck_assert(!kernelcount_held(own, 7, true));
}
END_TEST

START_TEST(lease_knows_holders_that_no_mark_shows)
{
	pid_t pid;
	int fd = -1;

	make_object();
	ck_assert(kernelcount_alone(own));
	ck_assert_int_eq(procfd_reopen(own, O_RDONLY, &fd), 0);
	ck_assert(!kernelcount_alone(own));
	pid = start_mapper(fd);
	(void)close(fd);
	ck_assert(!kernelcount_alone(own));
	end(pid);
	ck_assert(kernelcount_alone(own));
	/* And it is given back: an open does not wait. */
	ck_assert_int_eq(procfd_reopen(own, O_RDWR | O_NONBLOCK, &fd), 0);
	(void)close(fd);
}
END_TEST

START_TEST(locked_slot_cannot_be_marked_and_its_neighbour_can)
{
	struct flock hostile = {
		.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = ((off_t)1 << 40) + 3, .l_len = 1,
	};
	int writer, fd = -1;

	make_object();
	writer = hand_out(O_RDWR, 1);
	ck_assert_int_eq(fcntl(writer, F_OFD_SETLK, &hostile), 0);
	ck_assert_int_eq(procfd_reopen(own, O_RDONLY, &fd), 0);
	ck_assert_int_eq(kernelcount_mark(fd, 3), -EAGAIN);
	ck_assert_int_eq(kernelcount_mark(fd, 4), 0);
}
END_TEST

START_TEST(lock_over_the_marks_of_others_decides_nothing)
{
	struct flock hostile = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (off_t)1 << 40 };
	int reader;

	make_object();
	reader = hand_out(O_RDONLY, 1);
	ck_assert_int_eq(fcntl(reader, F_OFD_SETLK, &hostile), 0);
	ck_assert(kernelcount_held(own, 2, true));
	ck_assert(!kernelcount_held(own, 2, false));
	(void)close(reader);
	ck_assert(!kernelcount_held(own, 2, true));
}
END_TEST

/* Looks. */

struct looker {
	struct kernelcount_watch watch;
	struct event_base *base;
	uint32_t slot;
	unsigned n_looks;
	unsigned n_pieces;		/* a look comes in so many, besides the last */
};

static bool
look(struct kernelcount_watch *watch, uint64_t until_ns)
{
	struct looker *looker = BASE_CONTAINER_OF(watch, struct looker, watch);

	looker->n_looks++;
	if (looker->n_pieces) {
		looker->n_pieces--;
		return false;
	}
	if (!kernelcount_held(own, looker->slot, true))
		(void)event_base_loopbreak(looker->base);
	return true;
}

START_TEST(end_of_the_last_mapping_is_told)
{
	struct looker looker = { .watch = KERNELCOUNT_WATCH_NULL, .slot = 5, .n_pieces = (unsigned)_i };
	struct kernelcount kernelcount;
	pid_t pid;
	int fd;

	make_object();
	looker.base = event_base_new();
	ck_assert_int_eq(kernelcount_init(&kernelcount, looker.base), 0);
	ck_assert_int_eq(kernelcount_watch(&kernelcount, &looker.watch, own, look), 0);
	fd = hand_out(O_RDWR, 5);
	pid = start_mapper(fd);
	(void)close(fd);
	ck_assert_int_eq(kill(pid, SIGKILL), 0);
	/* Ends by the look that finds the mark free; Check's time limit is for the case that none does. */
	ck_assert_int_eq(event_base_dispatch(looker.base), 0);
	ck_assert_uint_gt(looker.n_looks, (unsigned)_i);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	kernelcount_unwatch(&looker.watch);
	kernelcount_unwatch(&looker.watch);
	kernelcount_deinit(&kernelcount);
	event_base_free(looker.base);
}
END_TEST

static void
stop_waiting(evutil_socket_t fd, short what, void *arg)
{
	(void)event_base_loopbreak(arg);
}

static bool
count_only(struct kernelcount_watch *watch, uint64_t until_ns)
{
	BASE_CONTAINER_OF(watch, struct looker, watch)->n_looks++;
	return true;
}

START_TEST(looks_have_an_end)
{
	static const struct timeval long_enough = { .tv_sec = 2 };
	struct looker looker = { .watch = KERNELCOUNT_WATCH_NULL };
	struct kernelcount kernelcount;
	struct event *timer;

	make_object();
	looker.base = event_base_new();
	ck_assert_int_eq(kernelcount_init(&kernelcount, looker.base), 0);
	ck_assert_int_eq(kernelcount_watch(&kernelcount, &looker.watch, own, count_only), 0);
	(void)close(hand_out(O_RDWR, 1));
	timer = evtimer_new(looker.base, stop_waiting, looker.base);
	(void)evtimer_add(timer, &long_enough);
	(void)event_base_dispatch(looker.base);
	/* One for the event, and its echoes: at 1, 10, 100 and 1000 ms more. */
	ck_assert_uint_eq(looker.n_looks, 5);
	for (unsigned i = 0; i < KERNELCOUNT_QUEUES; i++)
		ck_assert(TAILQ_EMPTY(&kernelcount.due[i]));
	event_free(timer);
	kernelcount_unwatch(&looker.watch);
	kernelcount_deinit(&kernelcount);
	event_base_free(looker.base);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("kernelcount");
	TCase *tcase = tcase_create("kernelcount");

	tcase_set_timeout(tcase, 120);
	tcase_add_loop_test(tcase, mark_is_held_by_a_mapping_alone, 0, 2);
	tcase_add_test(tcase, lease_knows_holders_that_no_mark_shows);
	tcase_add_test(tcase, locked_slot_cannot_be_marked_and_its_neighbour_can);
	tcase_add_test(tcase, lock_over_the_marks_of_others_decides_nothing);
	tcase_add_loop_test(tcase, end_of_the_last_mapping_is_told, 0, 3);
	tcase_add_test(tcase, looks_have_an_end);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
