/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's log: entries with fields to the journal where standard error is the journal's, lines on standard error
 * otherwise. Only the edge logs (a request's dispatch, a timer, a signal, a state's change, main); what is below returns.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <syslog.h>

#include "base/base.h"
#include "daemon/messages.h"
#include "systemd/journal.h"

/* What an entry is about; all zero: nothing in particular. */
struct log_about {
	const char *segment;
	const char *lock;
	pid_t client_pid;
	bool has_client_uid;
	uid_t client_uid;
	const struct journal_object *object;	/* or NULL */
	int error;			/* a negative errno, or 0 */
};

/* Allows so many entries an interval from one place that peers can set off at will. */
struct log_limit {
	uint64_t interval_ns;
	unsigned burst;
	uint64_t begun_ns;
	unsigned n_logged;
	unsigned n_dropped;
};

#define LOG_LIMIT(burst_)	{ .interval_ns = 5 * NS_PER_SEC, .burst = (burst_) }

/* Where to log to; before it everything goes to standard error. */
void log_open(void);
/* Called when the journal had no room: log_flush() is due a while later. NULL: nobody. */
void log_set_on_kept(void (*on_kept)(void *arg), void *arg);
/* Sends what it had no room for. False: it has none yet. */
bool log_flush(void);
/* At the end. */
void log_close(void);

/*
 * message: one of daemon/messages.h, whose priority says: LOG_ERR someone must act, WARNING degraded, NOTICE a state changed,
 * INFO milestones. Or LOG_DEBUG, of what is not for administrators.
 */
void log_write(int message, const struct log_about *about, const char *format, ...) BASE_PRINTF(3, 4);

/* A name that is not ours, for a sentence; as in C: every byte is there, and none can begin a line or end the quotes. */
const char *log_quote(char *buf, size_t size, const char *text);

/* Whether the place may log now; when it may again after silence, it first says how much was left out. */
bool log_allowed(struct log_limit *limit);

#endif
