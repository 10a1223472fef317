/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations that make a segment "g" as a definition asks for it: locked, on a node, of huge pages, of each backend; or that
 * cannot, since somebody has its name; and that scrub it. Rows of operations.c; orders.h runs and settles most of them.
 */
#ifndef TESTS_FAULTS_MAKING_H
#define TESTS_FAULTS_MAKING_H

#include "tests/faults/scene.h"

void making_configure_locked(struct faults_scene *scene);
void making_configure_locked_sysv(struct faults_scene *scene);
void making_configure_placed(struct faults_scene *scene);
void making_configure_huge(struct faults_scene *scene);

/* Two at once, which share a file system. */
void making_configure_two(struct faults_scene *scene);
void making_settle_two(struct faults_scene *scene);

/* Its name is another's: that is a sentence. */
void making_prepare_taken(struct faults_scene *scene);
void making_prepare_taken_sysv(struct faults_scene *scene);
int making_taken(struct faults_scene *scene);
void making_settle_taken(struct faults_scene *scene);

/* Its pages are given back when its last client has gone, whatever that has made of it. */
void making_prepare_scrubbed_posix(struct faults_scene *scene);
void making_prepare_scrubbed_sysv(struct faults_scene *scene);
int making_cut_short(struct faults_scene *scene);
int making_enlarge(struct faults_scene *scene);
/* Somebody has it, and another mode is asked for. */
void making_prepare_admission(struct faults_scene *scene);
void making_settle_admission(struct faults_scene *scene);
int making_scrub_sysv(struct faults_scene *scene);
void making_settle_scrubbed(struct faults_scene *scene);

#endif
