/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The rules of `orphans`: which of them an object falls under, how one is said in words, and what differs between two lists of
 * them. Of several that fit, the first one counts. What they say never changes: a reload brings another set, while what was begun
 * under the old one keeps that.
 */
#ifndef DAEMON_ORPHANS_RULES_H
#define DAEMON_ORPHANS_RULES_H

#include <sys/shm.h>

#include "conf/load.h"

#define ORPHANS_RULE_TEXT_SIZE	640

struct orphans_rules {
	unsigned n_refs;
	struct conf_orphan *list;
	size_t n;
	size_t n_posix;
	size_t n_sysv;
};

/* Takes the list over, of which nothing is left in *list and *n. NULL when memory is short: it is as it was then. */
struct orphans_rules *orphans_rules_new(struct conf_orphan **list, size_t *n);
struct orphans_rules *orphans_rules_ref(struct orphans_rules *rules);
struct orphans_rules *orphans_rules_unref(struct orphans_rules *rules);

/* The rule for an object of /dev/shm (without the slash), or for a System V segment; NULL: there is none. */
const struct conf_orphan *orphans_rules_of_name(const struct orphans_rules *rules, const char *name);
const struct conf_orphan *orphans_rules_of_segment(const struct orphans_rules *rules, const struct shmid_ds *status);

/* Whether two are about the same objects; and whether they also do the same with them. */
bool orphans_rule_is_same(const struct conf_orphan *a, const struct conf_orphan *b);
bool orphans_rule_is_equal(const struct conf_orphan *a, const struct conf_orphan *b);
/* Whether two lists of rules come to the same, in the same order. */
bool orphans_rules_are_equal(const struct conf_orphan *a, size_t n_a, const struct conf_orphan *b, size_t n_b);

/* A list that is equal to them was read: they stand where it says. */
void orphans_rules_move(struct orphans_rules *rules, struct conf_orphan *list);

/* "posix "/psm_*"", "sysv uid 1000, key 0x00007a2f": what it is about. Returns buf. */
const char *orphans_rule_describe(const struct conf_orphan *rule, char *buf, size_t size);
/* "remove after 30s". Returns buf. */
const char *orphans_rule_describe_deed(const struct conf_orphan *rule, char *buf, size_t size);

#endif
