/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the tests of the rules of orphans for POSIX names stand on: rules for a directory of the test's own, and a judge that
 * says what the test wants to hear.
 */
#ifndef TESTS_DAEMON_ORPHANS_RIG_H
#define TESTS_DAEMON_ORPHANS_RIG_H

#include "base/base.h"
#include "daemon/orphans.h"

/* The one of the test that runs. */
struct orphans_rig {
	struct event_base *base;
	struct workers workers;
	struct orphans orphans;
	char dir[64];
	int dir_fd;
	struct orphans_ask *ask;	/* that is out */
	unsigned n_asks;
	int refuses;			/* the judge, with this */
	bool is_late;			/* it has others to judge before */
	const char *ours;
};
extern struct orphans_rig rig;

struct rule {
	const char *posix;
	uint64_t after_ms;
	bool remove;
};

int set_rules(const struct rule *rules, size_t n);
void begin(const struct rule *rules, size_t n);
void end(void);

#define BEGIN(...)								\
	do {									\
		static const struct rule rules_[] = { __VA_ARGS__ };		\
		begin(rules_, BASE_ARRAY_SIZE(rules_));				\
	} while (0)
#define SET_RULES(...)								\
	do {									\
		static const struct rule rules_[] = { __VA_ARGS__ };		\
		ck_assert_int_eq(set_rules(rules_, BASE_ARRAY_SIZE(rules_)), 0);	\
	} while (0)

/* Opens and closes it; makes it if it is not there. */
void touch(const char *name, int flags);

void await_ask(void);
/* It is asked about exactly these. */
void expect_ask(const char *const *names, size_t n);

#define EXPECT_ASK(...)									\
	do {										\
		static const char *const names_[] = { __VA_ARGS__ };			\
		expect_ask(names_, BASE_ARRAY_SIZE(names_));				\
	} while (0)

/* The same of all; and the loop goes on until that has been dealt with. The next question may be out then. */
void answer(enum audit_verdict verdict);
/* Nothing but "fence" is asked about, which came after whatever else happened. */
void expect_quiet(const char *fence);

#endif
