/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The memory is judged before a byte of it is allocated, for all that is under way together; then the object is made, and the
 * steps follow. The order of a failure: no new pieces, the busy ones end, the pages go back, the owner is told.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/locks.h"
#include "daemon/provision_steps.h"
#include "host/limits.h"

/* The budget asks the kernel again: what it knows is from before. */
static void
provisioner_tell_room(struct provisioner *provisioner)
{
	provisioner->budget.asked_ns = 0;
	if (provisioner->on_room)
		provisioner->on_room(provisioner->on_room_arg);
}

void
provisioner_on_name(void *arg)
{
	provisioner_tell_room(arg);
}

static void
provisioner_on_release(struct releases *releases)
{
	provisioner_tell_room(BASE_CONTAINER_OF(releases, struct provisioner, releases));
}

void
provisioner_uncount_locked(struct provisioner *provisioner, const struct holding *holding)
{
	provisioner->locked_bytes -= holding->locked_bytes;
	provisioner->mlocked_bytes -= holding_mlocked_bytes(holding);
}

bool
provisioner_awaits_room(const struct provisioner *provisioner)
{
	return !LIST_EMPTY(&provisioner->orphans) || !LIST_EMPTY(&provisioner->releases.list) ||
	    backend_names_leave() || (provisioner->leftovers && provisioner->leftovers->is_awaited);
}

bool
provisioner_runs_errands(const struct provisioner *provisioner)
{
	const struct provision *orphan;

	LIST_FOREACH(orphan, &provisioner->orphans, orphan_entry)
		if (orphan->holding->backend && orphan->holding->backend->features & BACKEND_DURABLE)
			return true;
	return releases_run_errands(&provisioner->releases) || (provisioner->leftovers && provisioner->leftovers->n_opening);
}

static void
provision_orphan_done(struct provision *provision, int r)
{
	struct provisioner *provisioner = provision->provisioner;

	LIST_REMOVE(provision, orphan_entry);
	(void)provision_free(provision);
	if (!provisioner->releases.is_closing)
		provisioner_tell_room(provisioner);
}

int
provisioner_init(struct provisioner *provisioner, struct event_base *base, struct workers *workers,
    uint64_t memory_reserve_bytes)
{
	*provisioner = (struct provisioner) { .base = base, .workers = workers };
	LIST_INIT(&provisioner->orphans);
	releases_init(&provisioner->releases, workers);
	provisioner->releases.on_end = provisioner_on_release;
	return budget_init(&provisioner->budget, memory_reserve_bytes);
}

void
provisioner_deinit(struct provisioner *provisioner)
{
	struct provision *orphan;

	/* Their workers were ended before, and nothing is called for them any more. */
	while ((orphan = LIST_FIRST(&provisioner->orphans))) {
		provisioner_uncount_locked(provisioner, &orphan->orphan);
		holding_release(&orphan->orphan, &provisioner->releases, false);
		provision_orphan_done(orphan, -ECANCELED);
	}
	budget_deinit(&provisioner->budget);
}

void
provision_keep_promises(struct provision *provision)
{
	budget_kept(&provision->provisioner->budget, provision->promised_bytes);
	budget_lock_kept(&provision->provisioner->budget, provision->promised_lock_bytes);
	provision->promised_bytes = 0;
	provision->promised_lock_bytes = 0;
}

void
provision_finish(struct provision *provision, int r)
{
	struct provisioner *provisioner = provision->provisioner;

	provision_keep_promises(provision);
	slices_stop(&provision->locking);
	if (r && provision->is_revival && !provision_is_orphan(provision)) {
		provision->done(provision, r);
		return;
	}
	if (r && provision->is_growth && !provision_is_orphan(provision)) {
		provision_undo(provision);
		return;
	}
	if (r) {
		provisioner_uncount_locked(provisioner, provision->holding);
		holding_release(provision->holding, &provisioner->releases, provision->memory_short);
	} else {
		provision->holding->huge_bytes = provision->huge_bytes;
		provision_keep_place(provision);
	}
	provision->done(provision, r);
}

