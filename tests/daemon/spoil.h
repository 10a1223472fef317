/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A file of rows in a state directory of the test's own, spoilt: its bytes, or something else in its place. */
#ifndef TESTS_DAEMON_SPOIL_H
#define TESTS_DAEMON_SPOIL_H

#include "base/base.h"

/* What may stand in its place. */
enum spoil_other {
	SPOIL_NOTHING,
	SPOIL_LINK,
	SPOIL_DIRECTORY,
	SPOIL_FIFO,
	SPOIL_TEXT,			/* a file of ours, of somebody's notes */
	SPOIL_WRITABLE,			/* likewise, and others may write into it */
	SPOIL_OTHER_N
};

void spoil_put(const char *path, enum spoil_other other);

void spoil_write(const char *path, size_t at, const void *bytes, size_t length);
void spoil_read(const char *path, size_t at, void *bytes, size_t length);

/* Removes the directory and all that is in it. How many of its files had the file's name and a dot before theirs. */
unsigned spoil_end(const char *dir, const char *file);

#endif
