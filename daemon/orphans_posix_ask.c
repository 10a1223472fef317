/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the judge is asked about POSIX objects, and what becomes of its verdicts. What is held is left alone until its next close;
 * and in case that this was merged with the judge's own close, which cannot be told from others', it is looked at again after
 * ever longer times.
 */
#include "config.h"

#include <sys/ioctl.h>
#include <sys/stat.h>

#include "daemon/orphans_posix.h"
#include "daemon/timer.h"
#include "host/object.h"

#define LOOKS_MAX	2		/* at a name that the kernel cannot say anything of without waiting */

/* What is there by that name now. 1; 0: nothing that could be an orphan; -errno: that cannot be told now. */
static int
posix_look(const struct orphans_posix *posix, const struct orphans_name *name, struct stat *ret_status)
{
	const struct orphans_host *host = &posix->orphans->host;
	int r = object_stat_known(posix->dir_fd, name->text, ret_status);

	/* Of memory's own file system the kernel knows all names; in the middle of a change it may not say so, once. */
	if (r == -EAGAIN && name->n_tries >= LOOKS_MAX)
		return 0;
	if (r)
		return r == -ENOENT ? 0 : r;
	return S_ISREG(ret_status->st_mode) && ret_status->st_dev == posix->device &&
	    !(host->is_ours && host->is_ours(name->text, host->is_ours_arg));
}

static void
posix_ask_about(struct orphans_posix *posix, struct orphans_name *name, const struct stat *status)
{
	struct audit_candidate *candidate = orphans_ask_add(posix->ask, posix->rules, name->rule, name->since_ns,
	    name->is_seen);

	candidate->what = AUDIT_POSIX;
	candidate->device = status->st_dev;
	candidate->inode = status->st_ino;
	candidate->shm_id = -1;
	(void)snprintf(candidate->name, sizeof(candidate->name), "%s", name->text);
	name->is_asked = true;
	name->is_touched = name->is_gone = false;
}

/* The question may have waited behind others: what was let go of meanwhile is not removed, nor is anything while that is not known. */
void
orphans_posix_on_send(struct orphans_ask *ask)
{
	struct orphans_posix *posix = ask->orphans->posix;
	bool has_all;

	ask->is_sent = false;
	has_all = orphans_posix_read(posix, clock_monotonic_ns() + ORPHANS_POSIX_TURN_NS) && !posix->scan &&
	    !posix->wants_scan && !posix->is_lost;
	for (size_t i = 0; i < ask->n; i++) {
		const struct orphans_name *name = orphans_names_find(&posix->names, ask->candidates[i].name);

		if (!has_all || !name || !name->is_asked || name->is_touched || name->is_gone)
			ask->candidates[i].flags = 0;
	}
	orphans_posix_plan(posix);
}

void
orphans_posix_ask(struct orphans_posix *posix, uint64_t until_ns)
{
	uint64_t now_ns = clock_monotonic_ns();
	struct orphans_name *name;
	struct stat status;
	int r;

	/* What was not heard of yet may be a close: nothing is due before that is known. */
	if (posix->ask->is_out || posix->scan || posix->wants_scan || posix->is_lost)
		return;
	while ((name = orphans_names_first(&posix->names)) && name->due_ns <= now_ns && posix->ask->n < ORPHANS_BATCH) {
		if (now_ns >= until_ns)
			return;
		orphans_names_unsort(&posix->names, name);
		r = posix_look(posix, name, &status);
		if (r == 0)
			orphans_posix_drop(posix, name);
		else if (r < 0 || status.st_nlink != 1)
			orphans_posix_retry(posix, name, now_ns);
		else
			posix_ask_about(posix, name, &status);
		now_ns = clock_monotonic_ns();
	}
	if (posix->ask->n)
		orphans_ask_submit(posix->ask);
}

/* Whether it was not said of this object before. */
static bool
posix_is_news(struct orphans_name *name, const struct audit_stray *stray)
{
	bool is_news = name->told_inode != stray->inode || name->told_verdict != stray->verdict;

	name->told_inode = stray->inode;
	name->told_verdict = (uint8_t)stray->verdict;
	return is_news;
}

