/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <string.h>

#include "tests/sweep/field.h"
#include "tests/sweep/pieces.h"

static const struct {
	uint64_t offset_bytes, length_bytes;
} ranges[FIELD_LOCKS] = {
	[FIELD_A] = { FIELD_A_OFFSET, FIELD_A_BYTES },
	[FIELD_B] = { FIELD_B_OFFSET, FIELD_B_BYTES },
	[FIELD_C] = { FIELD_C_OFFSET, FIELD_C_BYTES },
};

/* A section changes these bytes of a range, and leaves those between them. */
static bool
field_changes(int lock, uint64_t i)
{
	return lock == FIELD_B ? i < 16 : i < 32;
}

const unsigned char *
field_bytes(int lock, enum field_contents contents)
{
	static _Alignas(8) unsigned char bytes[FIELD_LOCKS][FIELD_CONTENTS_N][FIELD_A_BYTES];
	static bool is_filled;

	for (int l = 0; !is_filled && l < FIELD_LOCKS; l++)
		for (unsigned c = 0; c < FIELD_CONTENTS_N; c++)
			for (uint64_t i = 0; i < ranges[l].length_bytes; i++)
				bytes[l][c][i] = (unsigned char)(i * 5 + (unsigned)l * 17 +
				    (field_changes(l, i) ? c * 41 : 0) + 1);
	is_filled = true;
	return bytes[lock][contents];
}

void
field_places(struct field *field, enum control_on_death on_death, struct control_place ret_places[FIELD_LOCKS])
{
	for (int i = 0; i < FIELD_LOCKS; i++)
		ret_places[i] = (struct control_place){
			.lock = &field->locks[i],
			.log = field->logs[i],
			.data = field->data,
			.offset_bytes = ranges[i].offset_bytes,
			.length_bytes = ranges[i].length_bytes,
			.log_bytes = FIELD_LOG_BYTES,
			.on_death = on_death,
		};
}

void
field_init(struct field *field)
{
	struct control_place places[FIELD_LOCKS];

	memset(field, 0, sizeof(*field));
	memset(field->data, 0xee, sizeof(field->data));
	memset(field->logs, 0xa5, sizeof(field->logs));
	for (int i = 0; i < FIELD_LOCKS; i++)
		memcpy(field->data + ranges[i].offset_bytes, field_bytes(i, FIELD_BEFORE), ranges[i].length_bytes);
	field_places(field, CONTROL_ROLLBACK, places);
	piece_section(places, FIELD_DEAD, FIELD_OLD);
	for (int i = 0; i < FIELD_LOCKS; i++)
		atomic_store(&field->locks[i].sequence, 0);
	/* The living one, in the middle of it. */
	(void)control_try(places[FIELD_C].lock, FIELD_LIVE, 0);
	(void)control_log(&places[FIELD_C], FIELD_C_OFFSET, 8);
	memset(field->data + FIELD_C_OFFSET, 0x77, 4);
}

enum field_contents
field_contents(const struct field *field, int lock)
{
	enum field_contents contents = 0;

	while (contents < FIELD_CONTENTS_N && memcmp(field->data + ranges[lock].offset_bytes,
	    field_bytes(lock, contents), ranges[lock].length_bytes) != 0)
		contents++;
	return contents;
}

bool
field_rest_equal(const struct field *a, const struct field *b)
{
	uint64_t from = 0;

	for (int i = FIELD_A; i <= FIELD_B; i++) {
		if (memcmp(a->data + from, b->data + from, ranges[i].offset_bytes - from) != 0 ||
		    memcmp(a->locks[i].zero, b->locks[i].zero, sizeof(a->locks[i].zero)) != 0)
			return false;
		from = ranges[i].offset_bytes + ranges[i].length_bytes;
	}
	return memcmp(a->data + from, b->data + from, FIELD_DATA_BYTES - from) == 0 &&
	    memcmp(&a->locks[FIELD_C], &b->locks[FIELD_C], sizeof(a->locks[0])) == 0 &&
	    memcmp(a->logs[FIELD_C], b->logs[FIELD_C], sizeof(a->logs[0])) == 0;
}
