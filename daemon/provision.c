/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The memory is judged before a byte of it is allocated, for all that is under way together; then workers populate pieces,
 * as many at once as there are workers, so that one large segment uses them all and several share them; then the loop
 * locks in slices. The order of a failure: no new pieces, the busy ones end, the pages go back, the owner is told.
 */
#include "config.h"

#include <sys/mman.h>

#include "base/base.h"
#include "daemon/locks.h"
#include "daemon/provision.h"
#include "host/limits.h"

#define PAGE_BYTES	4096
#define HUGE_BYTES	(2 * MIB)
#define PIECE_BYTES	(64 * MIB)	/* some milliseconds of a worker */
#define RESERVED_FDS	64		/* that segments leave to clients; of few descriptors a quarter */

static void provision_fill(struct provision *provision);

static void
provision_orphan_done(struct provision *provision, int r)
{
	LIST_REMOVE(provision, orphan_entry);
	(void)provision_free(provision);
}

int
provisioner_init(struct provisioner *provisioner, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes)
{
	*provisioner = (struct provisioner) { .base = base, .workers = workers };
	LIST_INIT(&provisioner->orphans);
	releases_init(&provisioner->releases, workers);
	return budget_init(&provisioner->budget, memory_reserve_bytes);
}

void
provisioner_deinit(struct provisioner *provisioner)
{
	struct provision *orphan;

	/* Their workers were ended before, and nothing is called for them any more. */
	while ((orphan = LIST_FIRST(&provisioner->orphans))) {
		holding_release(&orphan->orphan, &provisioner->releases, false);
		provision_orphan_done(orphan, -ECANCELED);
	}
	budget_deinit(&provisioner->budget);
}

static void
provision_keep_promises(struct provision *provision)
{
	budget_kept(&provision->provisioner->budget, provision->promised_bytes);
	budget_lock_kept(&provision->provisioner->budget, provision->promised_lock_bytes);
	provision->promised_bytes = 0;
	provision->promised_lock_bytes = 0;
}

/* The end, once no worker is at it. */
static void
provision_finish(struct provision *provision, int r)
{
	struct provisioner *provisioner = provision->provisioner;

	provision_keep_promises(provision);
	slices_stop(&provision->locking);
	if (r) {
		provisioner->locked_bytes -= provision->holding->locked_bytes;
		holding_release(provision->holding, &provisioner->releases, provision->memory_short);
	} else {
		provision->holding->huge_bytes = provision->huge_bytes;
	}
	provision->done(provision, r);
}

static void
provision_fail(struct provision *provision, int r)
{
	if (!provision->failed)
		provision->failed = r;
	for (unsigned i = 0; i < provision->n_pieces; i++) {
		struct provision_piece *piece = &provision->pieces[i];

		if (piece->is_busy && workers_cancel(provision->provisioner->workers, &piece->job)) {
			piece->is_busy = false;
			provision->n_busy--;
		}
	}
	if (!provision->n_busy)
		provision_finish(provision, provision->failed);
}

/* Something was not had as asked. True: go on all the same, and say so. */
static bool
provision_may_degrade(const struct provision *provision)
{
	return provision->definition->placement == DEFINITION_PREFER;
}

/* Huge pages are verified for what can be huge: whole ones below size. */
static bool
provision_pages_are_as_asked(struct provision *provision)
{
	const struct definition *definition = provision->definition;
	uint64_t could_be_huge = provision->data_bytes & ~(HUGE_BYTES - 1);

	if (definition->page_size != DEFINITION_PAGE_TRANSPARENT || provision->huge_bytes >= could_be_huge)
		return true;
	findings_page_size(provision->text, sizeof(provision->text),
	    definition_page_size_name(definition->page_size), could_be_huge, provision->huge_bytes);
	return false;
}

static bool
provision_is_resident(struct provision *provision)
{
	char had[32], asked[32];

	/* Locked pages were brought in by mlock, whatever the workers saw. */
	if (provision->holding->locked_bytes || provision->resident_bytes >= provision->total_bytes)
		return true;
	(void)snprintf(provision->text, sizeof(provision->text),
	    "only %s of %s stayed in memory: the host swaps; set mlock = true, or give it more memory",
	    findings_size(had, sizeof(had), provision->resident_bytes),
	    findings_size(asked, sizeof(asked), provision->total_bytes));
	return false;
}

