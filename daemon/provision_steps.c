/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is done to a range of memory, in this order: workers populate it in pieces, as many at once as there are workers, so
 * that one large segment uses them all and several share them; the loop locks it in slices; and what was had is verified.
 */
#include "config.h"

#include <sys/mman.h>

#include "base/base.h"
#include "daemon/provision_steps.h"
#include "host/limits.h"

#define PIECE_BYTES	(64 * MIB)	/* some milliseconds of a worker */
#define POOL_GROWTH_BYTES	(16 * MIB)	/* likewise, of a pool's: what is begun there is brought to its end */
#define GIB_SECONDS	60		/* of a page that the kernel clears in one go; an emulated machine takes more than 10 */

static void provision_fill(struct provision *provision);

/* Huge pages are verified for what can be huge: whole ones below size. */
static bool
provision_pages_are_as_asked(struct provision *provision)
{
	const struct definition *definition = provision->definition;
	uint64_t could_be_huge = provision->data_bytes & ~(PROVISION_HUGE_BYTES - 1);

	if (definition_huge_bytes(definition) != provision->page_bytes) {
		/* The pool was judged before, and its sentence says more: but not of what is scrubbed. */
		if (!provision->text[0])
			findings_page_size(provision->text, sizeof(provision->text),
			    definition_page_size_name(definition->page_size), provision->data_bytes, 0);
		return false;
	}
	if (definition->page_size == DEFINITION_PAGE_BASE && provision->huge_bytes) {
		findings_page_size_base(provision->text, sizeof(provision->text), provision->huge_bytes);
		return false;
	}
	if (provision->page_bytes)
		could_be_huge = provision->data_bytes;
	else if (definition->page_size != DEFINITION_PAGE_TRANSPARENT)
		return true;
	if (provision->huge_bytes >= could_be_huge)
		return true;
	if (provision->holding->backend->features & BACKEND_MOUNT)
		findings_page_size_of_mount(provision->text, sizeof(provision->text), could_be_huge, provision->huge_bytes);
	else
		findings_page_size(provision->text, sizeof(provision->text),
		    definition_page_size_name(definition->page_size), could_be_huge, provision->huge_bytes);
	return false;
}

static bool
provision_is_resident(struct provision *provision)
{
	if (provision->is_reserve_only)
		return true;
	/* Locked pages were brought in by mlock, whatever the workers saw. */
	if (provision->lock && provision->holding->locked_bytes && !provision_locks_whole(provision) && !provision->page_bytes)
		return true;
	if (provision->resident_bytes >= provision->total_bytes)
		return true;
	findings_swapped(provision->text, sizeof(provision->text), provision->total_bytes, provision->resident_bytes);
	return false;
}

static void
provision_verify(struct provision *provision)
{
	const struct holding *holding = provision->holding;
	bool is_as_asked;

	/* Somebody cut it short meanwhile: that is no matter of placement. */
	if (holding->backend->check && holding->backend->check(&holding->object, provision->text, sizeof(provision->text)) < 0) {
		provision_fail(provision, -EIO);
		return;
	}
	is_as_asked = provision_pages_are_as_asked(provision);
	is_as_asked &= provision_is_in_place(provision);
	is_as_asked = is_as_asked && provision_is_resident(provision);
	if (!is_as_asked && !provision_may_degrade(provision))
		provision_fail(provision, -EOPNOTSUPP);
	else if (provision->holding->backend->errand && !provision->is_growth)
		provision_run_errands(provision, BACKEND_STAGE_USE);
	else
		provision_finish(provision, 0);
}

/* Data is locked up to data_end, and so much more of control. What of data was locked already is counted already. */
static void
provision_count_locked(struct provision *provision, uint64_t data_end, uint64_t of_control)
{
	struct holding *holding = provision->holding;
	uint64_t data_locked = holding->locked_bytes - holding_control_locked_bytes(holding);
	uint64_t newly = of_control;

	data_end = min_u64(data_end, provision->data_bytes);
	if (data_end > data_locked)
		newly += data_end - data_locked;
	holding->locked_bytes += newly;
	if (of_control)
		holding->control->locked_bytes += of_control;
	provision->provisioner->locked_bytes += newly;
	provision->provisioner->mlocked_bytes += provision_locks_whole(provision) ? of_control : newly;
}

static int
provision_lock_step(struct slices *slices, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct provision *provision = BASE_CONTAINER_OF(slices, struct provision, locking);
	uint64_t kept = min_u64(length_bytes, provision->promised_lock_bytes);
	uint64_t of_data = offset_bytes < provision->data_bytes ?
	    min_u64(length_bytes, provision->data_bytes - offset_bytes) : 0;
	uint64_t of_control = length_bytes - of_data;

	/* mlock2() without flags is mlock(), and the sanitizers do not make it do nothing. */
	if (of_data && mlock2((char *)provision->holding->map + offset_bytes, of_data, 0))
		return -errno;
	if (of_control && mlock2((char *)provision->holding->control->map +
	    (offset_bytes + of_data - provision->data_bytes), of_control, 0))
		return -errno;
	budget_lock_kept(&provision->provisioner->budget, kept);
	provision->promised_lock_bytes -= kept;
	provision_count_locked(provision, of_data ? offset_bytes + of_data : 0, of_control);
	return 0;
}

