/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a configuration was read from, so that who has kept the outcome can tell without reading it again whether it would be the
 * same: each file and directory that was looked at, as the kernel described it before it was read, and the users' database. A text
 * of lines. What was changed so lately that another change could have left the same times is no origin at all.
 */
#ifndef CONF_ORIGIN_H
#define CONF_ORIGIN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

struct origin {
	char *text;			/* NULL: nothing was looked at yet */
	size_t length;
	const char *file;		/* the main file, as it was named: the caller's */
	bool is_vague;			/* nothing follows from it: too lately changed, or memory ran short */
};

#define ORIGIN_NULL	{ 0 }

/* path was looked at; status NULL: it was not there. origin NULL: nobody asks. */
void origin_note(struct origin *origin, const char *path, const struct stat *status);
/* Likewise, as it is now. */
void origin_note_path(struct origin *origin, const char *path);
/* What depends on who reads it: the environment, the user, and what names of users stand for. */
void origin_note_reader(struct origin *origin);

/* Whether all of it is as it was noted. */
bool origin_holds(const char *text);

void origin_deinit(struct origin *origin);

#endif
