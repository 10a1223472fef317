/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The harness, for tests of locks: a segment with data and control memory mapped as a client maps them, and where each of
 * its locks is, so that a test can be at any point of a section, or break every rule of it. What is done with a lock is
 * client/control.h's: link client/libcontrol.la.
 */
#ifndef TESTS_HARNESS_LOCKS_H
#define TESTS_HARNESS_LOCKS_H

#include "client/control.h"
#include "tests/harness.h"

#define HARNESS_LOCKS_MAX	128

struct harness_segment {
	struct protocol_attached attached;
	int data_fd;
	int control_fd;			/* -1: no lock of ours */
	unsigned char *data;		/* attached.map_bytes of it */
	unsigned char *control;		/* attached.control_bytes of it, or NULL */
	struct protocol_lock locks[HARNESS_LOCKS_MAX];	/* the first of them: attached.n_locks */
};

#define HARNESS_SEGMENT_NULL	{ .data_fd = -1, .control_fd = -1 }

/* Attaches and maps, writable with PROTOCOL_ACCESS_WRITE. 0, or the reply's negative status. */
int harness_segment_attach(struct harness_conn *conn, const char *name, uint32_t access, struct harness_segment *ret_segment);
/* The same with the mode that most tests want; fails the test if it is refused. */
void harness_segment_open(struct harness_conn *conn, const char *name, struct harness_segment *ret_segment);
/* Unmaps and closes: for the kernel it is detached then. */
void harness_segment_close(struct harness_segment *segment);

/* A lock by its index in the configuration, or by name; a mutex has no place in control memory. */
struct control_place harness_segment_place(const struct harness_segment *segment, unsigned lock);
unsigned harness_segment_find_lock(const struct harness_segment *segment, const char *name);
/* Its word now; and its owner's id out of it. */
uint32_t harness_segment_word(const struct harness_segment *segment, unsigned lock);
uint32_t harness_segment_owner(const struct harness_segment *segment, unsigned lock);
/* Waits until its owner's id is that: what the daemon does shows there, without a message. */
void harness_segment_await_owner(const struct harness_segment *segment, unsigned lock, uint32_t id);

/* A negative status, or the number of rows. */
int harness_locks(struct harness_conn *conn, const char *name, struct protocol_lock *rows, size_t max);
/* lock: "" for all. A negative status, or how many were freed. */
int harness_recover(struct harness_conn *conn, const char *name, const char *lock, uint32_t flags);

#endif
