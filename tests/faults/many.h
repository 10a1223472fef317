/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations on a host with so much of others' that what the kernel tells of it is read in several pieces: names in /dev/shm, System V
 * memory; or with so little room that there is none. Rows of operations.c.
 */
#ifndef TESTS_FAULTS_MANY_H
#define TESTS_FAULTS_MANY_H

#include "tests/faults/scene.h"

void many_prepare_names(struct faults_scene *scene);
void many_settle_names(struct faults_scene *scene);

void many_prepare_memories(struct faults_scene *scene);
void many_settle_memories(struct faults_scene *scene);
void many_prepare_memories_swept(struct faults_scene *scene);
void many_settle_memories_swept(struct faults_scene *scene);

#endif
