/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between survival's own files: a segment of the daemon before, step by step. */
#ifndef DAEMON_SURVIVAL_STEPS_H
#define DAEMON_SURVIVAL_STEPS_H

#include "daemon/survival.h"
#include "daemon/survival_past.h"

/* Takes it in by its name and number. 0 or -ENOMEM. */
int survival_register(struct survival *survival, const struct past_segment *past, struct segment **ret_segment);
/* past->segment, which is registered, has its memory. Consumes what is in holding. Results as segment_revive's. */
int survival_give_holding(struct past_segment *past, struct holding *holding);
/* What was known of its locks. */
void survival_revive_locks(struct survival *survival, const struct past_segment *past);
/* Those who have it follow, and the kernel's word on them. Its past->segment may be freed. */
void survival_resume_returned(struct survival *survival, struct past_segment *past);

#endif
