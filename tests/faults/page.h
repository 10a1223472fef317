/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a test and those in which something is to fail have in common: a page of memory that says which of what, and how many there
 * have been. The test arms and disarms; whoever is about to do one counts it, and fails the one that is meant.
 */
#ifndef TESTS_FAULTS_PAGE_H
#define TESTS_FAULTS_PAGE_H

#include <stdatomic.h>
#include <stdint.h>

#define FAULTS_PAGE_BYTES	4096
#define FAULTS_ENVIRONMENT	"SEGMENTD_TEST_FAULTS"	/* the page's file, for who is another program */
#define FAULTS_NEVER		UINT64_MAX

enum faults_kind {
	FAULTS_ALLOCATIONS,
	FAULTS_CALLS,
	FAULTS_KIND_N
};

/* Whose: each is counted for itself. */
enum faults_target {
	FAULTS_DAEMON,
	FAULTS_WORKER,
	FAULTS_CLIENT,
	FAULTS_AUDIT,			/* segmentd-audit, that the daemon starts */
	FAULTS_TARGET_N
};

/* Allocations which nobody lives through that asks for more: the rows of injector.c say why. */
enum faults_left_out {
	FAULTS_LIBCONFIG,
	FAULTS_NAMES,
	FAULTS_FULL,
	FAULTS_LEFT_OUT_N
};

struct faults_page {
	atomic_uint is_armed;
	uint32_t kind;			/* written while it is not armed, like what follows up to `at` */
	uint32_t target;
	uint32_t variant;		/* of calls: with which of the errors that each can have */
	int32_t pid;			/* of that process alone; 0: of all that the target is */
	uint64_t at;			/* the one that fails, from 0; FAULTS_NEVER: they are counted */
	atomic_ullong n_seen;
	atomic_uint n_failed;
	atomic_uint n_left_out[FAULTS_LEFT_OUT_N];
	char what[2048];
};
_Static_assert(sizeof(struct faults_page) <= FAULTS_PAGE_BYTES, "one page");

/* Of preload.c, in a program that is loaded with it and makes the page itself. */
extern void faults_set_page(struct faults_page *shared) __attribute__((weak));

#endif
