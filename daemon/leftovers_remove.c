/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A name that anybody may open is taken away by segmentd-audit, in two steps (daemon/audit/removal.c): who is just opening it ends
 * with an object that has its name, or with none. That asks whether anybody has it, so we let it go for as long. Where there is no
 * such program, or it cannot, the name goes as at the end of any segment: under the kernel's word, which is a moment old.
 */
#include "config.h"


#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/log.h"
#include "host/findings.h"

#define BATCH	64

/* One question, and its answer so far. */
struct leftovers_removal {
	struct leftover *asked[BATCH];
	uint32_t verdicts[BATCH];	/* enum audit_verdict */
	uint32_t n, n_answered;
	struct audit_candidate rows[BATCH];
};

static void leftovers_ask(struct leftovers *leftovers);

static void
leftover_remove_directly(struct leftover *leftover)
{
	leftover->leftovers->n_removed++;
	leftover_tell_removed(leftover);
	holding_release(&leftover->holding, leftover->leftovers->releases, false);
	leftover_free(leftover);
}

/* What came of one. It may be freed. */
static void
leftover_settle(struct leftover *leftover, uint32_t verdict)
{
	char text[FINDINGS_TEXT_SIZE];
	int r;

	leftover->is_leaving = leftover->is_asked = false;
	if (verdict == AUDIT_REMOVED) {
		leftover->leftovers->n_removed++;
		leftover_tell_removed(leftover);
		record_remove(&leftover->entry);
		leftover_free(leftover);
		return;
	}
	/* Its name goes with all others'. */
	if (leftover->leftovers->is_ending)
		return;
	/* Its name may be with whoever was killed while it had that. */
	r = leftover_prove(leftover, leftover->leftovers->is_settling, text, sizeof(text));
	if (r == LEFTOVERS_E_NONE || r == LEFTOVERS_E_OPENING)
		return;
	if (r == 0 && verdict != AUDIT_HELD && verdict != AUDIT_CHANGED && holding_is_alone(&leftover->holding))
		leftover_remove_directly(leftover);
	else
		leftover_look(leftover);
}

static int
leftovers_on_row(struct auditor_question *question, const void *row)
{
	struct leftovers *leftovers = BASE_CONTAINER_OF(question, struct leftovers, question);
	struct leftovers_removal *removal = leftovers->removal;

	if (removal->n_answered < removal->n)
		removal->verdicts[removal->n_answered++] = ((const struct audit_stray *)row)->verdict;
	return 0;
}

/* It was asked, and ended, or was killed, before it had answered: at what, nobody knows. */
static bool
has_broken_off(const struct auditor_end *end)
{
	return end->result == -ECONNRESET || end->result == -ETIME || end->result == -EPROTO;
}

static void
leftovers_on_done(struct auditor_question *question, const struct auditor_end *end)
{
	struct leftovers *leftovers = BASE_CONTAINER_OF(question, struct leftovers, question);
	struct leftovers_removal *removal = take_ptr(leftovers->removal);

	/* What has no name by now has it back. Then it goes as at the end of any segment: who ended over it might do so again. */
	if (has_broken_off(end))
		leftovers_settle(leftovers);
	for (uint32_t i = 0; i < removal->n; i++)
		removal->asked[i]->was_broken_off |= has_broken_off(end);
	for (uint32_t i = 0; i < removal->n; i++)
		leftover_settle(removal->asked[i], i < removal->n_answered ? removal->verdicts[i] : 0);
	free(removal);
	leftovers_ask(leftovers);
	/* Who waits for one of them tries again. */
	leftovers_set_wait(leftovers, 0);
}

static void
leftovers_gather(struct leftovers *leftovers, struct leftovers_removal *removal)
{
	struct leftover *leftover;

	TAILQ_FOREACH(leftover, &leftovers->list, list_entry) {
		const struct record_row *row = &leftover->entry.row;
		struct audit_candidate *candidate = &removal->rows[removal->n];

		if (!leftover->is_leaving || removal->n == BATCH)
			continue;
		*candidate = (struct audit_candidate) {
			.what = AUDIT_POSIX,
			.flags = AUDIT_CANDIDATE_REMOVE,
			.device = row->device,
			.inode = row->inode,
			.shm_id = -1,
		};
		/* Of the object's name, the file's: without the slash. */
		(void)snprintf(candidate->name, sizeof(candidate->name), "%s", row->object + 1);
		leftover->is_asked = true;
		removal->asked[removal->n++] = leftover;
	}
}

