/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The table of backends: a new one is a row here and a file beside this one. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/procfd.h"

static const struct backend *const backend_table[DEFINITION_BACKEND_N] = {
	[DEFINITION_MEMFD] = &backend_memfd,
};

const struct backend *
backend_find(enum definition_backend backend)
{
	if ((unsigned)backend >= DEFINITION_BACKEND_N)
		return NULL;
	return backend_table[backend];
}

int
backend_object_settle(struct backend_object *object)
{
	int opened, r;

	if (!object->is_born)
		return 0;
	r = procfd_reopen(object->fd, O_RDWR, &opened);
	if (r)
		return r;
	close_fd(&object->fd);
	object->fd = opened;
	object->is_born = false;
	return 0;
}
