/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reading first, all of it, since rows refer to each other and stand in any order; then segments in the order of their making,
 * sessions in that of their coming, and attachments. Nothing calls back meanwhile: the loop does not run yet.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "base/base.h"
#include "conf/plan.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/survival.h"
#include "daemon/start.h"
#include "daemon/survival_await.h"
#include "daemon/survival_past.h"
#include "daemon/survival_room.h"
#include "daemon/survival_steps.h"
#include "daemon/survival_tell.h"
#include "systemd/store.h"

static void
survival_on_tell(const char *text, void *arg)
{
	survival_tell("what the segmentd before this one has left: %s", text);
}

/* Into the box */

static void
survival_fill(struct box *box, void *arg)
{
	struct survival *survival = arg;
	struct session *session;
	struct segment *segment;

	TAILQ_FOREACH(segment, &survival->registry->in_order, entry)
		if (segment->state == PROTOCOL_READY || segment->state == PROTOCOL_DRAINING)
			segment_box(segment);
	if (survival->requests->sessions->keeps || survival->is_ending)
		TAILQ_FOREACH(session, &survival->requests->sessions->sessions, entry)
			session_box(session);
}

/* Segments */

/* Whether the record, or its file, leads to it without a descriptor. What was made of a template nobody asks for by its name. */
static bool
survival_may_find(const struct past_segment *past)
{
	return past->definition && (backend_has(past->definition->backend, BACKEND_DURABLE) ||
	    (backend_has(past->definition->backend, BACKEND_NAMED) && !past->template_name));
}

static int
survival_revive_object(struct survival *survival, struct past_segment *past, struct holding *holding, char *text, size_t text_size)
{
	const struct ledger_segment *row = &past->row;
	const struct backend *backend = backend_find(past->definition->backend);
	struct record_entry entry;
	struct backend_remains remains = {
		.definition = past->definition,
		.fds = { past_object_fd(survival->past, BOX_SEGMENT_DATA, row->generation, row->data_device, row->data_inode),
		    past_fd(survival->past, BOX_SEGMENT_MARK, row->generation) },
		.map_bytes = row->map_bytes,
		.page_bytes = row->page_bytes,
		.shm_id = row->shm_id,
	};
	int r;

	if (leftovers_claim(survival->leftovers, past->definition, row->generation, &entry))
		remains.entry = &entry;
	r = backend && backend->revive ? backend->revive(&remains, &holding->object, text, text_size) : BACKEND_E_OTHER;
	if (r == 0)
		holding->backend = backend;
	/* It is a leftover again, and judged as one. */
	else if (remains.entry)
		(void)leftovers_take(&entry, survival->leftovers);
	for (unsigned i = 0; i < BACKEND_KEPT_MAX; i++)
		close_fd(&remains.fds[i]);
	return r;
}

/* Its object, control memory and mapping: all, or nothing. */
static int
survival_revive_holding(struct survival *survival, struct past_segment *past, struct holding *holding, char *text, size_t text_size)
{
	int control_fd = past_object_fd(survival->past, BOX_SEGMENT_CONTROL, past->row.generation, past->row.control_device,
	    past->row.control_inode);
	int r = BACKEND_E_GONE;

	if (past->definition->n_locks == 0 || control_fd >= 0 || !past->row.control_bytes)
		r = survival_revive_object(survival, past, holding, text, text_size);
	if (r == 0 && past->row.control_bytes)
		r = holding_revive_control(holding, &control_fd, past->row.control_bytes, text, text_size);
	if (r == 0 && past->definition->n_locks && !holding->map) {
		r = holding_map(holding);
		if (r)
			(void)snprintf(text, text_size, "mapping it failed: %s", strerror(-r));
	}
	close_fd(&control_fd);
	if (r && holding->backend)
		holding_leave(holding);
	return r;
}

int
survival_register(struct survival *survival, const struct past_segment *past, struct segment **ret_segment)
{
	const struct ledger_segment *row = &past->row;
	const struct registry_past registry_past = {
		.generation = row->generation,
		.cursor = row->cursor,
		.is_declared = row->flags & LEDGER_SEGMENT_DECLARED,
		.template_name = past->template_name,
		.session = row->created_session,
		.serial = row->created_serial,
		.charged_uid = row->charged_uid,
		.charged_bytes = row->charged_bytes,
	};

	return registry_revive(survival->registry, past->definition, &registry_past, ret_segment);
}

