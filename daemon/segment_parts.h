/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between a segment's own files. */
#ifndef DAEMON_SEGMENT_PARTS_H
#define DAEMON_SEGMENT_PARTS_H

#include "daemon/segment.h"

/* Enters a state, and tells who waits. The segment may be freed in it, when it is gone. */
void segment_enter(struct segment *segment, enum protocol_state state);

/* Makes its memory, or of a scrub makes it anew. */
void segment_provision(struct segment *segment, bool is_scrub);

void segment_unwatch(struct segment *segment);

#endif
