/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A manager with Restart=always starts us again at once, and what kept us from running will do so again. So a daemon that cannot
 * run, or crashes, does not end sooner than two seconds after its start, by when that may have been mended: the first restart of
 * one that has run is immediate, and one that fails at every start costs next to nothing. What the manager keeps for us is there
 * meanwhile, and clients wait. What ends us from outside, as SIGKILL, is not waited for.
 *
 * Only where the manager has us as a unit of its own; others that have us tell them how we are have their own ways.
 */
#ifndef DAEMON_REST_H
#define DAEMON_REST_H

void rest_init(void);			/* from here on the time counts; crashes are seen to from here on */
void rest_before_failure(void);		/* we are to end, since we cannot run; a stop, a reload or the like ends the rest */

#endif
