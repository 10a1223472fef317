/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The daemon as a whole: owns every object, starts it, runs the loop, and stops it. */
#ifndef DAEMON_MANAGER_H
#define DAEMON_MANAGER_H

#include "daemon/start.h"

/* Runs the daemon until it is told to stop; takes what it needs of start. 0, or a negative errno that has been logged. */
int manager_run(struct start *start);

#endif
