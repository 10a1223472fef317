/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon with a segment of each backend, and operations in each of which one system call or one allocation fails: of the daemon, of
 * its worker, or of segmentd-audit. Whoever asked gets what was asked for, or an error and a sentence, or is hung up on. Then nobody has lost anything
 * by it: the same can be had by the next one, up to the limits, and nothing has become more.
 */
#ifndef TESTS_FAULTS_SCENE_H
#define TESTS_FAULTS_SCENE_H

#include "tests/faults/hosts.h"
#include "tests/faults/injector.h"
#include "tests/harness_locks.h"
#include "tests/harness_manager.h"
#include "tests/system/world.h"

struct faults_scene {
	struct harness_manager manager;
	struct harness_conn watcher;		/* it is never asked while something may fail */
	struct harness_usage usage;
	struct world world;
	struct injector injector;
	char body[4096];			/* of the configuration */
	const char *rules;			/* what stands behind all segments and templates in it */
	uint64_t reloads;
	/* What became of the operation that was meant. */
	unsigned n_done, n_refused, n_hung_up, n_failed_segments;
	enum faults_target target;
	enum hosts_host host;
	unsigned variant;
};

struct faults_operation {
	const char *name;
	bool asks_audit;			/* segmentd-audit has a part in it */
	bool asks_audit_alone;			/* and nobody else has: not even the daemon */
	bool looks_at_all;			/* segmentd-audit at all processes of the host: where something fails in it that takes root */
	enum hosts_host host;			/* where it is done */
	bool is_slow;				/* it takes seconds, and is left to the full check; */
	bool is_long;				/* or so many that it is left to who wants all points */
	void (*prepare)(struct faults_scene *scene);	/* or NULL: nothing fails yet */
	void (*gather)(struct faults_scene *scene);	/* or NULL: likewise, and nobody need be at rest when it is done */
	int (*run)(struct faults_scene *scene);		/* 0, or what it was refused with */
	void (*settle)(struct faults_scene *scene);	/* or NULL: nothing fails any more */
};

extern const struct faults_operation faults_operations[];
extern const size_t faults_n_operations;

/*
 * Of a kind and a target, that are in the scene already, as is its host. serves_audit: the daemon has a segmentd-audit to connect to,
 * as from systemd, and need not start its own.
 */
void scene_begin(struct faults_scene *scene, enum faults_kind kind, bool serves_audit);
void scene_end(struct faults_scene *scene);

/* The operation with that one failing. Whether it came so far. */
bool scene_fail_at(struct faults_scene *scene, const struct faults_operation *operation, uint64_t at);

/* "the daemon" */
const char *scene_target_name(enum faults_target target);

/* For operations. */

/* A connection that may be refused: 0, or with what. Where it was hung up on: -ENOTCONN. */
int scene_dial(struct faults_scene *scene, struct harness_conn *conn);
/* One that was not there yet is there; one that is on its way goes. */
void scene_await_gone(struct faults_scene *scene, const char *name);
/* How much of that kind counts for anybody: as in segmentd_charged. */
uint64_t scene_n_charged(struct faults_scene *scene, const char *kind);
/* Waits until it is nothing. */
void scene_await_uncharged(struct faults_scene *scene, const char *kind);
/* Has a configuration with this behind the segments that all have; waits until it was carried out. */
void scene_reload(struct faults_scene *scene, const char *more);
/* Writes it only. */
void scene_configure(struct faults_scene *scene, const char *more);

#endif
