/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The registry owns every segment: it enters them, and frees them when they are gone. */
#include "config.h"

#include <sys/random.h>

#include "base/base.h"
#include "daemon/registry.h"
#include "daemon/timer.h"

#define START_NS	(NS_PER_MS / 2)
#define STEP_BITS	12

/*
 * From one number to the next. Clients see the numbers of what they may attach: a gap between two of them is there whether or
 * not there is something that they may not attach.
 */
static uint64_t
registry_step(void)
{
	uint32_t random;

	if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
		random = (uint32_t)clock_monotonic_ns();
	return 1 + (random >> 8 & ((UINT32_C(1) << random % (STEP_BITS + 1)) - 1));
}

uint64_t
registry_next_generation(struct registry *registry)
{
	registry->last_generation += registry_step();
	return registry->last_generation;
}

/* cursor: what it had with an earlier daemon, or 0. */
static void
registry_enter(struct registry *registry, struct segment *segment, uint64_t cursor)
{
	segment->cursor = cursor > registry->last_cursor ? cursor : registry->last_cursor + registry_step();
	registry->last_cursor = segment->cursor;
	names_add(&registry->by_name, segment);
	TAILQ_INSERT_TAIL(&registry->in_order, segment, entry);
	milestones_add(&registry->milestones, segment->cursor, segment);
}

static void
registry_take_out(struct registry *registry, struct segment *segment)
{
	struct segment *next = TAILQ_NEXT(segment, entry);
	struct segment **places[] = { &registry->start_first, &registry->start_next, &registry->walk_next };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(places); i++)
		if (*places[i] == segment)
			*places[i] = TAILQ_NEXT(segment, entry);
	names_remove(&registry->by_name, segment);
	milestones_remove(&registry->milestones, segment->cursor, segment, next ? next->cursor : 0, next);
	TAILQ_REMOVE(&registry->in_order, segment, entry);
}

/* To be started from the loop, or revived: what is required first. */
static void
registry_start_soon(struct registry *registry, struct segment *segment, uint64_t cursor)
{
	static const struct timeval now = { 0 };

	registry_enter(registry, segment, cursor);
	if (!registry->start_first)
		registry->start_first = segment;
	/* In the second pass, or at the first one's very end: all again, which costs only the looking. */
	if (!registry->start_next || !registry->starts_required)
		registry->start_next = registry->start_first;
	registry->starts_required = true;
	if (!evtimer_pending(&registry->start_event, NULL))
		timer_add(&registry->start_event, &now);
}

static void
registry_start_declared(struct registry *registry, struct segment *segment)
{
	segment->is_declared = true;
	registry_start_soon(registry, segment, 0);
}

static void
registry_drop_template(struct registry *registry, struct registry_template *template_)
{
	TAILQ_REMOVE(&registry->templates, template_, entry);
	(void)definition_unref(template_->definition);
	free(template_);
}

/*
 * What is made for its creator, if the creator may have it: that is so but where the kernel judges who attaches, and the
 * template's group is another's. 0, REGISTRY_E_ACCESS or -ENOMEM.
 */
static int
registry_instantiate(const struct definition *template_, const char *name, uint64_t size_bytes,
    const struct identity *identity, struct definition **ret_definition)
{
	const uint32_t both = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE;
	struct definition *definition = definition_instantiate(template_, name, size_bytes, identity->uid, identity->gid);

	if (!definition)
		return -ENOMEM;
	if (backend_has(definition->backend, BACKEND_JUDGED) && (access_allowed(definition, identity) & both) != both) {
		(void)definition_unref(definition);
		return REGISTRY_E_ACCESS;
	}
	*ret_definition = definition;
	return 0;
}

/* The last that was created from a removed template is gone, perhaps: nothing is left to count. */
static void
registry_drop_templates(struct registry *registry)
{
	struct registry_template *template_, *next;

	for (template_ = TAILQ_FIRST(&registry->templates); template_; template_ = next) {
		next = TAILQ_NEXT(template_, entry);
		if (template_->is_removed && !template_->n_segments)
			registry_drop_template(registry, template_);
	}
}

