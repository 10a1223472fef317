/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations about what nobody has: what goes by a rule of the daemon's, and what `segmentctl orphans` lists and removes, which asks
 * segmentd-audit alone. Rows of operations.c.
 */
#ifndef TESTS_FAULTS_STRAYS_H
#define TESTS_FAULTS_STRAYS_H

#include "tests/faults/scene.h"

void strays_prepare_posix(struct faults_scene *scene);
int strays_sweep_posix(struct faults_scene *scene);
void strays_settle_posix(struct faults_scene *scene);
/* Two, one after the other. */
int strays_sweep_two(struct faults_scene *scene);
void strays_settle_two(struct faults_scene *scene);

/* A rule that comes by a reload, and what it is about is there already. */
void strays_prepare_rule(struct faults_scene *scene);
int strays_begin(struct faults_scene *scene);
void strays_settle_rule(struct faults_scene *scene);

void strays_prepare_sysv(struct faults_scene *scene);
int strays_sweep_sysv(struct faults_scene *scene);
void strays_settle_sysv(struct faults_scene *scene);

/* A file in /dev/shm and System V memory, without a rule. */
void strays_prepare_both(struct faults_scene *scene);
int strays_list(struct faults_scene *scene);
int strays_remove(struct faults_scene *scene);
void strays_settle_both(struct faults_scene *scene);

void strays_prepare_stopped(struct faults_scene *scene);
int strays_remove_stopped(struct faults_scene *scene);
void strays_settle_stopped(struct faults_scene *scene);

void strays_prepare_left(struct faults_scene *scene);
int strays_list_left(struct faults_scene *scene);
void strays_settle_left(struct faults_scene *scene);

#endif
