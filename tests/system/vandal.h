/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A process that writes into a segment's control memory what never ought to stand there, in every way that could be worth
 * trying, until it is killed; and one that uses the same segment as it should, and looks after its own memory.
 */
#ifndef TESTS_SYSTEM_VANDAL_H
#define TESTS_SYSTEM_VANDAL_H

#include <stdatomic.h>

#include "tests/harness.h"

#define VANDAL_SEATS	8

/* What a citizen leaves for the others to see. */
struct vandal_seat {
	_Alignas(64) _Atomic uint64_t since_ns;	/* is in a call of the library; 0: it is not */
	_Atomic uint64_t longest_ns;
	_Atomic uint64_t n_sections;
	_Atomic uint64_t n_refused;	/* locks that were not to be had, or logs */
};

struct vandal_scene {
	char name[32];
	const char *socket;
	uint64_t seed;
	_Atomic uint64_t n_strokes;
	_Atomic bool is_over;		/* for citizens, who then leave as they should */
	struct vandal_seat seats[VANDAL_SEATS];
};

/* The definition of the segment for this, in a list of segments. */
extern const char vandal_definition[];

/* Shared by all processes forked from here on. */
struct vandal_scene *vandal_scene_new(const char *socket);

/* Of another uid than the daemon's. */
void vandal_start(struct vandal_scene *scene, struct harness_child *ret_child);
/* Ends with 0 when it is over: all its calls returned what they may return, and its memory is as it was. */
void citizen_start(struct vandal_scene *scene, unsigned seat, struct harness_child *ret_child);
/* Looks on without a lock. It may wait for ever. */
void onlooker_start(struct vandal_scene *scene, struct harness_child *ret_child);

/* No citizen has been in a call for longer. */
void vandal_watch(const struct vandal_scene *scene, uint64_t limit_ns);

#endif
