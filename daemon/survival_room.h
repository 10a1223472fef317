/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whether a start has the descriptors that restoring takes, asked before anything of it is done: a connection takes another one for
 * its process, and what there is none for would be lost. It refuses a start that would lose something by that alone, and no other:
 * the daemon before may have had its limit full.
 */
#ifndef DAEMON_SURVIVAL_ROOM_H
#define DAEMON_SURVIVAL_ROOM_H

#include <stddef.h>

struct survival;

/* After all was read, also where the box is limited. 0, or SURVIVAL_E_FEW with a sentence that has the limit, and the figure. */
int survival_judge_room(const struct survival *survival, char *text, size_t text_size);

#endif
