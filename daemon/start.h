/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a start goes by: the configuration's files, and what a daemon before may have in use. That one's state_dir is the one that
 * counts, and while its segments are in use no start fails for what somebody wrote into a file.
 */
#ifndef DAEMON_START_H
#define DAEMON_START_H

#include "conf/load.h"
#include "conf/pack.h"
#include "systemd/inherited.h"

#define START_PROBLEM_SIZE	640
#define START_STATE_NAME	"state-dir"	/* in the service manager's store: the directory */

struct start {
	const char *file;		/* the configuration's main file */
	struct conf *conf;		/* by which the daemon starts */
	struct origin origin;		/* of its files, where they were read */
	bool is_unchanged;		/* they were not, since they are what they were: conf is what was kept of them, */
	struct pack_known *known;	/* and this finds its definitions by their bytes */
	char *dir;			/* state_dir of the daemon before; NULL: it is not known */
	bool is_kept;			/* not by its files, which are not valid, but by what was in effect before */
	char problem[START_PROBLEM_SIZE];	/* then: what is wrong with them, as a reload would have it; else "" */
	struct inherited inherited;	/* what the service manager handed down */
};

#define START_NULL	{ .inherited = INHERITED_NULL, .origin = ORIGIN_NULL }

/*
 * What the service manager handed down; and start->conf already, if the daemon before had segments in use by the same files: what it
 * has kept of them need not be read and judged once more. Else it is NULL, and start_init() is to follow. 0, or not 0: the start fails,
 * and why has been logged. deinit in any case.
 */
int start_begin(struct start *start, const char *file);

/*
 * Of what conf_load returned for the file; consumes conf, which is NULL if that was not 0. 0: start->conf is there. Else the start
 * fails, and why has been logged. After start_begin().
 */
int start_init(struct start *start, struct conf *conf, const struct conf_report *report);
void start_deinit(struct start *start);

#endif
