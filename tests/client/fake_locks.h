/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A fake daemon that hands out one segment with locks, to any number of clients at once: a description of its own for each
 * attachment, marked as the daemon marks it. It recovers nothing, and may be killed. The test sees the segment's memory,
 * too. And processes that a test talks to, one byte at a time.
 */
#ifndef TESTS_CLIENT_FAKE_LOCKS_H
#define TESTS_CLIENT_FAKE_LOCKS_H

#include "client/lock.h"
#include "tests/client/fake.h"

#define FAKE_LOCKS_MAX		600

struct fake_locks {
	struct fake fake;
	struct protocol_lock rows[FAKE_LOCKS_MAX];
	uint32_t n_locks;
	uint32_t n_rows_max;		/* in a reply to LOCKS, which is asked for then; 0: they come with the attachment */
	uint64_t control_bytes;
	int stop_fd;			/* closed: it ends */
	int data_fd;			/* the test's own */
	int control_fd;
	unsigned char *data;
	struct control_lock *control;
};

/* A row, behind those that are there; its log gets a place. */
void fake_locks_add(struct fake_locks *locks, const char *name, uint64_t offset_bytes, uint64_t length_bytes,
    uint32_t log_bytes, enum control_on_death on_death);
void fake_locks_add_mutex(struct fake_locks *locks, const char *name, uint64_t at_bytes);

void fake_locks_start(struct fake_locks *locks);
void fake_locks_stop(struct fake_locks *locks);
void fake_locks_kill(struct fake_locks *locks);	/* -9; locks is still to be stopped */

/* Marks a description as an attachment's. False: somebody else's lock is in the way. */
bool fake_mark(int fd, uint32_t id);
/* A new description of an object. */
int fake_reopen(int fd, int flags);

/* The word, and whom it names. */
uint32_t fake_word(const struct fake_locks *locks, int lock);
uint32_t fake_owner(const struct fake_locks *locks, int lock);
/* Waits until somebody has announced that it sleeps for the lock. */
void fake_await_waiter(const struct fake_locks *locks, int lock);

/* A process of a test. */
struct child {
	pid_t pid;
	int to_fd;
	int from_fd;
};

typedef void (*child_fn)(struct child *self, struct fake_locks *locks);

void child_start(struct child *child, child_fn fn, struct fake_locks *locks);
void child_kill(struct child *child);
void child_end(struct child *child);	/* which must be a good one */
/* On both sides. */
void child_say(const struct child *child);
void child_hear(const struct child *child);

#endif
