/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A service manager for tests: what systemd does for a daemon that is to survive its own death, in a thread of the test. It makes
 * the listening socket, starts the real daemon with it, and hears what the daemon says at $NOTIFY_SOCKET at any time:
 *
 *   FDSTORE=1       kept by FDNAME= ("stored" without one), up to `max` descriptors; what is more is closed without a word. A
 *                   description that it has by that name already is not kept twice. Without FDPOLL=0 it goes when it hangs up
 *   FDSTOREREMOVE=1 all of that name go
 *   BARRIER=1       its descriptor is closed, after all that was said before
 *   READY=1, RELOADING=1, STOPPING=1, STATUS=, WATCHDOG=1, EXTEND_TIMEOUT_USEC=   are noted
 *
 * Only its daemon is listened to (NotifyAccess=main). Whatever was said before the daemon's end counts, as with systemd. The next
 * launch hands down the listening socket, as "segmentd.socket", and all that is stored. So:
 *
 *	struct harness_manager manager;
 *
 *	harness_manager_start(&manager, NULL, "segments = ( ... );");
 *	... clients at manager.daemon.socket ...
 *	harness_manager_restart(&manager, SIGKILL);	killed, its end awaited, started again, ready
 *	... the same clients ...
 *	harness_manager_restart(&manager, SIGUSR2);	handed over
 *	harness_manager_stop(&manager);			SIGTERM: as `systemctl stop`, the store is emptied
 *
 * The pieces may be called one by one: the configuration changes by harness_daemon_configure(&manager.daemon, ...), and anything
 * of harness.h works on manager.daemon while it runs. Clients come in while no daemon runs: they wait in the backlog. Processes
 * that the test forks have nothing of what the manager has.
 *
 * A test of the store's user alone prepares a manager, never launches it, and sets $NOTIFY_SOCKET to manager.daemon.notify. Then
 * there is no thread, anybody is listened to, and harness_manager_hear() is when the manager hears.
 */
#ifndef TESTS_HARNESS_MANAGER_H
#define TESTS_HARNESS_MANAGER_H

#include <pthread.h>

#include "tests/harness.h"

#define HARNESS_STORED_MAX	(HARNESS_HANDED_MAX - 1)
#define HARNESS_STORED_NAME	256

struct harness_stored {
	int fd;
	bool is_polled;			/* without FDPOLL=0 */
	char name[HARNESS_STORED_NAME];
};

struct harness_manager {
	struct harness_daemon daemon;
	int listen_fd;
	int news_fd;			/* readable when `n_ready` has changed */
	int stop_fd;
	pthread_t thread;
	bool has_thread;
	bool is_launching;
	pthread_mutex_t mutex;		/* over what follows: read it between harness_manager_lock() and unlock */
	bool is_deaf;			/* it reads nothing, until it is told to */
	bool stores_nothing;		/* every descriptor is closed, as without FileDescriptorStoreMax= */
	pid_t main_pid;			/* 0: anybody is listened to */
	unsigned max;			/* FileDescriptorStoreMax= */
	unsigned n_stored;
	struct harness_stored stored[HARNESS_STORED_MAX];
	/* What was heard since the beginning. */
	uint64_t n_heard, n_put, n_refused, n_removed, n_barriers, n_ready, n_reloading, n_stopping, n_watchdog, n_extended;
	uint64_t n_foreign;		/* of others than the daemon */
};

/* A directory and a configuration as of harness_daemon_prepare(), the sockets, and an empty store. */
void harness_manager_prepare(struct harness_manager *manager, const char *daemon_keys, const char *body);
void harness_manager_launch(struct harness_manager *manager);
/* It has said that it is ready, since its launch. */
void harness_manager_await_ready(struct harness_manager *manager);
/* All three. */
void harness_manager_start(struct harness_manager *manager, const char *daemon_keys, const char *body);

/* Sends the signal and waits for the daemon's end: an exit status, or minus the signal that ended it. What it said is heard. */
int harness_manager_end(struct harness_manager *manager, int signal);
/* Likewise, and starts it again; for SIGKILL, and signals after which it exits with 0. */
void harness_manager_restart(struct harness_manager *manager, int signal);
/* SIGTERM, exit status 0; the store is emptied, the directory removed. */
void harness_manager_stop(struct harness_manager *manager);
/* Empties the store and removes the directory of a daemon that does not run. */
void harness_manager_remove(struct harness_manager *manager);

void harness_manager_lock(struct harness_manager *manager);
void harness_manager_unlock(struct harness_manager *manager);

/* Hears all that was said so far, unless it is deaf. */
void harness_manager_hear(struct harness_manager *manager);
/* It stops reading, so that the daemon's messages pile up; or reads again. */
void harness_manager_set_deaf(struct harness_manager *manager, bool is_deaf);

/* The descriptors that are stored by names that begin so. */
unsigned harness_manager_count(struct harness_manager *manager, const char *prefix);
/* Stores a copy of fd, as if an earlier daemon had. */
void harness_manager_store(struct harness_manager *manager, const char *name, int fd);
/* Removes all by names that begin so, as `systemctl clean` might; "" is everything. */
void harness_manager_drop(struct harness_manager *manager, const char *prefix);

#endif
