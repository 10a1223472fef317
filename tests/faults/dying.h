/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Operations in which a process dies in a section, of whatever lock: what it has left is put right. Rows of operations.c. */
#ifndef TESTS_FAULTS_DYING_H
#define TESTS_FAULTS_DYING_H

#include "tests/faults/scene.h"

/* With memory of one page size or the other, and nothing but a small log. */
int dying_memfd(struct faults_scene *scene);
int dying_sysv(struct faults_scene *scene);
/* It has hung up before. */
int dying_unheard(struct faults_scene *scene);
void dying_settle(struct faults_scene *scene);

/* With a log that a worker rolls back, or an application's mutex; of a segment of its own. */
void dying_prepare_large(struct faults_scene *scene);
int dying_large(struct faults_scene *scene);
void dying_settle_large(struct faults_scene *scene);
void dying_prepare_mutex(struct faults_scene *scene);
void dying_prepare_mutex_file(struct faults_scene *scene);
int dying_mutex(struct faults_scene *scene);
void dying_settle_mutex(struct faults_scene *scene);
void dying_settle_mutex_file(struct faults_scene *scene);

/* It has died, and its lock is poisoned: it is recovered by hand. */
void dying_prepare_poison(struct faults_scene *scene);
int dying_recover(struct faults_scene *scene);
void dying_settle_poison(struct faults_scene *scene);

#endif
