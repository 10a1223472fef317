/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The configuration in effect, as bytes in state_dir (conf/pack.h): what a successor goes on with where the files are not valid by
 * then and there is something to lose. It is replaced as a whole, and is there as long as the ledger has anything.
 */
#ifndef DAEMON_KEPT_H
#define DAEMON_KEPT_H

#include <stdbool.h>

#include "conf/pack.h"

#define KEPT_FILE	"configuration"
#define KEPT_ORIGIN_FILE	"configuration.origin"	/* which files it was read from, and as what the kernel had them */

/* One that takes the place of the one before. */
struct kept {
	int dir_fd;
	int fd;
	uint64_t offset;
};

#define KEPT_NULL	{ .dir_fd = -1, .fd = -1 }

enum {
	KEPT_E_MORE = 1,		/* not all was copied yet */
	KEPT_E_CHANGED = 2		/* the files are not known to be what they were */
};

/* What the next one is written beside. 0 or a negative errno. */
int kept_begin(struct kept *kept, const char *state_dir);
/* A piece of a file that has it packed, of some 0.1 ms. 0, KEPT_E_MORE or a negative errno. */
int kept_copy(struct kept *kept, int fd);
/* It is the one from now on. 0 or a negative errno: the one before is. */
int kept_commit(struct kept *kept);
/* One that was begun and is not committed is thrown away. */
void kept_deinit(struct kept *kept);

/* All of these, and what it was read from, which may be vague. 0, PACK_E_TOO_LARGE or a negative errno. */
int kept_write(const char *state_dir, const struct conf *conf, const struct origin *origin);

/* In the log, what follows from a result of these that is not 0. */
void kept_tell_failure(const char *state_dir, int r);

/* 0, or not 0 with why, of PACK_WHY_SIZE bytes. */
int kept_read(const char *state_dir, char *why, struct conf **ret_conf);

/*
 * Likewise, if reading the files anew would come to the same: file is the main one. Not 0: that is not so, or is not known. *ret_known
 * finds its definitions by their bytes (conf/pack.h).
 */
int kept_read_unchanged(const char *state_dir, const char *file, struct conf **ret_conf, struct pack_known **ret_known);

void kept_remove(const char *state_dir);

#endif
