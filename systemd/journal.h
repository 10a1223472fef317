/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The journal: whether standard error goes there, and an entry with fields. */
#ifndef SYSTEMD_JOURNAL_H
#define SYSTEMD_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What an entry carries besides its text; absent fields are not sent. */
struct journal_fields {
	const char *message_id;		/* 128 bits as hex, or NULL */
	const char *segment;		/* SEGMENT=, or NULL */
	pid_t client_pid;		/* CLIENT_PID=, or 0 */
	bool has_client_uid;
	uid_t client_uid;		/* CLIENT_UID= */
	int error;			/* ERRNO= as a positive errno, or 0 */
};

/* Whether standard error is the journal's stream ($JOURNAL_STREAM names its device and inode). */
bool journal_is_stderr(void);

/* Sends an entry; priority as in syslog(3). 0 or a negative errno. */
int journal_send(int priority, const struct journal_fields *fields, const char *text);

#endif
