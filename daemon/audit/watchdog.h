/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The last resort against a kernel that keeps us waiting: this program ends by SIGALRM when what it began takes too long. */
#ifndef DAEMON_AUDIT_WATCHDOG_H
#define DAEMON_AUDIT_WATCHDOG_H

/* What begins now has AUDIT_SECONDS; not counted is time in which the machine, or this whole program, stood still. */
void watchdog_begin(void);
void watchdog_end(void);

#endif
