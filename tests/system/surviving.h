/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the tests of survival share: everything that a daemon says of a segment, of who has it and of who is connected, to be held
 * against what its successor says; and segments of all backends.
 */
#ifndef TESTS_SYSTEM_SURVIVING_H
#define TESTS_SYSTEM_SURVIVING_H

#include "tests/harness_manager.h"
#include "tests/system/actor.h"

#define SURVIVING_ROWS	64
#define SURVIVING_BYTES	(64 * 1024)
/* No mlock, but where it is what is looked at: its limit is not everywhere so large. */
#define SURVIVING_LOCKS	"locks = ( { name = \"all\"; length = \"4KiB\"; undo = \"4KiB\"; } ); "

/* A way to have a segment of SURVIVING_BYTES. */
struct surviving_kind {
	const char *name;
	const char *keys;		/* of its definition; of a file without its path */
	bool has_locks;			/* one of the name "all" */
	bool is_template;
	bool is_file;
	bool is_huge;			/* of a pool: of 2 MiB */
};

#define SURVIVING_KINDS	14		/* the last of them is_huge */
extern const struct surviving_kind surviving_kinds[SURVIVING_KINDS];

/* Its segment's. */
const char *surviving_name(const struct surviving_kind *kind);
/* A configuration that has it. Valid until the next call. */
const char *surviving_body(const struct surviving_kind *kind, const char *dir);
/* A manager whose daemon has it, and an actor that has attached it for writing and stores `seed` to all of it. */
void surviving_start(struct harness_manager *manager, const struct surviving_kind *kind, struct actor *ret_actor, long seed);

/* What the daemon says. */
struct surviving_view {
	struct protocol_segment row;
	struct protocol_holder holders[SURVIVING_ROWS];
	struct protocol_client clients[SURVIVING_ROWS];
	int n_holders, n_clients;
	struct stat object;		/* the data's fd, as a new attachment gets it */
	int shm_id;
};

/* Attaches it for that once more, and gives it back: the id was nobody's. */
void surviving_look(struct harness_conn *conn, const char *segment, struct surviving_view *ret_view);
/* All is as it was: but for what is used by looking, and what is restored a moment later. */
void surviving_expect_same(const struct surviving_view *before, const struct surviving_view *after);

/* A peer that has sent nothing sees nothing: no message, and no end. */
void surviving_expect_quiet(const struct harness_conn *conn);

/* A request, whose reply is read later. */
void surviving_send(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size);
/* The reply to the connection's last request, behind what an earlier daemon answered already; its status. */
int surviving_hear(struct harness_conn *conn, struct harness_reply *ret_reply);

void surviving_close(struct harness_reply *reply);	/* its descriptors */

/* A segment that was told to go is gone, whichever daemon says so. */
void surviving_await_gone(struct harness_conn *conn, const char *name);

/*
 * As harness_manager_restart(), once all that was answered has been taken from the queues: it is not answered twice then. But for
 * the pulse's own request, on which nothing is asked but in this way.
 */
void surviving_restart(struct harness_manager *manager, struct harness_conn *pulse, int signal);

/* What is in the store when no renewal is under way: a pair, and the state directory. Waits for that. */
#define SURVIVING_STORED	3
void surviving_await_tidy(struct harness_manager *manager);
/* After so many restarts the daemon uses no more than before: waits for that. */
void surviving_expect_no_more(const struct harness_manager *manager, const struct harness_usage *before, unsigned round);

/* The daemon is told to stop, and nothing is left: in the store, of ledger and record; and the rest is removed. */
void surviving_stop(struct harness_manager *manager);

#endif
