/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * conf/plan.c says what each key's change is; here it meets the segment's state. Clients come and go: a judgement holds for
 * the turn of the loop that it is made in.
 */
#include "config.h"

#include "base/base.h"
#include "conf/units.h"
#include "daemon/leftovers.h"
#include "daemon/reload_judge.h"

#define LOOKED_AT_MAX	1000		/* attachments whose access is looked at in one turn */

void
reload_judge_begin(struct reload_judge *judge)
{
	judge->n_steps = 0;
	judge->is_kept = judge->restores = judge->forgets = judge->stops_growing = judge->takes_access = false;
	judge->effects = 0;
	for (int i = 0; i < PLAN_EFFECT_N; i++)
		reload_text_clear(&judge->changes[i]);
	reload_text_clear(&judge->all);
	reload_text_clear(&judge->why);
}

struct reload_step *
reload_judge_add(struct reload_judge *judge, enum protocol_plan_action action)
{
	struct reload_step *step = &judge->steps[judge->n_steps++];

	step->action = action;
	step->n_waiting = 0;
	step->n_pids = 0;
	reload_text_clear(&step->text);
	return step;
}

static void
text_add_change(struct reload_text *text, const struct plan_change *change)
{
	reload_text_add(text, "%s%s%s", text->len ? ", " : "", change->row->scope == KEYS_LIMITS ? "limits." : "",
	    change->text);
}

static void
judge_on_change(const struct plan_change *change, void *arg)
{
	struct reload_judge *judge = arg;
	struct reload_text *text = &judge->changes[change->effect];

	text_add_change(&judge->all, change);
	text_add_change(text, change);
	if (change->why)
		reload_text_add(&judge->why, "%s%s", judge->why.len ? ", and " : "", change->why);
	judge->takes_access = judge->takes_access || change->takes_access;
}

static bool
judge_has(const struct reload_judge *judge, enum plan_effect effect)
{
	return judge->effects & 1u << effect;
}

/* Adds a process to the step's, if it is not among them. False: there is no room for it. */
static bool
step_add_pid(struct reload_step *step, int32_t pid)
{
	for (unsigned i = 0; i < step->n_pids; i++)
		if (step->pids[i] == pid)
			return true;
	if (step->n_pids == PROTOCOL_PLAN_PIDS)
		return false;
	step->pids[step->n_pids++] = pid;
	return true;
}

/* "pid 12, 13 and 2 more"; n_more: attachments of processes that are not named. */
static void
text_add_pids(struct reload_text *text, const struct reload_step *step, uint32_t n_more)
{
	for (unsigned i = 0; i < step->n_pids; i++)
		reload_text_add(text, "%s%d", i ? ", " : "pid ", step->pids[i]);
	if (n_more)
		reload_text_add(text, step->n_pids ? " and %u more" : "%u of processes that are not known", n_more);
}

void
reload_judge_holders(const struct segment *segment, struct reload_text *text, struct reload_step *step)
{
	const struct attachment *attachment;
	struct reload_step own = { .n_pids = 0 };
	uint32_t n = segment_n_attached(segment), n_more = 0;

	if (!step)
		step = &own;
	step->n_waiting = n;
	TAILQ_FOREACH(attachment, &segment->attachments, segment_entry)
		if (!attachment->pid || !step_add_pid(step, attachment->pid))
			n_more++;
	if (!n) {
		reload_text_add(text, "until its memory is not mapped any more by somebody who is not attached");
		return;
	}
	reload_text_add(text, "until %u attachment%s: ", n, n == 1 ? " ends" : "s end");
	text_add_pids(text, step, n_more);
}

/* Who is attached in a way that nobody may attach any more who is as they are. */
static void
judge_add_losers(struct reload_text *text, const struct segment *segment, const struct definition *next)
{
	const struct attachment *attachment;
	struct reload_step losers = { .n_pids = 0 };
	uint32_t n = 0, n_more = 0, n_looked = 0;

	TAILQ_FOREACH(attachment, &segment->attachments, segment_entry) {
		/* Of a process that has hung up its groups are not known any more. */
		struct identity left = { .uid = attachment->uid, .gid = UINT32_MAX };

		if (n_looked++ == LOOKED_AT_MAX)
			break;
		if (!(attachment->access & ~access_allowed(next, attachment->identity ? attachment->identity : &left)))
			continue;
		n++;
		if (!attachment->pid || !step_add_pid(&losers, attachment->pid))
			n_more++;
	}
	reload_text_add(text, "; access that is taken away ends new attachments, not mappings: ");
	if (n)
		text_add_pids(text, &losers, n_more);
	reload_text_add(text, !n ? "nobody who is attached loses any" :
	    losers.n_pids + n_more == 1 ? " keeps it" : " keep theirs");
	if (attachment)
		reload_text_add(text, " (of the first %u that were looked at)", LOOKED_AT_MAX);
}