int
survival_give_holding(struct past_segment *past, struct holding *holding)
{
	const struct ledger_segment *row = &past->row;
	/* Its descriptors were taken because they are that; what has a name may be had by another. */
	bool is_only_ours = backend_has(past->definition->backend, BACKEND_FD | BACKEND_SEALED);
	const struct segment_past segment_past = {
		.state = (enum protocol_state)row->state,
		.claim_id = row->claim_id,
		.last_id = row->last_id,
		.ids_wrapped = row->flags & LEDGER_SEGMENT_IDS_WRAPPED,
		.was_attached = row->flags & LEDGER_SEGMENT_WAS_ATTACHED,
		.huge_bytes = row->huge_bytes,
		.packed = past->packed,
		.n_packed = past->n_packed,
		.data_device = row->data_device,
		.data_inode = is_only_ours ? row->data_inode : 0,
		.control_device = row->control_device,
		.control_inode = row->control_inode,
	};

	holding->node_bytes = take_ptr(past->node_bytes);
	holding->n_nodes = past->n_nodes;
	holding->is_elsewhere = row->flags & LEDGER_SEGMENT_ELSEWHERE;
	past->segment->reason = take_ptr(past->reason);
	past->segment->growth_reason = take_ptr(past->growth_reason);
	past->segment->grow_to_bytes = row->grow_to_bytes;
	return segment_revive(past->segment, &segment_past, holding);
}

static int
survival_revive_segment(struct survival *survival, struct past_segment *past)
{
	const struct ledger_segment *row = &past->row;
	struct holding holding = HOLDING_NULL;
	char text[FINDINGS_TEXT_SIZE] = "it is not there any more";
	int r;

	/* What was being scrubbed is worth nothing, and is made anew. */
	if (row->state != PROTOCOL_READY && row->state != PROTOCOL_DRAINING)
		return 0;
	if (!past->definition || registry_find(survival->registry, past->definition->name)) {
		survival_tell_lost(survival->past, past, past->definition ? "another one has its name" :
		    "what it was defined as cannot be read");
		return 0;
	}
	r = survival_revive_holding(survival, past, &holding, text, sizeof(text));
	if (r == 0)
		r = survival_register(survival, past, &past->segment);
	if (r == 0)
		return survival_give_holding(past, &holding);
	if (holding.backend)
		holding_leave(&holding);
	if (r == BACKEND_E_GONE) {
		int awaited = survival_await(survival, past);

		r = awaited == SURVIVAL_E_NOBODY ? r : awaited;
	}
	/* Then rather nobody is served than it is lost: the next start may have what this one had not. */
	if (r == 0 || error_is_passing(-r))
		return r;
	/* By its name or key it may be found again: whoever provisions it says what comes of that. */
	if (!survival_may_find(past))
		survival_tell_lost(survival->past, past, r == BACKEND_E_OTHER ? "what was kept of it is something else" : text);
	return 0;
}

static void
survival_revive_lock(struct survival *survival, const struct ledger_lock *row)
{
	struct past_segment *past = past_find_segment(survival->past, row->generation);
	struct lock *lock;

	if (!past || !past->segment || row->index >= past->segment->locks->n)
		return;
	lock = &past->segment->locks->list[row->index];
	lock->n_recoveries = row->n_recoveries;
	lock->recovered_ns = row->recovered_ns;
	lock->recovered_pid = row->recovered_pid;
	lock->was_marked = row->flags & LEDGER_LOCK_WAS_MARKED;
	lock->is_stuck = row->flags & LEDGER_LOCK_STUCK;
	lock->marked_owner = row->marked_owner;
	past->segment->locks->n_recoveries += row->n_recoveries;
	segment_enter_lock(past->segment, row->index);
}

void
survival_revive_locks(struct survival *survival, const struct past_segment *past)
{
	for (size_t i = 0; i < survival->past->n_locks; i++)
		if (survival->past->locks[i].generation == past->row.generation)
			survival_revive_lock(survival, &survival->past->locks[i]);
}

/* Sessions */