/* Whether the backend knows better why a step failed: the object is not what it was, or its file system is full. */
static bool
provision_explain_object(struct provision *provision, int r)
{
	const struct holding *holding = provision->holding;
	const struct backend *backend = holding->backend;
	char text[FINDINGS_TEXT_SIZE];

	if (!(backend->check && backend->check(&holding->object, text, sizeof(text)) < 0) &&
	    !(r == -ENOMEM && backend->room && backend->room(&holding->object, provision->data_bytes, text, sizeof(text))))
		return false;
	(void)snprintf(provision->text, sizeof(provision->text), "%s", text);
	return true;
}

static void
provision_explain_lock(struct provision *provision, int r)
{
	if (provision_explain_object(provision, 0))
		return;
	if (r == -EIO)
		(void)snprintf(provision->text, sizeof(provision->text),
		    "its pages were locked, but the kernel's count of locked memory (VmLck) does not show it");
	else if (provision_locks_whole(provision) && (r == -ENOMEM || r == -EPERM))
		findings_sysv_unlocked(provision->text, sizeof(provision->text), geteuid(), limits_memlock_bytes(),
		    provision->holding->object.map_bytes);
	else if (limits_memlock_left_bytes() == LIMITS_UNLIMITED)
		(void)snprintf(provision->text, sizeof(provision->text), "its pages cannot be locked: %s", strerror(-r));
	else
		findings_memlock(provision->text, sizeof(provision->text), provision->total_bytes,
		    limits_memlock_left_bytes());
}

static void
provision_locked(struct slices *slices, int r)
{
	struct provision *provision = BASE_CONTAINER_OF(slices, struct provision, locking);

	/* The kernel's own count, against what mlock said. */
	if (!r && limits_locked_bytes() < provision->provisioner->mlocked_bytes)
		r = -EIO;
	if (!r) {
		provision_verify(provision);
		return;
	}
	provision_explain_lock(provision, r);
	if (provision_may_degrade(provision))
		provision_verify(provision);
	else
		provision_fail(provision, r);
}

/* Data in one call, which takes no time: nothing is brought in. Control memory in slices, as all of others is. */
static void
provision_lock_whole(struct provision *provision)
{
	int r = provision->holding->backend->lock(&provision->holding->object);

	if (r) {
		provision_locked(&provision->locking, r);
		return;
	}
	provision_count_locked(provision, provision->data_bytes, 0);
	slices_start(&provision->locking, provision->data_bytes, provision->total_bytes);
}

void
provision_contents_done(struct provision *provision)
{
	int r;

	if (!provision->lock) {
		provision_verify(provision);
		return;
	}
	if (provision_locks_whole(provision)) {
		provision_lock_whole(provision);
		return;
	}
	if (!provision->holding->map && !provision->page_bytes) {
		r = holding_map(provision->holding);
		if (r) {
			(void)snprintf(provision->text, sizeof(provision->text),
			    "cannot map it to lock it: %s", strerror(-r));
			provision_fail(provision, r);
			return;
		}
	}
	/* A pool's pages are never swapped, and mlock() does not count them: what is to be locked is control memory. */
	if (provision->page_bytes) {
		slices_start(&provision->locking, provision->data_bytes, provision->total_bytes);
		return;
	}
	/* From a huge page's start, which may be before a growth's own range: what is locked may be locked again. */
	slices_start(&provision->locking, provision->from_bytes & ~(PROVISION_HUGE_BYTES - 1), provision->total_bytes);
}

static void
provision_populated(struct provision *provision)
{
	if (provision->definition->init && !provision->is_growth && !provision->is_held &&
	    !provision->holding->object.has_contents)
		provision_copy_contents(provision);
	else
		provision_contents_done(provision);
}

void
provision_init_locking(struct provision *provision)
{
	slices_init(&provision->locking, provision->provisioner->base, provision_lock_step, provision_locked);
}

void
provision_worker_died(struct provision *provision, const struct workers_outcome *outcome)
{
	struct provisioner *provisioner = provision->provisioner;
	struct memory_headroom headroom;

	if (outcome->error) {
		(void)snprintf(provision->text, sizeof(provision->text), "no worker process can be started: %s",
		    strerror(-outcome->error));
		provision_fail(provision, outcome->error);
		return;
	}
	if (outcome->was_stuck && provision->holding->object.is_file) {
		(void)snprintf(provision->text, sizeof(provision->text),
		    "the file system of '%.300s' did not answer for %u seconds; see whether its disk or its server does, and retry",
		    provision->definition->path, outcome->patience_seconds);
		provision_fail(provision, -ETIMEDOUT);
		return;
	}
	if (outcome->was_stuck) {
		(void)snprintf(provision->text, sizeof(provision->text),
		    "a worker made no progress for %u seconds and was killed; see whether the host is thrashing, then create it "
		    "anew", outcome->patience_seconds);
		provision_fail(provision, -ETIMEDOUT);
		return;
	}
	provision->memory_short = true;
	if (memory_headroom(provisioner->budget.memory, provisioner->budget.reserve_bytes, &headroom))
		headroom = (struct memory_headroom) { 0 };
	findings_worker_killed(provision->text, sizeof(provision->text), outcome->signal, &headroom);
	provision_fail(provision, -ENOMEM);
}