void
provision_fail(struct provision *provision, int r)
{
	if (!provision->failed)
		provision->failed = r;
	for (unsigned i = 0; i < provision->n_pieces; i++) {
		struct provision_piece *piece = &provision->pieces[i];

		if (!piece->is_busy)
			continue;
		if (workers_cancel(&piece->job)) {
			piece->is_busy = false;
			provision->n_busy--;
		} else {
			workers_hurry(&piece->job);
		}
	}
	/* A scrub's or a copy's; that of a growth which is being undone has to come to its end. */
	if (!provision->is_undoing) {
		if (workers_cancel(&provision->free_piece.job))
			provision->n_busy--;
		else
			workers_hurry(&provision->free_piece.job);
	}
	if (inquiry_cancel(&provision->inquiry))
		provision->n_busy--;
	if (!provision->n_busy)
		provision_finish(provision, provision->failed);
}

int
provision_judge(struct provision *provision)
{
	struct budget *budget = &provision->provisioner->budget;
	uint64_t bytes = provision->is_reserve_only ? 0 :
	    provision->total_bytes - provision->from_bytes - provision_pool_bytes(provision);
	uint64_t lock_bytes = provision_locks_whole(provision) ? provision->total_bytes - provision->data_bytes : bytes;
	int r;

	bytes -= min_u64(bytes, provision->had_bytes);
	if (!provision->lock)
		lock_bytes = 0;
	r = budget_promise(budget, bytes, lock_bytes, provision->text, sizeof(provision->text));
	if (r == BUDGET_E_MEMLOCK && provision_may_degrade(provision)) {
		provision->lock = false;
		lock_bytes = 0;
		r = budget_promise(budget, bytes, 0, provision->text, sizeof(provision->text));
	}
	if (r > 0)
		return r == BUDGET_E_MEMLOCK ? -EPERM : -ENOMEM;
	if (r < 0) {
		(void)snprintf(provision->text, sizeof(provision->text), "cannot tell what memory is available: %s",
		    strerror(-r));
		return r;
	}
	provision->promised_bytes = bytes;
	provision->promised_lock_bytes = lock_bytes;
	return 0;
}

/* Whether enough descriptors are left to clients behind this one. */
static bool
provision_leaves_fds(int fd)
{
	uint64_t most = limits_nofile();

	return fd < 0 || (uint64_t)fd + limits_client_fds(most) < most;
}

/* What locks need besides the data: control memory, and the daemon's own mapping of both. The text says why not. */
static int
provision_create_for_locks(struct provision *provision)
{
	struct holding *holding = provision->holding;
	uint64_t control_bytes = locks_control_bytes(provision->definition);
	int r = 0;

	if (control_bytes)
		r = holding_add_control(holding, provision->definition->name, control_bytes, provision->text,
		    sizeof(provision->text));
	if (r == 0 && provision->definition->n_locks && !holding->map) {
		r = holding_map(holding);
		if (r)
			(void)snprintf(provision->text, sizeof(provision->text),
			    "mapping it for the recovery of its locks failed: %s", strerror(-r));
	}
	return r;
}

static int
max_fd(const struct holding *holding)
{
	int control_fd = holding->control ? holding->control->read_fd : -1;

	return holding->object.fd > control_fd ? holding->object.fd : control_fd;
}

/* There is an object: what it needs besides. 0, or a negative errno with the reason in text. */
static int
provision_equip(struct provision *provision)
{
	int r = provision_create_for_locks(provision);

	/* The last descriptors are for clients, or nobody could ask any more why the others failed. */
	if (r == 0 && !provision_leaves_fds(max_fd(provision->holding)))
		r = -EMFILE;
	if (r == -EMFILE || r == -ENFILE)
		findings_nofile(provision->text, sizeof(provision->text));
	return r;
}

/* What its object is to be: as defined, or without the pool that did not have what it takes. NULL when memory is short. */
static struct definition *
provision_object_definition(const struct provision *provision)
{
	struct definition *definition;

	if (definition_huge_bytes(provision->definition) == provision->page_bytes)
		return definition_ref(provision->definition);
	definition = definition_copy(provision->definition);
	if (definition)
		definition->page_size = DEFINITION_PAGE_AUTO;
	return definition;
}

