/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The whole daemon in this process, which starts with what it finds in its directory and in its hands, is stepped for a while, and
 * stops: once for each input. Its service manager is here as well, and keeps nothing.
 */
#ifndef TESTS_FUZZ_STATE_DAEMON_H
#define TESTS_FUZZ_STATE_DAEMON_H

#include "daemon/manager_parts.h"
#include "daemon/start.h"

extern char state_daemon_socket[96], state_daemon_dir[96];

/* Once: its directory, its configuration with these segments, the manager's socket. */
void state_daemon_prepare(const char *segments);

/* What one before has left in its directory goes. */
void state_daemon_clear(void);
/* Its configuration as it is, to be started with. */
void state_daemon_load(struct start *start);

/* A turn of the loop, which waits for nothing. */
void state_daemon_turn(struct manager *manager);
/* What the service manager was told is read, and what it was given is closed. */
void state_daemon_hear(void);

/* Somebody who comes now is served. */
void state_daemon_expect_served(struct manager *manager);

#endif
