/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's door: its state directory, which it locks for life, its socket, and who comes in. A socket that a dead
 * daemon left is taken over only under the state directory's lock; one that somebody listens on never is.
 */
#ifndef DAEMON_LISTENER_H
#define DAEMON_LISTENER_H

#include "conf/load.h"
#include "daemon/session.h"
#include "systemd/inherited.h"

struct listener {
	struct session_host *host;
	int lock_fd;
	int fd;
	int reserve_fd;			/* given up to tell a peer that descriptors ran out */
	bool is_inherited;
	char *path;			/* of a socket of our own making, to be removed at the end */
	struct event event;
	struct event resume_event;
	bool is_crowded;		/* and that was told: nobody is accepted for now */
};

/* Locks the state directory; takes the inherited socket, or makes one. 0, or a negative errno that has been logged. */
int listener_init(struct listener *listener, struct session_host *host, struct inherited *inherited,
    const struct conf_daemon *conf);
/* Starts to accept. */
int listener_start(struct listener *listener);
/* The permissions of a socket of our own making. 0 or a negative errno. */
int listener_set_mode(struct listener *listener, uint16_t mode);
/* Nobody is accepted any more; its lock stays. */
void listener_stop(struct listener *listener);
/* Another description of the file that is locked; -1: there is none to be had. */
int listener_open_lock(const struct listener *listener);
/* The lock stays still, until all that the daemon has made is gone. */
void listener_deinit(struct listener *listener);
void listener_unlock(struct listener *listener);

#endif
