/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The box in its daemon's life: filled, put into, renewed, with a manager that hears late, keeps nothing or is full; and what a
 * successor finds in it. That one is killed at each step: check_boxkills.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "systemd/store.h"
#include "tests/daemon/box_rig.h"

#define SPARE_FDS	200		/* that a test needs besides items */

#define WMEM_DEFAULT	212992		/* net.core.wmem_max, unless somebody has changed it */

static struct box_rig rig;
static bool is_capped;			/* each test is done as this host has it, and with queues as most have them */

/* In place of the C library's. */
int
setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
	int bytes;

	if (level != SOL_SOCKET || name != SO_SNDBUF || !is_capped)
		return (int)syscall(SYS_setsockopt, fd, level, name, value, len);
	memcpy(&bytes, value, sizeof(bytes));
	bytes = bytes < WMEM_DEFAULT ? bytes : WMEM_DEFAULT;
	return (int)syscall(SYS_setsockopt, fd, level, name, &bytes, len);
}

static const struct box_rig_item *hostile;	/* the first of some that the kernel has in flight in no way; or NULL */
static unsigned n_hostile;
static bool is_flight_closed;		/* as where too much lies in flight already */

static bool
is_of_a_box(const struct msghdr *message)
{
	const struct iovec *part = message->msg_iov;

	return message->msg_iovlen && part->iov_len >= sizeof(BOX_WIRE_MAGIC) &&
	    memcmp(part->iov_base, BOX_WIRE_MAGIC, sizeof(BOX_WIRE_MAGIC)) == 0;
}

/* Likewise: as a kernel says of sockets in sockets in sockets, and where more lies in flight than may. */
ssize_t
sendmsg(int fd, const struct msghdr *message, int flags)
{
	const struct cmsghdr *rights = CMSG_FIRSTHDR(message);
	size_t n = rights && n_hostile ? (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;
	int sent;

	if (rights && is_flight_closed && is_of_a_box(message)) {
		errno = ETOOMANYREFS;
		return -1;
	}
	for (size_t i = 0; i < n; i++) {
		memcpy(&sent, CMSG_DATA(rights) + i * sizeof(sent), sizeof(sent));
		for (unsigned j = 0; j < n_hostile; j++) {
			if (sent != hostile[j].fd)
				continue;
			errno = ETOOMANYREFS;
			return -1;
		}
	}
	return syscall(SYS_sendmsg, fd, message, flags);
}

static void
setup(void)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	box_rig_prepare_manager();
	box_rig_init(&rig);
}

static void
teardown(void)
{
	harness_manager_remove(&box_rig_manager);
}

/* How many of n items that are open twice, and put aside twice, this process may have. */
static unsigned
fit(unsigned n)
{
	struct rlimit limit;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	if (limit.rlim_cur < 2 * n + SPARE_FDS) {
		printf("LEFT OUT: RLIMIT_NOFILE is %ju; %ju items instead of %u\n", (uintmax_t)limit.rlim_cur,
		    (uintmax_t)(limit.rlim_cur - SPARE_FDS) / 2, n);
		return (unsigned)((limit.rlim_cur - SPARE_FDS) / 2);
	}
	return n;
}

/* The daemon is killed, and the next one has read what it left. */
static void
succeed(void)
{
	box_rig_kill(&rig);
	unsigned n = rig.n;

	box_rig_init(&rig);
	rig.n = n;
	box_rig_inherit(&rig);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
}

static void
expect_stored(unsigned n)
{
	unsigned stored = harness_manager_count(&box_rig_manager, "box-");

	harness_assert(stored == n, "%u ends are stored, not %u", stored, n);
}