/* What has the name now was let go of at since_ns, or is another object. */
static void
posix_take_touch(struct orphans_posix *posix, struct orphans_name *name)
{
	if (name->is_gone)
		orphans_posix_drop(posix, name);
	else if (name->is_touched)
		orphans_posix_touch(posix, name, name->since_ns, true);
}

/* It would have been removed, and was not. */
static void
posix_take_spared(struct orphans_posix *posix, struct orphans_name *name, uint64_t now_ns)
{
	if (!name)
		return;
	orphans_posix_set_due(posix, name, now_ns + ORPHANS_POSIX_SCAN_REST_NS);
	posix_take_touch(posix, name);
}

static void
posix_take_verdict(struct orphans_posix *posix, size_t i, uint64_t now_ns)
{
	const struct audit_stray *stray = &posix->ask->strays[i];
	struct orphans_name *name = orphans_names_find(&posix->names, posix->ask->candidates[i].name);

	/* It went and came again under other rules, perhaps. */
	if (name && !name->is_asked)
		name = NULL;
	if (name)
		name->is_asked = false;
	if (stray->verdict == AUDIT_UNHELD && orphans_ask_is_spared(posix->ask, i)) {
		posix_take_spared(posix, name, now_ns);
		return;
	}
	switch (stray->verdict) {
	case AUDIT_REMOVED:
		orphans_tell(posix->ask, i);
		/* fall through */
	case AUDIT_GONE:
	case AUDIT_UNFIT:
		if (name) {
			name->told_inode = 0;
			name->is_gone = name->is_gone || !name->is_touched;
		}
		break;
	case AUDIT_UNHELD:
	case AUDIT_KEPT:
	case AUDIT_UNKNOWN:
		if (!name || posix_is_news(name, stray))
			orphans_tell(posix->ask, i);
		if (name && stray->verdict != AUDIT_UNHELD)
			orphans_posix_retry(posix, name, now_ns);
		break;
	case AUDIT_HELD:
		if (name)
			orphans_posix_retry(posix, name, now_ns);
		break;
	default:
		if (name)
			orphans_posix_touch(posix, name, now_ns, true);
		break;
	}
	if (name)
		posix_take_touch(posix, name);
}

/* It was not judged. */
static void
posix_take_back(struct orphans_posix *posix, size_t i, uint64_t now_ns)
{
	struct orphans_name *name = orphans_names_find(&posix->names, posix->ask->candidates[i].name);

	if (!name || !name->is_asked)
		return;
	name->is_asked = false;
	orphans_posix_set_due(posix, name, now_ns + max_u64(posix->orphans->retry_ns, NS_PER_SEC));
	posix_take_touch(posix, name);
}

void
orphans_posix_settle(struct orphans_posix *posix, uint64_t until_ns)
{
	uint64_t now_ns = clock_monotonic_ns();

	while (posix->n_settled < posix->ask->n && now_ns < until_ns) {
		if (posix->n_settled < posix->ask->n_answered)
			posix_take_verdict(posix, posix->n_settled, now_ns);
		else
			posix_take_back(posix, posix->n_settled, now_ns);
		posix->n_settled++;
		now_ns = clock_monotonic_ns();
	}
	if (posix->n_settled < posix->ask->n)
		return;
	posix->is_settling = false;
	orphans_ask_clear(posix->ask);
	/* Of thousands the next are asked about at once; what is read for that is bounded by how long a question takes. */
	posix->is_resting = false;
}

/* The judge opened and closed each of them: what was queued until now has that in it. */
void
orphans_posix_on_end(struct orphans_ask *ask)
{
	struct orphans_posix *posix = ask->orphans->posix;
	int n = 0;

	(void)ioctl(posix->inotify_fd, FIONREAD, &n);
	posix->is_settling = true;
	posix->settle_bytes = n > 0 ? (uint64_t)n : 0;
	posix->n_settled = 0;
	timer_add_ns(&posix->turn_event, 0);
}
