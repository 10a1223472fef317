/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A program opens an object in two steps: it finds the file by its name, and then it has it open. Between the two the kernel
 * counts nobody: who asks whether anybody has the object, and removes it because nobody has, takes it from under such a program,
 * which would then share it with nobody. So an object is removed in two steps, too:
 *
 * 1. Under a write lease, which is granted when nobody has it open, the name is taken away from the object: from here on nobody
 *    can find it any more. Who had found it before and opens it now meets the lease, and waits in its open(2).
 * 2. The lease is held until all who had found it before must have come. If any has, the object gets its name back at once, and
 *    the program goes on as if nothing had been. If none has, there is none, and the object is removed.
 *
 * Whether any has come the kernel is asked by setting the lease again: it counts who has it open, those who wait included. A break
 * that was asked for says the same of those who would not wait (O_NONBLOCK) and went away.
 *
 * How long is long enough: between the steps of an open nothing waits, so that it is done when it has had a CPU for a microsecond.
 * All come within the grace, unless the CPU itself stands still (a guest's may): so each has to have come to its scheduler since
 * (cpus.c), which an open in between does not go to. In a kernel that may be preempted anywhere it can be kept from its CPU by others
 * in between: there, and where not all CPUs can be asked, the grace is all there is.
 *
 * While an object has no name another may get it, as after any removal; only that then it cannot have it back. That takes two who
 * come within microseconds of each other for an object that nobody had for seconds. It is seen, and waited for, and said.
 */
#include "config.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>

#include "base/allotment.h"
#include "daemon/audit/cpus.h"
#include "daemon/audit/quarantine.h"
#include "daemon/audit/removal.h"
#include "daemon/audit/stray_posix.h"

#define LOOKS_AT_ONCE	4			/* right after the name is gone: who is just opening it comes then */
#define STEPS		8	/* of each of these times: who stood still, with the machine, is not late (base/allotment.h) */
#define GRACE_NS	(30 * NS_PER_MS)
#define CPUS_NS		(200 * NS_PER_MS)	/* beyond that, for all CPUs to come to their schedulers */
#define GRACE_ALONE_NS	(100 * NS_PER_MS)	/* and where that does not come to be known */
#define PATIENCE_NS	NS_PER_SEC		/* for a name that another has, while somebody waits for the object */
#define RETRY_NS	NS_PER_MS
#define SETTLE_NS	NS_PER_SEC		/* for what was left, before a question is answered, */
#define SETTLE_END_NS	(100 * NS_PER_MS)	/* and at the end, for which who asked may wait, and has little patience */

enum state {
	STATE_DONE,			/* its verdict stands */
	STATE_TAKEN,			/* it has no name, and nobody has come */
	STATE_WANTED,			/* somebody has, and its name is another one's */
};

struct work {
	enum state state;
	int fd;				/* with the lease, while it is not done */
	ino_t inode;
	bool is_prepared;
};

struct removal {
	const struct removal_item *items;
	struct work works[REMOVAL_MAX];
	size_t n;
	int dir_fd;
	struct quarantine quarantine;
	int error;			/* of making it */
	int signal_fd;			/* readable when somebody opens what we have a lease of */
	int cpus_fd;			/* readable when all CPUs have come to their schedulers; negative: nobody can say so */
};

/* Something may have been left: by a run before, or by ours since. */
static bool has_leftovers = true;

static void
finish(struct removal *removal, size_t i, enum audit_verdict verdict, int error)
{
	struct work *work = &removal->works[i];

	removal->items[i].stray->verdict = verdict;
	removal->items[i].stray->error = error;
	work->state = STATE_DONE;
	close_fd(&work->fd);		/* and with it goes the lease */
	if (work->is_prepared)
		quarantine_forget(&removal->quarantine, work->inode);	/* unless something has to stay there */
}

/* It must not be removed any more. Who waits goes on when the lease is gone, and by then it has its name, if that can be. */
static void
give_back(struct removal *removal, size_t i)
{
	const char *name = removal->items[i].candidate->name;
	int r = quarantine_give_back(&removal->quarantine, name, removal->works[i].inode);

	if (r == 0)
		finish(removal, i, AUDIT_CHANGED, 0);
	else if (r == -EEXIST)
		removal->works[i].state = STATE_WANTED;
	else
		finish(removal, i, AUDIT_KEPT, r);
}

static void
look(struct removal *removal, size_t i)
{
	struct work *work = &removal->works[i];
	struct stat status;

	/* A second name (link(2) asks for no lease) is somebody's, too. */
	if (!stray_posix_is_alone(work->fd) || fstat(work->fd, &status) || status.st_nlink != 1)
		give_back(removal, i);
}

/* The first step. */

static bool
is_candidate(const struct removal_item *item)
{
	return item->stray->device == item->candidate->device && item->stray->inode == item->candidate->inode;
}

static void
take(struct removal *removal, size_t i)
{
	const struct removal_item *item = &removal->items[i];
	struct work *work = &removal->works[i];
	int r = quarantine_take(&removal->quarantine, item->candidate->name, work->inode);

	switch (r) {
	case 0:
		work->state = STATE_TAKEN;
		for (int looks = 0; looks < LOOKS_AT_ONCE && work->state == STATE_TAKEN; looks++)
			look(removal, i);
		break;
	case -ENOENT:
		finish(removal, i, AUDIT_GONE, 0);
		break;
	case -ESTALE:
		finish(removal, i, AUDIT_CHANGED, 0);
		break;
	case -EEXIST:
		finish(removal, i, AUDIT_CHANGED, r);
		break;
	default:
		finish(removal, i, AUDIT_KEPT, r);
	}
}

/*
 * From the lease on whoever opens the object waits: what can be done before is. A candidate that comes twice is prepared for once,
 * and is gone when its second turn comes.
 */
static void
begin(struct removal *removal, size_t i)
{
	const struct removal_item *item = &removal->items[i];
	struct work *work = &removal->works[i];
	const char *name = item->candidate->name;
	int r = removal->error;

	work->inode = item->candidate->inode;
	if (r == 0)
		r = quarantine_prepare(&removal->quarantine, work->inode);
	work->is_prepared = r == 0;
	stray_posix_judge(removal->dir_fd, name, item->stray, &work->fd);
	if (item->stray->verdict != AUDIT_GONE && !is_candidate(item))
		finish(removal, i, AUDIT_CHANGED, 0);
	else if (work->fd < 0)
		finish(removal, i, item->stray->verdict, item->stray->error);
	else if (r < 0)
		finish(removal, i, AUDIT_KEPT, r);
	else
		take(removal, i);
}

/* The second step. */

static bool
any_is(const struct removal *removal, enum state state)
{
	for (size_t i = 0; i < removal->n; i++)
		if (removal->works[i].state == state)
			return true;
	return false;
}

static void
look_at_all(struct removal *removal)
{
	for (size_t i = 0; i < removal->n; i++) {
		if (removal->works[i].state == STATE_TAKEN)
			look(removal, i);
		else if (removal->works[i].state == STATE_WANTED)
			give_back(removal, i);
	}
}

static void
drain_signals(const struct removal *removal)
{
	struct signalfd_siginfo info;

	while (read(removal->signal_fd, &info, sizeof(info)) > 0)
		continue;
}

/* Until something is opened that we have a lease of, fd is readable (negative: none), or some time has gone by. Whether fd is. */
static bool
await_opener(const struct removal *removal, int fd, uint64_t ns)
{
	const struct timespec time = { .tv_sec = (time_t)(ns / NS_PER_SEC), .tv_nsec = (long)(ns % NS_PER_SEC) };
	struct pollfd fds[] = { { .fd = removal->signal_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

	if (ppoll(fds, BASE_ARRAY_SIZE(fds), &time, NULL) <= 0)
		return false;
	drain_signals(removal);
	return fds[1].revents != 0;
}

/*
 * Who comes gets the object at once: the signal says that somebody has, the looks whose it is. Ends earlier when fd is readable
 * (true), or nothing is left to wait for.
 */
static bool
await_all_for(struct removal *removal, int fd, struct allotment *time)
{
	uint64_t left_ns;

	while ((any_is(removal, STATE_TAKEN) || any_is(removal, STATE_WANTED)) && (left_ns = allotment_look(time))) {
		bool is_ready = await_opener(removal, fd, any_is(removal, STATE_WANTED) ? min_u64(left_ns, RETRY_NS) : left_ns);

		look_at_all(removal);
		if (is_ready)
			return true;
	}
	return false;
}

static void
await_all(struct removal *removal, uint64_t ns)
{
	struct allotment time;

	allotment_begin(&time, ns, ns / STEPS);
	(void)await_all_for(removal, -1, &time);
}

/* 1: all CPUs have come to their schedulers since; 0: that does not come to be known, or nobody waits for it any more. */
static int
ask_cpus(struct removal *removal)
{
	struct allotment time;
	int r = removal->cpus_fd < 0 ? 0 : cpus_ask() < 0 ? 0 : -EAGAIN;

	allotment_begin(&time, CPUS_NS, CPUS_NS / STEPS);
	while (r == -EAGAIN && await_all_for(removal, removal->cpus_fd, &time))
		r = cpus_answer();
	if (r == -EAGAIN && any_is(removal, STATE_TAKEN))
		cpus_give_up();
	return r > 0;
}

static void
await_cpus(struct removal *removal)
{
	if (!ask_cpus(removal))
		await_all(removal, GRACE_ALONE_NS);
	look_at_all(removal);
}

static void
remove_taken(struct removal *removal, size_t i)
{
	struct work *work = &removal->works[i];
	const char *name = removal->items[i].candidate->name;
	int r = quarantine_remove(&removal->quarantine, name, work->inode);

	if (r < 0) {
		/* Under its name again; or, where another has that, until what was left is settled. */
		(void)quarantine_give_back(&removal->quarantine, name, work->inode);
		finish(removal, i, AUDIT_KEPT, r);
		return;
	}
	finish(removal, i, AUDIT_REMOVED, stray_posix_is_alone(work->fd) ? 0 : -EBUSY);
}

/*
 * Nobody can be told any longer to wait for a name. If they have gone, having waited for nothing (O_NONBLOCK), nobody has it; the
 * lease has to be given back to find that out.
 */
static void
end_wanted(struct removal *removal, size_t i)
{
	struct work *work = &removal->works[i];

	stray_posix_release(work->fd);
	if (stray_posix_lease(work->fd) == 0 && stray_posix_is_alone(work->fd)) {
		remove_taken(removal, i);
		return;
	}
	finish(removal, i, AUDIT_KEPT, -EEXIST);
}

static void
run(struct removal *removal)
{
	drain_signals(removal);
	removal->error = quarantine_make(&removal->quarantine, removal->dir_fd);
	for (size_t i = 0; i < removal->n; i++)
		begin(removal, i);
	await_all(removal, GRACE_NS);
	if (any_is(removal, STATE_TAKEN))
		await_cpus(removal);
	for (size_t i = 0; i < removal->n; i++)
		if (removal->works[i].state == STATE_TAKEN)
			remove_taken(removal, i);
	await_all(removal, PATIENCE_NS);
	for (size_t i = 0; i < removal->n; i++)
		if (removal->works[i].state == STATE_WANTED)
			end_wanted(removal, i);
	if (!quarantine_leave(&removal->quarantine) || removal->error || removal->quarantine.was_busy)
		has_leftovers = true;
}

void
removal_settle(int dir_fd)
{
	if (has_leftovers)
		has_leftovers = !quarantine_settle(dir_fd, SETTLE_NS);
}

bool
removal_has_leftovers(void)
{
	return has_leftovers;
}

void
removal_settle_last(void)
{
	cleanup_close int dir_fd = -1;

	if (has_leftovers && stray_posix_open_directory(&dir_fd) == 0)
		(void)quarantine_settle(dir_fd, SETTLE_END_NS);
}

void
removal_run(int dir_fd, const struct removal_item *items, size_t n)
{
	static struct removal removal;
	sigset_t term, io, before;
	int at_parents_death = 0;

	assert(n <= REMOVAL_MAX);
	removal = (struct removal) { .items = items, .n = n, .dir_fd = dir_fd, .quarantine = QUARANTINE_NULL };
	for (size_t i = 0; i < n; i++)
		removal.works[i] = (struct work) { .state = STATE_DONE, .fd = -1 };
	/* Who stops us, or dies, waits until what has no name has one, or needs none. */
	(void)prctl(PR_GET_PDEATHSIG, &at_parents_death, 0, 0, 0);
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	(void)sigemptyset(&term);
	(void)sigaddset(&term, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &term, &before);
	(void)sigemptyset(&io);
	(void)sigaddset(&io, SIGIO);
	removal.cpus_fd = cpus_begin();
	/* Without it they who wait are seen when the time is up. */
	removal.signal_fd = signalfd(-1, &io, SFD_CLOEXEC | SFD_NONBLOCK);
	run(&removal);
	close_fd(&removal.signal_fd);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	(void)prctl(PR_SET_PDEATHSIG, at_parents_death, 0, 0, 0);
}
