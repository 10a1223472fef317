/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The phases are a table, and each has a step that takes one thing of it: what was read is taken, kept, judged and carried out,
 * and given back.
 */
#include "config.h"

#include "daemon/reload_phases.h"

#include <stdarg.h>

#include "base/base.h"

/* The sentence goes into the request's lines. One that cannot be kept is lost, and its count shows it. */
static void
reload_tell(struct reload *reload, enum protocol_plan_subject subject, const char *name)
{
	struct reload_judge *judge = &reload->judge;
	struct reload_lines *lines = &reload->current->lines;

	for (unsigned i = 0; i < judge->n_steps; i++)
		if (reload_lines_add(lines, subject, name, &judge->steps[i]))
			lines->counts[judge->steps[i].action]++;
	if (judge->is_kept)
		lines->counts[PROTOCOL_PLAN_KEPT]++;
}

/* It could not even be judged. */
static void
judge_fail(struct reload_judge *judge, int r)
{
	judge->is_kept = judge->restores = judge->forgets = judge->stops_growing = false;
	judge->n_steps = 1;
	reload_text_clear(&judge->steps[0].text);
	reload_text_add(&judge->steps[0].text, "it stays as it is");
	judge->steps[0].n_waiting = judge->steps[0].n_pids = 0;
	reload_step_fail(&judge->steps[0], r);
}

/* Reading. */

static void
reload_tell_problem(struct reload *reload, const char *text)
{
	struct reload_step *step = &reload->judge.steps[0];

	step->action = PROTOCOL_PLAN_PROBLEM;
	step->n_waiting = step->n_pids = 0;
	reload_text_clear(&step->text);
	reload_text_add(&step->text, "%s", text);
	if (reload_lines_add(&reload->current->lines, PROTOCOL_PLAN_FILE, "", step))
		reload->current->lines.counts[PROTOCOL_PLAN_PROBLEM]++;
}

/* Nothing of it is judged or done: after the step that says so comes the giving back. */
static void
reload_skip_to_end(struct reload *reload)
{
	reload->phase = RELOAD_FREEING - 1;
}

static void BASE_PRINTF(2, 3)
reload_fail(struct reload *reload, const char *format, ...)
{
	struct reload_request *request = reload->current;
	va_list args;

	request->has_failed = true;
	va_start(args, format);
	(void)vsnprintf(request->why, sizeof(request->why), format, args);
	va_end(args);
	reload_skip_to_end(reload);
}

static void
reload_on_parsed(struct parse *parse, void *arg)
{
	struct reload *reload = arg;

	reload->phase = RELOAD_TAKING;
	reload_turn_soon(reload);
}

void
reload_read(struct reload *reload)
{
	const struct parse_upload *upload = reload->current->upload;
	int r;

	if (upload)
		r = parse_start_upload(reload->host.parser, upload, reload_on_parsed, reload, &reload->parse);
	else
		r = parse_start(reload->host.parser, reload->host.file, reload_on_parsed, reload, &reload->parse);
	if (!r)
		return;
	reload_fail(reload, "it cannot be read: %s", strerror(-r));
	reload->phase = RELOAD_FREEING;
	reload_turn_soon(reload);
}

/* One problem of a configuration that is not valid. False: that was all. */
static bool
reload_tell_report(struct reload *reload)
{
	const struct conf_report *report = &reload->parse->report;
	char line[RELOAD_TEXT_SIZE];

	if (reload->at < report->n_problems) {
		(void)conf_problem_format(&report->problems[reload->at++], line, sizeof(line));
		reload_tell_problem(reload, line);
		return true;
	}
	if (report->n_left_out) {
		(void)snprintf(line, sizeof(line), "%zu more problems were left out", report->n_left_out);
		reload_tell_problem(reload, line);
	}
	return false;
}

/* What it took in before it turned out to be none is given back as a whole one is: in turns. */
static bool
reload_taken(struct reload *reload)
{
	if (!reload->next)
		reload->next = take_ptr(reload->parse->conf);
	/* What is to be carried out is kept first. */
	if (reload->phase != RELOAD_TAKING || !reload->current->applies)
		reload->parse = parse_free(reload->parse);
	return false;
}

/* What was read is good, and in the form in which it is kept. Without it everything is carried out all the same. */
static bool
reload_keep(struct reload *reload)
{
	const char *state_dir = reload->daemon.state_dir;
	int r = 0;

	if (!reload->parse)
		return false;
	if (reload->kept.fd < 0)
		r = kept_begin(&reload->kept, state_dir);
	if (r == 0)
		r = kept_copy(&reload->kept, reload->parse->job.fd);
	if (r == KEPT_E_MORE)
		return true;
	if (r == 0)
		r = kept_commit(&reload->kept);
	kept_deinit(&reload->kept);
	if (r)
		kept_tell_failure(state_dir, r);
	reload->parse = parse_free(reload->parse);
	return false;
}

