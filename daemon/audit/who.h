/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* AUDIT_WHO: which processes hold the objects that are asked for. */
#ifndef DAEMON_AUDIT_WHO_H
#define DAEMON_AUDIT_WHO_H

struct answer;
struct question;

/* 0, or the negative errno with which the asker went away. */
int who_serve(const struct question *question, struct answer *answer);

#endif