START_TEST(ten_thousand_go_in_and_come_out)
{
	unsigned n = fit(9800);
	size_t n_fds;

	box_rig_make_many(&rig, 1, n);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	expect_stored(2);
	ck_assert_uint_eq(box_n_live(&rig.box), n);
	succeed();
	ck_assert_uint_eq(rig.n_taken, n);
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_told, 0);

	/* The queue is as full as it was: the next one, killed before it has done anything, takes nothing away. */
	succeed();
	box_rig_expect_all(&rig, false);
	n_fds = box_rig_count_fds();
	box_begin(&rig.box);
	box_rig_settle(&rig);
	expect_stored(2);
	ck_assert_uint_le(box_rig_count_fds(), n_fds);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(what_is_put_one_by_one_is_there)
{
	box_begin(&rig.box);
	for (unsigned i = 0; i < 2000; i++) {
		static const uint32_t kinds[] = { BOX_SEGMENT_DATA, BOX_SEGMENT_CONTROL, BOX_SESSION, 4000000000 };
		struct box_rig_item *item = box_rig_make(&rig, kinds[i % 4], UINT64_MAX - i / 4);

		ck_assert_int_eq(box_rig_put(&rig, item), 0);
		if (i % 100 == 99)
			box_rig_settle(&rig);
	}
	box_rig_settle(&rig);
	/* Renewed when that were more than some hundred messages. */
	ck_assert_uint_ge(rig.box.n_renewals, 4);
	ck_assert_uint_le(rig.box.n_renewals, 10);
	expect_stored(2);
	succeed();
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_taken, 2000);
}
END_TEST

/* So many single messages are more than one queue has room for, and less than three. */
static unsigned
more_than_a_queue(void)
{
	struct box_pair *pair;
	socklen_t len = sizeof(int);
	int bytes;

	ck_assert_int_eq(box_pair_new(1, &pair), 0);
	ck_assert_int_eq(getsockopt(pair->ends[BOX_A], SOL_SOCKET, SO_SNDBUF, &bytes, &len), 0);
	(void)box_pair_free(pair);
	return (unsigned)min_u64(BOX_RIG_MAX - 1, (uint64_t)bytes / 512);
}

