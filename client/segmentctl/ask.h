/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Asking the daemon, for commands: requests whose replies are checked before anybody looks at them, rows that come in
 * pages, texts behind a reply. Failures are told here; functions return an exit status, 0 for done, unless said otherwise.
 */
#ifndef CLIENT_SEGMENTCTL_ASK_H
#define CLIENT_SEGMENTCTL_ASK_H

#include "client/connection.h"
#include "client/segmentctl/segmentctl.h"

struct ask {
	const struct segmentctl *ctl;
	uint64_t deadline_ns;		/* of the monotonic clock; 0: none */
	bool may_be_gone;		/* rows of a segment that is not there are none, and no failure; */
	bool is_gone;			/* and this says that it was so */
	bool is_forgotten;		/* of WHO_ROWS: the daemon that was asked for them is not there any more */
	struct connection_tries tries;	/* of the connection, until it is answered */
	unsigned n_opened;		/* anew, since the first */
	size_t reply_bytes;		/* of the last good reply, which is */
	union {
		struct protocol_header header;
		struct protocol_listed listed;
		struct protocol_shown shown;
		struct protocol_waited waited;
		struct protocol_recovered recovered;
		struct protocol_planned planned;
		struct protocol_told told;
		char bytes[PROTOCOL_MESSAGE_MAX];
	} reply;
	struct connection connection;
};

/* A connected one; NULL, and *ret_status says what to exit with, when there is none. ask_free accepts NULL. */
struct ask *ask_new(const struct segmentctl *ctl, int *ret_status);
struct ask *ask_free(struct ask *ask);

/*
 * One request. Returns a negative errno and tells nothing: for who means to go on; -ETIMEDOUT at the deadline.
 * Good replies have reply_min bytes at least.
 */
int ask_try(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min);
/*
 * The same of what changes nothing: where the connection is lost instead of an answer, the daemon is waited for, some seconds and
 * until the deadline, and asked again.
 */
int ask_look(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min);
/* The failure of either, told. */
int ask_report(struct ask *ask, int r);
int ask_request(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min);

/* Called with each row, whole and aligned, its strings not yet looked at. An exit status other than 0 ends the asking. */
typedef int (*ask_row_fn)(const void *row, void *arg);

/*
 * All rows of a LIST, HOLDERS, CLIENTS, USERS, LOCKS or WHO_ROWS, asked for page by page. row_size: the size of a row as we know it,
 * ASK_ROW_MAX at most. None is handed out before all are there: a daemon that was started anew, and knows nothing of the one before,
 * may number them otherwise, and is asked from the first on.
 */
#define ASK_ROW_MAX	512
#define ASK_ROWS_MAX	1000000		/* a daemon with more rows than this is lying */
#define ASK_RESTARTS_MAX 64		/* and one that is away more often in the middle of one list */
int ask_rows(struct ask *ask, enum protocol_type type, void *request, size_t request_size, size_t row_size,
    ask_row_fn fn, void *arg);

/* The text of length bytes, its NUL included, at offset of the reply; "" for none. NULL: it is not there as said. */
const char *ask_text(const struct ask *ask, size_t offset, uint32_t length);

/* What cannot be the name of a segment is wrong usage; what can be fits a request. */
int ask_check_name(const struct segmentctl *ctl, const char *name);
void ask_set_name(char field[PROTOCOL_NAME_SIZE], const char *name);

#endif