static void
judge_add_changed(struct reload_judge *judge, const struct segment *segment, const struct definition *next)
{
	struct reload_step *step;

	if (!judge_has(judge, PLAN_LIVE))
		return;
	step = reload_judge_add(judge, PROTOCOL_PLAN_CHANGED);
	reload_text_add(&step->text, "%s", judge->changes[PLAN_LIVE].bytes);
	if (judge->takes_access)
		judge_add_losers(&step->text, segment, next);
}

static void
judge_add_grown(struct reload_judge *judge, const struct segment *segment, const struct definition *next)
{
	struct reload_step *step;

	if (!judge_has(judge, PLAN_GROW))
		return;
	step = reload_judge_add(judge, PROTOCOL_PLAN_GROWN);
	reload_text_add(&step->text, "%s, in place", judge->changes[PLAN_GROW].bytes);
	if (segment->grow_to_bytes == next->size_bytes)
		reload_text_add(&step->text, ": that is under way already");
}

static void
judge_add_replaced(struct reload_judge *judge, const char *why)
{
	reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_REPLACED)->text, "%s; %s", judge->all.bytes, why);
}

/* All that differs is told, since nothing of it is done, and which of it stands in the way. */
static void
judge_add_refused(struct reload_judge *judge, const struct segment *segment)
{
	reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_REFUSED)->text, "%s: nothing of this is done, since %s; it stays whole as "
	    "it runs. To have it made anew, its contents go: `segmentctl remove %s`, then `segmentctl reload`; or add a segment "
	    "under another name", judge->all.bytes, judge->why.bytes, segment->definition->name);
}

/* What is said where something is taken back: with the first step, or as all there is. */
static void
judge_add_back(struct reload_judge *judge, const char *what)
{
	if (!judge->n_steps) {
		judge->is_kept = false;		/* the line counts it */
		reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_KEPT)->text, "%s", what);
	} else
		reload_text_add(&judge->steps[0].text, "; %s", what);
}

/* A size that it is still at is wanted no more. */
static void
judge_add_no_growth(struct reload_judge *judge, const struct segment *segment)
{
	if (segment->grow_to_bytes <= segment->definition->size_bytes || judge_has(judge, PLAN_GROW))
		return;
	judge->stops_growing = true;
	judge_add_back(judge, "its growth is taken back");
}

/* What an earlier reload made it wait for is in no file any more. */
static void
judge_add_forgotten(struct reload_judge *judge, const struct segment *segment)
{
	if (!segment->successor)
		return;
	judge->forgets = true;
	judge_add_back(judge, "the change that it waited for is taken back");
}

static void
judge_ready(struct reload_judge *judge, struct segment *segment, const struct definition *next)
{
	struct reload_step *step;

	if (judge_has(judge, PLAN_NEVER)) {
		judge_add_refused(judge, segment);
		judge_add_forgotten(judge, segment);
		return;
	}
	if (judge_has(judge, PLAN_DRAINED) && !segment_is_held(segment)) {
		judge_add_replaced(judge, "nobody holds it: it is made anew, its contents go");
		return;
	}
	judge_add_changed(judge, segment, next);
	judge_add_grown(judge, segment, next);
	if (judge_has(judge, PLAN_DRAINED)) {
		step = reload_judge_add(judge, PROTOCOL_PLAN_WAITS);
		reload_text_add(&step->text, "%s, ", judge->changes[PLAN_DRAINED].bytes);
		reload_judge_holders(segment, &step->text, step);
		reload_text_add(&step->text, "; then it is made anew, its contents go");
	} else {
		judge_add_forgotten(judge, segment);
	}
	judge_add_no_growth(judge, segment);
}

