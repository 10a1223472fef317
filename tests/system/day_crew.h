/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* All client processes of a day of operation, as the test sees them: who is where, and what another attachment comes to. */
#ifndef TESTS_SYSTEM_DAY_CREW_H
#define TESTS_SYSTEM_DAY_CREW_H

#include "tests/system/day_client.h"

#define CREW_MAX	64

struct crew_member {
	struct day_client self;
	struct harness_child child;
	bool is_away;			/* it was told to leave */
	int expected;			/* of another attachment: 0, or a negative errno */
	uint64_t n_rounds;		/* as it last said */
};

struct crew {
	const char *socket;
	struct crew_member members[CREW_MAX];
	unsigned n_members;
};

/* Starts n clients of a role in a segment, and goes on when they are at work. */
void crew_start(struct crew *crew, enum day_role role, const char *segment, unsigned n);
/* Tells a word to those of a segment, and hears the answer from each. */
void crew_tell(struct crew *crew, const char *segment, const char *word, const char *answer);
/* Other attachments of a segment will come to this; with guests_only, those of another uid's clients alone. */
void crew_expect(struct crew *crew, const char *segment, bool guests_only, int expected);
/* Everybody looks whether all is as it should be, and has worked since the last time. */
void crew_look(struct crew *crew);
/* Waits until the daemon counts as attached who is, and no more. */
void crew_settle(const struct crew *crew, struct harness_conn *conn);
/* The day is over: how many rounds were verified in all. Everybody ends. */
uint64_t crew_end(struct crew *crew);

#endif
