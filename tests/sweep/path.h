/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The instructions that a stepped child came by, so that another one is brought to the same position sooner: it runs
 * freely to an instruction that comes before it, for the first time or the third, and steps from there. Where a machine
 * does not tell, all is stepped.
 */
#ifndef TESTS_SWEEP_PATH_H
#define TESTS_SWEEP_PATH_H

#include "tests/sweep/step.h"

struct path {
	struct {
		uintptr_t address;
		uint64_t n_before;	/* times that it came before this one */
	} *list;			/* of the instruction that is next, by position; NULL: not known here */
	uint64_t n;
};

#define PATH_NULL	{ .list = NULL }

/* Where the child stands now is the next position, from 0 on. 0, -ENOMEM, -errno. */
int path_add(struct path *path, const struct stepped *child);

/* From position 0 to another one. 0, -errno, STEP_E_END. */
int path_go(const struct path *path, struct stepped *child, uint64_t position);

void path_deinit(struct path *path);

#endif
