/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <check.h>

#include "tests/system/survivor.h"

void
survivor_start(struct survivor *ret_survivor, const char *socket, size_t offset)
{
	ck_assert_int_eq(segment_connect(&ret_survivor->client, socket), 0);
	ck_assert_int_eq(segment_attach(ret_survivor->client, "s", NULL, SEGMENT_WRITE, &ret_survivor->segment), 0);
	((char *)segment_data(ret_survivor->segment))[offset] = 6;
}

void
survivor_expect_same(struct survivor *survivor)
{
	struct segment *next;

	ck_assert_int_eq(segment_attach(survivor->client, "s", NULL, SEGMENT_WRITE, &next), 0);
	ck_assert_uint_eq(segment_generation(survivor->segment), segment_generation(next));
	((char *)segment_data(next))[17] = 9;
	ck_assert_int_eq(((volatile char *)segment_data(survivor->segment))[17], 9);
	ck_assert_int_eq(segment_detach(survivor->segment), 0);
	ck_assert_int_eq(segment_detach(next), 0);
	segment_disconnect(survivor->client);
}
