/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Operations that administrators order: plans and reloads, what is provisioned by them, uploads, a segment that is tried again. Rows of
 * operations.c; the segment "g" is theirs.
 */
#ifndef TESTS_FAULTS_ORDERS_H
#define TESTS_FAULTS_ORDERS_H

#include "tests/faults/scene.h"

/* What is configured when it begins. */
void orders_configure_memfd(struct faults_scene *scene);
void orders_configure_posix(struct faults_scene *scene);
void orders_configure_file(struct faults_scene *scene);
void orders_configure_reserved(struct faults_scene *scene);
void orders_configure_init(struct faults_scene *scene);
void orders_prepare_growth(struct faults_scene *scene);
void orders_prepare_lists(struct faults_scene *scene);
void orders_prepare_long_growth(struct faults_scene *scene);
void orders_prepare_long_growth_sysv(struct faults_scene *scene);
int orders_stop_growth(struct faults_scene *scene);
void orders_prepare_removal(struct faults_scene *scene);
void orders_prepare_retry(struct faults_scene *scene);
void orders_prepare_writeback(struct faults_scene *scene);
void orders_prepare_store(struct faults_scene *scene);

int orders_plan(struct faults_scene *scene);
int orders_plan_uploaded(struct faults_scene *scene);
int orders_reload(struct faults_scene *scene);
/* Likewise; and until it is ready. */
int orders_provision(struct faults_scene *scene);
int orders_retry(struct faults_scene *scene);
/* Somebody stores to a file, and leaves: until it is on the disk. */
int orders_store(struct faults_scene *scene);

void orders_settle(struct faults_scene *scene);
void orders_settle_file(struct faults_scene *scene);
void orders_settle_init(struct faults_scene *scene);
void orders_settle_writeback(struct faults_scene *scene);
void orders_settle_store(struct faults_scene *scene);

#endif
