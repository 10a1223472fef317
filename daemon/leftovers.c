/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who proves an object holds it open: nobody removes it unseen from then on, and the kernel's answer to who else has it is about
 * that very object. A killed daemon's workers die with it, but not in the same moment: so nobody is told, and no segment fails, for
 * what is held in the first half of a second.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/log.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

#define LOOK_NS		(NS_PER_MS / 2)
#define FRESH_NS	(NS_PER_SEC / 2)
#define WAIT_MS		20		/* between two tries in that time */
#define COUNT_MS	1000		/* between two looks at what nothing tells of */

static bool leftover_on_close(struct kernelcount_watch *watch, uint64_t until_ns);

void
leftovers_set_wait(struct leftovers *leftovers, unsigned ms)
{
	uint64_t until_ns = clock_monotonic_ns() + ms * NS_PER_MS;

	if (evtimer_pending(&leftovers->wait_event, NULL) && leftovers->wait_until_ns <= until_ns)
		return;
	leftovers->wait_until_ns = until_ns;
	timer_add_ns(&leftovers->wait_event, ms * NS_PER_MS);
}

void
leftovers_tell_room(struct leftovers *leftovers)
{
	if (leftovers->releases->on_end)
		leftovers->releases->on_end(leftovers->releases);
}

bool
leftovers_have(const struct leftovers *leftovers, const char *object)
{
	const struct leftover *leftover;

	TAILQ_FOREACH(leftover, &leftovers->list, list_entry)
		if (streq(leftover->entry.row.object, object))
			return true;
	return false;
}

bool
leftovers_are_fresh(const struct leftovers *leftovers)
{
	return clock_monotonic_ns() - leftovers->begun_ns < FRESH_NS;
}

void
leftovers_tell(const char *text, void *arg)
{
	log_write(MESSAGE_STATE_DAMAGED, NULL, "the record in state_dir: %s", text);
}

static void
leftover_set_kept(struct leftover *leftover, bool is_kept)
{
	struct leftovers *leftovers = leftover->leftovers;

	if (leftover->watch.wd >= 0 && !is_kept)
		kernelcount_unwatch(&leftover->watch);
	leftovers->n_kept -= leftover->is_told;
	leftover->is_told = is_kept;
	leftovers->n_kept += leftover->is_told;
}

void
leftover_tell_stays(struct leftover *leftover, const char *why)
{
	if (!leftover->is_told)
		leftover_log(leftover, MESSAGE_NOT_REMOVED, "it cannot be looked at, and stays: %s", why);
	leftover_set_kept(leftover, true);
}

/* What is left of it in the record, and in its holding, is the caller's. */
void
leftover_free(struct leftover *leftover)
{
	struct leftovers *leftovers = leftover->leftovers;

	(void)inquiry_cancel(&leftover->inquiry);
	leftover_set_kept(leftover, false);
	if (leftovers->look_next == leftover)
		leftovers->look_next = TAILQ_NEXT(leftover, list_entry);
	TAILQ_REMOVE(&leftovers->list, leftover, list_entry);
	free(leftover);
}

static struct leftover *
leftover_new(struct leftovers *leftovers)
{
	struct leftover *leftover = calloc(1, sizeof(*leftover));

	if (!leftover)
		return NULL;
	leftover->leftovers = leftovers;
	leftover->holding = (struct holding) HOLDING_NULL;
	leftover->watch = (struct kernelcount_watch) KERNELCOUNT_WATCH_NULL;
	TAILQ_INSERT_TAIL(&leftovers->list, leftover, list_entry);
	return leftover;
}

int
leftovers_take(const struct record_entry *entry, void *arg)
{
	struct leftovers *leftovers = arg;
	struct leftover *leftover = leftover_new(leftovers);

	if (!leftover)
		return -ENOMEM;
	leftover->entry = *entry;
	leftovers->last_generation = max_u64(leftovers->last_generation, entry->row.generation);
	return 0;
}

/* Whether the definition would find it in its place. */
static bool
leftover_is_claimed(const struct leftover *leftover, const struct definition *definition)
{
	const struct record_row *row = &leftover->entry.row;
	const struct backend *backend = backend_find(definition->backend);
	char name[RECORD_OBJECT_SIZE];

	if (!backend || !backend->name_of || !streq(backend->name, row->backend))
		return false;
	backend->name_of(definition, name, sizeof(name));
	return *name && streq(name, row->object);
}

