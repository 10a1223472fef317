/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon has little to do for many who wait, and its workers much for few. So it asks the scheduler for short turns that come
 * soon, which any process may: it takes no more of a CPU for that, and whoever is at a long piece of work there waits.
 */
#ifndef DAEMON_PROMPTNESS_H
#define DAEMON_PROMPTNESS_H

/* What is started from here on has turns of the usual length again. Linux before 6.12 has one length for all, and keeps to it. */
void promptness_ask(void);

#endif