static int
provision_create_object(struct provision *provision, const struct backend *backend)
{
	struct leftovers *leftovers = provision->provisioner->leftovers;
	struct backend_birth birth = { .record = provision->provisioner->record, .generation = provision->holding->generation };
	struct definition *definition = provision_object_definition(provision);
	int r = 0;

	if (!definition) {
		(void)snprintf(provision->text, sizeof(provision->text), "the daemon is out of memory");
		return -ENOMEM;
	}
	provision->holding->backend = backend;
	if (backend->probe)
		r = backend->probe(definition, provision->text, sizeof(provision->text));
	if (leftovers)
		birth.left = leftovers_row(leftovers, definition);
	if (r == 0)
		r = backend->create(definition, &birth, &provision->holding->object, provision->text, sizeof(provision->text));
	provision->holding->took_row = r == 0 && birth.left && !birth.left->record;
	if (leftovers)
		leftovers_row_taken(leftovers, definition);
	(void)definition_unref(definition);
	return r;
}

/* Whether workers open it, or name it, before it is used. What was adopted is open, and has its name. */
static bool
provision_is_opened(const struct provision *provision)
{
	return provision->holding->backend->errand && !provision->holding->is_adopted;
}

int
provision_create(struct provision *provision)
{
	const struct definition *definition = provision->definition;
	const struct backend *backend = backend_find(definition->backend);
	int r;

	if (!backend) {
		(void)snprintf(provision->text, sizeof(provision->text), "this segmentd has no backend \"%s\"",
		    definition_backend_name(definition->backend));
		return -EOPNOTSUPP;
	}
	r = provision->holding->is_adopted ? 0 : provision_create_object(provision, backend);
	/* A pool that the kernel keeps from us: what is only preferred is done without. The text says so. */
	if (r == -EPERM && provision->page_bytes && provision_may_degrade(provision)) {
		provision_keep_promises(provision);
		provision->page_bytes = 0;
		r = provision_judge(provision);
		if (r)
			return r;
		r = provision_create_object(provision, backend);
	}
	if (r == -EMFILE || r == -ENFILE)
		findings_nofile(provision->text, sizeof(provision->text));
	if (r == 0 && !provision_is_opened(provision))
		r = provision_equip(provision);
	if (r)
		holding_release(provision->holding, &provision->provisioner->releases, false);
	return r;
}

void
provision_opened(struct provision *provision)
{
	int r = provision_equip(provision);

	if (r)
		provision_fail(provision, r);
	else
		provision_begin(provision);
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
	/* Somebody has come meanwhile, and keeps it as it is. */
	provision->is_held = outcome->result->status == -EBUSY;
	if (outcome->result->status && !provision->is_held) {
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

	if (!holding->control)
		return 0;
	provision->provisioner->locked_bytes -= holding->control->locked_bytes;
	provision->provisioner->mlocked_bytes -= holding->control->locked_bytes;
	holding->locked_bytes -= holding->control->locked_bytes;
	holding->control->locked_bytes = 0;
	holding_release_control(holding, &provision->provisioner->releases);
	return provision_create_for_locks(provision);
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
			.object = backend_object_to_free(provision->holding->backend, &provision->holding->object,
			    provision->holding->map ? 1 : 0),
			.limit_bytes = provision->holding->object.map_bytes,
		},
		.fd = provision->holding->object.fd,
		.uid = provision->definition->creator,
		.done = provision_scrubbed,
	};
	provision->n_busy++;
	workers_submit(provision_workers(provision), &piece->job, false);
}

/* Of a file that is not prefaulted its blocks are reserved all the same. */
static bool
is_reserved_only(const struct definition *definition)
{
	return !definition->prefault && backend_has(definition->backend, BACKEND_DURABLE);
}

/* What is to be made of data, and of control memory behind it. */
static uint64_t
definition_data_bytes(const struct definition *definition)
{
	return definition->prefault || is_reserved_only(definition) ? round_up(definition->size_bytes, PROVISION_PAGE_BYTES) : 0;
}