static bool
leftover_is_wanted_by(const struct leftover *leftover, const struct segment *segment)
{
	return segment && (leftover_is_claimed(leftover, segment->definition) ||
	    (segment->successor && leftover_is_claimed(leftover, segment->successor->definition)));
}

/* Most have the name of before. */
static struct segment *
leftover_wanted(const struct leftover *leftover)
{
	const struct registry *registry = leftover->leftovers->registry;
	struct segment *segment = registry_find(registry, leftover->entry.row.segment);

	if (leftover_is_wanted_by(leftover, segment))
		return segment;
	TAILQ_FOREACH(segment, &registry->in_order, entry)
		if (leftover_is_wanted_by(leftover, segment))
			return segment;
	return NULL;
}

int
leftover_prove(struct leftover *leftover, bool may_return, char *text, size_t text_size)
{
	const struct backend *backend = backend_of_row(&leftover->entry.row);
	int r;

	if (leftover->opening)
		return LEFTOVERS_E_OPENING;
	if (leftover->holding.backend)
		return 0;
	if (backend && backend->features & BACKEND_LINKED && !backend_names_are_settled()) {
		leftovers_set_wait(leftover->leftovers, COUNT_MS);
		return LEFTOVERS_E_OPENING;
	}
	r = backend ? backend->prove(&leftover->entry, &leftover->holding.object, text, text_size) : BACKEND_E_OTHER;
	if (r == 0) {
		leftover->holding.backend = backend;
		leftover->holding.generation = leftover->entry.row.generation;
	}
	if (r == 0 && backend->features & BACKEND_DURABLE) {
		leftover_open(leftover);
		return LEFTOVERS_E_OPENING;
	}
	/* Who was killed while he asked by a lease whether anybody has it has that for a moment more. */
	if (r == -EAGAIN && leftovers_are_fresh(leftover->leftovers)) {
		leftovers_set_wait(leftover->leftovers, WAIT_MS);
		return LEFTOVERS_E_OPENING;
	}
	if (r <= 0)
		return r;
	if (r == BACKEND_E_GONE && may_return && (leftover->leftovers->is_settling || leftovers_are_fresh(leftover->leftovers))) {
		leftovers_set_wait(leftover->leftovers, FRESH_NS / NS_PER_MS);
		return LEFTOVERS_E_OPENING;
	}
	if (r == BACKEND_E_OTHER)
		leftover_log(leftover, MESSAGE_LEFT_PROBLEM, "what is there now is another, by the kernel's word, and is left alone");
	else
		leftover_log(leftover, LOG_DEBUG, "it is gone");
	record_remove(&leftover->entry);
	leftover_free(leftover);
	return LEFTOVERS_E_NONE;
}

/* Sees to it that a look follows when somebody lets go. Where nothing tells of that, it is asked now and again. */
static void
leftover_watch(struct leftover *leftover)
{
	struct leftovers *leftovers = leftover->leftovers;
	const struct holding *holding = &leftover->holding;

	if (!(holding->backend->features & BACKEND_COUNTED) && leftover->watch.wd < 0)
		(void)kernelcount_watch(leftovers->kernelcount, &leftover->watch, holding->object.fd, leftover_on_close);
	if (leftover->watch.wd >= 0)
		return;
	leftovers->is_counted = true;
	leftovers_set_wait(leftovers, COUNT_MS);
}

/* Nobody comes to it any more, and the kernel ends it with the last who has it. */
static void
leftover_let_go(struct leftover *leftover, const char *why, const char *then)
{
	leftover_log(leftover, MESSAGE_LEFT, "somebody has it, and it cannot be taken over (%s): it is theirs, and ends with the last of "
	    "them%s", why, then);
	holding_release(&leftover->holding, leftover->leftovers->releases, false);
	leftover_free(leftover);
}

