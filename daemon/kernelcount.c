/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * inotify merges neighbouring events and can overflow: an event says *look*, and never how many. And it comes too early:
 * the kernel tells of a close before it takes the description's locks and counts away (__fput: fsnotify_close first), and
 * whoever closes may be preempted in between. So a look is followed by echoes, ever later ones, and then silence.
 *
 * Looks are handed out by the loop's turn, none longer than LOOK_NS, and one that cost much is not repeated before eight
 * times its cost has passed, so that a storm of closes on a segment with thousands of holders cannot take the loop.
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/inotify.h>

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/kernelcount.h"
#include "daemon/timer.h"

#define LOOK_NS		(NS_PER_MS / 20)		/* of looking in one turn of the loop */
#define CHEAP_NS	(NS_PER_MS / 20)	/* a look below it may come as often as it likes */
#define REST_FACTOR	8
#define REST_MAX_NS	(20 * NS_PER_MS)

static const uint64_t kernelcount_echoes_ns[KERNELCOUNT_ECHOES] = {
	NS_PER_MS, 10 * NS_PER_MS, 100 * NS_PER_MS, NS_PER_SEC,
};

static void
kernelcount_undue(struct kernelcount_watch *watch)
{
	if (!watch->is_due)
		return;
	TAILQ_REMOVE(&watch->kernelcount->due[watch->queue], watch, due_entry);
	watch->is_due = false;
}

/* queue: KERNELCOUNT_SOON, or the echo's. Of one echo all come the same time after their looks, so its queue is in order. */
static void
kernelcount_make_due(struct kernelcount_watch *watch, unsigned queue, uint64_t at_ns)
{
	watch->at_ns = at_ns;
	if (watch->is_due && watch->queue == queue)
		return;
	kernelcount_undue(watch);
	watch->is_due = true;
	watch->queue = queue;
	TAILQ_INSERT_TAIL(&watch->kernelcount->due[queue], watch, due_entry);
}

/* Something was closed. */
static void
kernelcount_make_dirty(struct kernelcount_watch *watch)
{
	watch->is_dirty = true;
	watch->n_echoes = 0;
	if (!watch->is_looking)
		kernelcount_make_due(watch, KERNELCOUNT_SOON, watch->rest_until_ns);
}

/* One look, or a piece of one. The watch may be gone afterwards. */
static void
kernelcount_look(struct kernelcount_watch *watch, uint64_t now_ns, uint64_t until_ns)
{
	struct kernelcount *kernelcount = watch->kernelcount;
	int wd = watch->wd;
	struct kernelcount_watch *same;
	uint64_t ended_ns, at_ns;
	bool is_done;

	kernelcount_undue(watch);
	if (!watch->is_looking)
		watch->is_dirty = false;
	is_done = watch->look(watch, until_ns);

	/* What was found may have ended the segment and the watch in it. */
	HASH_FIND_INT(kernelcount->by_wd, &wd, same);
	if (same != watch)
		return;
	ended_ns = clock_monotonic_ns();
	watch->spent_ns += ended_ns - now_ns;
	watch->is_looking = !is_done;
	if (!is_done) {
		kernelcount_make_due(watch, KERNELCOUNT_SOON, 0);
		return;
	}
	watch->rest_until_ns = 0;
	if (watch->spent_ns > CHEAP_NS)
		watch->rest_until_ns = ended_ns + min_u64(REST_FACTOR * watch->spent_ns, REST_MAX_NS);
	watch->spent_ns = 0;
	/* What was passed already may have ended since: once more, from the start. */
	if (watch->is_dirty)
		kernelcount_make_due(watch, KERNELCOUNT_SOON, watch->rest_until_ns);
	else if (watch->n_echoes < KERNELCOUNT_ECHOES) {
		at_ns = ended_ns + kernelcount_echoes_ns[watch->n_echoes++];
		kernelcount_make_due(watch, watch->n_echoes, at_ns);
	}
}

