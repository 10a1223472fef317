/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Files of the configuration, whole and bounded. */
#ifndef CONF_FILE_H
#define CONF_FILE_H

#include <stddef.h>

#include "conf/origin.h"

#define FILE_WHY_SIZE	256

/* Positive results. */
enum {
	FILE_E_REFUSED = 1,		/* why, of FILE_WHY_SIZE bytes, says why */
	FILE_E_GONE = 2			/* there is no such file; why is set, too */
};

/* Reads all of a regular file (or /dev/null). What it was then goes into origin, which may be NULL. *ret_bytes is the caller's to free. */
int file_read(const char *path, struct origin *origin, char *why, char **ret_bytes, size_t *ret_length);

/*
 * The paths of dir's *.conf in byte order of their names. A dir that does not exist has none. *ret_paths and what it holds are
 * the caller's to free.
 */
int file_list(const char *dir, struct origin *origin, char *why, char ***ret_paths, size_t *ret_n);

/* path, relative to the directory that `beside` is in; NULL when memory is short. */
char *file_beside(const char *beside, const char *path);

#endif