void
leftover_look(struct leftover *leftover)
{
	struct segment *segment = leftover_wanted(leftover);
	char text[FINDINGS_TEXT_SIZE];
	int r;

	/* It is taken over when its segment starts, or starts again. */
	if (leftover->leftovers->is_ending || leftover->is_leaving || (segment && !leftover->is_refused))
		return;
	r = leftover_prove(leftover, !segment, text, sizeof(text));
	if (r < 0)
		leftover_tell_stays(leftover, text);
	if (r)
		return;
	if (holding_is_alone(&leftover->holding)) {
		if (!segment)
			leftovers_remove(leftover, "the configuration has it no more");
		else if (segment->state == PROTOCOL_FAILED)
			segment_start(segment);
		return;
	}
	if (!segment && leftover->entry.row.state == RECORD_LEAVING) {
		leftover_let_go(leftover, "its name was being taken away when that segmentd ended", "");
		return;
	}
	leftover->held_ns = clock_monotonic_ns();
	leftover_watch(leftover);
	if (leftover->is_told || segment)
		return;
	if (leftovers_are_fresh(leftover->leftovers)) {
		leftovers_set_wait(leftover->leftovers, WAIT_MS);
		return;
	}
	leftover_set_kept(leftover, true);
	leftover_tell_kept(leftover);
}

static bool
leftover_on_close(struct kernelcount_watch *watch, uint64_t until_ns)
{
	leftover_look(BASE_CONTAINER_OF(watch, struct leftover, watch));
	return true;
}

/* For as long as a turn may take. */
static void
leftovers_on_look(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval next_turn = { 0 };
	struct leftovers *leftovers = arg;
	uint64_t until_ns = clock_monotonic_ns() + LOOK_NS;
	struct leftover *leftover;

	while ((leftover = leftovers->look_next) && clock_monotonic_ns() < until_ns) {
		leftovers->look_next = TAILQ_NEXT(leftover, list_entry);
		leftover_look(leftover);
	}
	if (leftovers->look_next)
		timer_add(&leftovers->look_event, &next_turn);
	else if (leftovers->is_counted)
		leftovers_set_wait(leftovers, COUNT_MS);
}

static void
leftovers_on_wait(evutil_socket_t fd, short what, void *arg)
{
	struct leftovers *leftovers = arg;
	bool is_awaited = leftovers->is_awaited || leftovers->is_ending;

	leftovers->is_awaited = false;
	leftovers->is_counted = false;
	leftovers_look_soon(leftovers);
	if (is_awaited)
		leftovers_tell_room(leftovers);
}

int
leftovers_init(struct leftovers *leftovers, struct event_base *base, struct kernelcount *kernelcount, struct releases *releases)
{
	*leftovers = (struct leftovers) {
		.base = base,
		.kernelcount = kernelcount,
		.releases = releases,
		.begun_ns = clock_monotonic_ns(),
	};
	TAILQ_INIT(&leftovers->list);
	if (evtimer_assign(&leftovers->look_event, base, leftovers_on_look, leftovers) ||
	    evtimer_assign(&leftovers->wait_event, base, leftovers_on_wait, leftovers))
		return -ENOMEM;
	return 0;
}

void
leftovers_deinit(struct leftovers *leftovers)
{
	struct leftover *leftover;

	if (event_initialized(&leftovers->look_event))
		(void)evtimer_del(&leftovers->look_event);
	if (event_initialized(&leftovers->wait_event))
		(void)evtimer_del(&leftovers->wait_event);
	/* A start that failed has looked at nothing: the next one finds it as it was. */
	if (leftovers->registry)
		leftovers_remove_deinit(leftovers);
	while ((leftover = TAILQ_FIRST(&leftovers->list))) {
		/* What a worker was just opening is in the record still, for the next start. */
		if (leftover->opening)
			leftover->holding.object.entry->record = NULL;
		free(take_ptr(leftover->opening));
		if (leftover->holding.backend)
			holding_release(&leftover->holding, leftovers->releases, false);
		leftover_free(leftover);
	}
}

void
leftovers_begin(struct leftovers *leftovers, struct registry *registry)
{
	const struct leftover *leftover;

	leftovers->registry = registry;
	TAILQ_FOREACH(leftover, &leftovers->list, list_entry) {
		const struct backend *backend = backend_of_row(&leftover->entry.row);

		if (backend && backend->leave)
			leftovers_settle(leftovers);
	}
	leftovers_look_soon(leftovers);
}

