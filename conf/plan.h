/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a new configuration asks of what runs: each key that differs, and what a reload may do with it. Pure, and the one place
 * where that is judged: plan words it, reload carries it out.
 */
#ifndef CONF_PLAN_H
#define CONF_PLAN_H

#include "conf/keys.h"
#include "conf/load.h"

/* What a change comes to. */
enum plan_effect {
	PLAN_LIVE,			/* acts at once */
	PLAN_GROW,			/* size is raised, up to the running max_size: populated in place */
	PLAN_DRAINED,			/* waits until the last client is gone */
	PLAN_NEVER,			/* refused; why says it */
	PLAN_EFFECT_N
};

#define PLAN_NONE	"none"		/* from and to of a key that has no value; a value would be in quotes */

/* One key that differs. All of it is valid during the call only, except the row. */
struct plan_change {
	const struct keys_row *row;
	enum plan_effect effect;
	const char *from;		/* as written in a file; of a list: how many entries it has */
	const char *to;
	const char *text;		/* mode "0600" -> "0640"; allow: user "bob" (rw) added, group "ops" (r) removed */
	const char *why;		/* of PLAN_NEVER: a clause that says why, with the key in it; else NULL */
	bool takes_access;		/* somebody who may attach, or may write, may not any more */
};

typedef void (*plan_change_fn)(const struct plan_change *change, void *arg);

/*
 * Calls fn for each key of a segment or a template that differs, in the table's order. Where it was written is no
 * difference, nor is the order of a list's entries, nor a user's or group's name as long as it is the same number. What is
 * created from a template keeps what it was made with, so all changes of a template are PLAN_LIVE. A max_size that merely
 * follows size on both sides is not told apart from it. ret_effects: bit N: there was a change of enum plan_effect N; may
 * be NULL. fn may be NULL. 0, or -ENOMEM.
 */
int plan_compare(const struct definition *running, const struct definition *next, plan_change_fn fn, void *arg,
    unsigned *ret_effects);

/* Whether nothing differs that plan_compare would tell. */
bool plan_equal(const struct definition *running, const struct definition *next);

/*
 * The running definition with next's values of the keys that act at once, and next's place; size is not among them. Of a
 * template: next. NULL when memory is short.
 */
struct definition *plan_merge(const struct definition *running, const struct definition *next);

/* The running definition with another size, at most its max_size. NULL when memory is short. */
struct definition *plan_grow(const struct definition *running, uint64_t size_bytes);

/* The same as plan_compare of the keys of daemon and daemon.limits: PLAN_LIVE and PLAN_NEVER. */
int plan_compare_daemon(const struct conf_daemon *running, const struct conf_daemon *next, plan_change_fn fn, void *arg,
    unsigned *ret_effects);

/* A change's effect in one word: "live", "grow", "drained", "never". */
const char *plan_effect_name(enum plan_effect effect);

#endif