START_TEST(a_full_queue_is_extended)
{
	struct box_rig_item *item = box_rig_make(&rig, BOX_SESSION, 1);
	unsigned n, n_ends;

	/* Thousands of messages in one queue take long to read. */
	is_capped = true;
	n = more_than_a_queue();
	item->lives = false;		/* a filling has none of it: what was put alone counts */
	box_begin(&rig.box);
	box_rig_settle(&rig);
	/* All in one turn. */
	for (rig.n = 1; rig.n < n; rig.n++) {
		rig.items[rig.n] = *item;
		rig.items[rig.n].label.id = 1 + rig.n;
		rig.items[rig.n].lives = true;
		rig.items[rig.n].fd = -1;
		ck_assert_int_eq(box_put(&rig.box, &rig.items[rig.n].label, item->fd), 0);
		if (rig.n % 4 == 0)
			harness_manager_hear(&box_rig_manager);
	}
	n_ends = harness_manager_count(&box_rig_manager, "box-");
	ck_assert_uint_ge(n_ends, 4);
	/* They are one descriptor, which a filling has not: none can be made, and those there are stay all. */
	box_rig_settle(&rig);
	expect_stored(n_ends);
	succeed();
	box_rig_expect_all(&rig, false);
	/* The successor puts them together. */
	box_begin(&rig.box);
	box_rig_settle(&rig);
	expect_stored(2);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(what_is_dead_is_given_back)
{
	struct box_rig_item *item = box_rig_make(&rig, BOX_SESSION, 1);
	struct pollfd end = { 0 };
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(dup2(ends[1], item->fd), item->fd);
	(void)close(ends[1]);
	end.fd = ends[0];
	box_begin(&rig.box);
	box_rig_settle(&rig);
	ck_assert_int_eq(poll(&end, 1, 0), 0);
	box_rig_end(&rig, item, true);
	ck_assert_int_eq(poll(&end, 1, 0), 0);	/* the box has it still */
	box_rig_settle(&rig);
	ck_assert_int_eq(poll(&end, 1, 0), 1);
	ck_assert_uint_eq(box_n_live(&rig.box), 0);
	expect_stored(2);
}
END_TEST

/* Nothing else happens afterwards: it is the box that comes back to it. */
START_TEST(what_died_in_a_shortage_is_given_back_after_it)
{
	struct box_rig_item *item = box_rig_make(&rig, BOX_SEGMENT_DATA, 1);
	struct pollfd end = { 0 };
	int ends[2];

	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	ck_assert_int_eq(dup2(ends[1], item->fd), item->fd);
	(void)close(ends[1]);
	end.fd = ends[0];
	(void)box_rig_make(&rig, BOX_SEGMENT_DATA, 2);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	is_flight_closed = true;
	box_rig_end(&rig, item, true);
	box_rig_settle(&rig);
	is_flight_closed = false;
	ck_assert_int_eq(poll(&end, 1, 0), 0);
	while (poll(&end, 1, 0) == 0) {
		ck_assert(evtimer_pending(&rig.box.renew_event, NULL) || rig.box.barrier_fd >= 0);
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
		box_rig_settle(&rig);
	}
	ck_assert_uint_eq(rig.box.short_ns, 0);
	expect_stored(2);
}
END_TEST

/* There are descriptors for a pair, and none for the question whether it is kept. */
START_TEST(what_could_not_be_asked_is_asked_later)
{
	struct box_rig_item *item = box_rig_make(&rig, BOX_SEGMENT_DATA, 1);
	struct rlimit before, low;
	int last[2];

	(void)box_rig_make(&rig, BOX_SEGMENT_DATA, 2);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	box_rig_end(&rig, item, true);
	ck_assert_int_eq(pipe2(last, O_CLOEXEC), 0);
	(void)close(last[0]);
	(void)close(last[1]);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	low = (struct rlimit) { .rlim_cur = (rlim_t)(last[0] > last[1] ? last[0] : last[1]) + 1, .rlim_max = before.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	while (!rig.box.n_refusals && !rig.box.short_ns)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	while (rig.box.n_dead || rig.box.n_pairs > 1) {
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
		box_rig_settle(&rig);
	}
	box_rig_settle(&rig);
	expect_stored(2);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(the_dead_that_keep_nothing_wait_for_others)
{
	box_rig_make_many(&rig, 1, 1000);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	ck_assert_uint_eq(rig.box.n_renewals, 1);
	for (unsigned i = 0; i < 700; i++)
		box_rig_end(&rig, &rig.items[i], false);
	box_rig_settle(&rig);
	ck_assert_uint_eq(rig.box.n_renewals, 1);
	ck_assert_uint_eq(box_n_live(&rig.box), 300);
	ck_assert_uint_eq(rig.box.n_dead, 700);
	for (unsigned i = 700; i < 800; i++)
		box_rig_end(&rig, &rig.items[i], false);
	box_rig_settle(&rig);
	ck_assert_uint_eq(rig.box.n_renewals, 2);
	ck_assert_uint_le(rig.box.n_dead, 100);
	succeed();
	box_rig_expect_all(&rig, true);
}
END_TEST

START_TEST(a_deaf_manager_loses_nothing)
{
	box_rig_make_many(&rig, 1, 300);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	harness_manager_set_deaf(&box_rig_manager, true);
	/* Renewals are begun, and none is ever answered; the manager's queue runs full. */
	for (unsigned i = 0; i < 500; i++) {
		struct box_rig_item *item = box_rig_make(&rig, BOX_SESSION, i);

		ck_assert_int_eq(box_rig_put(&rig, item), 0);
		(void)event_base_loop(rig.base, EVLOOP_NONBLOCK);
	}
	box_rig_end(&rig, &rig.items[0], true);
	for (unsigned i = 0; i < 5; i++)
		(void)event_base_loop(rig.base, EVLOOP_NONBLOCK);
	harness_manager_set_deaf(&box_rig_manager, false);
	succeed();
	box_rig_expect_all(&rig, true);

	/* And it comes to rest as soon as it is heard. */
	harness_manager_set_deaf(&box_rig_manager, true);
	box_begin(&rig.box);
	ck_assert_int_eq(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, 10000)), 0);
	for (unsigned i = 0; i < 5; i++)
		(void)event_base_loop(rig.base, EVLOOP_NONBLOCK);
	harness_manager_set_deaf(&box_rig_manager, false);
	box_rig_settle(&rig);
	expect_stored(2);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(a_full_manager_queue_is_tried_again)
{
	int fd;

	box_rig_make_many(&rig, 1, 10);
	while (store_barrier(&fd) == 0)
		(void)close(fd);
	box_begin(&rig.box);
	/* Nobody has it. */
	ck_assert_int_lt(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, 1)), 0);
	ck_assert(evtimer_pending(&rig.box.send_event, NULL));
	box_rig_settle(&rig);
	expect_stored(2);
	succeed();
	/* The filling came after it. */
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(a_full_store_keeps_what_it_has)
{
	box_rig_make_many(&rig, 1, 100);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	box_rig_manager.max = 3;
	/* Of the next pair one end has room: the second is missed, and the first is removed again. */
	box_rig_end(&rig, &rig.items[0], true);
	box_rig_settle(&rig);
	expect_stored(2);
	ck_assert_uint_eq(box_rig_manager.n_refused, 1);
	/* It is not tried at each opportunity, and what is put goes where there is room. */
	ck_assert_int_eq(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, 1)), 0);
	box_rig_end(&rig, &rig.items[1], true);
	box_rig_settle(&rig);
	ck_assert_uint_eq(box_rig_manager.n_refused, 1);
	ck_assert_uint_eq(rig.box.n_renewals, 2);
	succeed();
	box_rig_expect_all(&rig, true);
	ck_assert_uint_eq(rig.items[0].n_taken, 1);
	box_rig_manager.max = 64;
	box_begin(&rig.box);
	box_rig_settle(&rig);
	expect_stored(2);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(a_full_store_has_what_is_put_meanwhile)
{
	box_rig_make_many(&rig, 1, 100);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	box_rig_manager.max = 2;
	box_rig_end(&rig, &rig.items[0], true);
	while (rig.box.n_renewals < 2)
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
	/* Nobody knows yet that the new pair is not kept. */
	ck_assert_int_eq(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, 1)), 0);
	succeed();
	ck_assert_uint_eq(box_rig_manager.n_refused, 2);
	box_rig_expect_all(&rig, true);
}
END_TEST