void
leftovers_look_soon(struct leftovers *leftovers)
{
	static const struct timeval now = { 0 };

	if (!leftovers->registry || leftovers->is_ending || TAILQ_EMPTY(&leftovers->list))
		return;
	leftovers->look_next = TAILQ_FIRST(&leftovers->list);
	if (!evtimer_pending(&leftovers->look_event, NULL))
		timer_add(&leftovers->look_event, &now);
}

/* Why the definition cannot have it as it is; or NULL. A clause. */
static const char *
leftover_misfit(struct leftover *leftover, const struct definition *definition, bool is_held, char *text, size_t text_size)
{
	const struct holding *holding = &leftover->holding;
	const char *why = record_misfit(&leftover->entry.row, definition, locks_control_bytes(definition) > 0, is_held, text, text_size);

	if (!why && holding->backend->check && holding->backend->check(&holding->object, text, text_size) < 0)
		why = text;
	return why;
}

static struct leftover *
leftovers_find(struct leftovers *leftovers, const struct definition *definition)
{
	struct leftover *leftover;

	TAILQ_FOREACH(leftover, &leftovers->list, list_entry)
		if (leftover_is_claimed(leftover, definition))
			break;
	return leftover;
}

bool
leftovers_claim(struct leftovers *leftovers, const struct definition *definition, uint64_t generation,
    struct record_entry *ret_entry)
{
	const struct backend *backend = backend_find(definition->backend);
	struct leftover *leftover;

	/* What of a template was made has no name that tells it from others'. */
	TAILQ_FOREACH(leftover, &leftovers->list, list_entry)
		if (leftover->entry.row.generation == generation && streq(leftover->entry.row.segment, definition->name) && backend &&
		    streq(leftover->entry.row.backend, backend->name))
			break;
	/* Its state is what the caller knows better. */
	if (!leftover || leftover->holding.backend)
		return false;
	*ret_entry = leftover->entry;
	leftover_free(leftover);
	return true;
}

bool
leftovers_hinder(struct leftovers *leftovers, const struct definition *definition)
{
	const struct leftover *leftover = leftovers_find(leftovers, definition);

	return leftover && leftover->is_refused;
}

static void
leftover_hand_over(struct leftover *leftover, bool is_held, struct holding *holding)
{
	leftover_log(leftover, MESSAGE_LEFT, "it is the one that the record names, and is taken over with what is in it; %s",
	    is_held ? "somebody has it" : "nobody has it");
	leftover_post(leftover, PROTOCOL_ORPHAN_TAKEN);
	leftover->leftovers->n_adopted++;
	*holding = leftover->holding;
	holding->is_adopted = true;
	leftover_free(leftover);
}

/* It is being removed: its segment is started when that is done. */
static int
leftovers_wait(struct leftovers *leftovers, const struct leftover *leftover, char *text, size_t text_size)
{
	const struct record_row *row = &leftover->entry.row;

	(void)snprintf(text, text_size, "%s %s, which a segmentd made that was killed, is being removed; retry when it is", row->backend,
	    record_object(row));
	leftovers->is_awaited = true;
	return -EBUSY;
}

/*
 * Who opens it anew finds by its mark how it was left. What we had opened of it is closed first. Else it stays until that one has
 * its row: there may be no memory for it, and a daemon that is killed meanwhile leaves it to the next.
 */
static void
leftover_close(struct leftover *leftover)
{
	if (!leftover->holding.backend)
		return;
	holding_release(&leftover->holding, leftover->leftovers->releases, false);
	leftover_free(leftover);
}

struct record_entry *
leftovers_row(struct leftovers *leftovers, const struct definition *definition)
{
	struct leftover *leftover = leftovers_find(leftovers, definition);

	return leftover && !leftover->holding.backend && backend_has(definition->backend, BACKEND_DURABLE) ? &leftover->entry : NULL;
}

void
leftovers_row_taken(struct leftovers *leftovers, const struct definition *definition)
{
	struct leftover *leftover = leftovers_find(leftovers, definition);

	if (leftover && !leftover->holding.backend && !leftover->entry.record)
		leftover_free(leftover);
}

