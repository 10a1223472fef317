/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that is killed, or told to stop, at a system call of what it does: making, handing out, draining or removing a segment,
 * or taking over or clearing what an earlier one left. What comes before that is here, and what is to be so at the end of all; what
 * comes between, check_kills.c and check_stops.c look at.
 */
#ifndef TESTS_SYSTEM_KILLING_H
#define TESTS_SYSTEM_KILLING_H

#include "tests/system/actor.h"
#include "tests/system/tracer.h"
#include "tests/system/world.h"

#define KILLING_SEED	5		/* of what the guest stores */
#define KILLING_SIZE	(64 * 1024)
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

/* One daemon that is killed, and the next one; or that ends in good order, and there is no other. */
struct killing {
	const struct killing_kind *kind;
	enum killing_phase phase;
	size_t at;			/* the stop that it is killed at */
	bool is_orderly;		/* by SIGTERM, after which it ends by itself */
	uint64_t end_ns;		/* that took so long */
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
/* Likewise, and does not wait for that; it is required. */
void killing_launch_only(struct killing *killing, bool is_wanted);
/* One that was ready has been killed, and the guest has ended unless it is held. */
void killing_leave_behind(struct killing *killing);
/* As a tracer's is_over: it is ready, and nothing has a name or key any more. */
bool killing_is_cleared(void *arg);
/* The guest is killed, if there is one. */
void killing_end_guest(struct killing *killing);
/* Likewise, traced: true, and it stands at its stop; false, and it runs: the segment is ready, or has failed. */
bool killing_start(struct killing *killing, bool is_wanted);
/*
 * A daemon does what the phase is about, and is killed at its stop: true. False: there is none of that number, and it was killed
 * at the end of the phase.
 */
bool killing_do(struct killing *killing);

void killing_expect_guest_whole(struct killing *killing);
/* Nothing that is ours is left, named or not. A file is everybody's contents, and stays; its mark is ours. */
bool killing_has_mark(const struct killing *killing);
void killing_await_cleared(struct killing *killing);
/* The daemon gets SIGTERM, and ends by itself: in one, or in two steps, of which the first is over when it has said so. */
void killing_stop(struct killing *killing);
void killing_ask_end(struct killing *killing);
void killing_await_end(struct killing *killing);
/* After that: no process, and in the state_dir what there is after a daemon that nothing was the matter with. It is removed. */
void killing_expect_no_trace(struct killing *killing);
/* Once in a test: world, tracer, and what such a state_dir has. */
void killing_prepare(void);

#endif
