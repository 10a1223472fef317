/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * When which pair is stored, filled, and removed. A pair is given to the manager before it is filled: a socket whose queue is
 * empty can always be sent, whatever clients have put into the queues of the sessions that will lie in it.
 *
 * The manager says nothing of what it does not keep, since its store is full or it has none. So our own B is closed when it was
 * given away: if A then hangs up, nobody has it.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/resource.h>

#include "base/base.h"
#include "daemon/box.h"
#include "daemon/box_batch.h"
#include "daemon/box_pair.h"
#include "daemon/log.h"
#include "daemon/timer.h"
#include "systemd/notify.h"
#include "systemd/store.h"

#define PAIRS_MAX	16		/* stored at once, of ours */
#define STORE_MAX	64		/* what the unit's FileDescriptorStoreMax is: two of each pair, and as many of earlier daemons */
#define SINGLE_MAX	256		/* messages of one descriptor; the kernel's default has room for about 550 */
#define DEAD_MORE	512		/* than what lives, and it is renewed; */
#define DEAD_SHARE	8		/* or this part of what may lie in flight, where that is less: replies have to, too */
#define REST_FACTOR	10		/* a renewal's time, in which there is no other */
#define SHUN_NS		(60 * NS_PER_SEC)	/* no renewal after one that the manager did not keep; nobody wakes up for that alone */
#define SHORT_NS	(1 * NS_PER_SEC)	/* after one for which we had not enough ourselves, at first; then doubled up to SHUN_NS */
#define AGAIN_MS	10		/* until what the manager's queue had no room for is said again, at first; then doubled */
#define AGAIN_MAX_MS	10000
#define FORGET_TRIES	20		/* at the end, AGAIN_MS each */

static void box_advance(struct box *box, bool may_fill);
static void box_on_barrier(evutil_socket_t fd, short what, void *arg);

static bool
box_is_usable(const struct box *box)
{
	return box && box->base;
}

/* What is put may go into it. Of an inherited pair B has to be there, or it would go nowhere. */
static bool
pair_is_open(const struct box_pair *pair)
{
	return !pair->leaves && !pair->wants_filling && pair->n_said == BOX_SIDE_N && pair->ends[BOX_A] >= 0 &&
	    (!pair->is_inherited || pair->ends[BOX_B] >= 0);
}

/* A renewal is in hand. */
static bool
box_is_renewing(const struct box *box)
{
	const struct box_pair *pair;

	TAILQ_FOREACH(pair, &box->pairs, entry) {
		if (!pair->leaves && !pair->is_kept && (pair->wants_filling || pair->is_filled))
			return true;
	}
	return false;
}

static void
box_add_timer(struct event *event, uint64_t ns)
{
	if (!evtimer_pending(event, NULL))
		timer_add_ns(event, ns);
}

/* As soon as it may be. A wish is never dropped: it may be the last, of a segment whose memory the box alone keeps. */
static void
box_want_renewal(struct box *box)
{
	uint64_t now = clock_monotonic_ns(), due = max_u64(box->rest_until_ns, box->shun_until_ns);

	if (!box->is_begun)
		return;
	if (box->batch || box_is_renewing(box)) {
		box->renews = true;
		return;
	}
	box_add_timer(&box->renew_event, now < due ? due - now : 0);
}

/* Nothing but a want of descriptors, or of memory, was in the way: what there was before holds, and it is tried again. */
static void
box_run_short(struct box *box)
{
	box->short_ns = box->short_ns ? min_u64(2 * box->short_ns, SHUN_NS) : SHORT_NS;
	box->shun_until_ns = clock_monotonic_ns() + box->short_ns;
	box_want_renewal(box);
}

static const char *
box_remedy(int error)
{
	switch (error) {
	case -ENOSPC:
		return ", as much as a queue has room for: raise net.core.wmem_max";
	case -ETOOMANYREFS:		/* what lies in flight counts against the limit of who sent it */
		return ": raise LimitNOFILE= of the service";
	default:
		return "";
	}
}