static void
provision_verify(struct provision *provision)
{
	bool is_as_asked = provision_pages_are_as_asked(provision) && provision_is_resident(provision);

	if (is_as_asked || provision_may_degrade(provision))
		provision_finish(provision, 0);
	else
		provision_fail(provision, -EOPNOTSUPP);
}

/* Data is locked up to data_end, and so much more of control. What of data was locked before a scrub is counted already. */
static void
provision_count_locked(struct provision *provision, uint64_t data_end, uint64_t of_control)
{
	struct holding *holding = provision->holding;
	uint64_t data_locked = holding->locked_bytes - holding->control_locked_bytes;
	uint64_t newly = of_control;

	data_end = min_u64(data_end, provision->data_bytes);
	if (data_end > data_locked)
		newly += data_end - data_locked;
	holding->locked_bytes += newly;
	holding->control_locked_bytes += of_control;
	provision->provisioner->locked_bytes += newly;
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
	if (of_control && mlock2((char *)provision->holding->control_map +
	    (offset_bytes + of_data - provision->data_bytes), of_control, 0))
		return -errno;
	budget_lock_kept(&provision->provisioner->budget, kept);
	provision->promised_lock_bytes -= kept;
	provision_count_locked(provision, offset_bytes + of_data, of_control);
	return 0;
}

static void
provision_explain_lock(struct provision *provision, int r)
{
	if (r == -EIO)
		(void)snprintf(provision->text, sizeof(provision->text),
		    "its pages were locked, but the kernel's count of locked memory (VmLck) does not show it");
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
	if (!r && limits_locked_bytes() < provision->provisioner->locked_bytes)
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

static void
provision_populated(struct provision *provision)
{
	int r;

	if (!provision->lock) {
		provision_verify(provision);
		return;
	}
	if (!provision->holding->map) {
		r = holding_map(provision->holding);
		if (r) {
			(void)snprintf(provision->text, sizeof(provision->text),
			    "cannot map it to lock it: %s", strerror(-r));
			provision_fail(provision, r);
			return;
		}
	}
	slices_start(&provision->locking, 0, provision->total_bytes);
}

static void
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
	if (outcome->was_stuck) {
		(void)snprintf(provision->text, sizeof(provision->text),
		    "a worker made no progress for 10 seconds and was killed; "
		    "see whether the host is thrashing, then create it anew");
		provision_fail(provision, -ETIMEDOUT);
		return;
	}
	provision->memory_short = true;
	if (memory_headroom(provisioner->budget.memory, provisioner->budget.reserve_bytes, &headroom))
		headroom = (struct memory_headroom) { 0 };
	findings_worker_killed(provision->text, sizeof(provision->text), outcome->signal, &headroom);
	provision_fail(provision, -ENOMEM);
}

static void
provision_piece_failed(struct provision *provision, const struct job_result *result)
{
	(void)snprintf(provision->text, sizeof(provision->text), "%s", result->text);
	provision->memory_short = result->status == JOB_E_MEMORY || result->status == -ENOMEM;
	provision_fail(provision, result->status > 0 ? -ENOMEM : result->status);
}

static void
provision_piece_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;
	uint64_t kept = min_u64(job->job.length_bytes, provision->promised_bytes);

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
	if (job->fd == provision->holding->object.fd)
		provision->huge_bytes += outcome->result->huge_bytes;
	provision->progress(provision);
	if (provision->done_bytes == provision->total_bytes)
		provision_populated(provision);
	else
		provision_fill(provision);
}

