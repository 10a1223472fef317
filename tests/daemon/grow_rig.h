/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the suites of growing stand on: everything that a segment needs of the daemon, in a process of the test's own with real
 * workers, and one segment "one" with a lock, as large as SIZE and locked, unless a test changes its definition first.
 */
#ifndef TESTS_DAEMON_GROW_RIG_H
#define TESTS_DAEMON_GROW_RIG_H

#include <check.h>

#include "base/base.h"
#include "daemon/registry.h"

#define SIZE		(3 * MIB + 1000)	/* ends in a page, in a huge page's middle */
#define SIZE_PAGES	(3 * MIB + 4096)
#define LARGE		(70 * MIB)		/* grown to: several pieces */
#define MAX		(80 * MIB)
#define CONTROL		(2 * CONTROL_RECORD_BYTES)

extern struct grow_rig {
	struct event_base *base;
	struct workers workers;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct accounts accounts;
	struct recovery recovery;
	struct registry registry;
	struct events events;
	struct events_subscriber subscriber;
	struct definition *definition;
	struct conf conf;
	struct identity identity;
	struct attachment_list session;
	struct segment *segment;
	unsigned n_gone, n_grown, n_not_grown, n_told;
	struct protocol_event told[64];
} test;

/* The main of a suite's program, which is its worker's, too. */
int grow_main(int argc, char **argv, Suite *(*suite)(void));

/* The fixture. */
void grow_setup(void);
void grow_teardown(void);

/* One turn of the loop. */
void grow_turn(void);
/* Makes the segment as it was defined. False: it cannot be locked here, and that was said. */
bool grow_declare(void);
int grow_begin(uint64_t size_bytes);
/* Until it grows no more, and what was told is sent. */
void grow_await(void);
/* The last event of the kind, or NULL. */
const struct protocol_event *grow_told(enum protocol_event_kind kind);

/* The books of a segment that is so large, with control memory or without: ours, and the kernel's. */
void grow_check_books(uint64_t data_bytes);
/* Something at both ends of what was there first. */
void grow_write_marks(void);
void grow_check_marks(void);

/* The workers of its provisioning stand still: what they get next is under way until they go on. */
size_t grow_stop_workers(pid_t *pids, size_t n_wanted);
void grow_signal_workers(const pid_t *pids, size_t n, int sig);

struct attachment *grow_attach(int *ret_fd);
/* So much may be locked from now on, and nobody is above that. */
void grow_limit_locked(uint64_t bytes);

#endif
