/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a configuration comes to for one segment, one template, or the daemon, as it runs now: the steps, and their
 * sentences. It changes nothing. plan prints them; reload carries them out, right after the same judgement.
 */
#ifndef DAEMON_RELOAD_JUDGE_H
#define DAEMON_RELOAD_JUDGE_H

#include "conf/plan.h"
#include "daemon/orphans_rules.h"
#include "daemon/registry.h"
#include "daemon/reload_lines.h"

#define RELOAD_STEPS_MAX	3

struct reload_judge {
	/* The judgement. */
	unsigned n_steps;		/* in the order in which they are done; 0: nothing is */
	struct reload_step steps[RELOAD_STEPS_MAX];
	bool is_kept;			/* nothing differs */
	bool restores;			/* its removal is taken back, first of all */
	bool forgets;			/* what it waited for is no longer wanted */
	bool stops_growing;		/* nor is the size that it is at */

	/* Of the definition under judgement. */
	unsigned effects;		/* as plan_compare says */
	struct reload_text changes[PLAN_EFFECT_N];
	struct reload_text all;
	struct reload_text why;		/* of what is refused: which keys stand in the way */
	bool takes_access;

	/* Of the whole plan. */
	uint64_t ahead_bytes;		/* that growths before this one would have been promised */
	bool gives_back;		/* memory: growths would wait for it */
};

/* Before the first of a plan or a reload. */
void reload_judge_start(struct reload_judge *judge);


/* Each leaves the judgement in *judge. 0 or -ENOMEM. */

/* segment: NULL where there is none of that name. */
int reload_judge_segment(struct reload_judge *judge, struct segment *segment, const struct definition *next);
/* A declared segment that the configuration has no more. */
int reload_judge_removed(struct reload_judge *judge, struct segment *segment);
/* running: NULL where there is none; next: NULL where there will be none. */
int reload_judge_template(struct reload_judge *judge, const struct registry_template *running,
    const struct definition *next);
/* is_inherited: the socket is the service manager's. */
int reload_judge_daemon(struct reload_judge *judge, const struct conf_daemon *running, const struct conf_daemon *next,
    bool is_inherited);

/*
 * The rules of orphans, one by one. at: from 0, first next's and then those of running, which only tell what is removed; running
 * may be NULL. False: that was all.
 */
bool reload_judge_rule(struct reload_judge *judge, const struct orphans_rules *running, const struct conf *next, size_t at);

/* Who holds a segment, as a clause: "until 2 attachments end: pid 12, 13". step: gets the pids; or NULL. */
void reload_judge_holders(const struct segment *segment, struct reload_text *text, struct reload_step *step);

/* Adds what a segment waits for: its removal, or that it can be made anew, and with what. */
void reload_judge_explain(const struct segment *segment, struct reload_text *text);

/* For a plan, after its judgement: whether what is to be begun at once would be refused, as a reload would find it. */
void reload_judge_foretell(struct reload_judge *judge, struct segment *segment, const struct definition *next);

/* Between its own files: an empty judgement, and room for one more step of it. */
void reload_judge_begin(struct reload_judge *judge);
struct reload_step *reload_judge_add(struct reload_judge *judge, enum protocol_plan_action action);

/* A step that was judged, and then was not to be had. */
void reload_step_fail(struct reload_step *step, int r);
void reload_step_fail_growth(struct reload_step *step, const char *reason);

#endif
