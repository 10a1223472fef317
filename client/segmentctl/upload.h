/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sending configuration files to the daemon, for it to judge. */
#ifndef CLIENT_SEGMENTCTL_UPLOAD_H
#define CLIENT_SEGMENTCTL_UPLOAD_H

#include "client/segmentctl/ask.h"
#include "conf/load.h"

/*
 * Reads a file, what it includes, and the segments.d beside it, with the caller's rights; and sends their contents. Where that
 * cannot be read nothing is sent, and the report has problems. An exit status, or a
 * negative errno that is not told yet.
 */
int upload_file(struct ask *ask, const char *path, struct conf_report *report);

#endif
