/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between reload.c, which has the queue and the turns, and the phases that a turn works on. */
#ifndef DAEMON_RELOAD_PHASES_H
#define DAEMON_RELOAD_PHASES_H

#include "daemon/reload.h"

#define RELOAD_TURN_NS	(NS_PER_MS / 2)

/* The next turn is as soon as the loop comes to it. */
void reload_turn_soon(struct reload *reload);

/* RELOAD_READING: what the worker makes of the files is taken when it is done. The turns begin then, or when it could not begin. */
void reload_read(struct reload *reload);

/* One thing of the phase, which is one of those behind RELOAD_READING. False: the phase is over. */
bool reload_do_some(struct reload *reload);

#endif
