/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What of an earlier daemon's is not taken over, told before it is let go: what it was, how large, and who had it. */
#ifndef DAEMON_SURVIVAL_TELL_H
#define DAEMON_SURVIVAL_TELL_H

#include "base/base.h"
#include "daemon/survival_past.h"

void survival_tell(const char *format, ...) BASE_PRINTF(1, 2);

/* A segment of which there is a row. The past is sorted. */
void survival_tell_lost(const struct past *past, const struct past_segment *segment, const char *why);
/* Descriptors of which there is none. */
void survival_tell_unknown(const struct past *past);

#endif
