/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the tests of events share: connections that are told of what happens, and what they are told. */
#ifndef TESTS_SYSTEM_TELLING_H
#define TESTS_SYSTEM_TELLING_H

#include "tests/system/suite.h"

/* The segments "desk", "side" and "open", which all may attach; and the template "scratch-". */
extern const char telling_body[];

/* The status of a SUBSCRIBE. */
int telling_subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session);
/* A connection that is told of everything; and one that is told of what another one is attached to. */
void telling_observe(struct suite_scene *scene, struct harness_conn *conn);
void telling_follow(struct suite_scene *scene, struct harness_conn *conn, const struct harness_conn *watched);

/* An event that came has the form that it must have. */
void telling_check(const struct harness_reply *reply, struct protocol_event *ret_event);
/* The next one; or it is this one, with nothing lost before it. */
void telling_next(struct harness_conn *conn, struct protocol_event *ret_event);
void telling_expect(struct harness_conn *conn, enum protocol_event_kind kind, const char *segment, pid_t pid);
/* Nothing has been sent: asked after a round trip of another client, so that whatever was posted has been pumped. */
void telling_expect_silence(struct suite_scene *scene, struct harness_conn *conn);
/* Reads until `total` events were received or counted as lost. The number that were lost. */
uint64_t telling_account_for(struct harness_conn *conn, uint64_t total);

/* Attaches and gives back n times; each is two events. */
void telling_come_and_go(struct suite_scene *scene, const char *name, unsigned n);

#endif