static void
judge_draining(struct reload_judge *judge, const struct segment *segment, const struct definition *next)
{
	struct reload_step *step;

	if (judge_has(judge, PLAN_NEVER) || judge_has(judge, PLAN_DRAINED)) {
		step = reload_judge_add(judge, PROTOCOL_PLAN_WAITS);
		reload_text_add(&step->text, "%s; it is being removed, ", judge->all.bytes);
		reload_judge_holders(segment, &step->text, step);
		reload_text_add(&step->text, "; then it is made anew, its contents go");
		return;
	}
	judge_add_changed(judge, segment, next);
	judge_add_grown(judge, segment, next);
	judge->restores = true;
	judge->forgets = segment->successor != NULL;
	judge_add_back(judge, "its removal is taken back");
}

/* Whoever mended its reason may take the reload for what tries it again. */
static void
judge_add_failed(struct reload_judge *judge, const struct segment *segment)
{
	struct leftovers *leftovers = segment->host->provisioner->leftovers;
	struct reload_text *text;

	judge->is_kept = false;		/* the line counts it */
	text = &reload_judge_add(judge, PROTOCOL_PLAN_KEPT)->text;
	if (leftovers && leftovers_hinder(leftovers, segment->definition))
		reload_text_add(text, "it has failed, and is tried again when nobody has what a killed segmentd left of it");
	else
		reload_text_add(text, "it has failed, and is not tried again: `segmentctl retry %s`", segment->definition->name);
}

static void
judge_unready(struct reload_judge *judge, const struct segment *segment, const struct definition *next)
{
	if (segment->state == PROTOCOL_FAILED) {
		if (judge->effects)
			judge_add_replaced(judge, "it had failed, and is made anew");
		else
			judge_add_failed(judge, segment);
	} else if (judge->effects & ~(1u << PLAN_LIVE | 1u << PLAN_GROW)) {
		judge_add_replaced(judge, "it was not ready yet, and is made anew");
	} else {
		judge_add_changed(judge, segment, next);
		judge_add_grown(judge, segment, next);
		judge_add_no_growth(judge, segment);
	}
}

static void
judge_added(struct reload_judge *judge, const struct definition *next)
{
	char size[32];

	reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_ADDED)->text, "%s \"%s\", backend \"%s\"",
	    next->is_template ? "max_size" : "size", units_format_size(size, sizeof(size),
	    next->is_template ? next->max_size_bytes : next->size_bytes), definition_backend_name(next->backend));
}

static void
judge_taken(struct reload_judge *judge, const struct segment *segment)
{
	struct reload_step *step = reload_judge_add(judge, PROTOCOL_PLAN_REFUSED);

	reload_text_add(&step->text, "a client has created a segment of this name from a template, which stays: "
	    "`segmentctl remove %s`, then reload, or declare it under another name", segment->definition->name);
}

int
reload_judge_segment(struct reload_judge *judge, struct segment *segment, const struct definition *next)
{
	int r;

	reload_judge_begin(judge);
	if (!segment) {
		judge_added(judge, next);
		return 0;
	}
	if (!segment->is_declared) {
		judge_taken(judge, segment);
		return 0;
	}
	r = plan_compare(segment->definition, next, judge_on_change, judge, &judge->effects);
	if (r)
		return r;
	judge->is_kept = !judge->effects;
	if (segment->state == PROTOCOL_READY)
		judge_ready(judge, segment, next);
	else if (segment->state == PROTOCOL_DRAINING)
		judge_draining(judge, segment, next);
	else
		judge_unready(judge, segment, next);
	return 0;
}

int
reload_judge_removed(struct reload_judge *judge, struct segment *segment)
{
	struct reload_step *step;

	reload_judge_begin(judge);
	judge->forgets = segment->successor != NULL;
	step = reload_judge_add(judge, PROTOCOL_PLAN_REMOVED);
	if (segment->state == PROTOCOL_READY || segment->state == PROTOCOL_DRAINING) {
		if (segment_is_held(segment)) {
			reload_text_add(&step->text, segment->state == PROTOCOL_READY ? "nobody attaches it any more; it stays " :
			    "it is being removed already, and stays ");
			reload_judge_holders(segment, &step->text, step);
		} else
			reload_text_add(&step->text, "nobody holds it, its contents go");
	} else
		reload_text_add(&step->text, segment->state == PROTOCOL_FAILED ? "it had failed" : "it was not ready yet");
	judge->gives_back = judge->gives_back || segment_frees_later(segment);
	return 0;
}

