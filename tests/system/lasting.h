/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A daemon below a service manager that ends and is started again, and a client of it that is to notice nothing. */
#ifndef TESTS_SYSTEM_LASTING_H
#define TESTS_SYSTEM_LASTING_H

#include "tests/harness_manager.h"
#include "tests/system/reloading.h"

/* Who has a segment for writing, and stored something. */
struct lasting_guest {
	struct harness_conn conn;
	struct protocol_attached attached;
	char name[PROTOCOL_NAME_SIZE];
	unsigned char *data;
};

#define LASTING_GUEST_NULL	{ .conn = HARNESS_CONN_NULL }

/* Attaches it, and fills it. */
void lasting_arrive(struct lasting_guest *guest, struct harness_manager *manager, const char *name);
/* On the same connection: it is the same segment with the same bytes, by the daemon's word and by a mapping made anew. */
void lasting_expect_same(struct lasting_guest *guest);
/* Its own mapping has what it stored. */
void lasting_expect_kept(const struct lasting_guest *guest);
/* What it has is not the one of that name that others get, or there is none. */
void lasting_expect_lost(struct lasting_guest *guest, struct harness_manager *manager);
/* Its mapping and its connection end. */
void lasting_leave(struct lasting_guest *guest);
/* Its connection was hung up. */
void lasting_expect_hangup(struct lasting_guest *guest);

/* Killed, and started again with another configuration: ready. Returns what it logged since; valid until the next look at the log. */
const char *lasting_restart(struct harness_manager *manager, const char *daemon_keys, const char *body);
/* As reloading_hangup. */
const char *lasting_hangup(struct harness_manager *manager, const char *daemon_keys, const char *body);
/* What it logged from this length on. */
const char *lasting_log(struct harness_manager *manager, size_t from);
/* It has this text: waits for it. */
void lasting_await_log(struct harness_manager *manager, size_t from, const char *text);
size_t lasting_log_length(struct harness_manager *manager);

#endif
