/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Operations that are about who connects, and how connections end. Rows of operations.c. */
#ifndef TESTS_FAULTS_CONNECTING_H
#define TESTS_FAULTS_CONNECTING_H

#include "tests/faults/scene.h"

/* One who is in more groups than its own. */
int connecting_grouped(struct faults_scene *scene);
/* A session is followed by another one, and ends. */
int connecting_follow(struct faults_scene *scene);

/* It sends its own connection, and goes: behind a request that waits, or behind that and an empty message. */
int connecting_lie(struct faults_scene *scene);
int connecting_hide(struct faults_scene *scene);

/* More connections end with descriptors in their queues than a uid may leave to workers. */
void connecting_prepare_crowd(struct faults_scene *scene);
void connecting_gather_crowd(struct faults_scene *scene);
int connecting_end_in_crowd(struct faults_scene *scene);

#endif
