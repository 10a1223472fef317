/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Reading a configuration: what may take long and is given bytes of all kinds is done here, and not in the daemon. */
#ifndef DAEMON_WORKER_PARSE_H
#define DAEMON_WORKER_PARSE_H

#include "daemon/worker/job.h"

#define PARSE_INPUT_MAX	((uint64_t)40 << 20)	/* bytes of a job's second fd */

/*
 * Does a JOB_PARSE or JOB_PARSE_TEXTS: what came of it, problems or a configuration, is packed into out_fd. The status, with
 * the result's text set when it is not 0: negative errno.
 */
int parse_configuration(int out_fd, int in_fd, const struct job *job, struct job_result *result);

#endif
