/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* AUDIT_LIST and AUDIT_JUDGE: which objects nobody holds, and the removal of those that are named. */
#ifndef DAEMON_AUDIT_STRAYS_H
#define DAEMON_AUDIT_STRAYS_H

struct answer;
struct question;

/* Both: 0, or the negative errno with which the asker went away. */
int strays_list(const struct question *question, struct answer *answer);
int strays_judge(const struct question *question, struct answer *answer);

#endif
