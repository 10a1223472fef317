/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The layout of control memory is made here and nowhere else: records first, then a log each, on lines of their own. */
#include "config.h"

#include "base/base.h"
#include "daemon/locks.h"

/* Room of a lock's log: undo is a GiB at most. */
static uint32_t
locks_log_bytes(const struct definition_lock *definition)
{
	return definition->is_mutex ? 0 : (uint32_t)round_up(definition->undo_bytes, CONTROL_ENTRY_UNIT);
}

uint64_t
locks_control_bytes(const struct definition *definition)
{
	return definition_control_bytes(definition, CONTROL_RECORD_BYTES, CONTROL_ENTRY_UNIT);
}

int
locks_init(struct locks *locks, struct recovery *recovery, const struct definition *definition,
    const struct holding *holding)
{
	uint64_t end = definition->n_locks * (uint64_t)CONTROL_RECORD_BYTES;

	*locks = (struct locks) { .recovery = recovery, .holding = holding };
	if (!definition->n_locks)
		return 0;
	locks->list = calloc(definition->n_locks, sizeof(*locks->list));
	if (!locks->list)
		return -ENOMEM;
	locks->n = (uint32_t)definition->n_locks;
	for (uint32_t i = 0; i < locks->n; i++) {
		struct lock *lock = &locks->list[i];

		lock->definition = &definition->locks[i];
		lock->locks = locks;
		locks->n_ours += !lock->definition->is_mutex;
		lock->log_bytes = locks_log_bytes(lock->definition);
		lock->log_offset_bytes = end;
		end += round_up(lock->log_bytes, CONTROL_RECORD_BYTES);
	}
	return 0;
}

void
locks_deinit(struct locks *locks)
{
	free(locks->list);
	*locks = (struct locks) { 0 };
}

static enum control_on_death
locks_on_death(enum definition_on_death on_death)
{
	static_assert((int)CONTROL_ROLLBACK == (int)DEFINITION_ROLLBACK && (int)CONTROL_KEEP == (int)DEFINITION_KEEP &&
	    (int)CONTROL_ZERO == (int)DEFINITION_ZERO && (int)CONTROL_POISON == (int)DEFINITION_POISON,
	    "one order of words");
	return (enum control_on_death)on_death;
}

void
locks_place(struct locks *locks)
{
	unsigned char *control = locks->holding->control ? locks->holding->control->map : NULL;

	locks_unplace(locks);
	for (uint32_t i = 0; i < locks->n; i++) {
		struct lock *lock = &locks->list[i];
		const struct definition_lock *definition = lock->definition;

		if (definition->is_mutex || !control)
			continue;
		lock->place = (struct control_place) {
			.lock = (struct control_lock *)(void *)(control + i * (size_t)CONTROL_RECORD_BYTES),
			.log = control + lock->log_offset_bytes,
			.data = locks->holding->map,
			.offset_bytes = definition->offset_bytes,
			.length_bytes = definition->length_bytes,
			.log_bytes = lock->log_bytes,
			.on_death = locks_on_death(definition->on_death),
		};
	}
}

void
locks_unplace(struct locks *locks)
{
	for (uint32_t i = 0; i < locks->n; i++) {
		locks->list[i].place = (struct control_place) { 0 };
		locks->list[i].is_poisoned = false;
	}
	locks->n_poisoned = 0;
}

void
lock_note(struct lock *lock)
{
	bool is_poisoned = lock_is_ours(lock) && lock_word_id(lock) == CONTROL_ID_POISON;

	if (is_poisoned == lock->is_poisoned)
		return;
	lock->is_poisoned = is_poisoned;
	lock->locks->n_poisoned += is_poisoned ? 1 : -1u;
}

bool
locks_have_mutexes(const struct locks *locks)
{
	return locks->n > locks->n_ours;
}

bool
locks_name(const struct locks *locks, uint32_t id)
{
	for (uint32_t i = 0; i < locks->n; i++)
		if (lock_is_ours(&locks->list[i]) && lock_word_id(&locks->list[i]) == id)
			return true;
	return false;
}
