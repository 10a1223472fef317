/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The contents that a segment starts with: a file's, copied in by workers, a piece at a time. The daemon neither opens the
 * file nor looks its path up, since either may take as long as a file system likes.
 */
#include "config.h"

#include <sys/mman.h>

#include "base/base.h"
#include "daemon/provision_steps.h"

#define PIECE_BYTES	(16 * MIB)	/* in the ten seconds of CPU that a worker has for it */

static void provision_copy_piece(struct provision *provision);

static void
provision_piece_copied(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;
	uint64_t end_bytes = job->job.offset_bytes + job->job.length_bytes;

	provision->n_busy--;
	if (provision->failed) {
		provision_finish(provision, provision->failed);
		return;
	}
	if (outcome->was_stuck) {
		(void)snprintf(provision->text, sizeof(provision->text), "init: reading '%.300s' made no progress for %u seconds; "
		    "see whether its file system answers, and retry", provision->definition->init, outcome->patience_seconds);
		provision_fail(provision, -ETIMEDOUT);
		return;
	}
	if (!outcome->result) {
		provision_worker_died(provision, outcome);
		return;
	}
	if (outcome->result->status) {
		provision_piece_failed(provision, outcome->result);
		return;
	}
	provision->init_file = outcome->result->file;
	provision->init_bytes = end_bytes;
	if (end_bytes < min_u64(provision->init_file.size_bytes, provision->definition->size_bytes)) {
		provision->progress(provision);
		provision_copy_piece(provision);
	} else
		provision_contents_done(provision);
}

static void
provision_copy_piece(struct provision *provision)
{
	struct provision_piece *piece = &provision->free_piece;
	uint64_t size_bytes = provision->definition->size_bytes;

	piece->provision = provision;
	piece->job = (struct workers_job) {
		.job = {
			.kind = JOB_INIT,
			.offset_bytes = provision->init_bytes,
			.length_bytes = min_u64(PIECE_BYTES, size_bytes - provision->init_bytes),
			.reserve_bytes = provision->provisioner->budget.reserve_bytes,
			.limit_bytes = size_bytes,
			.file = provision->init_file,
			.object = backend_object_of_job(&provision->holding->object),
		},
		.fd = provision->holding->object.fd,
		.control_fd = provision->path_fd,
		.can_wait = !provision->definition->required,
		.uid = provision->definition->creator,
		.done = provision_piece_copied,
	};
	provision->n_busy++;
	workers_submit(provision_workers(provision), &piece->job, false);
}

/* Of initial contents: as many as the file has, or may have as long as nobody has looked. */
static uint64_t
provision_contents_bytes(const struct provision *provision)
{
	if (!provision->definition->init || provision->is_growth || provision->holding->object.has_contents)
		return 0;
	return provision->init_file.inode ? provision->init_file.size_bytes : provision->definition->size_bytes;
}

uint64_t
provision_progress_bytes(const struct provision *provision)
{
	return provision->done_bytes + min_u64(provision->init_bytes, provision_contents_bytes(provision));
}

uint64_t
provision_end_bytes(const struct provision *provision)
{
	return provision->total_bytes + provision_contents_bytes(provision);
}

/* The path as a worker gets it. */
static int
provision_write_path(struct provision *provision)
{
	const char *path = provision->definition->init;
	size_t length = strlen(path);
	int r = 0;

	provision->path_fd = memfd_create("segmentd:init", MFD_CLOEXEC);
	if (provision->path_fd < 0 || write(provision->path_fd, path, length) != (ssize_t)length)
		r = errno ? -errno : -EIO;
	return r;
}

void
provision_copy_contents(struct provision *provision)
{
	int r;

	errno = 0;
	r = provision_write_path(provision);
	if (r) {
		(void)snprintf(provision->text, sizeof(provision->text), "no worker can be told the path of init: %s",
		    strerror(-r));
		provision_fail(provision, r);
		return;
	}
	provision_copy_piece(provision);
}