/* One question at a time: what is to go meanwhile is in the next one. */
static void
leftovers_ask(struct leftovers *leftovers)
{
	struct leftovers_removal *removal;
	struct leftover *leftover;

	if (leftovers->removal || leftovers->is_ending)
		return;
	TAILQ_FOREACH(leftover, &leftovers->list, list_entry)
		if (leftover->is_leaving)
			break;
	if (!leftover)
		return;
	removal = calloc(1, sizeof(*removal));
	if (!removal) {
		leftover_settle(leftover, 0);
		return;
	}
	leftovers_gather(leftovers, removal);
	leftovers->removal = removal;
	leftovers->question = (struct auditor_question) {
		.kind = AUDIT_JUDGE,
		.n_rows = removal->n,
		.rows = removal->rows,
		.can_wait = true,
		.take = leftovers_on_row,
		.done = leftovers_on_done,
	};
	auditor_ask(leftovers->auditor, &leftovers->question);
}

static void
leftovers_on_settled(struct auditor_question *question, const struct auditor_end *end)
{
	struct leftovers *leftovers = BASE_CONTAINER_OF(question, struct leftovers, settling);

	leftovers->is_settling = false;
	leftovers_set_wait(leftovers, 0);
}

/* Who is asked to judge anything does that first. */
void
leftovers_settle(struct leftovers *leftovers)
{
	static const struct audit_candidate nothing;

	if (!leftovers->auditor || leftovers->is_settling)
		return;
	leftovers->is_settling = true;
	leftovers->settling = (struct auditor_question) {
		.kind = AUDIT_JUDGE,
		.rows = &nothing,
		.can_wait = true,
		.done = leftovers_on_settled,
	};
	auditor_ask(leftovers->auditor, &leftovers->settling);
}

void
leftovers_remove(struct leftover *leftover, const char *why)
{
	struct leftovers *leftovers = leftover->leftovers;
	struct holding *holding = &leftover->holding;

	(void)snprintf(leftover->why, sizeof(leftover->why), "%s", why);
	leftover->resident_bytes = holding->backend->resident_bytes(&holding->object);
	/* What is mapped here is what could not be provisioned: to let go of that takes its time. */
	if (!leftovers->auditor || !holding->backend->leave || holding->map || leftover->was_broken_off) {
		leftover_remove_directly(leftover);
		return;
	}
	kernelcount_unwatch(&leftover->watch);
	leftover->entry = *holding->object.entry;
	holding->backend->leave(&holding->object);
	*holding = (struct holding) HOLDING_NULL;
	leftover->is_leaving = true;
	leftovers_ask(leftovers);
}

/* As leftovers_leave(); it may be freed. */
static bool
leftover_leave(struct leftover *leftover, bool may_open_files)
{
	const struct backend *backend = backend_of_row(&leftover->entry.row);
	struct leftovers *leftovers = leftover->leftovers;
	char text[FINDINGS_TEXT_SIZE];
	int r;

	if (!backend || !(backend->features & (BACKEND_DURABLE | BACKEND_LINKED)))
		return false;
	/* A segment that is just ending may have it: its row is that one's, too. */
	if (leftover->is_asked || (backend->features & BACKEND_DURABLE && !may_open_files))
		return true;
	r = leftover_prove(leftover, leftovers->is_settling, text, sizeof(text));
	if (r < 0)
		leftover_tell_stays(leftover, text);
	if (r)
		return r == LEFTOVERS_E_OPENING;
	holding_release(&leftover->holding, leftovers->releases, false);
	leftover_free(leftover);
	return false;
}

void
leftovers_end(struct leftovers *leftovers)
{
	if (leftovers && leftovers->registry)
		leftovers->is_ending = true;
}

bool
leftovers_leave(struct leftovers *leftovers, bool may_open_files)
{
	struct leftover *leftover, *next;
	bool is_any_left = false;

	if (!leftovers || !leftovers->is_ending)
		return false;
	for (leftover = TAILQ_FIRST(&leftovers->list); leftover; leftover = next) {
		next = TAILQ_NEXT(leftover, list_entry);
		is_any_left |= leftover_leave(leftover, may_open_files);
	}
	return is_any_left;
}

void
leftovers_remove_deinit(struct leftovers *leftovers)
{
	struct leftover *leftover, *next;
	char text[FINDINGS_TEXT_SIZE];

	for (leftover = TAILQ_FIRST(&leftovers->list); leftover; leftover = next) {
		const struct backend *backend = backend_of_row(&leftover->entry.row);

		next = TAILQ_NEXT(leftover, list_entry);
		/* What workers would have to open, or to rid of its name, stays in the record, for the next start. */
		if ((!backend || !(backend->features & (BACKEND_DURABLE | BACKEND_LINKED))) &&
		    leftover_prove(leftover, false, text, sizeof(text)) < 0)
			leftover_tell_stays(leftover, text);
	}
	free(take_ptr(leftovers->removal));
}