/* Whether another one can be made beside it: which does not happen for somebody alone who is just ending with the killed daemon. */
static bool
leftover_is_aside(struct leftover *leftover, const struct definition *definition)
{
	char text[FINDINGS_TEXT_SIZE];

	return record_is_private(&leftover->entry.row) && (!leftovers_are_fresh(leftover->leftovers) ||
	    leftover_misfit(leftover, definition, false, text, sizeof(text)));
}

int
leftovers_adopt(struct leftovers *leftovers, const struct definition *definition, struct holding *holding, char *text,
    size_t text_size)
{
	struct leftover *leftover = leftovers_find(leftovers, definition);
	char clause[FINDINGS_TEXT_SIZE], count[48] = "";
	const char *why;
	uint64_t others;
	bool is_held;
	int r;

	if (!leftover)
		return LEFTOVERS_E_NONE;
	if (leftover->is_leaving || leftover->opening)
		return leftovers_wait(leftovers, leftover, text, text_size);
	if (backend_has(definition->backend, BACKEND_DURABLE)) {
		leftover_close(leftover);
		return LEFTOVERS_E_NONE;
	}
	/* What has no name at the moment may have it back in the next, when it would be in the way. */
	r = leftover_prove(leftover, leftovers->is_settling, text, text_size);
	if (r == LEFTOVERS_E_OPENING)
		return leftovers_wait(leftovers, leftover, text, text_size);
	if (r)
		return r;
	is_held = !holding_is_alone(&leftover->holding);
	why = leftover_misfit(leftover, definition, is_held, clause, sizeof(clause));
	if (why && is_held && (leftover->entry.row.state == RECORD_LEAVING || leftover_is_aside(leftover, definition))) {
		leftover_let_go(leftover, why, "; another one is made");
		return LEFTOVERS_E_NONE;
	}
	/*
	 * Whose contents end with its last client is handed to nobody else since a worker of the killed daemon, which was just ending
	 * them, is not gone yet.
	 */
	if (!why && is_held && leftovers_are_fresh(leftovers) && leftover_misfit(leftover, definition, false, clause, sizeof(clause))) {
		(void)leftovers_wait(leftovers, leftover, text, text_size);
		leftovers_set_wait(leftovers, WAIT_MS);
		return -EBUSY;
	}
	if (!why) {
		leftover_hand_over(leftover, is_held, holding);
		return 0;
	}
	if (!is_held) {
		leftovers_remove(leftover, why);
		leftover = leftovers_find(leftovers, definition);
		return leftover ? leftovers_wait(leftovers, leftover, text, text_size) : LEFTOVERS_E_NONE;
	}
	leftover->is_refused = true;
	leftover->held_ns = clock_monotonic_ns();
	leftover_watch(leftover);
	others = holding_others(&leftover->holding);
	if (others)
		(void)snprintf(count, sizeof(count), ": %" PRIu64 " attached", others);
	(void)snprintf(text, text_size, "%s %s was made by segmentd %" PRId32 ", which was killed, and cannot be taken over (%s), nor "
	    "removed while somebody has it%s", leftover->entry.row.backend, record_object(&leftover->entry.row),
	    leftover->entry.row.maker_pid, why, count);
	if (!leftovers_are_fresh(leftovers))
		return LEFTOVERS_E_HELD;
	leftovers->is_awaited = true;
	leftovers_set_wait(leftovers, WAIT_MS);
	return -EBUSY;
}

/*
 * What was to be opened anew had been in use when the killed daemon's end came: who closes it as if it never had been would leave
 * its mark, of which nobody would know any more.
 */
static void
leftover_take_back(struct leftover *leftover, struct holding *holding)
{
	leftover->entry = *holding->object.entry;
	holding_leave(holding);
}

void
leftovers_keep(struct holding *holding, void *arg)
{
	struct leftovers *leftovers = arg;
	bool is_kept = holding->is_adopted || leftovers->is_ending;
	bool took_row = holding->took_row;
	struct leftover *leftover = is_kept ? leftover_new(leftovers) : NULL;

	holding->is_adopted = holding->took_row = false;
	if (!leftover) {
		holding_release(holding, leftovers->releases, false);
		return;
	}
	if (took_row) {
		leftover_take_back(leftover, holding);
		return;
	}
	leftover->holding = *holding;
	leftover->entry.row = holding->object.entry->row;
	*holding = (struct holding) HOLDING_NULL;
	leftovers_look_soon(leftovers);
}
