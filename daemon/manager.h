/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The daemon as a whole: owns every object, starts it, runs the loop, and stops it. */
#ifndef DAEMON_MANAGER_H
#define DAEMON_MANAGER_H

#include "conf/load.h"

/* Runs the daemon on a configuration until it is told to stop. 0, or a negative errno that has been logged. */
int manager_run(struct conf *conf, const char *file);

#endif