/* What is short now the next start may have: all of it is left to that one. */
static int
survival_leave_session(const struct ledger_session *row, int r)
{
	static const char enfile[] = ". Remedy: raise fs.file-max, or have others of the host keep fewer files open";

	log_write(MESSAGE_TAKEOVER_WAITS, &(struct log_about) { .error = r }, "the connection of pid %" PRId32 " (uid %" PRIu32 ") cannot be "
	    "gone on with now: nothing is taken over, and nothing lost; it is tried again%s", row->pid, row->uid,
	    r == -ENFILE ? enfile : "");
	return r;
}

/* 0, or a negative errno of what passes. */
static int
survival_revive_session(struct survival *survival, struct past_session *past)
{
	const struct ledger_session *row = &past->row;
	const struct session_past session_past = {
		.id = row->id,
		.since_ns = row->since_ns,
		.n_requests = row->n_requests,
		.serial = row->serial,
		.doing_serial = row->doing_serial,
		.status = row->status,
		.is_greeted = row->flags & LEDGER_SESSION_GREETED,
		.process = row->process,
		.socket_inode = row->socket_inode,
	};
	int fd = past_fd(survival->past, BOX_SESSION, row->id), r;

	/* Its process is known all the same: by the attachments that it had. */
	if (fd < 0)
		return 0;
	r = session_revive(survival->requests->sessions, &session_past, fd, &past->session);
	if (error_is_passing(-r))
		return survival_leave_session(row, r);
	if (r)
		survival_tell("the connection of pid %" PRId32 " (uid %" PRIu32 ") cannot be gone on with: %s; it is closed, and its "
		    "process connects anew", row->pid, row->uid, r == -ESTALE ? "what was kept of it is something else" : strerror(-r));
	else
		past->pending_serial = session_pending_serial(past->session);
	return 0;
}

static void
survival_revive_subscription(struct survival *survival, struct past_session *past)
{
	const struct ledger_session *row = &past->row;
	struct past_session *watched = NULL;

	if (!past->session || !(row->flags & LEDGER_SESSION_SUBSCRIBED))
		return;
	if (!(row->flags & LEDGER_SESSION_SUBSCRIBED_ALL)) {
		watched = past_find_session(survival->past, row->watched_session);
		/* Whose segments it heard of has gone: it hears of that, as it would have. */
		if (!watched || !watched->session) {
			(void)shutdown(past->session->fd, SHUT_RDWR);
			return;
		}
	}
	requests_revive_subscription(survival->requests, past->session, watched ? watched->session : NULL);
}

/* Attachments */

static int
survival_revive_attachment(struct survival *survival, struct past_attachment *past)
{
	const struct ledger_attachment *row = &past->row;
	struct past_segment *segment = past_find_segment(survival->past, row->generation);
	struct past_session *session = row->session ? past_find_session(survival->past, row->session) : NULL;
	const struct attachment_past attachment_past = {
		.id = row->id,
		.access = row->access,
		.uid = row->uid,
		.pid = row->pid,
		.process = row->process,
		.since_ns = row->since_ns,
		.serial = row->serial,
		.is_marked = row->flags & LEDGER_ATTACHMENT_MARKED,
		.is_foreign = row->flags & LEDGER_ATTACHMENT_FOREIGN,
		.is_owner_gone = row->flags & LEDGER_ATTACHMENT_OWNER_GONE,
		.row = &past->kept,
	};
	struct session *owner = session ? session->session : NULL;
	int r;

	if (!segment || !segment->segment)
		return 0;
	r = attachment_revive(segment->segment, &attachment_past, owner ? row->session : 0, owner ? &owner->identity : NULL,
	    survival->requests->sessions->accounts, owner ? &owner->attachments : NULL, &past->attachment);
	/* Its row may be older than that. */
	segment->segment->was_attached = true;
	if (r == 0 && owner)
		past->attachment->ends = &owner->ends;
	return r;
}

/*
 * What was made for a request that is still in its session's queue: it was handed out to nobody yet, or that could not be said any
 * more. It is handed out when the request is looked at, and is not made once more if it goes before.
 */
static void
survival_revive_creation(struct survival *survival, struct past_segment *past)
{
	struct past_session *session = past_find_session(survival->past, past->row.created_session);
	struct segment *segment = past->segment;
	bool is_live = session && session->session;

	if (!segment || !segment->creation)
		return;
	past->is_awaited = is_live && session->pending_serial == past->row.created_serial;
	if (segment->was_attached && !past->is_awaited)
		return;
	/* Nobody asks for it any more. */
	if (!is_live) {
		segment_remove(take_ptr(past->segment), true);
		return;
	}
	session->session->created_serial = past->row.created_serial;
	(void)snprintf(session->session->created_name, sizeof(session->session->created_name), "%s", past->definition->name);
}