static uint64_t
definition_total_bytes(const struct definition *definition)
{
	uint64_t control_bytes = definition->prefault ? locks_control_bytes(definition) : 0;

	return definition_data_bytes(definition) + round_up(control_bytes, PROVISION_PAGE_BYTES);
}

uint64_t
provision_bytes_of(const struct definition *definition)
{
	return definition_total_bytes(definition) + (definition->init ? definition->size_bytes : 0);
}

struct provision *
provision_new(struct provisioner *provisioner, struct definition *definition, struct holding *holding)
{
	unsigned n_pieces = provisioner->workers->n_max;
	struct provision *provision = calloc(1, sizeof(*provision) + n_pieces * sizeof(provision->pieces[0]));

	if (!provision)
		return NULL;
	provision->provisioner = provisioner;
	provision->definition = definition_ref(definition);
	provision->holding = holding;
	provision->path_fd = -1;
	provision->n_pieces = n_pieces;
	provision->told_ns = clock_monotonic_ns();
	provision->lock = definition->mlock;
	provision->is_reserve_only = is_reserved_only(definition);
	provision->data_bytes = definition_data_bytes(definition);
	provision->total_bytes = definition_total_bytes(definition);
	provision_init_locking(provision);
	return provision;
}

static void
provision_drop(struct provisioner *provisioner, struct holding *holding)
{
	provisioner_uncount_locked(provisioner, holding);
	holding_release(holding, &provisioner->releases, false);
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
		/* Who fails has nothing, and what was there is somebody's secret. */
		if (is_scrub)
			provision_drop(provisioner, holding);
		return -ENOMEM;
	}
	provision->is_scrub = is_scrub;
	provision->done = done;
	provision->progress = progress;
	provision->owner = owner;
	/* Its pages go, with what they were before us. */
	if (is_scrub)
		holding->object.has_contents = false;
	if (is_scrub && holding->backend->reset)
		holding->backend->reset(&holding->object);
	r = is_scrub ? 0 : provision_adopt(provision);
	if (!r)
		r = provision_choose_place(provision);
	if (!r)
		r = is_scrub ? provision_scrub_control(provision) : provision_judge(provision);
	if (!r && !is_scrub)
		r = provision_create(provision);
	if (!r && !is_scrub && !provision->total_bytes && !provision->page_bytes && !definition->init && !provision_is_opened(provision))
		r = PROVISION_E_DONE;
	if (r == -EEXIST && !is_scrub && provision_inquire(provision)) {
		*ret_provision = provision;
		return 0;
	}
	if (r) {
		(void)snprintf(text, text_size, "%s", provision->text);
		if (is_scrub || (r < 0 && holding->is_adopted))
			provision_drop(provisioner, holding);
		provision_keep_promises(provision);
		(void)provision_free(provision);
		return r;
	}
	*ret_provision = provision;
	if (is_scrub)
		provision_scrub(provision);
	else if (provision_is_opened(provision))
		provision_run_errands(provision, BACKEND_STAGE_OPEN);
	else
		provision_begin(provision);
	return 0;
}

void
provision_abandon(struct provision *provision)
{
	if (provision->provisioner->releases.is_closing) {
		provision_keep_promises(provision);
		(void)provision_free(provision);
		return;
	}
	slices_stop(&provision->locking);
	provision->orphan = *provision->holding;
	*provision->holding = (struct holding) HOLDING_NULL;
	provision->holding = &provision->orphan;
	provision->done = provision_orphan_done;
	LIST_INSERT_HEAD(&provision->provisioner->orphans, provision, orphan_entry);
	/* Its successor may have the same name; and who removes it does not want it kept. */
	provision->orphan.is_adopted = false;
	if (provision->orphan.object.fd >= 0 && provision->orphan.backend->unname)
		provision->orphan.backend->unname(&provision->orphan.object);
	provision_fail(provision, -ECANCELED);
}

struct provision *
provision_free(struct provision *provision)
{
	if (!provision)
		return NULL;
	slices_stop(&provision->locking);
	(void)inquiry_cancel(&provision->inquiry);
	close_fd(&provision->path_fd);
	(void)definition_unref(provision->definition);
	free(provision);
	return NULL;
}
