/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <errno.h>
#include <stdlib.h>

#include "tests/sweep/path.h"

#define COST_OF_A_STOP	3	/* in steps */

int
path_add(struct path *path, const struct stepped *child)
{
	void *grown = realloc(path->list, (path->n + 1) * sizeof(path->list[0]));
	uint64_t n_before = 0;
	uintptr_t address;
	int r = step_where(child, &address);

	if (grown)
		path->list = grown;
	else
		r = -ENOMEM;
	if (r)
		return r;
	for (uint64_t i = 0; i < path->n; i++)
		n_before += path->list[i].address == address;
	path->list[path->n].address = address;
	path->list[path->n++].n_before = n_before;
	return 0;
}

int
path_go(const struct path *path, struct stepped *child, uint64_t position)
{
	uint64_t from = 0, least = position;
	int r = 0;

	for (uint64_t i = 1; i <= position && i < path->n; i++) {
		uint64_t cost = (path->list[i].n_before + 1) * COST_OF_A_STOP + position - i;

		if (cost < least) {
			least = cost;
			from = i;
		}
	}
	if (from)
		r = step_run_to(child, path->list[from].address, path->list[from].n_before);
	for (uint64_t i = from; r == 0 && i < position; i++)
		r = step_once(child);
	return r;
}

void
path_deinit(struct path *path)
{
	free(path->list);
	*path = (struct path)PATH_NULL;
}
