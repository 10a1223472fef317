/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Growing in place. The object has its largest size from the start, and is mapped whole by everybody: more of it is populated,
 * and locked, while they go on. The steps are those of all provisioning, from the huge page on that the old end is in: pages
 * that are there already lose nothing by being populated once more, and may become part of a huge one.
 *
 * When it fails, the books and the pages are again as they were before.
 */
#include "config.h"

#include <sys/syscall.h>

#include "base/base.h"
#include "daemon/provision_steps.h"

/* What is locked of data, in bytes from its start. */
static uint64_t
provision_data_locked(const struct provision *provision)
{
	return provision->holding->locked_bytes - holding_control_locked_bytes(provision->holding);
}

static void
provision_has_undone(struct provision *provision)
{
	if (provision_is_orphan(provision))
		provision_finish(provision, provision->failed);
	else
		provision->done(provision, provision->failed);
}

static void
provision_undone(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);

	piece->provision->n_busy--;
	/* Whatever became of the job: pages that are left are beyond the size, and nobody counts on them. */
	provision_has_undone(piece->provision);
}

static void
provision_unlocked(struct slices *slices, int r)
{
	struct provision *provision = BASE_CONTAINER_OF(slices, struct provision, locking);
	struct provision_piece *piece = &provision->free_piece;

	/* What a file has there stays; unlocked, the kernel takes its pages when it wants them. */
	if (provision->holding->backend->features & BACKEND_DURABLE) {
		provision_has_undone(provision);
		return;
	}
	piece->provision = provision;
	piece->job = (struct workers_job) {
		.job = {
			.kind = JOB_FREE,
			.offset_bytes = provision->from_bytes,
			.length_bytes = provision->data_bytes - provision->from_bytes,
			.object = backend_object_of_job(&provision->holding->object),
		},
		.fd = provision->holding->object.fd,
		.uid = provision->definition->creator,
		.done = provision_undone,
	};
	provision->n_busy++;
	workers_submit(provision_workers(provision), &piece->job, provision->memory_short);
}

static int
provision_unlock_step(struct slices *slices, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct provision *provision = BASE_CONTAINER_OF(slices, struct provision, locking);

	provision->holding->locked_bytes -= length_bytes;
	provision->provisioner->locked_bytes -= length_bytes;
	/* What is locked whole stays so: there will be nothing in it. */
	if (provision_locks_whole(provision))
		return 0;
	provision->provisioner->mlocked_bytes -= length_bytes;
	/*
	 * It fails only for want of memory to split a mapping: then more stays locked than is counted, which harms nobody.
	 * The system call itself, since the sanitizers make munlock() do nothing.
	 */
	(void)syscall(SYS_munlock, (char *)provision->holding->map + offset_bytes, length_bytes);
	return 0;
}

void
provision_undo(struct provision *provision)
{
	const struct holding *holding = provision->holding;
	char text[FINDINGS_TEXT_SIZE];

	if (provision->is_undoing)
		return;
	provision->is_undoing = true;
	if (holding->backend->room)
		(void)holding->backend->room(&holding->object, provision->from_bytes, text, sizeof(text));
	slices_init(&provision->locking, provision->provisioner->base, provision_unlock_step, provision_unlocked);
	slices_start(&provision->locking, provision->from_bytes,
	    max_u64(provision_data_locked(provision), provision->from_bytes));
}

void
provision_cancel(struct provision *provision, const char *why)
{
	if (provision->failed)
		return;
	(void)snprintf(provision->text, sizeof(provision->text), "%s", why);
	provision_fail(provision, -ECANCELED);
}

static bool
growth_needs_pages(const struct definition *definition, const struct holding *holding, uint64_t from_bytes, uint64_t to_bytes)
{
	return (definition->prefault || holding->backend->features & BACKEND_DURABLE) &&
	    round_up(from_bytes, PROVISION_PAGE_BYTES) != round_up(to_bytes, PROVISION_PAGE_BYTES);
}

static struct provision *
growth_new(struct provisioner *provisioner, struct definition *definition, struct holding *holding, uint64_t from_bytes,
    uint64_t to_bytes)
{
	struct provision *provision = provision_new(provisioner, definition, holding);

	if (!provision)
		return NULL;
	provision->is_growth = true;
	provision->from_bytes = round_up(from_bytes, PROVISION_PAGE_BYTES);
	provision->data_bytes = provision->total_bytes = round_up(to_bytes, PROVISION_PAGE_BYTES);
	provision->next_bytes = provision->done_bytes = provision->resident_bytes =
	    provision->from_bytes & ~(PROVISION_HUGE_BYTES - 1);
	provision->told_bytes = provision->from_bytes;
	provision->huge_bytes = holding->huge_bytes;
	/* One that could not be locked at its start does not begin in its middle. */
	provision->lock = definition->mlock &&
	    (holding->object.page_bytes || provision_data_locked(provision) >= provision->from_bytes);
	if (holding->node_bytes)
		memcpy(provision->node_bytes, holding->node_bytes, holding->n_nodes * sizeof(*holding->node_bytes));
	return provision;
}

/* 0, and what it needs is promised to it; or a negative errno, and its text says why. */
static int
growth_judge(struct provision *provision)
{
	const struct holding *holding = provision->holding;
	int r = provision_choose_place(provision);

	if (!r)
		r = provision_judge(provision);
	if (!r && holding->backend->room)
		r = holding->backend->room(&holding->object, provision->data_bytes, provision->text, sizeof(provision->text));
	return r;
}

int
provision_may_grow(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    uint64_t from_bytes, uint64_t to_bytes, uint64_t ahead_bytes, char *text, size_t text_size)
{
	struct budget *budget = &provisioner->budget;
	struct provision *provision;
	bool is_ahead;
	int r;

	if (!growth_needs_pages(definition, holding, from_bytes, to_bytes))
		return PROVISION_E_DONE;
	provision = growth_new(provisioner, definition, holding, from_bytes, to_bytes);
	if (!provision) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	is_ahead = budget_promise(budget, ahead_bytes, 0, text, text_size) == 0;
	r = growth_judge(provision);
	if (r)
		(void)snprintf(text, text_size, "%s", provision->text);
	else if (holding->backend->room)
		(void)holding->backend->room(&holding->object, provision->from_bytes, provision->text, sizeof(provision->text));
	provision_keep_promises(provision);
	if (is_ahead)
		budget_kept(budget, ahead_bytes);
	budget_ask_again(budget);
	(void)provision_free(provision);
	return r;
}

int
provision_grow(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    uint64_t from_bytes, uint64_t to_bytes, provision_done_fn done, provision_progress_fn progress, void *owner,
    struct provision **ret_provision, char *text, size_t text_size)
{
	struct provision *provision;
	int r;

	if (!growth_needs_pages(definition, holding, from_bytes, to_bytes))
		return PROVISION_E_DONE;
	/* Its number does not change any more: workers are given it, and clients come meanwhile. */
	r = backend_object_settle(&holding->object);
	if (r) {
		(void)snprintf(text, text_size, "opening its memory anew failed: %s", strerror(-r));
		return r;
	}
	provision = growth_new(provisioner, definition, holding, from_bytes, to_bytes);
	if (!provision) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	provision->done = done;
	provision->progress = progress;
	provision->owner = owner;
	r = growth_judge(provision);
	if (r) {
		(void)snprintf(text, text_size, "%s", provision->text);
		provision_keep_promises(provision);
		(void)provision_free(provision);
		return r;
	}
	*ret_provision = provision;
	provision_begin(provision);
	return 0;
}