/* What is in it would not outlive us. */
static void
box_lose_pair(struct box *box, struct box_pair *pair, int error)
{
	static struct log_limit limit = LOG_LIMIT(3);
	bool was_kept = pair->is_kept;
	bool may_log = log_allowed(&limit);

	box_pair_leave(pair);
	if (was_kept) {
		if (may_log)
			log_write(MESSAGE_UNSAVED, NULL, "the service manager has emptied its store: what is to outlive the daemon is "
			    "given to it again");
		box_want_renewal(box);
		return;
	}
	if (error)
		box_run_short(box);
	else
		box->shun_until_ns = clock_monotonic_ns() + SHUN_NS;
	if (may_log && error)
		log_write(MESSAGE_UNSAVED, &(struct log_about) { .error = error }, "what is to outlive the daemon could not be "
		    "given to the service manager%s; it is tried again within a minute", box_remedy(error));
	else if (may_log)
		log_write(MESSAGE_UNSAVED, NULL, "the service manager does not keep what is to outlive the daemon: its store is full, "
		    "or it has none; set FileDescriptorStoreMax=%u in the service's unit; it is tried again with the "
		    "first change a minute from now", STORE_MAX);
}

/* Its initial readiness comes here, too: what is in A's queue stays there. */
static void
box_on_closed(evutil_socket_t fd, short what, void *arg)
{
	struct box_pair *pair = arg;
	struct box *box = pair->box;

	if (!box_pair_hung_up(pair))
		return;
	box_lose_pair(box, pair, 0);
	box_advance(box, true);
}

/* From here on A tells whether somebody has B. By edges only, since A's queue may be full for ever. */
static int
pair_give_b_away(struct box_pair *pair)
{
	if (event_assign(&pair->closed_event, pair->box->base, pair->ends[BOX_A], EV_READ | EV_CLOSED | EV_ET | EV_PERSIST,
	    box_on_closed, pair) || event_add(&pair->closed_event, NULL))
		return -ENOMEM;
	close_fd(&pair->ends[BOX_B]);
	return 0;
}

static int
box_add_pair(struct box *box, bool wants_filling)
{
	struct box_pair *pair;
	int r;

	if (box->n_pairs >= PAIRS_MAX)
		return -ENOSPC;
	if (box->last_n >= BOX_PAIR_LAST_N - 1)
		return -EOVERFLOW;
	r = box_pair_new(box->last_n + 1, &pair);
	if (r)
		return r;
	box->last_n++;
	pair->box = box;
	pair->wants_filling = wants_filling;
	TAILQ_INSERT_TAIL(&box->pairs, pair, entry);
	box->n_pairs++;
	return 0;
}

static void
box_tell_unfilled(const struct box_batch *batch)
{
	static struct log_limit limit = LOG_LIMIT(3);

	if (log_allowed(&limit))
		log_write(MESSAGE_NOT_SAVED, &(struct log_about) { .error = batch->r }, "not all that is to outlive the daemon could be "
		    "put aside, only %" PRIu64 "%s; what was before stays", batch->n_items, box_remedy(batch->r));
}

/* 0, or a negative errno: the pair is of no use, and what there was before holds. */
static int
box_fill(struct box *box, struct box_pair *pair)
{
	static struct log_limit limit = LOG_LIMIT(3);
	uint64_t begun_ns = clock_monotonic_ns();
	struct box_batch batch;
	int r;

	box_batch_begin(&batch, pair);
	box->batch = &batch;
	box->fill(box, box->arg);
	r = box_batch_end(&batch);
	box->batch = NULL;
	box->n_renewals++;
	box->rest_until_ns = clock_monotonic_ns() + REST_FACTOR * (clock_monotonic_ns() - begun_ns);
	if (r) {
		box_tell_unfilled(&batch);
		return r;
	}
	if (batch.n_lost && log_allowed(&limit))
		log_write(MESSAGE_UNSAVED, &(struct log_about) { .error = batch.lost_r },
		    "%u descriptors could not be put aside, and would not outlive the daemon", batch.n_lost);
	box->n_lost += batch.n_lost;
	box->n_items = batch.n_items;
	box->n_dead = 0;
	box->n_single = 0;
	pair->is_filled = true;
	return 0;
}

/* Gives the manager what it has not of a pair. 0, -EAGAIN, or another negative errno: it will not have it. */
static int
box_say_pair(struct box *box, struct box_pair *pair)
{
	char name[BOX_PAIR_NAME_SIZE];
	int r;

	if (pair->n_said == BOX_SIDE_N)
		return 0;
	for (; pair->n_said < BOX_SIDE_N; pair->n_said++) {
		box_pair_name(pair->n, pair->n_said, name);
		r = store_put(name, pair->ends[pair->n_said]);
		if (r)
			return r;
	}
	if (pair->wants_filling) {
		pair->wants_filling = false;
		r = box_fill(box, pair);
		/* It goes without a further word. */
		if (r) {
			box_pair_leave(pair);
			box_run_short(box);
			return 0;
		}
		box->short_ns = 0;
	}
	return pair_give_b_away(pair);
}

