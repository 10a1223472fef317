/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the log says of a lock that was recovered, or could not be: for whoever has to look after it at night. */
#ifndef DAEMON_RECOVERYLOG_H
#define DAEMON_RECOVERYLOG_H

#include "daemon/recovery.h"

/* Anything a client can bring about at will: so many entries of each outcome in some seconds, and no more. */
void recoverylog_write(const char *segment, const struct lock *lock, const struct locks_dead *dead,
    enum recovery_outcome outcome);

#endif
