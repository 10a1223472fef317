/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A backend for tests, which holds nothing that anybody needs: it notes what is asked of it, in order, and refuses what it is told
 * to. Linked with null_table.c it stands in the table in the first row's place.
 */
#ifndef TESTS_DAEMON_NULL_H
#define TESTS_DAEMON_NULL_H

#include "daemon/backend/backend.h"

#define NULL_REFUSAL	"the null backend was told to refuse this"

enum null_operation {
	NULL_PROBE,
	NULL_CREATE,
	NULL_ROOM,
	NULL_ADMIT,
	NULL_SHUT,		/* admit() of nobody */
	NULL_RESET,
	NULL_OPEN,
	NULL_MAP,
	NULL_LOCK,
	NULL_UNNAME,
	NULL_CLOSE,
	NULL_OPERATION_N
};

struct null_notes {
	unsigned n[NULL_OPERATION_N];
	char order[512];		/* their names, with spaces between them; repeated ones once */
	int refuses[NULL_OPERATION_N];	/* a negative errno, or 0 */
	uint64_t others;		/* besides us, where null_others is made its operation */
	unsigned n_objects;		/* that are there */
};

extern struct null_notes null_notes;
extern struct backend null_backend;
uint64_t null_others(const struct backend_object *object, unsigned n_maps);

#endif