/* 0: the manager has nothing of it any more, or was told. */
static int
box_unsay_pair(struct box_pair *pair)
{
	char name[BOX_PAIR_NAME_SIZE];
	int r;

	for (; pair->n_unsaid < pair->n_said; pair->n_unsaid++) {
		box_pair_name(pair->n, pair->n_unsaid, name);
		r = store_remove(name);
		if (r)
			return r;
	}
	return 0;
}

/* may_fill: this is a turn of our own, in which filling has all that was put. */
static int
box_say_pairs(struct box *box, bool may_fill)
{
	struct box_pair *pair, *next;
	int r;

	for (pair = TAILQ_FIRST(&box->pairs); pair; pair = next) {
		next = TAILQ_NEXT(pair, entry);
		if (!pair->leaves && (may_fill || !pair->wants_filling)) {
			r = box_say_pair(box, pair);
			if (r == -EAGAIN)
				return r;
			if (r)
				box_lose_pair(box, pair, r);
		}
		if (!pair->leaves)
			continue;
		r = box_unsay_pair(pair);
		if (r == -EAGAIN)
			return r;
		TAILQ_REMOVE(&box->pairs, pair, entry);
		box->n_pairs -= !pair->is_inherited;
		(void)box_pair_free(pair);
	}
	return 0;
}

/* What is not known to be kept yet is asked about. */
static int
box_ask(struct box *box)
{
	const struct box_pair *pair;
	int r;

	if (box->barrier_fd >= 0)
		return 0;
	TAILQ_FOREACH(pair, &box->pairs, entry) {
		if (pair->is_kept || pair->leaves)
			continue;
		r = store_barrier(&box->barrier_fd);
		if (r)
			return r;
		box->barrier_n = box->last_n;
		if (event_assign(&box->barrier_event, box->base, box->barrier_fd, EV_READ, box_on_barrier, box) ||
		    event_add(&box->barrier_event, NULL)) {
			/* Nobody would hear of the answer, and nobody asks again as long as there is one to come. */
			close_fd(&box->barrier_fd);
			return -ENOMEM;
		}
		return 0;
	}
	return 0;
}

/* Says to the manager what is to be said, as far as its queue has room. */
static void
box_advance(struct box *box, bool may_fill)
{
	int r = box_say_pairs(box, may_fill);

	if (r == 0)
		r = box_ask(box);
	/* Also where there is no descriptor to ask with: who never asks never lets go of what was before. */
	if (r == 0) {
		box->n_refusals = 0;
		return;
	}
	box_add_timer(&box->send_event, min_u64((uint64_t)AGAIN_MS << min_u64(box->n_refusals, 20), AGAIN_MAX_MS) * NS_PER_MS);
	box->n_refusals++;
}

static void
box_on_send(evutil_socket_t fd, short what, void *arg)
{
	box_advance(arg, true);
}

static void
box_renew(struct box *box)
{
	static struct log_limit limit = LOG_LIMIT(3);
	int r = box_add_pair(box, true);

	if (r == 0) {
		box_advance(box, true);
		return;
	}
	if (log_allowed(&limit))
		log_write(MESSAGE_NOT_SAVED, &(struct log_about) { .error = r }, "what is to outlive the daemon cannot be put aside anew");
	box_run_short(box);
}

static void
box_on_renew(evutil_socket_t fd, short what, void *arg)
{
	struct box *box = arg;

	if (box_is_renewing(box))
		box->renews = true;
	else
		box_renew(box);
}

static void
box_on_barrier(evutil_socket_t fd, short what, void *arg)
{
	struct box *box = arg;
	struct box_pair *pair;

	close_fd(&box->barrier_fd);
	TAILQ_FOREACH(pair, &box->pairs, entry) {
		if (pair->n > box->barrier_n || pair->n_said < BOX_SIDE_N || pair->is_kept || pair->leaves)
			continue;
		if (box_pair_hung_up(pair))
			box_lose_pair(box, pair, 0);
		else
			pair->is_kept = true;
	}
	box_pairs_leave_older(&box->pairs);
	box_advance(box, true);
	if (box->renews && !box_is_renewing(box)) {
		box->renews = false;
		box_want_renewal(box);
	}
}

