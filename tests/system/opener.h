/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Programs that know nothing of segmentd: they open POSIX objects by their names, as another user, and do with them what they
 * are told. And a /dev/shm of the test's own, as small as it likes.
 */
#ifndef TESTS_SYSTEM_OPENER_H
#define TESTS_SYSTEM_OPENER_H

#include "tests/harness.h"

/* The test, and what it starts from now on, gets a tmpfs with these options on /dev/shm. Skips where there can be none. */
void opener_enter(const char *options);
/* Changes the options of that. */
void opener_remount(const char *options);
/* How many names there are in it. */
unsigned opener_count(void);
/* Until there are as many: a worker takes names away. */
void opener_await_count(unsigned n);
/* Fills it to the last page, with an object of that name. */
void opener_fill(const char *name);

struct opener {
	struct harness_child child;
	uid_t uid;
	gid_t gid;
	gid_t group;
	bool is_bare;
};

/* A program of that user and group, and of one more group where it is not 0. */
void opener_start(struct opener *opener, uid_t uid, gid_t gid, gid_t group);
/* One of the test's own user without any capability: the daemon may see what it maps. */
void opener_start_bare(struct opener *opener);

/*
 * Tells it, and returns its answer: a negative errno, or
 *
 *	make NAME SIZE		shm_open(3), exclusively, with mode 0644: 0
 *	read NAME, write NAME	shm_open(3) for that: 0
 *	map LENGTH		0
 *	get OFFSET		the byte there
 *	set OFFSET VALUE	0
 *	cut LENGTH		ftruncate(2): 0
 *	punch OFFSET LENGTH	fallocate(2): 0
 *	size			of what it has open
 *	close, unmap		0
 *	unlink NAME		shm_unlink(3): 0
 *	chmod MODE		of what it has open: 0
 */
long opener_do(struct opener *opener, const char *format, ...) BASE_PRINTF(2, 3);
#define opener_must(opener, answer, ...) \
	do {								\
		long got_ = opener_do(opener, __VA_ARGS__);		\
		harness_assert(got_ == (answer), "the opener answered %ld, not %ld", got_, (long)(answer)); \
	} while (0)

void opener_kill(struct opener *opener);

#endif