static void
registry_on_change(struct segment *segment, void *arg)
{
	struct registry *registry = arg;
	struct segment *successor;
	bool is_created;

	registry->on_change(segment, registry->on_change_arg);
	if (segment->state != PROTOCOL_GONE)
		return;
	successor = take_ptr(segment->successor);
	is_created = segment->creation != NULL;
	/* Whoever goes over the names in several turns has met this one. */
	if (successor)
		successor->seen = segment->seen;
	registry_take_out(registry, segment);
	(void)segment_free(segment);
	if (is_created)
		registry_drop_templates(registry);
	if (successor)
		registry_start_declared(registry, successor);
}

/*
 * Starts what is declared, and grows what waits for that, for as long as a turn may take: thousands of them would hold up
 * everybody.
 */
static void
registry_on_start(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval next_turn = { 0 };
	struct registry *registry = arg;
	uint64_t until_ns = clock_monotonic_ns() + START_NS;
	struct segment *segment;

	while ((segment = registry->start_next) && clock_monotonic_ns() < until_ns) {
		registry->start_next = TAILQ_NEXT(segment, entry);
		if (registry->starts_required && !segment->definition->required)
			continue;
		if (segment->state == PROTOCOL_DECLARED)
			segment_start(segment);
		else
			segment_grow_on(segment);
	}
	if (!registry->start_next && registry->starts_required) {
		registry->starts_required = false;
		registry->start_next = registry->start_first;
	}
	if (registry->start_next)
		timer_add(&registry->start_event, &next_turn);
	else
		registry->start_first = NULL;
}

static void
registry_on_room(void *arg)
{
	static const struct timeval now = { 0 };
	struct registry *registry = arg;

	if (!registry->host.awaits_room)
		return;
	registry->host.awaits_room = false;
	registry->starts_required = true;
	registry->start_first = registry->start_next = TAILQ_FIRST(&registry->in_order);
	if (!evtimer_pending(&registry->start_event, NULL))
		timer_add(&registry->start_event, &now);
}

int
registry_init(struct registry *registry, struct event_base *base, struct kernelcount *kernelcount,
    struct provisioner *provisioner, struct recovery *recovery, struct accounts *accounts,
    registry_change_fn on_change, void *on_change_arg)
{
	recovery->on_idle = segment_on_locks_idle;
	recovery->is_attached = segment_has_owner;
	provisioner->on_room = registry_on_room;
	provisioner->on_room_arg = registry;
	*registry = (struct registry) {
		.host = {
			.base = base,
			.kernelcount = kernelcount,
			.provisioner = provisioner,
			.recovery = recovery,
			.on_change = registry_on_change,
			.on_change_arg = registry,
		},
		.accounts = accounts,
		.on_change = on_change,
		.on_change_arg = on_change_arg,
		/* Microseconds since 1970: a segment that an earlier daemon made never has the same one. */
		.last_generation = clock_realtime_ns() / 1000,
	};
	TAILQ_INIT(&registry->in_order);
	TAILQ_INIT(&registry->templates);
	if (names_init(&registry->by_name) ||
	    evtimer_assign(&registry->start_event, base, registry_on_start, registry))
		return -ENOMEM;
	return 0;
}

void
registry_deinit(struct registry *registry)
{
	struct registry_template *template_;
	struct segment *segment;

	if (event_initialized(&registry->start_event))
		(void)evtimer_del(&registry->start_event);
	while ((segment = TAILQ_FIRST(&registry->in_order))) {
		registry_take_out(registry, segment);
		(void)segment_free(segment);
	}
	segment_file_drop_all();
	while ((template_ = TAILQ_FIRST(&registry->templates)))
		registry_drop_template(registry, template_);
	names_deinit(&registry->by_name);
	milestones_deinit(&registry->milestones);
}

static int
registry_add(struct registry *registry, struct definition *definition, struct segment **ret_segment)
{
	struct segment *segment;
	int r = segment_new(&registry->host, definition, registry_next_generation(registry), &segment);

	if (r)
		return r;
	registry_enter(registry, segment, 0);
	*ret_segment = segment;
	return 0;
}

