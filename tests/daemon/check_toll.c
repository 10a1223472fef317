/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Descriptors that wait to be closed: each is charged to its uid as long as it waits, whatever that one's limit is, many that cost
 * nothing are closed in a turn of the loop, and nothing is left when all ends. And which segments' are to wait: those that cost us CPU
 * time, and none that were closed while others had the CPU.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/toll.h"
#include "tests/suite_run.h"

#define ONE		1001
#define OTHER		1002
#define MANY		400		/* of each; below what a process may have open */
#define MARKS		12000
#define CLOSES_MAX	200		/* of which two in a row are slow by the time that this thread had */
#define TRIES		10
#define ALL_MAX		100		/* descriptors of clients, of the daemon's */

static struct event_base *base;
static struct accounts accounts;
static struct tolls tolls;
static int last_fd;

static void
open_late(uint32_t uid)
{
	last_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(last_fd, 0);
	tolls_close_later(&tolls, &accounts, uid, last_fd);
}

static void
begin(unsigned n)
{
	static const struct conf_limits limits = { .clients = 1 };

	base = event_base_new();
	ck_assert_ptr_nonnull(base);
	accounts_init(&accounts, &limits);
	accounts_set_limit_all(&accounts, ACCOUNTS_DESCRIPTORS, ALL_MAX);
	ck_assert_int_eq(tolls_init(&tolls, base), 0);
	for (unsigned i = 0; i < n; i++) {
		open_late(ONE);
		open_late(OTHER);
	}
}

static void
end(void)
{
	tolls_deinit(&tolls);
	ck_assert_int_eq(fcntl(last_fd, F_GETFD), -1);
	ck_assert_uint_eq(accounts.used[ACCOUNTS_DESCRIPTORS], 0);
	accounts_deinit(&accounts);	/* asserts that no account is left */
	event_base_free(base);
}

static uint64_t
used(uint32_t uid)
{
	return accounts_used(&accounts, uid, ACCOUNTS_DESCRIPTORS);
}

START_TEST(what_waits_is_charged_until_it_is_closed)
{
	struct charge charge = CHARGE_NULL;
	uint64_t n;

	begin(MANY);
	ck_assert_uint_eq(used(ONE), MANY);
	ck_assert_uint_eq(used(OTHER), MANY);
	ck_assert_int_eq(accounts_charge(&accounts, ONE, ACCOUNTS_DESCRIPTORS, 1, &charge), ACCOUNTS_E_LIMIT);
	while ((n = tolls.n_closings)) {
		ck_assert_uint_eq(used(ONE) + used(OTHER), n);
		/* One after the other, as they came. */
		ck_assert_uint_le(used(ONE), used(OTHER));
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
		ck_assert_uint_lt(tolls.n_closings, n);
	}
	ck_assert_int_eq(accounts_charge(&accounts, ONE, ACCOUNTS_DESCRIPTORS, 1, &charge), 0);
	charge_deinit(&charge);
	end();
}
END_TEST

START_TEST(many_that_cost_nothing_go_in_one_turn)
{
	unsigned n_turns = 0;

	begin(MANY / 2);
	for (; tolls.n_closings; n_turns++)
		ck_assert_int_eq(event_base_loop(base, EVLOOP_ONCE), 0);
	/* Each takes a microsecond. */
	ck_assert_uint_lt(n_turns, MANY / 4);
	end();
}
END_TEST

START_TEST(what_waits_at_the_end_is_closed_and_given_back)
{
	begin(MANY / 2);
	ck_assert_uint_eq(tolls.n_closings, MANY);
	end();
}
END_TEST

START_TEST(who_is_slow_once_is_closed_late)
{
	struct toll toll = { 0 };

	ck_assert(!toll_closes_late(&toll));
	toll.n_slow = 1;
	ck_assert(toll_closes_late(&toll));
	toll.n_slow = 0;
	toll.closes_late_until_ns = clock_monotonic_ns() + NS_PER_SEC * 60;
	ck_assert(toll_closes_late(&toll));
	toll.closes_late_until_ns = clock_monotonic_ns() - 1;
	ck_assert(!toll_closes_late(&toll));
}
END_TEST

