/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The table that is linked instead of the daemon's: with the null backend in the first row. */
#include "config.h"

#include "tests/daemon/null.h"

const struct backend *
backend_find(enum definition_backend backend)
{
	return backend == 0 ? &null_backend : NULL;
}

bool
backend_has(enum definition_backend backend, unsigned features)
{
	const struct backend *row = backend_find(backend);

	return row && (row->features & features) == features;
}