static bool
reload_take(struct reload *reload)
{
	int r;

	if (reload->is_refused) {
		if (reload_tell_report(reload))
			return true;
		reload->is_refused = false;
		reload_skip_to_end(reload);
		return reload_taken(reload);
	}
	r = parse_collect(reload->parse, clock_monotonic_ns() + RELOAD_TURN_NS, &reload->next);
	if (r == PARSE_E_MORE)
		return true;
	if (r == PARSE_E_REFUSED) {
		reload->is_refused = true;
		return true;
	}
	if (r == PARSE_E_FAILED)
		reload_fail(reload, "%s", reload->parse->text);
	else if (r)
		reload_fail(reload, "it cannot be taken in: %s", strerror(-r));
	return reload_taken(reload);
}

/* Judging, and carrying out. */

static bool
reload_mark(struct reload *reload)
{
	struct conf *next = reload->next;
	struct registry_template *template_;
	struct segment *segment;

	if (reload->at < next->n_segments) {
		segment = registry_find(reload->host.registry, next->segments[reload->at]->name);
		if (segment)
			segment->seen = reload->serial;
	} else if (reload->at - next->n_segments < next->n_templates) {
		template_ = registry_template(reload->host.registry, next->templates[reload->at - next->n_segments]->name);
		if (template_)
			template_->seen = reload->serial;
	} else
		return false;
	reload->at++;
	return true;
}

/* The keys in effect are next's, but for those that never change while the daemon runs. */
static void
reload_apply_daemon(struct reload *reload)
{
	struct conf_daemon running = reload->daemon;
	struct conf_daemon *next = &reload->next->daemon;

	reload->daemon = *next;
	reload->daemon.socket = running.socket;
	reload->daemon.state_dir = running.state_dir;
	if (reload->host.is_socket_inherited)
		reload->daemon.socket_mode = running.socket_mode;
	free(running.admin_group);
	free(running.audit_socket);
	next->admin_group = next->audit_socket = NULL;
	reload->host.on_daemon(&reload->daemon, reload->host.arg);
}

static bool
reload_do_daemon(struct reload *reload)
{
	int r = reload_judge_daemon(&reload->judge, &reload->daemon, &reload->next->daemon,
	    reload->host.is_socket_inherited);

	if (r)
		judge_fail(&reload->judge, r);
	else if (reload->current->applies)
		reload_apply_daemon(reload);
	reload_tell(reload, PROTOCOL_PLAN_DAEMON, "");
	reload->host.registry->walk_next = TAILQ_FIRST(&reload->host.registry->in_order);
	return false;
}

static bool
reload_do_removed(struct reload *reload)
{
	struct registry *registry = reload->host.registry;
	struct segment *segment = registry->walk_next;
	char name[PROTOCOL_NAME_SIZE];
	int r;

	if (!segment)
		return false;
	registry->walk_next = TAILQ_NEXT(segment, entry);
	if (!segment->is_declared || segment->seen == reload->serial)
		return true;
	r = reload_judge_removed(&reload->judge, segment);
	if (r)
		judge_fail(&reload->judge, r);
	(void)snprintf(name, sizeof(name), "%s", segment->definition->name);
	if (reload->current->applies && !r) {
		segment_succeed(segment, NULL);
		segment_remove(segment, false);
	}
	reload_tell(reload, PROTOCOL_PLAN_SEGMENT, name);
	return true;
}

/* One that the configuration has no more. */
static bool
reload_do_removed_template(struct reload *reload)
{
	struct registry *registry = reload->host.registry;
	struct registry_template *template_;
	char name[PROTOCOL_NAME_SIZE];

	TAILQ_FOREACH(template_, &registry->templates, entry)
		if (!template_->is_removed && template_->seen != reload->serial)
			break;
	if (!template_)
		return false;
	template_->seen = reload->serial;
	(void)snprintf(name, sizeof(name), "%s", template_->definition->name);
	(void)reload_judge_template(&reload->judge, template_, NULL);
	if (reload->current->applies)
		registry_remove_template(registry, template_);
	reload_tell(reload, PROTOCOL_PLAN_TEMPLATE, name);
	return true;
}

static bool
reload_do_template(struct reload *reload)
{
	struct registry *registry = reload->host.registry;
	struct definition *next;
	int r;

	if (reload->at == reload->next->n_templates)
		return false;
	next = reload->next->templates[reload->at++];
	r = reload_judge_template(&reload->judge, registry_template(registry, next->name), next);
	if (r)
		judge_fail(&reload->judge, r);
	else if (reload->current->applies) {
		r = registry_set_template(registry, next);
		if (r && reload->judge.n_steps)
			reload_step_fail(&reload->judge.steps[0], r);
	}
	reload_tell(reload, PROTOCOL_PLAN_TEMPLATE, next->name);
	return true;
}

static int
reload_change(struct segment *segment, const struct definition *next)
{
	struct definition *merged = plan_merge(segment->definition, next);

	if (!merged)
		return -ENOMEM;
	segment_change(segment, merged);
	(void)definition_unref(merged);
	return 0;
}

