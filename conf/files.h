/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which files a configuration is: the main one, then segments.d beside it. Internal to conf/. */
#ifndef CONF_FILES_H
#define CONF_FILES_H

#include "conf/source.h"

/* Called for each file that could be read, in order. 0 or a negative errno, which ends it. */
typedef int (*files_fn)(const struct source *source, void *arg);

/* Reads path and the segments.d beside it with all that they include; what is wrong is reported. 0 or a negative errno. */
int files_read(const char *path, struct conf_report *report, files_fn fn, void *arg);

#endif
