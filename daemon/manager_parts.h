/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Between the manager's own files: all that it owns. */
#ifndef DAEMON_MANAGER_PARTS_H
#define DAEMON_MANAGER_PARTS_H

#include "daemon/accounts.h"
#include "daemon/auditor.h"
#include "daemon/deaths.h"
#include "daemon/ending.h"
#include "daemon/events.h"
#include "daemon/kernelcount.h"
#include "daemon/leftovers.h"
#include "daemon/listener.h"
#include "daemon/orphans.h"
#include "daemon/parse.h"
#include "daemon/provision.h"
#include "daemon/record.h"
#include "daemon/recovery.h"
#include "daemon/registry.h"
#include "daemon/reload.h"
#include "daemon/requests.h"
#include "daemon/session.h"
#include "daemon/survival.h"
#include "daemon/who.h"
#include "daemon/workers.h"
#include "systemd/inherited.h"

struct manager {
	struct conf *conf;
	struct start *start;
	struct event_base *base;
	struct accounts accounts;
	struct workers workers;
	struct workers io_workers;	/* of those nobody else is held up */
	struct workers name_workers;	/* of whom there is one: names in /dev/shm */
	struct workers access_workers;	/* of whom there is any number: who may open what others write into */
	struct auditor auditor;
	struct parser parser;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct record record;
	struct leftovers leftovers;
	struct survival survival;
	struct recovery recovery;
	struct registry registry;
	struct events events;
	struct deaths deaths;
	struct session_host sessions;
	struct listener listener;
	struct requests requests;
	struct orphans orphans;
	struct reload reload;
	struct who who;
	struct ending ending;
	struct event *signals[4];
	struct event watchdog_event;
	struct event status_event;
	struct event log_event;		/* when what the journal had no room for is tried again */
	struct timeval watchdog_interval;
	uint64_t n_awaited;		/* required segments that were not ready when they were counted, less those that are since */
	uint64_t extended_at;		/* how far provisioning was when the service manager was asked for more time */
	bool is_ready;			/* the service manager was told */
	bool is_incomplete;		/* a required segment failed, and that was logged */
	bool is_stopping;
	bool has_restored;		/* what the daemon before had, and nobody is to lose by an error of ours */
	uint64_t started_ns;
};

/*
 * What manager_run() does before and after it runs the loop, which tests step through by themselves. Of open: 0, or a negative errno,
 * and *ret_manager is to be closed as well; or it was left as it was.
 */
int manager_open(struct start *start, struct manager **ret_manager);
void manager_close(struct manager *manager);

/* How far the start has come. */
struct manager_progress {
	uint64_t n, n_ready, n_failed, n_required_left, n_required_failed;
	uint64_t done_bytes, total_bytes;	/* of all but those that failed, or are on their way out */
	bool is_under_way;		/* some of them is being provisioned */
};

void manager_count(const struct manager *manager, struct manager_progress *ret_progress);

/* In one line: how far it is; and, until a reload is carried out, that the files are not what is in effect. */
void manager_tell_status(const struct manager *manager, const struct manager_progress *progress);

/* The timer's: counts, and tells what has changed; readiness once. */
void manager_on_status(evutil_socket_t fd, short what, void *arg);

/* That, in a moment. */
void manager_tell_later(struct manager *manager);

/* Callbacks of the registry, its segments and the recovery of their locks. */
void manager_on_change(struct segment *segment, void *arg);
void manager_on_grown(struct segment *segment, uint64_t was_bytes, int r, void *arg);
void manager_on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg);

#endif
