/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The journal: whether standard error goes there, and an entry with fields. */
#ifndef SYSTEMD_JOURNAL_H
#define SYSTEMD_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Shared memory that is not a segment's. */
struct journal_object {
	const char *name;		/* OBJECT=: any bytes */
	uint64_t inode;			/* OBJECT_INODE=, or 0 */
	bool has_id;
	int id;				/* OBJECT_ID=: of System V */
	uid_t uid;			/* OBJECT_UID= */
	uint64_t bytes;			/* OBJECT_BYTES= */
	uint64_t resident_bytes;	/* OBJECT_RESIDENT= */
	const char *proof;		/* OBJECT_PROOF=: how it is known that nobody holds it; or NULL */
	const char *rule;		/* OBJECT_RULE=: FILE:LINE */
};

/* What an entry carries besides its text; absent fields are not sent. */
struct journal_fields {
	const char *message_id;		/* 128 bits as hex, or NULL */
	const char *segment;		/* SEGMENT=, or NULL */
	const char *lock;		/* LOCK=, or NULL */
	const struct journal_object *object;	/* or NULL */
	pid_t client_pid;		/* CLIENT_PID=, or 0 */
	bool has_client_uid;
	uid_t client_uid;		/* CLIENT_UID= */
	int error;			/* ERRNO= as a positive errno, or 0 */
};

/* Whether standard error is the journal's stream ($JOURNAL_STREAM names its device and inode). */
bool journal_is_stderr(void);

/*
 * Sends an entry; priority as in syslog(3). Waits for nothing: what the journal has no room for is kept, up to a MiB, and the rest
 * left out. 0 or a negative errno.
 */
int journal_send(int priority, const struct journal_fields *fields, const char *text);

/* Sends what is kept. False: there is no room for all of it yet. */
bool journal_flush(void);
bool journal_keeps_some(void);
/* How many were left out since the last call. */
unsigned journal_left_out(void);
/* At the end: waits a second at most for room for what is kept. */
void journal_end(void);

#endif