/* When the earliest is due, as far as it is after now. Of the queues that are in order it is the first. */
static uint64_t
kernelcount_next_ns(const struct kernelcount *kernelcount, uint64_t now_ns)
{
	const struct kernelcount_watch *watch;
	uint64_t next_ns = UINT64_MAX;

	for (unsigned i = 0; i < KERNELCOUNT_QUEUES && next_ns > now_ns; i++)
		TAILQ_FOREACH(watch, &kernelcount->due[i], due_entry) {
			next_ns = min_u64(next_ns, watch->at_ns);
			if (i != KERNELCOUNT_SOON || next_ns <= now_ns)
				break;
		}
	return next_ns;
}

static void
kernelcount_set_timer(struct kernelcount *kernelcount)
{
	uint64_t now_ns = clock_monotonic_ns();
	uint64_t next_ns = kernelcount_next_ns(kernelcount, now_ns);

	if (next_ns != UINT64_MAX)
		timer_add_ns(&kernelcount->due_event, next_ns > now_ns ? next_ns - now_ns : 0);
}

/* Works on what is due in one queue. The time is up: false. */
static bool
kernelcount_run_queue(struct kernelcount *kernelcount, unsigned queue, uint64_t until_ns)
{
	struct kernelcount_watch *watch, *next;
	uint64_t now_ns = clock_monotonic_ns();

	for (watch = TAILQ_FIRST(&kernelcount->due[queue]); watch && now_ns < until_ns; watch = next) {
		next = TAILQ_NEXT(watch, due_entry);
		if (watch->at_ns <= now_ns) {
			kernelcount_look(watch, now_ns, until_ns);
			now_ns = clock_monotonic_ns();
		} else if (queue != KERNELCOUNT_SOON)
			break;
	}
	return now_ns < until_ns;
}

/* As long as a turn may take. Another queue is the first each time, so that none waits for ever. */
static void
kernelcount_run(struct kernelcount *kernelcount)
{
	uint64_t until_ns = clock_monotonic_ns() + LOOK_NS;
	unsigned first = kernelcount->first_queue++;

	for (unsigned i = 0; i < KERNELCOUNT_QUEUES; i++)
		if (!kernelcount_run_queue(kernelcount, (first + i) % KERNELCOUNT_QUEUES, until_ns))
			break;
	kernelcount_set_timer(kernelcount);
}

static void
kernelcount_on_due(evutil_socket_t fd, short what, void *arg)
{
	kernelcount_run(arg);
}

static void
kernelcount_on_event(struct kernelcount *kernelcount, const struct inotify_event *event)
{
	struct kernelcount_watch *watch;

	kernelcount->n_events++;
	if (event->mask & IN_Q_OVERFLOW) {
		/* Something was lost: look everywhere. */
		kernelcount->n_overflows++;
		for (watch = kernelcount->by_wd; watch; watch = watch->hh.next)
			kernelcount_make_dirty(watch);
		return;
	}
	if (event->mask & IN_IGNORED)
		return;
	HASH_FIND_INT(kernelcount->by_wd, &event->wd, watch);
	if (watch)
		kernelcount_make_dirty(watch);
}

static void
kernelcount_on_inotify(evutil_socket_t fd, short what, void *arg)
{
	struct kernelcount *kernelcount = arg;
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n = read(fd, buf, sizeof(buf));

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const void *)(buf + at);

		kernelcount_on_event(kernelcount, event);
		at += (ssize_t)(sizeof(*event) + event->len);
	}
	/* Behind what else was heard in this turn: a death is told before anything is looked for. */
	event_active(&kernelcount->due_event, EV_TIMEOUT, 0);
}

