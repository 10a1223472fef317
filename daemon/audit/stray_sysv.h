/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* System V segments of this IPC namespace: the kernel counts who is attached. */
#ifndef DAEMON_AUDIT_STRAY_SYSV_H
#define DAEMON_AUDIT_STRAY_SYSV_H

#include "base/base.h"
#include "host/audit.h"

/* What is in memory of each segment, which is asked for once for all of them. */
struct stray_sysv_resident;

/* Never fails: without it bytes in memory are not known, and 0. */
struct stray_sysv_resident *stray_sysv_resident_new(void);
struct stray_sysv_resident *stray_sysv_resident_free(struct stray_sysv_resident *resident);

/* Judges the segment that has the id, and fills in the whole row. */
void stray_sysv_judge(const struct stray_sysv_resident *resident, int32_t id, struct audit_stray *ret_stray);

/*
 * Judges the candidate, and if it is still what it was and nobody is attached removes it, if it is to be: its key and id go at
 * once, its memory with who attached in between, if anybody did (AUDIT_REMOVED, -EBUSY and how many).
 */
void stray_sysv_serve(const struct stray_sysv_resident *resident, const struct audit_candidate *candidate, struct audit_stray *ret_stray);

/* The highest place in the kernel's table that is taken, or 0; or a negative errno. */
int stray_sysv_last(void);

/* The segment at a place of the table: 0, -ENOENT: there is none; or another negative errno. */
int stray_sysv_at(const struct stray_sysv_resident *resident, int place, struct audit_stray *ret_stray);

#endif