START_TEST(pairs_of_killed_daemons_do_not_pile_up)
{
	box_rig_make_many(&rig, 1, 300);
	for (unsigned i = 0; i < 50; i++) {
		/* Killed before the manager has said that it keeps the pair, which is filled. */
		box_begin(&rig.box);
		ck_assert_int_eq(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, i)), 0);
		succeed();
		box_rig_expect_all(&rig, false);
		harness_assert(harness_manager_count(&box_rig_manager, "box-") <= 6, "the store runs full");
	}
	ck_assert_uint_eq(box_rig_manager.n_refused, 0);
}
END_TEST

START_TEST(a_manager_without_a_store_is_seen)
{
	box_rig_manager.stores_nothing = true;
	box_rig_make_many(&rig, 1, 100);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	ck_assert_int_eq(box_rig_put(&rig, box_rig_make(&rig, BOX_SESSION, 1)), -ENOENT);
	box_dead(&rig.box, true);
	box_rig_settle(&rig);
	ck_assert_uint_eq(rig.box.n_renewals, 1);
	ck_assert_uint_eq(rig.box.n_pairs, 0);
}
END_TEST

START_TEST(an_emptied_store_is_filled_again)
{
	box_rig_make_many(&rig, 1, 100);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	harness_manager_drop(&box_rig_manager, "box-");
	box_rig_settle(&rig);
	expect_stored(2);
	ck_assert_uint_eq(rig.box.n_renewals, 2);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

START_TEST(without_a_manager_it_does_nothing)
{
	struct box box;
	struct box_label label = { .kind = BOX_SESSION };

	ck_assert_int_eq(unsetenv("NOTIFY_SOCKET"), 0);
	ck_assert_int_eq(box_init(&box, rig.base, NULL, NULL), -ENOENT);
	ck_assert_int_eq(box_peek(&box, &rig.inherited, NULL, NULL, NULL), 0);
	box_begin(&box);
	ck_assert_int_eq(box_put(&box, &label, 0), -ENOENT);
	ck_assert_int_eq(box_put(NULL, &label, 0), 0);
	box_dead(&box, true);
	box_dead(NULL, true);
	box_forget(&box);
	box_deinit(&box);
	ck_assert_uint_eq(box_n_live(&box), 0);
}
END_TEST

START_TEST(a_forgotten_box_leaves_nothing)
{
	box_rig_make_many(&rig, 1, 100);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	/* In the middle of a renewal. */
	box_rig_end(&rig, &rig.items[0], true);
	(void)event_base_loop(rig.base, EVLOOP_ONCE);
	expect_stored(4);
	box_forget(&rig.box);
	box_rig_kill(&rig);
	expect_stored(0);
}
END_TEST

/* A session whose client has sent sockets in sockets in sockets: the kernel may refuse to have that in flight. */
static int
make_nested(unsigned depth)
{
	int inner = open("/dev/null", O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < depth; i++) {
		struct box_pair *pair;
		struct box_label label = { .kind = BOX_SESSION };

		ck_assert_int_eq(box_pair_new(1, &pair), 0);
		if (box_pair_send(pair, BOX_A, &label, &inner, 1)) {
			(void)box_pair_free(pair);
			return inner;
		}
		(void)close(inner);
		inner = take_fd(&pair->ends[BOX_B]);
		(void)box_pair_free(pair);
	}
	return inner;
}

START_TEST(a_hostile_session_spoils_no_other)
{
	box_rig_make_many(&rig, 1, 1000);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	for (unsigned i = 0; i < 8; i++) {
		struct box_rig_item *item = &rig.items[100 * i + 50];

		/* It is what it is: in the box, or not. */
		(void)close(item->fd);
		item->fd = make_nested(8);
		item->lives = true;
		item->inode = 0;
	}
	box_rig_end(&rig, &rig.items[0], true);
	box_rig_settle(&rig);
	expect_stored(2);
	ck_assert_uint_eq(rig.box.n_renewals, 2);
	ck_assert_uint_ge(box_n_live(&rig.box), 999 - 8);
	for (unsigned i = 0; i < 8; i++) {
		rig.items[100 * i + 50].lives = false;
		rig.items[100 * i + 50].label.kind = 77;
	}
	succeed();
	ck_assert_uint_le(rig.n_strange, 8);
	rig.n_strange = 0;
	box_rig_expect_all(&rig, false);
}
END_TEST

/* As many as a uid may have connections. */
START_TEST(hostile_sessions_keep_nothing_that_is_dead)
{
	box_rig_make_many(&rig, 1, 300);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	hostile = &rig.items[100];
	n_hostile = 200;
	box_rig_end(&rig, &rig.items[0], true);
	box_rig_settle(&rig);
	ck_assert_uint_eq(rig.box.n_renewals, 2);
	ck_assert_uint_eq(rig.box.n_lost, 200);
	ck_assert_uint_eq(box_n_live(&rig.box), 99);
	n_hostile = 0;
	for (unsigned i = 0; i < 200; i++)
		box_rig_end(&rig, &rig.items[100 + i], false);
	succeed();
	box_rig_expect_all(&rig, false);
}
END_TEST

/* A few that cannot be sent are passed over; but not all there are, because nothing can. */
START_TEST(a_flight_that_is_closed_empties_no_box)
{
	box_rig_make_many(&rig, 1, 10);
	box_begin(&rig.box);
	box_rig_settle(&rig);
	is_flight_closed = true;
	box_rig_end(&rig, &rig.items[0], true);
	box_rig_settle(&rig);
	is_flight_closed = false;
	succeed();
	box_rig_expect_all(&rig, true);
}
END_TEST

static void
setup_capped(void)
{
	is_capped = true;
	setup();
}

static void
add_tests(Suite *suite, const char *name, SFun begin)
{
	const TTest *const tests[] = {
		ten_thousand_go_in_and_come_out,
		what_is_put_one_by_one_is_there,
		a_full_queue_is_extended,
		what_is_dead_is_given_back,
		what_died_in_a_shortage_is_given_back_after_it,
		what_could_not_be_asked_is_asked_later,
		the_dead_that_keep_nothing_wait_for_others,
		a_deaf_manager_loses_nothing,
		a_full_manager_queue_is_tried_again,
		a_full_store_keeps_what_it_has,
		a_full_store_has_what_is_put_meanwhile,
		pairs_of_killed_daemons_do_not_pile_up,
		a_manager_without_a_store_is_seen,
		an_emptied_store_is_filled_again,
		without_a_manager_it_does_nothing,
		a_forgotten_box_leaves_nothing,
		a_hostile_session_spoils_no_other,
		hostile_sessions_keep_nothing_that_is_dead,
		a_flight_that_is_closed_empties_no_box,
	};
	TCase *tcase = tcase_create(name);

	tcase_add_checked_fixture(tcase, begin, teardown);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(tests); i++)
		tcase_add_test(tcase, tests[i]);
	suite_add_tcase(suite, tcase);
}

int
main(void)
{
	Suite *suite = suite_create("box");

	add_tests(suite, "as this host has it", setup);
	add_tests(suite, "with small queues", setup_capped);
	return harness_run(suite);
}
