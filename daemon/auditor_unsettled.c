/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segmentd-audit takes the name from an object before it removes it. If it ends then the object waits in quarantine for the next
 * question: nobody finds it meanwhile, nor does what was asked before come again by itself, since there is no such name any more.
 * So it is asked about nothing, at once, and later ever again; and what waits is told where that does not help.
 */
#include "config.h"

#include <inttypes.h>

#include "daemon/auditor.h"
#include "daemon/log.h"
#include "daemon/timer.h"

#define RETRY_MIN_NS	(10 * NS_PER_SEC)
#define RETRY_MAX_NS	(600 * NS_PER_SEC)

static void
unsettled_ask(struct auditor *auditor)
{
	if (!auditor->unsettled.question.auditor)
		auditor_ask(auditor, &auditor->unsettled.question);
}

static void
unsettled_on_timer(evutil_socket_t fd, short what, void *arg)
{
	unsettled_ask(arg);
}

static void
unsettled_ask_later(struct auditor_unsettled *unsettled)
{
	unsettled->retry_ns = min_u64(max_u64(2 * unsettled->retry_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	timer_add_ns(&unsettled->timer, unsettled->retry_ns);
}

/* Once, and again only after all was settled. why: a sentence, or NULL: it was asked. */
static void
unsettled_tell(struct auditor_unsettled *unsettled, int error, const char *why)
{
	char name[2 + AUDIT_NAME_SIZE], quoted[4 + 4 * AUDIT_NAME_SIZE], objects[sizeof(quoted) + 128] = "objects";

	if (unsettled->is_told)
		return;
	unsettled->is_told = true;
	(void)snprintf(name, sizeof(name), "/%s", unsettled->name);
	(void)log_quote(quoted, sizeof(quoted), name);
	if (unsettled->n == 1)
		(void)snprintf(objects, sizeof(objects), "POSIX object %s (inode %" PRIu64 ")", quoted, unsettled->inode);
	else if (unsettled->n)
		(void)snprintf(objects, sizeof(objects), "POSIX object %s (inode %" PRIu64 ") and %u others", quoted, unsettled->inode,
		    unsettled->n - 1);
	if (why)
		log_write(MESSAGE_UNSETTLED, &(struct log_about) { .error = error }, "segmentd-audit ended while it was removing %s, and cannot "
		    "settle that now: what it had taken the name of waits in " AUDIT_QUARANTINES "/INODE/ until it can be asked, which is "
		    "tried again and again: %s", objects, why);
	else
		log_write(MESSAGE_UNSETTLED, NULL, "%s, whose removal was begun and not finished, may wait in " AUDIT_QUARANTINES
		    "/INODE/: another has the name, or it is another user's to settle; `segmentctl orphans` shows what waits, and "
		    "segmentd-audit is asked again and again", objects);
}

static void
unsettled_on_done(struct auditor_question *question, const struct auditor_end *end)
{
	struct auditor_unsettled *unsettled = BASE_CONTAINER_OF(question, struct auditor_unsettled, question);

	if (!unsettled->is_any)
		return;
	unsettled_tell(unsettled, end->result, end->result ? end->text : NULL);
	unsettled_ask_later(unsettled);
}

/* None is due: who is asked about nothing answers with none. */
static int
unsettled_take(struct auditor_question *question, const void *row)
{
	return -EPROTO;
}

static bool
is_removal(const struct audit_candidate *candidate)
{
	return candidate->what == AUDIT_POSIX && candidate->flags & AUDIT_CANDIDATE_REMOVE;
}

void
auditor_unsettled_note(struct auditor *auditor, const struct auditor_question *question)
{
	struct auditor_unsettled *unsettled = &auditor->unsettled;
	const struct audit_candidate *candidates = question->rows, *first = NULL;
	uint32_t n = 0;

	for (uint64_t i = auditor->n_rows; i < question->n_rows; i++) {
		if (is_removal(&candidates[i]) && !n++)
			first = &candidates[i];
	}
	if (!first)
		return;
	unsettled->is_any = true;
	unsettled->is_own = auditor->is_own;
	unsettled->n = n;
	unsettled->inode = first->inode;
	(void)snprintf(unsettled->name, sizeof(unsettled->name), "%s", first->name);
	/* Who ends over each removal is given time between them. */
	if (!unsettled->retry_ns)
		unsettled_ask(auditor);
}

void
auditor_unsettled_hear(struct auditor *auditor, bool is_any)
{
	struct auditor_unsettled *unsettled = &auditor->unsettled;

	if (is_any && !unsettled->is_any) {
		unsettled->is_any = true;
		unsettled->is_own = auditor->is_own;
		unsettled->n = 0;
		unsettled_ask_later(unsettled);
	} else if (!is_any && unsettled->is_any && (unsettled->is_own == auditor->is_own || geteuid() == 0)) {
		if (unsettled->is_told)
			log_write(MESSAGE_SETTLED, NULL, "nothing waits in quarantine any more: what segmentd-audit had begun to remove has "
			    "its name back, or was removed");
		unsettled->is_any = unsettled->is_told = false;
		unsettled->retry_ns = 0;
		(void)evtimer_del(&unsettled->timer);
	}
}

int
auditor_unsettled_init(struct auditor *auditor)
{
	static const struct audit_candidate nothing;
	struct auditor_unsettled *unsettled = &auditor->unsettled;

	unsettled->question = (struct auditor_question) {
		.kind = AUDIT_JUDGE,
		.rows = &nothing,
		.can_wait = true,
		.take = unsettled_take,
		.done = unsettled_on_done,
	};
	return evtimer_assign(&unsettled->timer, auditor->base, unsettled_on_timer, auditor) ? -ENOMEM : 0;
}

void
auditor_unsettled_deinit(struct auditor *auditor)
{
	if (event_initialized(&auditor->unsettled.timer))
		(void)event_del(&auditor->unsettled.timer);
}
