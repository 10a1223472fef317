/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <string.h>

#include "tests/sweep/judge.h"
#include "tests/sweep/pieces.h"

const unsigned char *
judge_bytes(const struct field *field, int lock, uint64_t *ret_length)
{
	*ret_length = lock == FIELD_A ? FIELD_A_BYTES : FIELD_B_BYTES;
	return field->data + (lock == FIELD_A ? FIELD_A_OFFSET : FIELD_B_OFFSET);
}

static bool
same_bytes(const struct field *a, const struct field *b, int lock)
{
	uint64_t length;
	const unsigned char *bytes = judge_bytes(a, lock, &length);

	return memcmp(bytes, judge_bytes(b, lock, &length), length) == 0;
}

static bool
all_zero(const struct field *field, int lock)
{
	static const unsigned char zeros[FIELD_A_BYTES];
	uint64_t length;
	const unsigned char *bytes = judge_bytes(field, lock, &length);

	return memcmp(bytes, zeros, length) == 0;
}

void
judge_reader_init(struct judge_reader *reader, const struct field *field)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint64_t length;
		const unsigned char *bytes = judge_bytes(field, i, &length);

		reader->locks[i].newest = atomic_load(&field->locks[i].sequence);
		reader->locks[i].sequence = reader->locks[i].newest;
		memcpy(reader->locks[i].bytes, bytes, length);
	}
}

const char *
judge_reader(struct judge_reader *reader, const struct field *field)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint32_t sequence = atomic_load(&field->locks[i].sequence);
		uint64_t length;
		const unsigned char *bytes = judge_bytes(field, i, &length);

		if (sequence < reader->locks[i].newest)
			return "the sequence went back";
		reader->locks[i].newest = sequence;
		if (sequence & 1)
			continue;
		if (sequence == reader->locks[i].sequence) {
			if (memcmp(reader->locks[i].bytes, bytes, length) != 0)
				return "bytes changed, and a reader would not notice: the sequence is even and the same";
			continue;
		}
		reader->locks[i].sequence = sequence;
		memcpy(reader->locks[i].bytes, bytes, length);
	}
	return NULL;
}

static const char *
judge_contents(const struct field *left, const struct field *end, int lock, enum control_on_death on_death)
{
	bool was_held = piece_is_dead(control_word(atomic_load(&left->locks[lock].state))) ||
	    control_word(atomic_load(&left->locks[lock].state)) == CONTROL_ID_POISON;

	if (!was_held || on_death == CONTROL_KEEP)
		return same_bytes(left, end, lock) ? NULL : "bytes changed that were to stay";
	if (on_death == CONTROL_ZERO)
		return all_zero(end, lock) ? NULL : "bytes that were to be zeroed are not all zero";
	return NULL;
}

const char *
judge_end(const struct field *left, const struct field *end, enum control_on_death on_death, const struct field *pristine)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		const struct control_lock *lock = &end->locks[i];
		uint32_t word = control_word(atomic_load(&left->locks[i].state));
		bool must_tell = piece_is_dead(word) || atomic_load(&left->locks[i].marks);
		const char *wrong = judge_contents(left, end, i, on_death);

		if (wrong)
			return wrong;
		if ((on_death == CONTROL_ROLLBACK || on_death == CONTROL_POISON) && field_contents(end, i) == FIELD_TORN)
			return "bytes are neither those before the section nor those after it";
		if (atomic_load(&lock->state))
			return "the lock is not free";
		if (atomic_load(&lock->used_bytes))
			return "the log is not empty";
		if (atomic_load(&lock->sequence) & 1)
			return "the sequence is odd: readers wait for ever";
		if (atomic_load(&lock->marks) != (must_tell ? CONTROL_OWNER_DIED : 0))
			return must_tell ? "nobody is told that an owner died" : "somebody is told of a death that none was";
	}
	return field_rest_equal(end, pristine) ? NULL : "what nobody may touch was touched";
}

const char *
judge_poisoned(const struct field *left, const struct field *poisoned)
{
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		uint32_t word = control_word(atomic_load(&left->locks[i].state));

		if (!piece_is_dead(word))
			continue;
		if (control_word(atomic_load(&poisoned->locks[i].state)) != CONTROL_ID_POISON)
			return "the lock is not poisoned";
		if (!same_bytes(left, poisoned, i) || memcmp(left->logs[i], poisoned->logs[i], FIELD_LOG_BYTES) != 0 ||
		    atomic_load(&left->locks[i].used_bytes) != atomic_load(&poisoned->locks[i].used_bytes))
			return "bytes or log of a poisoned lock were changed";
	}
	return NULL;
}

const char *
judge_fresh(const struct field *end, enum control_on_death on_death)
{
	struct control_place places[FIELD_LOCKS];
	struct field field;

	memcpy(&field, end, sizeof(field));
	field_places(&field, on_death, places);
	piece_section(places, FIELD_FRESH, FIELD_LAST);
	for (int i = FIELD_A; i <= FIELD_B; i++) {
		if (atomic_load(&field.locks[i].sequence) != atomic_load(&end->locks[i].sequence) + 2 ||
		    atomic_load(&field.locks[i].state) || atomic_load(&field.locks[i].used_bytes))
			return "a fresh client's section does not go through";
		if ((on_death == CONTROL_ROLLBACK || on_death == CONTROL_POISON) && field_contents(&field, i) != FIELD_LAST)
			return "a fresh client's section does not stand";
		if (atomic_load(&field.locks[i].marks) != atomic_load(&end->locks[i].marks))
			return "who was not told cleared the mark";
	}
	return NULL;
}