/* The whole */

static bool
survival_differs(const struct survival *survival, const struct conf *conf)
{
	const struct past *past = survival->past;
	size_t n_declared = 0;

	for (size_t i = 0; i < past->n_segments; i++)
		n_declared += past->segments[i].awaits_memory ? (past->segments[i].row.flags & LEDGER_SEGMENT_DECLARED) != 0 :
		    past->segments[i].segment && past->segments[i].segment->is_declared;
	for (size_t i = 0; i < conf->n_segments; i++) {
		const struct segment *segment = registry_find(survival->registry, conf->segments[i]->name);

		if (!segment)
			continue;
		/* One that somebody is removing stays so: a restart is no reload, which would take it back. */
		if (!segment->is_declared || (segment->definition != conf->segments[i] &&
		    !plan_equal(segment->definition, conf->segments[i])))
			return true;
		n_declared--;
	}
	return n_declared > 0;
}

static int
survival_put_back(struct survival *survival)
{
	struct past *past = survival->past;
	int r = 0;

	for (size_t i = 0; r == 0 && i < past->n_segments; i++)
		r = survival_revive_segment(survival, &past->segments[i]);
	for (size_t i = 0; i < past->n_locks; i++)
		survival_revive_lock(survival, &past->locks[i]);
	for (size_t i = 0; r == 0 && i < past->n_sessions; i++)
		r = survival_revive_session(survival, &past->sessions[i]);
	for (size_t i = 0; r == 0 && i < past->n_attachments; i++)
		r = survival_revive_attachment(survival, &past->attachments[i]);
	for (size_t i = 0; r == 0 && i < past->n_segments; i++)
		survival_revive_creation(survival, &past->segments[i]);
	/* Those of a session are all there before anybody hears of one's end. */
	for (size_t i = 0; r == 0 && i < past->n_sessions; i++)
		survival_revive_subscription(survival, &past->sessions[i]);
	return r;
}

/*
 * Its request is first in the queue still. Nobody but its peer, or the queue to it, can have its description, since ours has ended
 * with the earlier daemon: so it was answered, and that one was killed before it took the request from the queue. Likewise if it is
 * given back already. Then it is taken now: by the next start its attachment may have ended, and nothing would tell any more.
 */
static void
survival_resume_attachment(struct survival *survival, struct past_attachment *past)
{
	struct attachment *attachment = past->attachment;
	struct past_session *session = attachment->session ? past_find_session(survival->past, attachment->session) : NULL;

	if (session && attachment->serial && attachment->serial == session->pending_serial &&
	    ((attachment->is_marked && attachment_is_held(attachment)) ||
	    session_has_pending_detach(session->session, attachment->id, attachment->segment->generation)))
		session_take_answered(session->session, attachment->serial);
	attachment_resume(attachment);
}

static void
survival_resume_segment(struct survival *survival, struct past_segment *past)
{
	struct past_session *creator = past->is_awaited ? past_find_session(survival->past, past->row.created_session) : NULL;

	/* It was handed out, and given back: nobody is to have it any more. */
	if (creator && creator->session->answered_serial == past->row.created_serial)
		creator->session->created_serial = 0;
	/* Handed out or not, that is as if it had not been: it stays until its request is looked at. */
	else if (creator && !segment_n_attached(past->segment))
		past->segment->was_attached = false;
	segment_resume(past->segment);
}

/* Counts are the kernel's from here on. 0, or a negative errno: the next start does it all again. */
static int
survival_resume(struct survival *survival)
{
	struct past *past = survival->past;
	int r = 0;

	for (size_t i = 0; i < past->n_attachments; i++)
		if (past->attachments[i].attachment)
			survival_resume_attachment(survival, &past->attachments[i]);
	for (size_t i = 0; i < past->n_segments; i++)
		if (past->segments[i].segment)
			survival_resume_segment(survival, &past->segments[i]);
	for (size_t i = 0; r == 0 && i < past->n_sessions; i++) {
		if (!past->sessions[i].session)
			continue;
		r = session_resume(past->sessions[i].session);
		if (r)
			(void)survival_leave_session(&past->sessions[i].row, r);
	}
	return r;
}

