/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Client processes that do with the library what they are told, a call at a time, and say what came of it: for tests in
 * which it matters who does what first, and who is stopped or killed where. And what the daemon says of locks.
 */
#ifndef TESTS_SYSTEM_ACTOR_H
#define TESTS_SYSTEM_ACTOR_H

#include "tests/system/jail.h"

struct actor {
	struct harness_child child;
	pid_t pid;			/* of who acts; the child's own unless it is in a namespace */
};

/*
 * What an actor can be told, a number being the answer: what the library's function of that name returned, or else:
 *
 *	attach SEGMENT FLAGS	as segment_attach, after segment_connect if it is the first
 *	create SEGMENT SIZE	as segment_create, likewise
 *	fill SEED		stores to all its bytes; 0: zeros
 *	differs SEED		0, or 1 and the offset of the first byte that is another than fill stores
 *	generation
 *	lock LOCK		the locks are told by name
 *	trylock LOCK
 *	timedlock LOCK MS	for so long from now on
 *	recovered LOCK
 *	set LOCK CELL VALUE	segment_set of the 8 bytes at CELL * 8 in the segment
 *	get LOCK CELL		the 8 bytes there
 *	unlock LOCK, rollback LOCK
 *	reading LOCK		whether a reader would be let in: 1 or 0
 *	disconnect, detach
 *	shutdown		the connection, behind the library's back: 0
 *	fork			the pid of a child that lives on with all that it inherited
 *	forked LOCK		what segment_lock says in a forked child, which then ends
 *	namesake		forks a child with the thread id of its own in another pid namespace, and kills it: 0
 *	thread LOCK CELL VALUE	a thread that locks, sets and ends: 0
 *	time SEGMENT N		attaches and detaches it so often: nanoseconds, each
 *	exec			another program: no answer
 *	exit			exit(3): no answer
 */

/* A process that has not done anything yet. */
void actor_start_idle(struct actor *actor, const char *socket);
/* One that attached the segment, for writing. */
void actor_start(struct actor *actor, const char *socket, const char *segment);
/* Likewise, for reading only. */
void actor_start_reading(struct actor *actor, const char *socket, const char *segment);
/* Likewise for writing, as the first process of a pid namespace of its own. */
void actor_start_in_namespace(struct actor *actor, const char *socket, const char *segment);

/* As the first process of a container; nothing is attached yet. */
void actor_start_in_jail(struct actor *actor, const struct jail *jail, const char *socket);

void actor_tell(struct actor *actor, const char *format, ...) BASE_PRINTF(2, 3);
/* The answer: waits for it. */
long actor_hear(struct actor *actor);
bool actor_has_answered(const struct actor *actor);
/* Tells, and hears. */
long actor_do(struct actor *actor, const char *format, ...) BASE_PRINTF(2, 3);
/* Tells, and hears this. */
#define actor_must(actor, answer, ...) \
	do {								\
		long got_ = actor_do(actor, __VA_ARGS__);		\
		harness_assert(got_ == (answer), "the actor answered %ld, not %ld", got_, (long)(answer)); \
	} while (0)

/* The number of futex_waitv, by which a waiter sleeps for word and bell; the C library's headers may be older. */
#define ACTOR_FUTEX_WAITV	449

/* Waits until the actor sleeps in futex(2) or that: for a lock, as it was told. */
void actor_await_sleep(const struct actor *actor);
/* Tells it to lock, and waits until it sleeps for that for the nth time: twice 5 ms, 10 ms, and so on; the 9th is the longest. */
#define ACTOR_LONGEST	9
void actor_tell_to_sleep(struct actor *actor, const char *lock, unsigned n);

/* Waits until it is in this state, as in /proc/PID/status. */
void actor_await_state(const struct actor *actor, char state);
/* Waits until it stands still. */
void actor_stop(const struct actor *actor);
void actor_go_on(const struct actor *actor);
/* SIGKILL, and waits for its end. */
void actor_kill(struct actor *actor);
void actor_await_exit(struct actor *actor);

/* What the daemon says of a lock. */
void actor_look(struct harness_conn *conn, const char *segment, const char *lock, struct protocol_lock *ret_row);
/* Asks until the lock has been recovered so often, or fails. */
void actor_await_recoveries(struct harness_conn *conn, const char *segment, const char *lock, uint64_t n,
    struct protocol_lock *ret_row);

#endif
