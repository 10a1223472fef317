/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs that come to a segment's memory in all the ways there are, and do not say so to anybody: they fork, pass it on, close
 * what they mapped, hang up. And what the daemon says of who has it.
 */
#ifndef TESTS_SYSTEM_KEEPER_H
#define TESTS_SYSTEM_KEEPER_H

#include "tests/harness.h"

struct keeper {
	struct harness_child child;
	const char *socket;
	int pass;			/* a datagram socket, for descriptors on their way */
	bool is_apart;			/* the first process of a pid namespace of its own */
	pid_t pid;			/* of who acts */
};

/* socket: the daemon's. pass: an end of a socket pair, or -1. */
void keeper_start(struct keeper *keeper, const char *socket, int pass);
/* Likewise in a pid namespace of its own. Skips where there can be none. */
void keeper_start_apart(struct keeper *keeper, const char *socket);

/*
 * Tells it, and returns its answer: a negative errno, or
 *
 *	attach NAME ACCESS	opens a connection, and attaches it (PROTOCOL_ACCESS_*): 0
 *	detach, hangup		gives it back, and keeps what it has of it; ends the connection: 0
 *	map LENGTH WRITE	0
 *	close, unmap		0
 *	fork			the pid of a child with all that it has
 *	orphan			the pid of a child of a child, which has ended
 *	crowd N			forks so many: 0
 *	send, take		its descriptor goes into pass, or one comes from there: 0
 *	take PID		likewise in a child that is the process of that pid: 0
 *	exit			ends, and is not reaped: no answer
 */
long keeper_do(struct keeper *keeper, const char *format, ...) BASE_PRINTF(2, 3);
#define keeper_must(keeper, answer, ...) \
	do {								\
		long got_ = keeper_do(keeper, __VA_ARGS__);		\
		harness_assert(got_ == (answer), "the keeper answered %ld, not %ld", got_, (long)(answer)); \
	} while (0)
/* Tells it to exit, and waits until it is a zombie. */
void keeper_exit(struct keeper *keeper);
void keeper_kill(struct keeper *keeper);

/* What WHO says of a segment. A negative status, or the number of rows. */
int keeper_who(struct harness_conn *conn, const char *name, struct protocol_told *ret_told, char *text, size_t text_size,
    struct protocol_process *rows, size_t max);

#endif
