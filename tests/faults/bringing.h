/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations in which somebody leaves something to others who are to see to it: descriptors that nobody has asked for, workers
 * that have nothing to do, memory that is to be removed and that somebody has. Rows of operations.c.
 */
#ifndef TESTS_FAULTS_BRINGING_H
#define TESTS_FAULTS_BRINGING_H

#include "tests/faults/scene.h"

/* It is hung up on, and what it sent is a worker's to let go of. */
int bringing_unwanted(struct faults_scene *scene);
void bringing_settle(struct faults_scene *scene);

/* A worker that has to see to it does not come to an end, and is found stuck. */
void bringing_prepare_stuck(struct faults_scene *scene);
int bringing_stuck(struct faults_scene *scene);
/* For others. */
void bringing_stop_workers(const struct faults_scene *scene);
void bringing_continue_workers(const struct faults_scene *scene);

/* Workers end that have nothing to do. */
int bringing_nothing(struct faults_scene *scene);

/* System V memory that is to be removed, and that goes when somebody lets go of it whom the daemon does not know. */
int bringing_foreign(struct faults_scene *scene);
void bringing_settle_foreign(struct faults_scene *scene);

#endif