void
provision_piece_failed(struct provision *provision, const struct job_result *result)
{
	if (!provision_explain_object(provision, result->status))
		(void)snprintf(provision->text, sizeof(provision->text), "%s", result->text);
	provision->memory_short = result->status == JOB_E_MEMORY || result->status == -ENOMEM;
	provision_fail(provision, result->status > 0 ? -ENOMEM : result->status);
}

static void
provision_piece_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;
	bool is_data = job->fd == provision->holding->object.fd;
	/* What is of a pool was not promised by the budget. */
	uint64_t kept = is_data && provision->page_bytes ? 0 : min_u64(job->job.length_bytes, provision->promised_bytes);

	piece->is_busy = false;
	provision->n_busy--;
	if (provision->failed) {
		if (!provision->n_busy)
			provision_finish(provision, provision->failed);
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
	budget_kept(&provision->provisioner->budget, kept);
	provision->promised_bytes -= kept;
	provision->done_bytes += job->job.length_bytes;
	provision->resident_bytes += outcome->result->resident_bytes;
	if (is_data) {
		provision->huge_bytes += outcome->result->huge_bytes;
		for (unsigned i = 0; i < NODES_MAX; i++)
			provision->node_bytes[i] += outcome->result->node_bytes[i];
	}
	provision->progress(provision);
	if (provision->done_bytes == provision->total_bytes)
		provision_populated(provision);
	else
		provision_fill(provision);
}

/* The block of a huge page in which a growth begins has base pages in it already, or none: a piece of its own. */
static bool
provision_is_seam(const struct provision *provision)
{
	return provision->next_bytes < provision->from_bytes;
}

static uint64_t
provision_piece_bytes(const struct provision *provision)
{
	if (provision_is_seam(provision))
		return PROVISION_HUGE_BYTES;
	return max_u64(provision->page_bytes && provision->is_growth ? POOL_GROWTH_BYTES : PIECE_BYTES, provision->page_bytes);
}

static enum job_pages
provision_pages(const struct provision *provision, bool is_data)
{
	if (!is_data || provision->definition->page_size == DEFINITION_PAGE_BASE)
		return JOB_PAGES_BASE;
	if (provision->holding->backend->features & BACKEND_MOUNT)
		return JOB_PAGES_MOUNT;
	return provision_is_seam(provision) ? JOB_PAGES_TOGETHER : JOB_PAGES_AUTO;
}

/* Hands out pieces until all are, or as many are busy as workers run at once. */
static void
provision_fill(struct provision *provision)
{
	struct provisioner *provisioner = provision->provisioner;

	for (unsigned i = 0; i < provision->n_pieces && provision->next_bytes < provision->total_bytes; i++) {
		const struct holding *holding = provision->holding;
		struct provision_piece *piece = &provision->pieces[i];
		bool is_data = provision->next_bytes < provision->data_bytes;
		uint64_t base = is_data ? 0 : provision->data_bytes;
		uint64_t end = is_data ? provision->data_bytes : provision->total_bytes;
		uint64_t length = min_u64(provision_piece_bytes(provision), end - provision->next_bytes);

		if (piece->is_busy)
			continue;
		piece->provision = provision;
		piece->is_busy = true;
		piece->job = (struct workers_job) {
			.job = {
				.kind = provision->is_reserve_only ? JOB_RESERVE : JOB_POPULATE,
				.pages = provision_pages(provision, is_data),
				.offset_bytes = provision->next_bytes - base,
				.length_bytes = length,
				.reserve_bytes = provisioner->budget.reserve_bytes,
				.flags = provision->is_growth ? JOB_GROWTH : 0,
				.counted_bytes = provision->from_bytes - min_u64(provision->from_bytes, provision->next_bytes),
				.numa = is_data ? provision->numa : JOB_NUMA_ANY,
				.nodes = is_data && !provision->is_revival ? provision->nodes : 0,
				.object = backend_object_of_job(is_data ? &holding->object : &holding->control->object),
			},
			.fd = is_data ? holding->object.fd : holding->control->object.fd,
			.can_wait = !provision->definition->required,
			.patience_seconds = provision->page_bytes == GIB ? GIB_SECONDS : 0,
			.uid = provision->definition->creator,
			.done = provision_piece_done,
		};
		provision->next_bytes += length;
		provision->n_busy++;
		workers_submit(provision_workers(provision), &piece->job, false);
	}
}

void
provision_fill_all(struct provision *provision)
{
	if (provision->total_bytes)
		provision_fill(provision);
	else
		provision_populated(provision);
}

void
provision_begin(struct provision *provision)
{
	/* A growth reserves piece by piece: what a failed one has reserved can only be given back as pages. */
	if (provision->page_bytes && !provision->is_growth)
		provision_reserve(provision);
	else
		provision_fill_all(provision);
}