int
reload_judge_template(struct reload_judge *judge, const struct registry_template *running,
    const struct definition *next)
{
	int r;

	reload_judge_begin(judge);
	if (!next) {
		reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_REMOVED)->text, "nobody creates from it any more");
	} else if (!running || running->is_removed) {
		judge_added(judge, next);
		reload_text_add(&judge->steps[0].text, ", max_count %u", next->max_count);
	} else {
		r = plan_compare(running->definition, next, judge_on_change, judge, &judge->effects);
		if (r)
			return r;
		judge->is_kept = !judge->effects;
		if (judge->is_kept)
			return 0;
		reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_CHANGED)->text, "%s", judge->all.bytes);
	}
	if (running && running->n_segments)
		reload_text_add(&judge->steps[0].text, "; what was created from it stays as it is, and counts: %u",
		    running->n_segments);
	return 0;
}

/* socket_mode is the daemon's to change only where the socket is its own. */
static void
judge_on_daemon_change(const struct plan_change *change, void *arg)
{
	struct reload_judge *judge = arg;
	struct plan_change refused = *change;

	if (streq(change->row->key, "socket_mode")) {
		refused.effect = PLAN_NEVER;
		refused.why = "the socket is the service manager's, and SocketMode= of its unit decides";
	}
	judge_on_change(&refused, judge);
}

int
reload_judge_daemon(struct reload_judge *judge, const struct conf_daemon *running, const struct conf_daemon *next,
    bool is_inherited)
{
	int r;

	reload_judge_begin(judge);
	r = plan_compare_daemon(running, next, is_inherited ? judge_on_daemon_change : judge_on_change, judge,
	    &judge->effects);
	if (r)
		return r;
	if (judge->changes[PLAN_LIVE].len)
		reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_CHANGED)->text, "%s", judge->changes[PLAN_LIVE].bytes);
	if (judge->changes[PLAN_NEVER].len)
		reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_REFUSED)->text, "%s: not done, since %s; restart segmentd",
		    judge->changes[PLAN_NEVER].bytes, judge->why.bytes);
	return 0;
}

static void
explain_on_change(const struct plan_change *change, void *arg)
{
	struct reload_text *text = arg;

	reload_text_add(text, ", %s", change->text);
}

void
reload_judge_explain(const struct segment *segment, struct reload_text *text)
{
	bool is_draining = segment->state == PROTOCOL_DRAINING;

	if (segment->state == PROTOCOL_DECLARED && segment->n_waits)
		reload_text_add(text, "%sit waits for memory that is being given back", text->len ? "; " : "");
	if (!is_draining && !segment->successor)
		return;
	reload_text_add(text, "%s%s ", text->len ? "; " : "", is_draining ? "it is being removed, and stays" : "it stays");
	reload_judge_holders(segment, text, NULL);
	if (!segment->successor)
		return;
	reload_text_add(text, "; then it is made anew");
	/* Without memory for it, what it will be is left out. */
	(void)plan_compare(segment->definition, segment->successor->definition, explain_on_change, text, NULL);
}

void
reload_judge_start(struct reload_judge *judge)
{
	judge->ahead_bytes = 0;
	judge->gives_back = false;
}

void
reload_step_fail(struct reload_step *step, int r)
{
	step->action = PROTOCOL_PLAN_REFUSED;
	reload_text_add(&step->text, "; this was not done: %s", strerror(-r));
}

/* It has a sentence of its own. */
void
reload_step_fail_growth(struct reload_step *step, const char *reason)
{
	step->action = PROTOCOL_PLAN_REFUSED;
	reload_text_add(&step->text, "; this was not done: %s", reason);
}

void
reload_judge_foretell(struct reload_judge *judge, struct segment *segment, const struct definition *next)
{
	char text[FINDINGS_TEXT_SIZE + 128];

	for (unsigned i = 0; i < judge->n_steps; i++) {
		struct reload_step *step = &judge->steps[i];

		if (step->action == PROTOCOL_PLAN_REPLACED)
			judge->gives_back = judge->gives_back || segment_frees_later(segment);
		if (step->action != PROTOCOL_PLAN_GROWN || judge->gives_back)
			continue;
		if (segment_may_grow(segment, next->size_bytes, judge->ahead_bytes, text, sizeof(text)))
			reload_step_fail_growth(step, text);
		else if (next->prefault)
			judge->ahead_bytes += next->size_bytes - segment->definition->size_bytes;
	}
}
