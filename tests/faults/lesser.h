/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations of segmentd-audit where somebody has less than elsewhere: it has a kernel that answers no queries about mappings, or no
 * rights; who asks is not root; or an object can be told from what another file system has only by asking once more.
 */
#ifndef TESTS_FAULTS_LESSER_H
#define TESTS_FAULTS_LESSER_H

#include "tests/faults/scene.h"

void lesser_prepare_text(struct faults_scene *scene);
void lesser_settle_who(struct faults_scene *scene);

void lesser_prepare_rightless(struct faults_scene *scene);

void lesser_prepare_twin(struct faults_scene *scene);
void lesser_settle_twin(struct faults_scene *scene);

void lesser_prepare_group(struct faults_scene *scene);
int lesser_list_of_group(struct faults_scene *scene);
void lesser_settle_group(struct faults_scene *scene);

#endif
