/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the tests of recovery stand on: a registry with one segment in a process of the test's own, real workers (the test's
 * executable under their name), and words and logs as owners that died have left them.
 */
#ifndef TESTS_DAEMON_RECOVERY_RIG_H
#define TESTS_DAEMON_RECOVERY_RIG_H

#include <check.h>
#include <pthread.h>

#include "base/base.h"
#include "daemon/registry.h"

#define PAGE		4096
#define SIZE		(24 * MIB)
#define N_LOCKS		9
#define STRANGER	12345u		/* an id that nobody has */

enum { ROLL, KEEP, ZERO, POISON, LARGE, BIGZERO, MUTEX, MUTEX_ZERO, MUTEX_BIGZERO };

/* The one of the test that runs. */
struct recovery_rig {
	struct event_base *base;
	struct workers workers;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct accounts accounts;
	struct recovery recovery;
	struct registry registry;
	struct conf conf;
	struct definition *definition;
	struct identity identity;
	struct attachment_list session;
	struct segment *segment;
	unsigned n_outcomes[RECOVERY_OUTCOME_N];
	unsigned n_by_waiters;		/* of all these */
	int32_t last_pid;
};
extern struct recovery_rig test;

/* A client's hold, whose description the test has. */
struct client {
	struct attachment *attachment;
	int fd;
};

void turn(void);
void setup(void);
void teardown(void);
struct client attach(void);
struct lock *lock_of(unsigned index);
uint32_t word_of(unsigned index);
unsigned char *bytes_of(unsigned index);
void die_within(unsigned index, uint32_t id, uint64_t length);
bool all_are(const unsigned char *bytes, unsigned char value, uint64_t length);
void expect_free(unsigned index, unsigned char value, uint64_t length);
pthread_mutex_t *mutex_of(unsigned index);

/* The main of a suite's program: adds the fixture to the case, and runs it; or is a worker. */
int rig_main(char **argv, const char *name, void (*add_tests)(TCase *tcase));

#endif
