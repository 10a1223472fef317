/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Changes an input that is a row of steps of a fixed size: as wholes, or one of them. */
#include "config.h"

#include "tests/fuzz/steps.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static unsigned
next(unsigned *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

size_t
steps_mutate(uint8_t *data, size_t size, size_t max_size, unsigned seed, unsigned n_kinds)
{
	const size_t step = sizeof(struct step);
	size_t n = size / step, at, from;
	uint8_t copy[sizeof(struct step)];

	seed ^= seed << 16;
	if (n == 0 || next(&seed) % 4 == 0)
		return LLVMFuzzerMutate(data, size, max_size);
	at = next(&seed) % n * step;
	from = next(&seed) % n * step;
	memcpy(copy, data + from, step);
	switch (next(&seed) % 6) {
	case 0:				/* one more, a copy of another one */
		if (size + step > max_size)
			break;
		memmove(data + at + step, data + at, size - at);
		memcpy(data + at, copy, step);
		return size + step;
	case 1:				/* one less */
		memmove(data + at, data + at + step, size - at - step);
		return size - step;
	case 2:				/* two change their places */
		memcpy(data + from, data + at, step);
		memcpy(data + at, copy, step);
		return size;
	case 3:				/* a new one of any kind */
		if (size + step > max_size)
			break;
		memmove(data + at + step, data + at, size - at);
		data[at] = (uint8_t)(next(&seed) % n_kinds);
		return size + step;
	case 4:				/* another kind */
		data[at] = (uint8_t)(next(&seed) % n_kinds);
		return size;
	default:
		break;
	}
	/* The inside of one, which stays in its place. */
	at += 1;
	(void)LLVMFuzzerMutate(data + at, step - 1, step - 1);
	return size;
}
