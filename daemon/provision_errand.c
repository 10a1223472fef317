/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a backend has workers do around the pages: opening a file may take as long as its file system likes, and so may
 * telling a disk that it is in use, or giving a name in a directory that somebody keeps locked. One errand after the other; the
 * backend says which is next.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/provision_steps.h"

#define PATIENCE_SECONDS	120	/* of a disk that others keep busy */
#define USE_SECONDS	600	/* where first contents may have to be written */

/* Another has the name that it was to have: as where that is found before. */
static void
provision_say_taken(struct provision *provision)
{
	provision->holding->backend->inquired(provision->definition, NULL, provision->text, sizeof(provision->text));
	if (!provision_inquire(provision))
		provision_fail(provision, -EEXIST);
}

static void
provision_errand_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;
	struct holding *holding = provision->holding;
	char text[FINDINGS_TEXT_SIZE] = "";
	int r = 0;

	provision->n_busy--;
	/* Also where it was given up meanwhile: what was opened has to be closed as it should be. */
	if (outcome->result && outcome->result->status == 0)
		r = holding->backend->errand_done(&holding->object, outcome->result, outcome->fd, text, sizeof(text));
	if (provision->failed) {
		provision_finish(provision, provision->failed);
	} else if (!outcome->result) {
		provision_worker_died(provision, outcome);
	} else if (outcome->result->status == -EEXIST && holding->backend->inquired) {
		provision_say_taken(provision);
	} else if (outcome->result->status) {
		provision_piece_failed(provision, outcome->result);
	} else if (r) {
		memcpy(provision->text, text, sizeof(text));
		provision_fail(provision, r);
	} else {
		if (*text)
			memcpy(provision->note, text, sizeof(text));
		provision_run_errands(provision, provision->stage);
	}
}

void
provision_run_errands(struct provision *provision, enum backend_stage stage)
{
	struct holding *holding = provision->holding;
	struct provision_piece *piece = &provision->free_piece;
	struct backend_errand errand;

	provision->stage = stage;
	if (!holding->backend->errand(&holding->object, stage, &errand)) {
		if (stage == BACKEND_STAGE_OPEN)
			provision_opened(provision);
		else
			provision_finish(provision, 0);
		return;
	}
	piece->provision = provision;
	piece->job = (struct workers_job) {
		.job = errand.job,
		.fd = errand.fds[0],
		.control_fd = errand.fds[1],
		.third_fd = errand.fds[2],
		.patience_seconds = errand.is_name ? BACKEND_LOCK_SECONDS : stage == BACKEND_STAGE_USE ? USE_SECONDS : PATIENCE_SECONDS,
		.uid = errand.is_name ? 0 : provision->definition->creator,
		.done = provision_errand_done,
	};
	provision->n_busy++;
	workers_submit(errand.is_name ? provision->provisioner->releases.names : provision_workers(provision), &piece->job, false);
}
