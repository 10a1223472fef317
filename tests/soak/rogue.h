/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Clients that break every rule: a table of misdeeds, each done by a process of another uid than the honest ones', again and again
 * until it is killed. What the daemon says to them is counted, and nothing of it is wrong but that it harms others.
 */
#ifndef TESTS_SOAK_ROGUE_H
#define TESTS_SOAK_ROGUE_H

#include "tests/harness.h"

#define ROGUE_UID	23456		/* the first of ROGUE_UIDS */
#define ROGUE_UIDS	3

/* In a rogue's process. */
struct rogue {
	uint64_t random;
	unsigned number;
	uid_t uid;
};

struct rogue_misdeed {
	const char *name;
	void (*commit)(struct rogue *rogue);	/* once; it may also wait for its death */
};

/* By messages: rogue_wire.c. By what it is given: rogue_memory.c. Both end with a row without a name. */
extern const struct rogue_misdeed rogue_wire[];
extern const struct rogue_misdeed rogue_memory[];

/* Some misdeed, drawn. */
void rogue_start(uint64_t *random, struct harness_child *ret_child);
/* Takes all the memory that it can have, and holds it until it is killed. */
void rogue_start_hog(struct harness_child *ret_child);
/* Leaves an object in /dev/shm, or System V memory, that nobody holds; or that itself holds until it is killed. */
void rogue_start_stray(uint64_t *random, struct harness_child *ret_child);

/* For the misdeeds. A connection that was told hello, or a negative errno; counted. */
int rogue_open(struct harness_conn *conn);
/* A request and its status; counted. */
int rogue_ask(struct harness_conn *conn, unsigned type, struct protocol_header *request, size_t size, struct harness_reply *reply);
/* Attaches: 0, or what it was refused by. What came is the caller's. */
int rogue_attach(struct harness_conn *conn, const char *name, uint32_t access, struct harness_reply *ret_reply);
int rogue_create(struct harness_conn *conn, const char *name, uint64_t size, struct harness_reply *ret_reply);
void rogue_drop(struct harness_reply *reply);
/* Until it is killed. */
void rogue_wait(void) __attribute__((noreturn));
void rogue_pause(struct rogue *rogue, uint32_t max_ms);

#endif
