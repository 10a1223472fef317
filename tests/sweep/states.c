/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sweep/states.h"

/* Makes room for one more: a list doubles when its length is a power of two. */
static int
grow(void *list_pointer, size_t n, size_t size)
{
	void **list = list_pointer, *grown;

	if (n & (n - 1))
		return 0;
	grown = realloc(*list, (n ? 2 * n : 1) * size);
	if (!grown)
		return -ENOMEM;
	*list = grown;
	return 0;
}

int
states_add(struct states *states, const struct field *field, const char *origin, uint64_t position, size_t *ret_index)
{
	struct state *state = calloc(1, sizeof(*state)), *known;

	if (!state)
		return -ENOMEM;
	memcpy(&state->field, field, sizeof(*field));
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		struct control_lock *lock = &state->field.locks[i];

		atomic_store(&lock->sequence, atomic_load(&lock->sequence) & 1);
		lock->taken_n = 0;
		memset((void *)lock->taken, 0, sizeof(lock->taken));
	}
	HASH_FIND(hh, states->table, &state->field, sizeof(state->field), known);
	if (known) {
		free(state);
		*ret_index = known->index;
		return 0;
	}
	if (grow(&states->list, states->n, sizeof(struct state *))) {
		free(state);
		return -ENOMEM;
	}
	(void)snprintf(state->origin, sizeof(state->origin), "%s, instruction %llu", origin, (unsigned long long)position);
	state->index = states->n;
	states->list[states->n++] = state;
	HASH_ADD(hh, states->table, field, sizeof(state->field), state);
	*ret_index = state->index;
	return 0;
}

int
states_add_edge(struct states *states, size_t from, size_t to)
{
	int r = grow(&states->edges, states->n_edges, sizeof(struct edge));

	if (r)
		return r;
	states->edges[states->n_edges++] = (struct edge){ .from = from, .to = to };
	return 0;
}

void
states_deinit(struct states *states)
{
	HASH_CLEAR(hh, states->table);
	for (size_t i = 0; i < states->n; i++)
		free(states->list[i]);
	free(states->list);
	free(states->edges);
	*states = (struct states)STATES_NULL;
}
