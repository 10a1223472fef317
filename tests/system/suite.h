/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What several suites of the real daemon need beside the harness. */
#ifndef TESTS_SYSTEM_SUITE_H
#define TESTS_SYSTEM_SUITE_H

#include "tests/harness.h"

#define SUITE_READ	PROTOCOL_ACCESS_READ
#define SUITE_WRITE	(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)

/* Whether it is a worker already, and no longer the daemon's memory on its way to exec. */
bool suite_is_worker(pid_t pid);
/* The worker process of the daemon that came last: waits until there is one. */
pid_t suite_worker(const struct harness_daemon *daemon);
/* Its only worker stands still from here on. The daemon kills it after 10 seconds. */
pid_t suite_worker_stop(const struct harness_daemon *daemon);

/* The daemon is stopped, and goes on when the clock has gone on by so much: to it that is a machine that stood still. */
void suite_stand_still(const struct harness_daemon *daemon, unsigned ms);

/* What a process has a descriptor of, under a name that has this in it, by a path that opens nothing. -1: it has none. */
int suite_object(pid_t pid, const char *name);

/* A client's request under construction: zero but for its header. */
union suite_request {
	struct protocol_header header;
	struct protocol_hello hello;
	struct protocol_attach attach;
	struct protocol_attach_many many;
	struct protocol_detach detach;
	struct protocol_create create;
	struct protocol_remove remove;
	struct protocol_list list;
	struct protocol_show show;
	struct protocol_holders holders;
	struct protocol_wait wait;
	struct protocol_subscribe subscribe;
	char bytes[4 * PROTOCOL_REQUEST_MAX];
};

/* Asks, and expects the status with a sentence that has this text. */
void suite_refused(struct harness_conn *conn, unsigned type, union suite_request *request, size_t size, int status,
    const char *text);
/* A CREATE whose reply is read later. */
void suite_send_create(struct harness_conn *conn, const char *name, uint64_t size);
/* The workers, which have made a segment of the template "t-" and stand still: how many there are. */
size_t suite_workers_stop(struct harness_conn *conn, struct harness_daemon *daemon, uint64_t bytes, pid_t *pids, size_t max);
/* Reads one message: a refusal with this status and text, of no request. Then the daemon hangs up. */
void suite_farewell(int fd, int status, const char *text, const char *what);

/*
 * A configuration of a segment "desk" and a template "scratch-", without pages, so without workers, whose fds would hide
 * a leak.
 */
extern const char suite_desk[];

/* A daemon, a client that watches it, and what the daemon used before anything happened. */
struct suite_scene {
	struct harness_daemon daemon;
	struct harness_conn watcher;
	struct harness_usage before;
};

void suite_begin(struct suite_scene *scene, const char *daemon_keys, const char *text);
/* Nothing stayed, and others are served. */
void suite_expect_clean(struct suite_scene *scene);
/* Likewise, and the daemon stops as it should. */
void suite_end(struct suite_scene *scene);
/* A connection of the scene, that said hello or did not. */
void suite_dial(struct suite_scene *scene, struct harness_conn *conn, bool is_greeted);

/* Requests to be sent as they are. Each returns the request's size. */
size_t suite_fill(union suite_request *request, unsigned type, size_t size, uint64_t serial);
size_t suite_fill_hello(union suite_request *request, uint64_t serial);
/* Of "desk", for reading. */
size_t suite_fill_attach(union suite_request *request, uint64_t serial);

/* Another client than any before is served. */
void suite_serves(const struct harness_daemon *daemon);
/* harness_wait until ready. */
void suite_ready(struct harness_conn *conn, const char *name);
/* Its row once it is ready or has failed, as is expected of it. */
struct protocol_segment suite_row(struct harness_conn *conn, const char *name, enum protocol_state state);
/* The reason that SHOW has of it holds the text. */
void suite_expect_reason(struct harness_conn *conn, const char *name, const char *text);
/* Attaches, and returns the fd. */
int suite_attach(struct harness_conn *conn, const char *name, uint32_t access);

/* The names in its state_dir, in order. */
void suite_list_state(const struct harness_daemon *daemon, char *text, size_t size);

/* A number of METRICS. */
uint64_t suite_figure(const struct harness_daemon *daemon, const char *name);
/* Of one in a reply to it. */
uint64_t suite_figure_of(const struct harness_reply *reply, const char *name);

#endif
