/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Clients that come when the daemon may have no more descriptors: they are told so, and it goes on. A row of operations.c. */
#ifndef TESTS_FAULTS_REFUSING_H
#define TESTS_FAULTS_REFUSING_H

#include "tests/faults/scene.h"

int refusing_clients(struct faults_scene *scene);
void refusing_settle(struct faults_scene *scene);

#endif