/* Hands out pieces until all are, or as many are busy as workers run at once. */
static void
provision_fill(struct provision *provision)
{
	struct provisioner *provisioner = provision->provisioner;

	for (unsigned i = 0; i < provision->n_pieces && provision->next_bytes < provision->total_bytes; i++) {
		struct provision_piece *piece = &provision->pieces[i];
		bool is_data = provision->next_bytes < provision->data_bytes;
		uint64_t base = is_data ? 0 : provision->data_bytes;
		uint64_t end = is_data ? provision->data_bytes : provision->total_bytes;
		uint64_t length = min_u64(PIECE_BYTES, end - provision->next_bytes);

		if (piece->is_busy)
			continue;
		piece->provision = provision;
		piece->is_busy = true;
		piece->job = (struct workers_job) {
			.job = {
				.kind = JOB_POPULATE,
				.pages = !is_data || provision->definition->page_size == DEFINITION_PAGE_BASE ?
				    JOB_PAGES_BASE : JOB_PAGES_AUTO,
				.offset_bytes = provision->next_bytes - base,
				.length_bytes = length,
				.reserve_bytes = provisioner->budget.reserve_bytes,
			},
			.fd = is_data ? provision->holding->object.fd : provision->holding->control.fd,
			.done = provision_piece_done,
		};
		provision->next_bytes += length;
		provision->n_busy++;
		workers_submit(provisioner->workers, &piece->job, false);
	}
}

static void
provision_begin(struct provision *provision)
{
	if (provision->total_bytes)
		provision_fill(provision);
	else
		provision_finish(provision, 0);
}

/* Judges what the definition wants against what the host has. 0, or a negative errno with the reason in text. */
static int
provision_judge(struct provision *provision)
{
	struct budget *budget = &provision->provisioner->budget;
	uint64_t lock_bytes = provision->lock ? provision->total_bytes : 0;
	int r;

	if (provision->is_scrub)
		lock_bytes = 0;		/* its mapping is locked already, and counted by the kernel */
	r = budget_promise(budget, provision->total_bytes, lock_bytes, provision->text, sizeof(provision->text));
	if (r == BUDGET_E_MEMLOCK && provision_may_degrade(provision)) {
		provision->lock = false;
		lock_bytes = 0;
		r = budget_promise(budget, provision->total_bytes, 0, provision->text, sizeof(provision->text));
	}
	if (r > 0)
		return r == BUDGET_E_MEMLOCK ? -EPERM : -ENOMEM;
	if (r < 0) {
		(void)snprintf(provision->text, sizeof(provision->text), "cannot tell what memory is available: %s",
		    strerror(-r));
		return r;
	}
	provision->promised_bytes = provision->total_bytes;
	provision->promised_lock_bytes = lock_bytes;
	return 0;
}

static uint64_t
provision_reserved_fds(void)
{
	return min_u64(RESERVED_FDS, limits_nofile() / 4);
}

/* What locks need besides the data: control memory, and the daemon's own mapping of both. */
static int
provision_create_for_locks(struct provision *provision, const char **ret_step)
{
	struct holding *holding = provision->holding;
	uint64_t control_bytes = locks_control_bytes(provision->definition);
	int r = 0;

	if (control_bytes)
		r = holding_add_control(holding, provision->definition->name, control_bytes, ret_step);
	if (r == 0 && provision->definition->n_locks && !holding->map) {
		*ret_step = "mapping it for the recovery of its locks";
		r = holding_map(holding);
	}
	return r;
}

static int
max_fd(const struct holding *holding)
{
	return holding->object.fd > holding->control_read_fd ? holding->object.fd : holding->control_read_fd;
}

static int
provision_create(struct provision *provision)
{
	const struct backend *backend = backend_find(provision->definition->backend);
	const char *step = "finding its backend";
	int r = -EOPNOTSUPP;

	if (backend)
		r = backend->create(provision->definition, &provision->holding->object, &step);
	provision->holding->backend = backend;
	if (r == 0)
		r = provision_create_for_locks(provision, &step);
	/* The last descriptors are for clients, or nobody could ask any more why the others failed. */
	if (r == 0 && (uint64_t)max_fd(provision->holding) + provision_reserved_fds() >= limits_nofile())
		r = -EMFILE;
	if (r == -EMFILE || r == -ENFILE)
		findings_nofile(provision->text, sizeof(provision->text));
	else if (r)
		(void)snprintf(provision->text, sizeof(provision->text), "%s failed: %s", step, strerror(-r));
	if (r)
		holding_release(provision->holding, &provision->provisioner->releases, false);
	return r;
}