/* Of an object of which somebody has so many marks that to close it costs more than a thousand attachments explain. */
static int
open_marked(int marks_fd)
{
	char path[32];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", marks_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	return fd;
}

START_TEST(who_closes_slowly_twice_is_closed_late)
{
	int marks_fd = memfd_create("marks", MFD_CLOEXEC);
	struct toll toll = { 0 };

	/* The kernel goes over those that come before. */
	for (off_t i = MARKS; i--;)
		ck_assert_int_eq(fcntl(marks_fd, F_OFD_SETLK, &(struct flock) { .l_type = F_RDLCK, .l_start = 2 * i, .l_len = 1 }), 0);
	toll_close(&toll, 0, open_marked(marks_fd));
	ck_assert(!toll_closes_late(&toll));
	/*
	 * In a virtual machine the kernel takes off a thread's time what the host has had of the CPU since it last asked, also before that:
	 * of 700 us now and then 3 are left, and it begins anew.
	 */
	for (unsigned i = 1; i < CLOSES_MAX && toll.n_slow_closes < 2; i++) {
		ck_assert(!toll_closes_late(&toll));
		toll_close(&toll, 0, open_marked(marks_fd));
	}
	ck_assert_uint_eq(toll.n_slow_closes, 2);
	ck_assert_uint_ne(toll.closes_late_until_ns, 0);
	(void)close(marks_fd);
	/* The time is up. The first that is quick ends it. */
	toll.closes_late_until_ns = clock_monotonic_ns() - 1;
	toll_close(&toll, 0, memfd_create("quick", MFD_CLOEXEC));
	ck_assert_uint_eq(toll.n_slow_closes, 0);
}
END_TEST

/* One end of a connection to nobody who reads: its close waits for so long, and takes nothing of a CPU. */
static int
open_lingering(void)
{
	const struct linger linger = { .l_onoff = 1, .l_linger = 1 };
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), little = 4096;
	socklen_t length = sizeof(address);
	char page[4096] = { 0 };

	/* Little in between: what is there is freed at the close, in its time. */
	ck_assert_int_eq(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little)), 0);
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &little, sizeof(little)), 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, length), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, length), 0);
	while (send(fd, page, sizeof(page), MSG_DONTWAIT) > 0)
		;
	ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	return fd;
}

static uint64_t
thread_ns(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
	return (uint64_t)time.tv_sec * NS_PER_SEC + (uint64_t)time.tv_nsec;
}

/* Two that wait, one after the other. Whether they are taken for slow ones. */
static bool
close_lingering_twice(uint64_t *ret_most_ns)
{
	struct toll toll = { 0 };

	*ret_most_ns = 0;
	for (unsigned i = 0; i < 2; i++) {
		int fd = open_lingering();
		uint64_t begun_ns = clock_monotonic_ns(), begun_thread_ns = thread_ns();

		toll_close(&toll, 0, fd);
		*ret_most_ns = max_u64(*ret_most_ns, thread_ns() - begun_thread_ns);
		ck_assert_uint_gt(clock_monotonic_ns() - begun_ns, NS_PER_SEC / 2);
	}
	return toll_closes_late(&toll);
}

/* As where others had the CPU meanwhile. What interrupts the thread in its own time counts as its: then it is tried anew. */
START_TEST(time_that_others_had_proves_nothing)
{
	uint64_t most_ns;

	for (unsigned i = 0; close_lingering_twice(&most_ns); i++) {
		ck_assert_uint_gt(most_ns, NS_PER_MS / 10);
		ck_assert_uint_lt(i, TRIES);
	}
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("toll");
	TCase *tcase = tcase_create("toll");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, what_waits_is_charged_until_it_is_closed);
	tcase_add_test(tcase, many_that_cost_nothing_go_in_one_turn);
	tcase_add_test(tcase, what_waits_at_the_end_is_closed_and_given_back);
	tcase_add_test(tcase, who_is_slow_once_is_closed_late);
	tcase_add_test(tcase, who_closes_slowly_twice_is_closed_late);
	tcase_add_test(tcase, time_that_others_had_proves_nothing);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
