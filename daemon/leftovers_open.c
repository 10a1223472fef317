/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What may have to wait for a disk is opened by workers, an errand after the other, and looked at when that is done. */
#include "config.h"

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/log.h"
#include "host/findings.h"

#define PATIENCE_SECONDS	120	/* of a disk that others keep busy */

struct leftover_opening {
	struct leftover *leftover;
	struct workers_job job;
};

/* It is given up: what was made on the way is taken back, and its row goes. */
static void
leftover_give_up(struct leftover *leftover, const char *why)
{
	leftover_log(leftover, MESSAGE_LEFT_PROBLEM, "it cannot be closed as it should be: %s", why);
	holding_release(&leftover->holding, leftover->leftovers->releases, false);
	leftover_free(leftover);
}

static void
leftover_opened(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct leftover_opening *opening = BASE_CONTAINER_OF(job, struct leftover_opening, job);
	struct leftover *leftover = opening->leftover;
	struct leftovers *leftovers = leftover->leftovers;
	struct holding *holding = &leftover->holding;
	char text[FINDINGS_TEXT_SIZE] = "";
	int r = -EIO;

	leftover->opening = NULL;
	leftovers->n_opening--;
	free(opening);
	if (!outcome->result)
		(void)snprintf(text, sizeof(text), "a worker did not come to its end at opening it; see whether its disk answers");
	else if ((r = outcome->result->status))
		(void)snprintf(text, sizeof(text), "%s", outcome->result->text);
	else
		r = holding->backend->errand_done(&holding->object, outcome->result, outcome->fd, text, sizeof(text));
	if (r)
		leftover_give_up(leftover, text);
	else
		leftover_open(leftover);
	leftovers_tell_room(leftovers);
}

void
leftover_open(struct leftover *leftover)
{
	struct holding *holding = &leftover->holding;
	struct leftover_opening *opening;
	struct backend_errand errand;

	if (!holding->backend->errand(&holding->object, BACKEND_STAGE_OPEN, &errand)) {
		leftover_look(leftover);
		return;
	}
	opening = calloc(1, sizeof(*opening));
	if (!opening) {
		leftover_give_up(leftover, "the daemon is out of memory");
		return;
	}
	opening->leftover = leftover;
	opening->job = (struct workers_job) {
		.job = errand.job,
		.fd = errand.fds[0],
		.control_fd = errand.fds[1],
		.third_fd = errand.fds[2],
		.can_wait = true,
		.patience_seconds = PATIENCE_SECONDS,
		.done = leftover_opened,
	};
	leftover->opening = opening;
	leftover->leftovers->n_opening++;
	workers_submit(leftover->leftovers->releases->io, &opening->job, false);
}
