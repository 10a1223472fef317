/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that is killed at a system call of what it does: making, handing out, draining or removing a segment, or taking over
 * or clearing what an earlier one left. What comes before the kill is here; check_kills.c looks at what comes after it.
 */
#ifndef TESTS_SYSTEM_KILLING_H
#define TESTS_SYSTEM_KILLING_H

#include "tests/system/actor.h"
#include "tests/system/tracer.h"
#include "tests/system/world.h"

#define KILLING_SEED	5		/* of what the guest stores */
#define KILLING_KEY	0x5e6a1d
#define KILLING_N	11		/* kinds of segments */

/* By what somebody finds it who knows nothing of us. */
enum killing_by {
	KILLING_BY_NOTHING,
	KILLING_BY_NAME,
	KILLING_BY_KEY,
	KILLING_BY_RECORD,		/* nobody does, but the next daemon */
	KILLING_BY_PATH,
};

struct killing_kind {
	const char *name;
	const char *keys;		/* of the definition */
	enum killing_by by;
	bool has_locks;
	bool is_template;
	bool is_quick;			/* the quick check has it */
	bool is_only_made;		/* with the phases after that it would be another one's again */
};
extern const struct killing_kind killing_kinds[KILLING_N];

enum killing_phase {
	KILLING_CREATE,			/* from the start until it is ready; of a template: until the client has it */
	KILLING_HAND_OUT,
	KILLING_DRAIN,			/* its removal, then the end of who is attached */
	KILLING_REMOVE,			/* with its name at once, while somebody is attached */
	KILLING_TAKE_OVER,		/* the start after a kill */
	KILLING_CLEAR,			/* likewise, and nobody wants it any more: until it is gone, unless somebody has it */
	KILLING_PHASE_N
};
extern const char *const killing_phase_names[KILLING_PHASE_N];

/* One daemon that is killed, and the next one. */
struct killing {
	const struct killing_kind *kind;
	enum killing_phase phase;
	size_t at;			/* the stop that it is killed at */
	bool is_wanted;			/* by the next one's configuration */
	bool is_held;			/* take over and clear: the guest has it still */
	struct harness_daemon daemon;
	struct harness_conn conn, events;
	struct actor guest;
	bool has_guest;
	bool is_mapping;		/* the guest maps it, and it holds the seed */
	bool is_filled;			/* the seed was stored, and nobody has asked for its removal since */
	bool is_removed;		/* the daemon said that its name is gone */
	bool is_ready;			/* clear: it has said so */
	bool is_undecided;		/* it lives as it was, or goes: who removes it outlives the daemon */
	long generation;
	struct world before;		/* when it was ready */
};

extern struct tracer killing_tracer;

/* What was done, and is to be done, in a sentence; valid until the next call. */
const char *killing_describe(const struct killing *killing);
#define killing_expect(killing, condition, format, ...) \
	harness_assert(condition, "%s: " format, killing_describe(killing), ##__VA_ARGS__)
/* The segment's, if it is System V memory. What is removed, or left to who has it, has no key any more. */
const struct world_memory *killing_find_memory(const struct killing *killing, const struct world *world);
/* Into the log, which is shown when the test fails. */
void killing_note(const struct harness_daemon *daemon, const char *text);

/* Writes the configuration, and launches: required, or it is ready without it. */
void killing_launch(struct killing *killing, bool is_wanted, bool is_required);
/* The guest is killed. */
void killing_end_guest(struct killing *killing);
/* Likewise, traced: true, and it stands at its stop; false, and it runs: the segment is ready, or has failed. */
bool killing_start(struct killing *killing, bool is_wanted);
/*
 * A daemon does what the phase is about, and is killed at its stop: true. False: there is none of that number, and it was killed
 * at the end of the phase.
 */
bool killing_do(struct killing *killing);

#endif