int
registry_declare_one(struct registry *registry, struct definition *definition)
{
	struct segment *segment;
	int r = segment_new(&registry->host, definition, registry_next_generation(registry), &segment);

	if (r == 0)
		registry_start_declared(registry, segment);
	return r;
}

/* One of a template that the configuration has no more: nobody creates from that, but what was is counted all the same. */
static struct registry_template *
registry_keep_template(struct registry *registry, const struct definition *definition, const char *name)
{
	struct registry_template *template_ = name ? registry_template(registry, name) : NULL;
	char *copy;

	if (template_)
		return template_;
	template_ = calloc(1, sizeof(*template_));
	copy = strdup(name ? name : definition->name);
	if (template_)
		template_->definition = definition_copy(definition);
	if (!template_ || !copy || !template_->definition) {
		if (template_)
			(void)definition_unref(template_->definition);
		free(template_);
		free(copy);
		return NULL;
	}
	free(template_->definition->name);
	template_->definition->name = copy;
	template_->is_removed = true;
	TAILQ_INSERT_TAIL(&registry->templates, template_, entry);
	return template_;
}

static int
registry_revive_creation(struct registry *registry, struct segment *segment, const struct registry_past *past)
{
	struct registry_template *template_ = registry_keep_template(registry, segment->definition, past->template_name);
	struct segment_creation *creation = template_ ? calloc(1, sizeof(*creation)) : NULL;
	int r = creation ? 0 : -ENOMEM;

	if (r == 0)
		r = accounts_charge_again(registry->accounts, past->charged_uid, ACCOUNTS_SEGMENTS, 1, &creation->charge);
	if (r == 0)
		r = accounts_charge_again(registry->accounts, past->charged_uid, ACCOUNTS_BYTES, past->charged_bytes,
		    &creation->bytes_charge);
	if (r) {
		if (creation)
			charge_deinit(&creation->charge);
		free(creation);
		registry_drop_templates(registry);
		return r;
	}
	segment->definition->creator = past->charged_uid;
	creation->session = past->session;
	creation->serial = past->serial;
	creation->template_count = &template_->n_segments;
	creation->template_ = &template_->definition;
	template_->n_segments++;
	segment->creation = creation;
	return 0;
}

int
registry_revive(struct registry *registry, struct definition *definition, const struct registry_past *past,
    struct segment **ret_segment)
{
	struct segment *segment;
	int r = segment_new(&registry->host, definition, past->generation, &segment);

	if (r)
		return r;
	if (!past->is_declared)
		r = registry_revive_creation(registry, segment, past);
	if (r) {
		(void)segment_free(segment);
		return r;
	}
	registry->last_generation = max_u64(registry->last_generation, past->generation);
	segment->is_declared = past->is_declared;
	registry_start_soon(registry, segment, past->cursor);
	*ret_segment = segment;
	return 0;
}

int
registry_replace(struct registry *registry, struct segment *segment, struct definition *definition)
{
	struct segment *successor;
	int r;

	/* Made now: when its turn comes, nothing is left that could fail. */
	r = segment_new(&registry->host, definition, registry_next_generation(registry), &successor);
	if (r == 0)
		segment_succeed(segment, successor);
	return r;
}

struct registry_template *
registry_template(struct registry *registry, const char *name)
{
	struct registry_template *template_;

	TAILQ_FOREACH(template_, &registry->templates, entry)
		if (streq(template_->definition->name, name))
			return template_;
	return NULL;
}

int
registry_set_template(struct registry *registry, struct definition *definition)
{
	struct registry_template *template_ = registry_template(registry, definition->name);

	if (!template_) {
		template_ = calloc(1, sizeof(*template_));
		if (!template_)
			return -ENOMEM;
		TAILQ_INSERT_TAIL(&registry->templates, template_, entry);
	}
	(void)definition_unref(template_->definition);
	template_->definition = definition_ref(definition);
	template_->is_removed = false;
	return 0;
}

void
registry_remove_template(struct registry *registry, struct registry_template *template_)
{
	template_->is_removed = true;
	if (!template_->n_segments)
		registry_drop_template(registry, template_);
}

