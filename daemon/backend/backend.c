/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What all backends have in common. */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/procfd.h"

int
backend_object_settle(struct backend_object *object)
{
	int opened, r;

	if (!object->is_born)
		return 0;
	r = procfd_reopen(object->fd, O_RDWR, &opened);
	if (r)
		return r;
	/*
	 * It keeps its number, by which was judged whether enough are left behind it. Where the limit was lowered below that
	 * meanwhile, dup calls it bad.
	 */
	if (dup3(opened, object->fd, O_CLOEXEC) < 0)
		r = errno == EBADF ? -EMFILE : -errno;
	(void)close(opened);
	if (r)
		return r;
	object->is_born = false;
	return 0;
}

struct job_object
backend_object_of_job(const struct backend_object *object)
{
	if (object->shm_id >= 0)
		return (struct job_object) { .kind = JOB_OBJECT_SHM, .shm_id = object->shm_id,
			.page_bytes = object->page_bytes };
	return (struct job_object) { .kind = object->is_file ? JOB_OBJECT_FILE : JOB_OBJECT_FD,
		.page_bytes = object->page_bytes };
}

struct job_object
backend_object_to_free(const struct backend *backend, const struct backend_object *object, unsigned n_maps)
{
	struct job_object ret = backend_object_of_job(object);

	if (ret.kind == JOB_OBJECT_SHM)
		ret.n_ours = n_maps + 1;
	else if (backend->features & BACKEND_NAMED)
		ret.n_ours = 1;
	return ret;
}

void
backend_describe(const struct backend *backend, const struct definition *definition, const struct backend_birth *birth,
    struct record_row *ret_row)
{
	*ret_row = (struct record_row) {
		.state = RECORD_INTENT,
		.maker_pid = (int32_t)getpid(),
		.generation = birth->generation,
		.made_ns = clock_realtime_ns(),
		.shm_id = -1,
	};
	(void)snprintf(ret_row->backend, sizeof(ret_row->backend), "%s", backend->name);
	(void)snprintf(ret_row->segment, sizeof(ret_row->segment), "%s", definition->name);
	backend->name_of(definition, ret_row->object, sizeof(ret_row->object));
}

const struct backend *
backend_of_row(const struct record_row *row)
{
	for (int i = 0; i < DEFINITION_BACKEND_N; i++) {
		const struct backend *backend = backend_find((enum definition_backend)i);

		if (backend && backend->prove && streq(backend->name, row->backend))
			return backend;
	}
	return NULL;
}

void
backend_object_close(const struct backend *backend, struct backend_object *object)
{
	if (object->fd >= 0 && backend->unname)
		backend->unname(object);
	if ((object->fd >= 0 || object->own) && backend->close)
		backend->close(object);
	close_fd(&object->fd);
	*object = (struct backend_object) BACKEND_OBJECT_NULL;
}

unsigned
backend_kept_fd(const struct backend_object *object, int fds[BACKEND_KEPT_MAX])
{
	fds[0] = object->fd;
	return 1;
}

bool
backend_take_kept(struct backend_remains *remains, struct backend_object *object)
{
	struct stat kept, own;

	if (remains->fds[0] < 0 || fstat(remains->fds[0], &kept) || fstat(object->fd, &own) || kept.st_dev != own.st_dev ||
	    kept.st_ino != own.st_ino)
		return false;
	(void)close(object->fd);
	object->fd = take_fd(&remains->fds[0]);
	object->is_born = false;
	return true;
}

int
backend_map_fd(const struct backend_object *object, void *at)
{
	/* Hugetlb memory is reserved up to its size, and a mapping of all of it would reserve the rest, up to max_size, too. */
	void *map = mmap(at, object->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, object->fd, 0);

	return map == MAP_FAILED ? -errno : 0;
}

int
backend_open_fd(const struct backend_object *object, bool write, int *ret_fd)
{
	return procfd_reopen(object->fd, write ? O_RDWR : O_RDONLY, ret_fd);
}

uint64_t
backend_blocks(const struct backend_object *object)
{
	struct stat status;

	if (fstat(object->fd, &status))
		return 0;
	return (uint64_t)status.st_blocks * 512;
}
