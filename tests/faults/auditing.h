/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Operations in which segmentd-audit is asked who has a segment. Rows of operations.c. */
#ifndef TESTS_FAULTS_AUDITING_H
#define TESTS_FAULTS_AUDITING_H

#include "tests/faults/scene.h"

int auditing_who_memfd(struct faults_scene *scene);
int auditing_who_posix(struct faults_scene *scene);
int auditing_who_sysv(struct faults_scene *scene);
/* Where it cannot see all. */
int auditing_who_in_part(struct faults_scene *scene);
void auditing_settle_who(struct faults_scene *scene);

/* Whoever answered ends that is asked nothing more for a while. */
void auditing_prepare_idle(struct faults_scene *scene);
int auditing_idle(struct faults_scene *scene);

/* Whoever asks next has a new one. */
void auditing_end(struct faults_scene *scene);

#endif