static void
provision_scrubbed(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;

	provision->n_busy--;
	if (provision->failed) {
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
	provision_begin(provision);
}

/*
 * Control memory is made anew: who has kept a mapping of the old one, which no mark shows, shares no lock with those who
 * come. 0, or a negative errno with the reason in text; there is no control memory then.
 */
static int
provision_scrub_control(struct provision *provision)
{
	struct holding *holding = provision->holding;
	const char *step = "";
	int r;

	if (holding->control.fd < 0)
		return 0;
	provision->provisioner->locked_bytes -= holding->control_locked_bytes;
	holding->locked_bytes -= holding->control_locked_bytes;
	holding->control_locked_bytes = 0;
	holding_release_control(holding, &provision->provisioner->releases);
	r = provision_create_for_locks(provision, &step);
	if (r)
		(void)snprintf(provision->text, sizeof(provision->text), "%s failed: %s", step, strerror(-r));
	return r;
}

/* The pages go back whole, and new ones come: zeroing in place would leave them in a pipe or a ring that still has them. */
static void
provision_scrub(struct provision *provision)
{
	struct provision_piece *piece = &provision->free_piece;

	piece->provision = provision;
	piece->job = (struct workers_job) {
		.job = {
			.kind = JOB_FREE,
			.length_bytes = provision->holding->object.map_bytes,
		},
		.fd = provision->holding->object.fd,
		.done = provision_scrubbed,
	};
	provision->n_busy++;
	workers_submit(provision->provisioner->workers, &piece->job, false);
}

static struct provision *
provision_new(struct provisioner *provisioner, struct definition *definition, struct holding *holding)
{
	unsigned n_pieces = provisioner->workers->n_max;
	struct provision *provision = calloc(1, sizeof(*provision) + n_pieces * sizeof(provision->pieces[0]));

	if (!provision)
		return NULL;
	provision->provisioner = provisioner;
	provision->definition = definition_ref(definition);
	provision->holding = holding;
	provision->n_pieces = n_pieces;
	provision->lock = definition->mlock;
	if (definition->prefault) {
		provision->data_bytes = round_up(definition->size_bytes, PAGE_BYTES);
		provision->total_bytes = provision->data_bytes + round_up(locks_control_bytes(definition), PAGE_BYTES);
	}
	slices_init(&provision->locking, provisioner->base, provision_lock_step, provision_locked);
	return provision;
}

int
provision_start(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    bool is_scrub, provision_done_fn done, provision_progress_fn progress, void *owner,
    struct provision **ret_provision, char *text, size_t text_size)
{
	struct provision *provision = provision_new(provisioner, definition, holding);
	int r;

	if (!provision) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	provision->is_scrub = is_scrub;
	provision->done = done;
	provision->progress = progress;
	provision->owner = owner;
	r = is_scrub ? provision_scrub_control(provision) : provision_judge(provision);
	if (!r && !is_scrub)
		r = provision_create(provision);
	if (!r && !is_scrub && !provision->total_bytes)
		r = PROVISION_E_DONE;
	if (r) {
		(void)snprintf(text, text_size, "%s", provision->text);
		if (is_scrub) {
			provisioner->locked_bytes -= holding->locked_bytes;
			holding_release(holding, &provisioner->releases, false);
		}
		provision_keep_promises(provision);
		(void)provision_free(provision);
		return r;
	}
	*ret_provision = provision;
	if (is_scrub)
		provision_scrub(provision);
	else
		provision_begin(provision);
	return 0;
}

void
provision_abandon(struct provision *provision)
{
	slices_stop(&provision->locking);
	provision->orphan = *provision->holding;
	*provision->holding = (struct holding) HOLDING_NULL;
	provision->holding = &provision->orphan;
	provision->done = provision_orphan_done;
	LIST_INSERT_HEAD(&provision->provisioner->orphans, provision, orphan_entry);
	provision_fail(provision, -ECANCELED);
}

struct provision *
provision_free(struct provision *provision)
{
	if (!provision)
		return NULL;
	slices_stop(&provision->locking);
	(void)definition_unref(provision->definition);
	free(provision);
	return NULL;
}