static int
reload_grow(struct segment *segment, const struct definition *next)
{
	struct definition *grown = plan_grow(segment->definition, next->size_bytes);
	int r = grown ? segment_grow(segment, grown) : -ENOMEM;

	(void)definition_unref(grown);
	return r;
}

/* One step of one segment, which may be gone after it. */
static int
reload_do_step(struct reload *reload, const struct reload_step *step, struct definition *next)
{
	struct segment *segment = registry_find(reload->host.registry, next->name);

	if (step->action == PROTOCOL_PLAN_ADDED)
		return segment ? -EEXIST : registry_declare_one(reload->host.registry, next);
	if (!segment)
		return -ESRCH;
	switch (step->action) {
	case PROTOCOL_PLAN_CHANGED:
		return reload_change(segment, next);
	case PROTOCOL_PLAN_GROWN:
		return reload_grow(segment, next);
	case PROTOCOL_PLAN_REPLACED:
	case PROTOCOL_PLAN_WAITS:
		return registry_replace(reload->host.registry, segment, next);
	default:
		return 0;
	}
}

static void
reload_carry_out(struct reload *reload, struct segment *segment, struct definition *next)
{
	struct reload_judge *judge = &reload->judge;

	if (judge->forgets)
		segment_succeed(segment, NULL);
	if (judge->restores)
		segment_restore(segment);
	segment = registry_find(reload->host.registry, next->name);
	/* Nobody held it any more, and a segment with lifetime "attached" ends when it is there again: it is new, then. */
	if (judge->restores && !segment && reload_judge_segment(judge, NULL, next))
		judge_fail(judge, -ENOMEM);
	if (judge->stops_growing && segment)
		segment_stop_growing(segment, "the configuration does not ask for it any more");
	for (unsigned i = 0; i < judge->n_steps; i++) {
		struct reload_step *step = &judge->steps[i];
		bool is_growth = step->action == PROTOCOL_PLAN_GROWN;
		int r = reload_do_step(reload, step, next);

		segment = registry_find(reload->host.registry, next->name);
		if (r && is_growth && segment && segment->growth_reason)
			reload_step_fail_growth(step, segment->growth_reason);
		else if (r)
			reload_step_fail(step, r);
	}
	if (segment)
		segment_readmit(segment);
}

static bool
reload_do_segment(struct reload *reload)
{
	struct definition *next;
	struct segment *segment;
	int r;

	if (reload->at == reload->next->n_segments)
		return false;
	next = reload->next->segments[reload->at++];
	segment = registry_find(reload->host.registry, next->name);
	r = reload_judge_segment(&reload->judge, segment, next);
	if (r)
		judge_fail(&reload->judge, r);
	else if (reload->current->applies)
		reload_carry_out(reload, segment, next);
	else if (segment)
		reload_judge_foretell(&reload->judge, segment, next);
	reload_tell(reload, PROTOCOL_PLAN_SEGMENT, next->name);
	return true;
}

/* A rule a step; they count together, when all were told. */
static bool
reload_do_orphans(struct reload *reload)
{
	struct orphans *orphans = reload->host.orphans;
	struct conf *next = reload->next;
	int r;

	if (reload_judge_rule(&reload->judge, orphans->rules, next, reload->at)) {
		reload->at++;
		reload_tell(reload, PROTOCOL_PLAN_ORPHANS, "");
		return true;
	}
	r = reload->current->applies ? orphans_set_rules(orphans, &next->orphans, &next->n_orphans) : 0;
	if (r) {
		reload_judge_begin(&reload->judge);
		reload_text_add(&reload_judge_add(&reload->judge, PROTOCOL_PLAN_REFUSED)->text, "some of the rules are not carried "
		    "out: %s", strerror(-r));
		reload_tell(reload, PROTOCOL_PLAN_ORPHANS, "");
	}
	return false;
}

/* Thousands of definitions take their time to be given back, too. */
static bool
reload_free_some(struct reload *reload)
{
	struct conf *next = reload->next;

	if (next && next->n_segments) {
		(void)definition_unref(next->segments[--next->n_segments]);
		return true;
	}
	if (next && next->n_templates) {
		(void)definition_unref(next->templates[--next->n_templates]);
		return true;
	}
	reload->next = conf_free(next);
	return false;
}

typedef bool (*reload_phase_fn)(struct reload *reload);

/* False: the phase is over. */
static const reload_phase_fn reload_phases[RELOAD_PHASE_N] = {
	[RELOAD_TAKING] = reload_take,
	[RELOAD_KEEPING] = reload_keep,
	[RELOAD_MARKING] = reload_mark,
	[RELOAD_DAEMON] = reload_do_daemon,
	[RELOAD_REMOVING] = reload_do_removed,
	[RELOAD_REMOVING_TEMPLATES] = reload_do_removed_template,
	[RELOAD_TEMPLATES] = reload_do_template,
	[RELOAD_SEGMENTS] = reload_do_segment,
	[RELOAD_ORPHANS] = reload_do_orphans,
	[RELOAD_FREEING] = reload_free_some,
};

bool
reload_do_some(struct reload *reload)
{
	return reload_phases[reload->phase](reload);
}
