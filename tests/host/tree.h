/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A root directory of files as a host would show them, for what takes one. Each test has one of its own. */
#ifndef TESTS_HOST_TREE_H
#define TESTS_HOST_TREE_H

#include "base/base.h"

extern char tree_root[64];

/* As an unchecked fixture: makes and removes what all tests' trees are in. As a checked one: makes an empty tree. */
void tree_make_top(void);
void tree_remove_top(void);
void tree_make(void);

/* Writes a file below the root, and the directories above it. */
void tree_put(const char *path, const char *format, ...) BASE_PRINTF(2, 3);
void tree_make_dir(const char *path);
void tree_remove(const char *path);

#endif
