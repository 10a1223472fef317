/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a configuration comes to for the rules of orphans. They have no names: a rule is the one that is about the same objects,
 * and of several that are, the one in the same place among those.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/reload_judge.h"

/* The rule of a list that is what rule `at` is of another; or NULL. */
static const struct conf_orphan *
find_peer(const struct conf_orphan *list, size_t n, const struct conf_orphan *of, size_t at)
{
	size_t n_before = 0;

	for (size_t i = 0; i < at; i++)
		n_before += orphans_rule_is_same(&of[i], &of[at]);
	for (size_t i = 0; i < n; i++)
		if (orphans_rule_is_same(&list[i], &of[at]) && !n_before--)
			return &list[i];
	return NULL;
}

static void
judge_next(struct reload_judge *judge, const struct conf_orphan *rule, const struct conf_orphan *running)
{
	char what[ORPHANS_RULE_TEXT_SIZE], deed[64], was[64];
	struct reload_step *step;

	if (running && orphans_rule_is_equal(running, rule)) {
		judge->is_kept = true;
		return;
	}
	(void)orphans_rule_describe(rule, what, sizeof(what));
	(void)orphans_rule_describe_deed(rule, deed, sizeof(deed));
	step = reload_judge_add(judge, running ? PROTOCOL_PLAN_CHANGED : PROTOCOL_PLAN_ADDED);
	if (running)
		reload_text_add(&step->text, "%s: %s -> %s", what, orphans_rule_describe_deed(running, was, sizeof(was)), deed);
	else
		reload_text_add(&step->text, "%s: %s", what, deed);
}

static void
judge_gone(struct reload_judge *judge, const struct conf_orphan *rule)
{
	char what[ORPHANS_RULE_TEXT_SIZE], deed[64];

	reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_REMOVED)->text, "%s: %s",
	    orphans_rule_describe(rule, what, sizeof(what)), orphans_rule_describe_deed(rule, deed, sizeof(deed)));
}

/* Of the same rules the first that fits counts: another order is another thing. */
static void
judge_order(struct reload_judge *judge, const struct orphans_rules *running, const struct conf *next)
{
	if (running->n != next->n_orphans || orphans_rules_are_equal(running->list, running->n, next->orphans, next->n_orphans))
		return;
	for (size_t i = 0; i < running->n; i++)
		if (!orphans_rule_is_same(&running->list[i], &next->orphans[i])) {
			reload_text_add(&reload_judge_add(judge, PROTOCOL_PLAN_CHANGED)->text, "rules come in another order: of those "
			    "that fit an object the first one counts");
			return;
		}
}

bool
reload_judge_rule(struct reload_judge *judge, const struct orphans_rules *running, const struct conf *next, size_t at)
{
	size_t n_running = running ? running->n : 0;

	reload_judge_begin(judge);
	if (at < next->n_orphans) {
		judge_next(judge, &next->orphans[at], find_peer(running ? running->list : NULL, n_running, next->orphans, at));
		return true;
	}
	at -= next->n_orphans;
	if (at < n_running) {
		if (!find_peer(next->orphans, next->n_orphans, running->list, at))
			judge_gone(judge, &running->list[at]);
		return true;
	}
	if (at == n_running && running)
		judge_order(judge, running, next);
	return at == n_running;
}