int
box_init(struct box *box, struct event_base *base, box_fill_fn fill, void *arg)
{
	struct rlimit limit;

	*box = (struct box) { .barrier_fd = -1, .fill = fill, .arg = arg, .dead_more = DEAD_MORE };
	TAILQ_INIT(&box->pairs);
	if (!notify_present())
		return -ENOENT;
	if (evtimer_assign(&box->send_event, base, box_on_send, box) || evtimer_assign(&box->renew_event, base, box_on_renew, box))
		return -ENOMEM;
	box->base = base;
	/* As many as we may have open, of all that our uid has there. */
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
		box->dead_more = min_u64(DEAD_MORE, limit.rlim_cur / DEAD_SHARE);
	return 0;
}

void
box_begin(struct box *box)
{
	if (!box_is_usable(box) || box->is_begun)
		return;
	box->is_begun = true;
	box_renew(box);
}

/* The newest pair's queue is full: an empty one takes what is put until a renewal has put them together. */
static int
box_extend(struct box *box)
{
	const struct box_pair *last;
	int r = -EAGAIN;

	if (clock_monotonic_ns() >= box->shun_until_ns)
		r = box_add_pair(box, false);
	if (r)
		return r;
	box_advance(box, false);
	last = TAILQ_LAST(&box->pairs, box_pairs);
	return last && last->n == box->last_n && pair_is_open(last) ? 0 : -EAGAIN;
}

/* Into the newest pair; and, as long as it may be that the manager does not keep that, into those before, down to one it has. */
static int
box_put_single(struct box *box, const struct box_label *label, int fd)
{
	struct box_pair *pair;
	bool is_newest = true;
	int r = -ENOENT;

	TAILQ_FOREACH_REVERSE(pair, &box->pairs, box_pairs, entry) {
		int sent;

		if (!pair_is_open(pair))
			continue;
		sent = box_pair_send(pair, BOX_A, label, &fd, 1);
		if (is_newest)
			r = sent;
		is_newest = false;
		if (sent == 0 && pair->is_kept)
			break;
	}
	return r;
}

int
box_put(struct box *box, const struct box_label *label, int fd)
{
	int r;

	if (!box)
		return 0;
	if (!box->base)
		return -ENOENT;
	if (box->batch)
		return box_batch_add(box->batch, label, fd);
	if (!box->is_begun)
		return 0;
	r = box_put_single(box, label, fd);
	if (r == -EAGAIN) {
		r = box_extend(box);
		if (r == 0)
			r = box_put_single(box, label, fd);
	}
	if (r == 0) {
		box->n_items++;
		box->n_single++;
	} else {
		box->n_lost++;
	}
	if (r || box->n_single > SINGLE_MAX)
		box_want_renewal(box);
	return r;
}

void
box_dead(struct box *box, bool soon)
{
	if (!box_is_usable(box))
		return;
	if (box->n_dead < box->n_items)
		box->n_dead++;
	if (soon || box->n_dead > box_n_live(box) + box->dead_more)
		box_want_renewal(box);
}

uint64_t
box_n_live(const struct box *box)
{
	return box->n_items - box->n_dead;
}

void
box_deinit(struct box *box)
{
	struct box_pair *pair;

	if (!box_is_usable(box))
		return;
	while ((pair = TAILQ_FIRST(&box->pairs))) {
		TAILQ_REMOVE(&box->pairs, pair, entry);
		(void)box_pair_free(pair);
	}
	if (box->barrier_fd >= 0)
		(void)event_del(&box->barrier_event);
	close_fd(&box->barrier_fd);
	(void)event_del(&box->send_event);
	(void)event_del(&box->renew_event);
	box->base = NULL;
	box->is_begun = false;
	box->n_pairs = 0;
}

void
box_forget(struct box *box)
{
	struct box_pair *pair;

	if (!box_is_usable(box))
		return;
	box->is_begun = false;
	TAILQ_FOREACH(pair, &box->pairs, entry)
		box_pair_leave(pair);
	for (unsigned i = 0; box_say_pairs(box, false) == -EAGAIN && i < FORGET_TRIES; i++)
		(void)poll(NULL, 0, AGAIN_MS);
}
