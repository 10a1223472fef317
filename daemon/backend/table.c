/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The table of backends: a new one is a row here and a file beside this one. Tests link a table of their own. */
#include "config.h"

#include "daemon/backend/backend.h"

static const struct backend *const backend_table[DEFINITION_BACKEND_N] = {
	[DEFINITION_MEMFD] = &backend_memfd,
	[DEFINITION_POSIX] = &backend_posix,
	[DEFINITION_SYSV] = &backend_sysv,
	[DEFINITION_FILE] = &backend_file,
};

const struct backend *
backend_find(enum definition_backend backend)
{
	if ((unsigned)backend >= DEFINITION_BACKEND_N)
		return NULL;
	return backend_table[backend];
}

bool
backend_has(enum definition_backend backend, unsigned features)
{
	const struct backend *row = backend_find(backend);

	return row && (row->features & features) == features;
}
