/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who is there in a soak: so many of each kind, born again when they end, killed when their time has come. How each may end is a
 * column of the table; whoever ends otherwise fails the soak.
 */
#ifndef TESTS_SOAK_CROWD_H
#define TESTS_SOAK_CROWD_H

#include "tests/system/bank.h"
#include "tests/system/vandal.h"

struct crowd {
	uint64_t random;
	struct bank *bank;
	struct vandal_scene *arena;
	bool has_strays;		/* /dev/shm and the IPC namespace are the soak's own */
	bool has_hogs;			/* they come now */
};

/* Money and an arena for everybody, and the first of each kind. */
void crowd_gather(struct crowd *crowd);
/* Waits for ends, at most so long; those whose time has come are killed, and others come. */
void crowd_tend(struct crowd *crowd, int timeout_ms);
/* Nobody has waited for too long. */
void crowd_watch(const struct crowd *crowd);
/* Those who misbehave are killed, those who work end; but the visitors stand still. */
void crowd_still(struct crowd *crowd);
/* The visitors leave, too: nobody is left. Sums stand. */
void crowd_disperse(struct crowd *crowd);
unsigned crowd_n_visitors(void);

#endif