int
kernelcount_init(struct kernelcount *kernelcount, struct event_base *base)
{
	*kernelcount = (struct kernelcount) { .base = base, .inotify_fd = -1 };
	for (unsigned i = 0; i < KERNELCOUNT_QUEUES; i++)
		TAILQ_INIT(&kernelcount->due[i]);
	kernelcount->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (kernelcount->inotify_fd < 0)
		return -errno;
	if (event_assign(&kernelcount->inotify_event, base, kernelcount->inotify_fd, EV_READ | EV_PERSIST,
		kernelcount_on_inotify, kernelcount) ||
	    evtimer_assign(&kernelcount->due_event, base, kernelcount_on_due, kernelcount) ||
	    event_add(&kernelcount->inotify_event, NULL))
		return -ENOMEM;
	return tolls_init(&kernelcount->tolls, base);
}

void
kernelcount_deinit(struct kernelcount *kernelcount)
{
	if (kernelcount->inotify_fd < 0)
		return;
	if (event_initialized(&kernelcount->inotify_event))
		(void)event_del(&kernelcount->inotify_event);
	if (event_initialized(&kernelcount->due_event))
		(void)event_del(&kernelcount->due_event);
	tolls_deinit(&kernelcount->tolls);
	close_fd(&kernelcount->inotify_fd);
}

int
kernelcount_watch(struct kernelcount *kernelcount, struct kernelcount_watch *watch, int fd,
    kernelcount_look_fn look)
{
	char path[32];
	int wd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(kernelcount->inotify_fd, path, IN_CLOSE_WRITE | IN_CLOSE_NOWRITE);
	if (wd < 0)
		return -errno;
	*watch = (struct kernelcount_watch) { .wd = wd, .look = look, .kernelcount = kernelcount };
	HASH_ADD_INT(kernelcount->by_wd, wd, watch);
	if (!HASH_TAKES(watch)) {
		(void)inotify_rm_watch(kernelcount->inotify_fd, wd);
		watch->wd = -1;
		return -ENOMEM;
	}
	return 0;
}

void
kernelcount_look_soon(struct kernelcount_watch *watch)
{
	static const struct timeval now = { 0 };

	if (watch->wd < 0)
		return;
	kernelcount_make_dirty(watch);
	timer_add(&watch->kernelcount->due_event, &now);
}

void
kernelcount_unwatch(struct kernelcount_watch *watch)
{
	struct kernelcount *kernelcount = watch->kernelcount;

	if (watch->wd < 0)
		return;
	kernelcount_undue(watch);
	HASH_DEL(kernelcount->by_wd, watch);
	(void)inotify_rm_watch(kernelcount->inotify_fd, watch->wd);
	watch->wd = -1;
}

int
kernelcount_mark(int fd, uint32_t slot)
{
	struct flock lock = {
		.l_type = F_RDLCK,
		.l_whence = SEEK_SET,
		.l_start = PROTOCOL_MARK_BASE + (off_t)slot,
		.l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) ? -errno : 0;
}

bool
kernelcount_held(int own_fd, uint32_t slot, bool in_doubt)
{
	struct flock lock = {
		.l_type = F_WRLCK,
		.l_whence = SEEK_SET,
		.l_start = PROTOCOL_MARK_BASE + (off_t)slot,
		.l_len = 1,
	};

	if (fcntl(own_fd, F_OFD_GETLK, &lock))
		return in_doubt;
	if (lock.l_type == F_UNLCK)
		return false;
	/*
	 * The kernel tells of the first lock in the way only: behind a wider one the mark may be or not be. A write lock is none
	 * of ours.
	 */
	if (lock.l_type != F_RDLCK || lock.l_start != PROTOCOL_MARK_BASE + (off_t)slot || lock.l_len != 1)
		return in_doubt;
	return true;
}

bool
kernelcount_alone(int own_fd)
{
	if (fcntl(own_fd, F_SETLEASE, F_WRLCK))
		return false;
	/* Given back at once: an open in between would wait for it. */
	(void)fcntl(own_fd, F_SETLEASE, F_UNLCK);
	return true;
}
