/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One daemon after the other inherits the box, puts, ends things and renews, and is killed at a message: the first before its
 * first, the next before its second, and so on until one comes to its end. sendmsg() is what all that others see is done by, so
 * that these are all the states that there are. Whatever a daemon was told would outlive it is with the next one, as what it was.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/daemon/box_rig.h"

#define ITEMS_FIRST	600		/* a filling of some messages */
#define PUTS		40		/* of each daemon, in all phases of its life */
#define STEPS_MAX	1000		/* messages of a daemon that comes to its end */

/* What a daemon leaves besides its box: as a ledger would. In memory that all share. */
struct promise {
	struct box_label label;
	ino_t inode;
	bool is_made;
	bool is_promised;		/* box_put() said that it will outlive us, or the daemon had inherited it */
	bool is_dead;
};

struct ledger {
	unsigned n;
	struct promise promises[BOX_RIG_MAX];
};

static struct box_rig rig;
static struct ledger *ledger;
static uint64_t steps_left;		/* messages until it is killed; 0: never */

/* In place of the C library's. */
ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	if (steps_left && --steps_left == 0)
		(void)kill(getpid(), SIGKILL);
	return syscall(SYS_sendmsg, fd, msg, flags);
}

static void
make_and_put(uint32_t kind, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct promise *promise = &ledger->promises[ledger->n];
		struct box_rig_item *item;

		ck_assert_uint_lt(ledger->n, BOX_RIG_MAX);
		item = box_rig_make(&rig, kind, ledger->n);
		*promise = (struct promise) { .label = item->label, .inode = item->inode, .is_made = true };
		ledger->n++;
		promise->is_promised = box_rig_put(&rig, item) == 0 && rig.box.is_begun;
	}
}

/* What lives of those that were made first goes. */
static void
end_some(unsigned n, bool soon)
{
	for (unsigned i = 0; i < rig.n && n; i++) {
		if (!rig.items[i].lives)
			continue;
		ledger->promises[rig.items[i].label.id].is_dead = true;
		box_rig_end(&rig, &rig.items[i], soon);
		n--;
	}
}

/* The items of earlier daemons; all that were promised, and have not ended, have to be there. */
static void
take_over(void)
{
	for (unsigned i = 0; i < ledger->n; i++) {
		rig.items[i] = (struct box_rig_item) {
			.label = ledger->promises[i].label, .fd = -1, .inode = ledger->promises[i].inode };
	}
	rig.n = ledger->n;
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	harness_assert(rig.n_told == 0, "told: %s", rig.told);
	for (unsigned i = 0; i < ledger->n; i++) {
		struct promise *promise = &ledger->promises[i];
		struct box_rig_item *item = &rig.items[i];

		harness_assert(item->n_taken <= 1, "item %u came %u times", i, item->n_taken);
		harness_assert(item->n_taken || !promise->is_promised || promise->is_dead,
		    "item %u was promised to outlive the daemon, and is not there", i);
		item->lives = item->n_taken && !promise->is_dead;
		promise->is_promised = item->lives;
		/* What died is not needed, and what was not promised and is not there died with its daemon. */
		if (!item->lives) {
			promise->is_dead = true;
			close_fd(&item->fd);
		}
	}
}

static void
turns(unsigned n)
{
	while (n--)
		(void)event_base_loop(rig.base, EVLOOP_NONBLOCK);
}

static void
wait_until_kept(void)
{
	while (rig.box.barrier_fd >= 0 || evtimer_pending(&rig.box.send_event, NULL) || evtimer_pending(&rig.box.renew_event, NULL))
		(void)event_base_loop(rig.base, EVLOOP_ONCE);
}

/* The whole life of a daemon. */
static void
live(void)
{
	take_over();
	if (rig.n == 0)
		make_and_put(BOX_SEGMENT_DATA, ITEMS_FIRST);
	box_begin(&rig.box);
	make_and_put(BOX_SESSION, PUTS / 4);
	turns(2);
	make_and_put(BOX_SEGMENT_CONTROL, PUTS / 4);
	wait_until_kept();
	end_some(PUTS / 4, true);
	make_and_put(BOX_SESSION, PUTS / 4);
	turns(2);
	make_and_put(BOX_SEGMENT_DATA, PUTS / 4);
	end_some(PUTS / 4, true);
	wait_until_kept();
}

/* The manager hears all the while, as it would; until the daemon is gone. */
static int
await_end(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	struct pollfd fds[2] = {
		{ .fd = pidfd, .events = POLLIN },
		{ .fd = box_rig_manager.daemon.notify_fd, .events = POLLIN },
	};

	ck_assert_int_ge(pidfd, 0);
	do {
		harness_assert(harness_poll(fds, 2, HARNESS_TIMEOUT_MS) > 0, "a daemon neither ends nor says anything");
		harness_manager_hear(&box_rig_manager);
	} while (!fds[0].revents);
	harness_manager_hear(&box_rig_manager);
	(void)close(pidfd);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static pid_t
start_daemon(uint64_t steps)
{
	pid_t pid;

	/* Inherited before the fork, in which the manager's descriptors are closed. */
	box_rig_init(&rig);
	box_rig_inherit(&rig);
	pid = harness_fork();
	if (pid == 0) {
		ck_assert_int_eq(event_reinit(rig.base), 0);
		steps_left = steps;
		live();
		_exit(0);
	}
	box_rig_kill(&rig);
	return pid;
}

START_TEST(killed_at_each_message_nothing_is_lost)
{
	unsigned n_kills = 0;
	int status = -1;

	box_rig_prepare_manager();
	ledger = mmap(NULL, sizeof(*ledger), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(ledger, MAP_FAILED);
	for (uint64_t steps = 1; status != 0; steps++) {
		harness_assert(steps < STEPS_MAX, "no daemon comes to its end");
		status = await_end(start_daemon(steps));
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			n_kills++;
		else
			harness_assert(status == 0, "a daemon failed at message %ju: status %d", (uintmax_t)steps, status);
	}
	/* It was not for nothing, and what is stored does not pile up. */
	ck_assert_uint_ge(n_kills, PUTS);
	ck_assert_uint_eq(harness_manager_count(&box_rig_manager, "box-"), 2);
	ck_assert_uint_eq(box_rig_manager.n_refused, 0);
	printf("%u daemons killed, %u items\n", n_kills, ledger->n);
	harness_manager_remove(&box_rig_manager);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("boxkills");
	TCase *tcase = tcase_create("boxkills");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, killed_at_each_message_nothing_is_lost);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