void
survival_resume_returned(struct survival *survival, struct past_segment *past)
{
	struct past_attachment *first = past_first_attachment(survival->past, past->row.generation);
	struct past_attachment *end = past_attachments_end(survival->past), *at;

	for (at = first; at && at < end && at->row.generation == past->row.generation; at++)
		/* Whoever it is of keeps its memory, which is counted as somebody's whom no attachment shows. */
		if (survival_revive_attachment(survival, at))
			survival_tell("segment '%s': its attachment by pid %" PRId32 " is not supervised any more: memory is short",
			    past->definition->name, at->row.pid);
	for (at = first; at && at < end && at->row.generation == past->row.generation; at++)
		if (at->attachment)
			attachment_resume(at->attachment);
	segment_resume(past->segment);
}

/* All is restored that can be now. */
static void
survival_forget_past(struct survival *survival)
{
	struct past *past = survival->past;

	/* From here on they come and go. */
	for (size_t i = 0; i < past->n_sessions; i++)
		past->sessions[i].session = NULL;
	/* What was kept of the configuration goes with the start. */
	for (size_t i = 0; i < past->n_segments; i++)
		past->segments[i].packed = NULL;
	if (!survival_await_begin(survival))
		survival->past = past_free(past);
}

/* Nothing was kept, or nothing of it is to be had. 0, or a negative errno: there is no room to await what clients may have. */
static int
survival_lose(struct survival *survival)
{
	struct past *past = survival->past;
	size_t n = 0;
	int r;

	for (size_t i = 0; i < past->n_segments; i++) {
		struct past_segment *segment = &past->segments[i];

		if (survival_may_find(segment))
			continue;
		r = segment->definition ? survival_await(survival, segment) : SURVIVAL_E_NOBODY;
		if (r == 0)
			continue;
		if (error_is_passing(-r))
			return r;
		survival_tell_lost(past, segment, "no descriptor of it was kept by a service manager");
		n++;
	}
	if (past->n_segments || past->n_sessions)
		log_write(MESSAGE_NOT_TAKEN_OVER, NULL, "nothing was kept of what the segmentd before this one had open: %zu of its %zu segments are "
		    "lost, %u are awaited from clients, the others are looked for by the record; its %zu connections have ended, and who had "
		    "them connects anew", n, past->n_segments, survival->n_awaited, past->n_sessions);
	return 0;
}

int
survival_restore(struct survival *survival, const struct conf *conf, bool *ret_differs)
{
	size_t n_segments = 0, n_sessions = 0;
	struct past *past = survival->past;
	char text[FINDINGS_TEXT_SIZE];
	int r = 0;

	*ret_differs = false;
	survival->await_ms = conf->daemon.await_returns_ms;
	if (!past)
		return 0;
	for (size_t i = 0; r == 0 && i < conf->n_templates; i++)
		r = registry_set_template(survival->registry, conf->templates[i]);
	/* Without a descriptor that was kept, what has a name is a leftover, and what has none its clients may have. */
	if (r == 0 && past->n_fds == 0) {
		r = survival_lose(survival);
		if (r)
			return r;
		*ret_differs = survival->n_awaited && survival_differs(survival, conf);
		survival_forget_past(survival);
		return 0;
	}
	if (r == 0) {
		survival_tell_unknown(past);
		past_close_unknown_sessions(past);
		r = survival_put_back(survival);
	}
	/* What is not in our ledger would be lost with us: who comes next has all of it by the one before. */
	if (r == 0 && survival->ledger.error) {
		r = survival->ledger.error;
		log_write(MESSAGE_STATE, NULL, "not all that the segmentd before this one had can be gone on with: %s",
		    ledger_describe_error(&survival->ledger, text, sizeof(text)));
	}
	if (r)
		return r;
	*ret_differs = survival_differs(survival, conf);
	for (size_t i = 0; i < past->n_segments; i++)
		n_segments += past->segments[i].segment != NULL;
	for (size_t i = 0; i < past->n_sessions; i++)
		n_sessions += past->sessions[i].session != NULL;
	if (past->n_segments || past->n_sessions)
		log_write(MESSAGE_TAKEN_OVER, NULL, "taken over from the segmentd before this one: %zu of %zu segments, %zu of %zu "
		    "connections, %zu attachments%s", n_segments, past->n_segments, n_sessions, past->n_sessions,
		    past->n_attachments, survival->n_awaited ? "; the memory of others is awaited from clients" : "");
	past_close_fds(past);
	r = survival_resume(survival);
	if (r == 0)
		survival_forget_past(survival);
	return r;
}

