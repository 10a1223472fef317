/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon below a service manager that is killed while it starts, takes over what another one left, or does what it was asked for;
 * and what its successor makes of that. check_survivalkills.c looks at what is to be as it was.
 */
#ifndef TESTS_SYSTEM_OUTLIVING_H
#define TESTS_SYSTEM_OUTLIVING_H

#include "tests/system/killing.h"
#include "tests/system/surviving.h"

#define OUTLIVING_SEED	13		/* of what the guest stores in the segment "s" */
#define OUTLIVING_EXTRA	"t-1"		/* of a template, persistent */

struct outliving;

/* What the daemon does when it is killed. */
struct outliving_phase {
	const char *name;
	void (*prepare)(struct outliving *scene);	/* or NULL */
	void (*begin)(struct outliving *scene);	/* the daemon stands still, and is traced */
	bool (*is_over)(void *scene);
	void (*settle)(struct outliving *scene);	/* by the next one: what was asked for is had, and undone */
};

struct outliving {
	const struct surviving_kind *kind;
	const struct outliving_phase *phase;
	struct harness_manager *manager;
	bool is_alone;				/* nobody has the segment */
	struct actor guest;			/* who has it for writing, and is in a section of its lock while the daemon is killed */
	struct harness_conn idle;		/* who has it for reading and asks nothing, and is to notice nothing */
	struct harness_reply handed_out;	/* idle's */
	struct harness_conn watch;		/* who looks */
	struct harness_conn conn;		/* who asks */
	struct protocol_attached attached;	/* conn's */
	int fd;
	uint64_t n_ready, n_removed;		/* the manager's, when the phase began */
	/* All is to be as it was. */
	struct surviving_view view;
	struct harness_usage usage;
	struct world world;
	char state_names[512];
	unsigned n_kills;
};

enum {
	OUTLIVING_START,
	OUTLIVING_RESTART,		/* the start after a kill */
	OUTLIVING_ACCEPT,
	OUTLIVING_ATTACH,
	OUTLIVING_DETACH,
	OUTLIVING_CREATE,
	OUTLIVING_REMOVE,
	OUTLIVING_DRAIN,		/* and the renewal of the box, which has its memory */
	OUTLIVING_LIST,
	OUTLIVING_PHASE_N
};
extern const struct outliving_phase outliving_phases[OUTLIVING_PHASE_N];

/* Asks to attach the segment "s"; the reply is read later. */
void outliving_ask_for_segment(struct harness_conn *conn, uint32_t access);

/* Where it was killed, in a sentence; valid until the next call. */
const char *outliving_describe(const struct outliving *scene);
#define outliving_expect(scene, condition, format, ...) \
	harness_assert(condition, "%s: " format, outliving_describe(scene), ##__VA_ARGS__)

#endif