int
registry_declare(struct registry *registry, const struct conf *conf)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < conf->n_templates; i++)
		r = registry_set_template(registry, conf->templates[i]);
	for (size_t i = 0; r == 0 && i < conf->n_segments; i++)
		if (!registry_find(registry, conf->segments[i]->name))
			r = registry_declare_one(registry, conf->segments[i]);
	return r;
}

struct registry_template *
registry_template_for(struct registry *registry, const char *name, uint32_t uid)
{
	struct registry_template *template_;

	TAILQ_FOREACH(template_, &registry->templates, entry)
		if (!template_->is_removed && definition_matches(template_->definition, name, uid))
			return template_;
	return NULL;
}

/* 0, REGISTRY_E_SEGMENTS, REGISTRY_E_LIMIT or -ENOMEM. */
static int
registry_charge(struct registry *registry, uint32_t uid, uint64_t size_bytes, struct charge *ret_charge,
    struct charge *ret_bytes_charge)
{
	int r = accounts_charge(registry->accounts, uid, ACCOUNTS_SEGMENTS, 1, ret_charge);

	if (r)
		return r == ACCOUNTS_E_LIMIT ? REGISTRY_E_SEGMENTS : r;
	r = accounts_charge(registry->accounts, uid, ACCOUNTS_BYTES, size_bytes, ret_bytes_charge);
	if (r)
		charge_deinit(ret_charge);
	return r == ACCOUNTS_E_LIMIT ? REGISTRY_E_LIMIT : r;
}

int
registry_create(struct registry *registry, const char *name, uint64_t size_bytes,
    const struct identity *identity, uint64_t session, uint64_t serial, struct segment **ret_segment)
{
	const struct segment *existing = registry_find(registry, name);
	struct registry_template *template_;
	struct definition *definition;
	struct segment_creation *creation;
	struct charge charge = CHARGE_NULL, bytes_charge = CHARGE_NULL;
	struct segment *segment;
	int r;

	/* Who may not attach it, and could not have its name either, is not told that there is one. */
	if (existing && access_allowed(existing->definition, identity))
		return REGISTRY_E_EXISTS;
	template_ = identity->is_uid_unknown ? NULL : registry_template_for(registry, name, identity->uid);
	if (!template_)
		return REGISTRY_E_NO_TEMPLATE;
	if (existing)
		return REGISTRY_E_EXISTS;
	if (size_bytes == 0 || size_bytes > template_->definition->max_size_bytes)
		return REGISTRY_E_SIZE;
	if (template_->n_segments >= template_->definition->max_count)
		return REGISTRY_E_COUNT;
	if (definition_lock_beyond(template_->definition, size_bytes))
		return REGISTRY_E_LOCKS;
	r = registry_charge(registry, identity->uid, size_bytes + locks_control_bytes(template_->definition), &charge,
	    &bytes_charge);
	if (r)
		return r;
	creation = NULL;
	r = registry_instantiate(template_->definition, name, size_bytes, identity, &definition);
	if (r == 0) {
		creation = malloc(sizeof(*creation));
		r = creation ? registry_add(registry, definition, &segment) : -ENOMEM;
		(void)definition_unref(definition);
	}
	if (r) {
		free(creation);
		charge_deinit(&charge);
		charge_deinit(&bytes_charge);
		return r;
	}
	*creation = (struct segment_creation) {
		.session = session,
		.serial = serial,
		.template_count = &template_->n_segments,
		.template_ = &template_->definition,
		.charge = charge,
		.bytes_charge = bytes_charge,
	};
	segment->creation = creation;
	template_->n_segments++;
	segment_start(segment);
	*ret_segment = segment;
	return 0;
}

struct segment *
registry_find(const struct registry *registry, const char *name)
{
	return names_find(&registry->by_name, name);
}

struct segment *
registry_after(const struct registry *registry, uint64_t cursor)
{
	struct segment *segment = milestones_before(&registry->milestones, cursor);

	if (!segment)
		segment = TAILQ_FIRST(&registry->in_order);
	while (segment && segment->cursor <= cursor)
		segment = TAILQ_NEXT(segment, entry);
	return segment;
}