int
survival_init(struct survival *survival, struct event_base *base, struct registry *registry, struct requests *requests,
    struct leftovers *leftovers, struct inherited *inherited, const struct pack_known *known, const char *state_dir, char *text,
    size_t text_size)
{
	int r;

	survival->base = base;
	survival->registry = registry;
	survival->requests = requests;
	requests->survival = survival;
	survival->leftovers = leftovers;
	survival->past = past_new();
	if (!survival->past) {
		(void)snprintf(text, text_size, "the daemon is out of memory");
		return -ENOMEM;
	}
	survival->past->parcels = &requests->sessions->parcels;
	r = box_init(&survival->box, base, survival_fill, survival);
	survival->has_box = r == 0;
	if (r && r != -ENOENT) {
		(void)snprintf(text, text_size, "the box cannot be made: %s", strerror(-r));
		return r;
	}
	r = ledger_open(&survival->ledger, state_dir, known, past_take_row, survival_on_tell, survival->past, text, text_size);
	if (r)
		return r;
	survival->box.spares_past = survival->ledger.is_newer;
	if (survival->has_box)
		r = box_peek(&survival->box, inherited, past_take_fd, survival_on_tell, survival->past);
	if (r) {
		(void)snprintf(text, text_size, "what the service manager kept cannot be read: %s", strerror(-r));
		return r;
	}
	r = past_sort(survival->past);
	/* Their rows would be gone with us: rather nobody is served than one of them is lost. */
	if (r == 0 && survival->has_box)
		r = survival_judge_room(survival, text, text_size);
	if (r < 0)
		(void)snprintf(text, text_size, "the daemon is out of memory");
	if (r)
		return r;
	registry->host.ledger = requests->sessions->ledger = &survival->ledger;
	registry->host.box = requests->sessions->box = survival->has_box ? &survival->box : NULL;
	requests->box = registry->host.box;
	registry->last_generation = max_u64(registry->last_generation, past_last_id(survival->past, BOX_SEGMENT_DATA));
	registry->last_generation = max_u64(registry->last_generation, survival->ledger.last_generation);
	registry->past_generation = registry->last_generation;
	requests->sessions->last_id = max_u64(survival->ledger.last_session, past_last_id(survival->past, BOX_SESSION));
	return 0;
}

/* A start that cannot read its configuration finds its state by this (start.h). What earlier daemons stored goes for it. */
static void
survival_keep_dir(struct survival *survival)
{
	cleanup_close int fd = open(survival->ledger.state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : store_remove(START_STATE_NAME);

	if (r == 0)
		r = store_put(START_STATE_NAME, fd);
	if (r)
		log_write(MESSAGE_UNSAVED, &(struct log_about) { .error = r }, "the service manager cannot be told where state_dir is: "
		    "should the configuration's files not be valid at a restart, what was in effect is looked for where they name it");
}

int
survival_begin(struct survival *survival, char *text, size_t text_size)
{
	int r = ledger_commit(&survival->ledger, text, text_size);

	if (r == 0 && survival->has_box) {
		survival_keep_dir(survival);
		box_begin(&survival->box);
	}
	return r;
}

void
survival_hand_over(struct survival *survival)
{
	struct session *session;

	survival->is_ending = true;
	TAILQ_FOREACH(session, &survival->requests->sessions->sessions, entry) {
		/* How many requests it has made, and the like: what is not written each time. */
		session_write_row(session);
		if (survival->has_box && !survival->requests->sessions->keeps)
			session_box(session);
	}
}

void
survival_deinit(struct survival *survival, bool is_kept)
{
	survival_await_end(survival, is_kept);
	if (survival->past) {
		survival->past->parcels = NULL;
		survival->past->is_kept = is_kept;
	}
	survival->past = past_free(survival->past);
	if (survival->has_box && !is_kept) {
		(void)store_remove(START_STATE_NAME);
		box_forget(&survival->box);
	}
	if (survival->ledger.is_committed && !is_kept)
		kept_remove(survival->ledger.state_dir);
	if (survival->has_box)
		box_deinit(&survival->box);
	survival->has_box = false;
	ledger_close(&survival->ledger);
}
