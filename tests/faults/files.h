/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations on a segment "g" in a file that is not as a daemon leaves it: unclean, larger than it was, marked by somebody who is
 * gone and still at it, behind a link; or that is not to be had in the end. Rows of operations.c.
 */
#ifndef TESTS_FAULTS_FILES_H
#define TESTS_FAULTS_FILES_H

#include "tests/faults/scene.h"

void files_prepare_unclean(struct faults_scene *scene);
void files_settle_unclean(struct faults_scene *scene);

void files_prepare_holeless(struct faults_scene *scene);
void files_settle_holeless(struct faults_scene *scene);

/* By a writer, of a daemon before; or of this one, whose segment is removed. */
void files_prepare_enlarged(struct faults_scene *scene);
void files_prepare_enlarged_use(struct faults_scene *scene);
void files_settle_enlarged(struct faults_scene *scene);

void files_prepare_held(struct faults_scene *scene);
int files_await(struct faults_scene *scene);

void files_prepare_link(struct faults_scene *scene);
void files_settle(struct faults_scene *scene);

/* What it is to begin with is not there: nothing is left of what was made. */
void files_configure_hopeless(struct faults_scene *scene);
int files_fail(struct faults_scene *scene);

void files_prepare_full(struct faults_scene *scene);
int files_find_no_room(struct faults_scene *scene);
void files_settle_full(struct faults_scene *scene);

#endif
