/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* How failures are told: a sentence on standard error, with --json also a document on standard output, and the status. */
#ifndef CLIENT_SEGMENTCTL_REPORT_H
#define CLIENT_SEGMENTCTL_REPORT_H

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"

/* Tells a failure and returns status. Said once a run, as the last thing. */
int report_failure(const struct segmentctl *ctl, enum segmentctl_status status, const char *format, ...)
    BASE_PRINTF(3, 4);
/* The same for a wrong command line, followed by how it is written. */
int report_usage(const struct segmentctl *ctl, const char *format, ...) BASE_PRINTF(2, 3);
int report_no_memory(const struct segmentctl *ctl);
/* The daemon said what it must not. */
int report_protocol(const struct segmentctl *ctl, const char *what);

/* The exit status for a negative errno of connecting, and for one of a request. */
enum segmentctl_status report_connect_status(int r);
enum segmentctl_status report_request_status(int r);

/* The result of json_print or of printing a table: tells its failure. Returns the exit status. */
int report_output(const struct segmentctl *ctl, int r);

#endif
