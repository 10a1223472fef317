/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The checked way to the daemon. connection.c has checked the header; everything behind it is checked here: a reply's
 * length, the number and the size of rows, that cursors rise, that texts end. A daemon that lies costs an error.
 */
#include "config.h"

#include "client/segmentctl/ask.h"

#include <sys/socket.h>
#include <sys/time.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "conf/definition.h"

#define AWAY_NS		(10 * NS_PER_SEC)	/* that a daemon which has gone is waited for */
#define AWAY_DELAY_NS	(50 * NS_PER_MS)	/* between two tries: nothing tells of its socket */
#define LOST_MAX	3		/* connections that are lost over one request */

/* The requests for rows are alike in where their cursor stands. */
#define CURSOR_OFFSET	sizeof(struct protocol_header)
static_assert(offsetof(struct protocol_list, cursor) == CURSOR_OFFSET, "cursor");
static_assert(offsetof(struct protocol_holders, cursor) == CURSOR_OFFSET, "cursor");
static_assert(offsetof(struct protocol_clients, cursor) == CURSOR_OFFSET, "cursor");
static_assert(offsetof(struct protocol_users, cursor) == CURSOR_OFFSET, "cursor");
static_assert(offsetof(struct protocol_locks, cursor) == CURSOR_OFFSET, "cursor");
static_assert(offsetof(struct protocol_who_rows, cursor) == CURSOR_OFFSET, "cursor");
/* And each row begins with its own. */
static_assert(offsetof(struct protocol_segment, cursor) == 0 && sizeof(struct protocol_segment) <= ASK_ROW_MAX, "row");
static_assert(offsetof(struct protocol_holder, cursor) == 0 && sizeof(struct protocol_holder) <= ASK_ROW_MAX, "row");
static_assert(offsetof(struct protocol_client, cursor) == 0 && sizeof(struct protocol_client) <= ASK_ROW_MAX, "row");
static_assert(offsetof(struct protocol_user, cursor) == 0 && sizeof(struct protocol_user) <= ASK_ROW_MAX, "row");
static_assert(offsetof(struct protocol_lock, cursor) == 0 && sizeof(struct protocol_lock) <= ASK_ROW_MAX, "row");
static_assert(offsetof(struct protocol_process, cursor) == 0 && sizeof(struct protocol_process) <= ASK_ROW_MAX, "row");

struct ask *
ask_new(const struct segmentctl *ctl, int *ret_status)
{
	struct ask *ask = calloc(1, sizeof(*ask));
	int r;

	if (!ask) {
		*ret_status = report_no_memory(ctl);
		return NULL;
	}
	ask->ctl = ctl;
	ask->connection.fd = -1;
	do
		r = connection_open(&ask->connection, ctl->socket);
	while (connection_may_try_again(&ask->connection, &ask->tries, r));
	if (r == 0)
		return ask;
	*ret_status = report_failure(ctl, report_connect_status(r), "%s", ask->connection.error);
	return ask_free(ask);
}

struct ask *
ask_free(struct ask *ask)
{
	if (ask)
		connection_close(&ask->connection);
	free(ask);
	return NULL;
}

/* The time that is left becomes the socket's own limit, so that the request needs no clock. -ETIMEDOUT: none is. */
static int
set_time_left(struct ask *ask)
{
	uint64_t now_ns = clock_monotonic_ns(), left_ns;
	struct timeval left;

	if (now_ns >= ask->deadline_ns)
		return -ETIMEDOUT;
	/* Rounded up, since zero would mean for ever. */
	left_ns = ask->deadline_ns - now_ns + 999;
	left = (struct timeval){
		.tv_sec = (time_t)(left_ns / NS_PER_SEC),
		.tv_usec = (suseconds_t)(left_ns % NS_PER_SEC / 1000),
	};
	if (setsockopt(ask->connection.fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof(left)) < 0 ||
	    setsockopt(ask->connection.fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) < 0)
		return -errno;
	return 0;
}

static int
ask_once(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size)
{
	int r;

	if (ask->deadline_ns && ask->connection.fd >= 0) {
		r = set_time_left(ask);
		if (r < 0)
			return r;
	}
	return connection_request(&ask->connection, type, request, request_size, &ask->reply, sizeof(ask->reply),
	    &ask->reply_bytes, NULL, 0);
}

int
ask_try(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min)
{
	bool was_open = ask->connection.fd >= 0;
	int r = ask_once(ask, type, request, request_size);

	while (was_open && connection_may_try_again(&ask->connection, &ask->tries, r)) {
		r = connection_open(&ask->connection, ask->ctl->socket);
		ask->n_opened += r == 0;
		if (r == 0)
			r = ask_once(ask, type, request, request_size);
	}
	if (r == -EAGAIN && ask->deadline_ns && clock_monotonic_ns() >= ask->deadline_ns)
		return -ETIMEDOUT;
	if (r < 0)
		return r;
	if (ask->reply_bytes < reply_min) {
		(void)snprintf(ask->connection.error, sizeof(ask->connection.error),
		    "the daemon broke the protocol: a reply of type %u has %zu bytes, fewer than %zu", (unsigned)type,
		    ask->reply_bytes, reply_min);
		return -EPROTO;
	}
	return 0;
}

/* -ETIMEDOUT: it is not there in time; or a negative errno. */
static int
connect_again(struct ask *ask)
{
	const struct timespec delay = { .tv_nsec = AWAY_DELAY_NS };
	uint64_t until_ns = clock_monotonic_ns() + AWAY_NS;
	int r;

	if (ask->deadline_ns)
		until_ns = min_u64(until_ns, ask->deadline_ns);
	ask->tries = (struct connection_tries) { 0 };
	for (;;) {
		r = connection_open(&ask->connection, ask->ctl->socket);
		if (r != -ENOENT && r != -ECONNREFUSED)
			break;
		if (clock_monotonic_ns() >= until_ns)
			return until_ns == ask->deadline_ns ? -ETIMEDOUT : r;
		(void)nanosleep(&delay, NULL);
	}
	ask->n_opened += r == 0;
	return r;
}

/* Whether the connection was lost, or what was tried in its place was, before there was an answer: and no daemon refused it. */
static bool
is_away(const struct ask *ask, int r)
{
	return ask->connection.fd < 0 && ((r == -ENOTCONN && ask->connection.version) || r == -ENOENT || r == -ECONNREFUSED);
}

int
ask_look(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min)
{
	int r = ask_try(ask, type, request, request_size, reply_min);

	for (unsigned i = 0; i < LOST_MAX && is_away(ask, r); i++) {
		r = connect_again(ask);
		if (r == 0)
			r = ask_try(ask, type, request, request_size, reply_min);
	}
	return r;
}

int
ask_report(struct ask *ask, int r)
{
	const char *text = ask->connection.error;

	return report_failure(ask->ctl, report_request_status(r), "%s", *text ? text : strerror(-r));
}

int
ask_request(struct ask *ask, enum protocol_type type, struct protocol_header *request, size_t request_size,
    size_t reply_min)
{
	int r = ask_try(ask, type, request, request_size, reply_min);

	return r < 0 ? ask_report(ask, r) : SEGMENTCTL_DONE;
}

/* Rows of what has been taken so far, one behind the other. */
struct gathered {
	char *rows;
	size_t row_size;
	size_t n_rows, n_allocated;
	uint64_t cursor;		/* the last row's, which each row has to exceed */
};

static int
gather_row(const struct ask *ask, struct gathered *gathered, const char *row)
{
	uint64_t cursor;

	memcpy(&cursor, row, sizeof(cursor));
	if (cursor <= gathered->cursor)
		return report_protocol(ask->ctl, "rows come in no order");
	if (gathered->n_rows == gathered->n_allocated) {
		size_t n = gathered->n_allocated ? 2 * gathered->n_allocated : 16;
		char *rows = reallocarray(gathered->rows, n, gathered->row_size);

		if (!rows)
			return report_no_memory(ask->ctl);
		gathered->rows = rows;
		gathered->n_allocated = n;
	}
	memcpy(gathered->rows + gathered->n_rows++ * gathered->row_size, row, gathered->row_size);
	gathered->cursor = cursor;
	return 0;
}

/* The rows of one page. */
static int
gather_page(const struct ask *ask, struct gathered *gathered)
{
	const struct protocol_listed *listed = &ask->reply.listed;
	size_t space = ask->reply_bytes - sizeof(*listed);
	int r = 0;

	/* Rows may have grown since our time; they never shrink. */
	if (listed->row_size < gathered->row_size && listed->n_rows > 0)
		return report_protocol(ask->ctl, "rows are shorter than they may be");
	if ((uint64_t)listed->n_rows * listed->row_size != space)
		return report_protocol(ask->ctl, "a page has not as many rows as it says");
	if (listed->n_rows == 0 && (listed->header.flags & PROTOCOL_MORE))
		return report_protocol(ask->ctl, "an empty page is not the last one");
	for (uint32_t i = 0; i < listed->n_rows && r == 0; i++)
		r = gather_row(ask, gathered, ask->reply.bytes + sizeof(*listed) + (size_t)i * listed->row_size);
	if (r == 0 && gathered->n_rows > ASK_ROWS_MAX)
		return report_protocol(ask->ctl, "its rows have no end");
	return r;
}

static int
gather_rows(struct ask *ask, enum protocol_type type, void *request, size_t request_size, struct gathered *gathered)
{
	unsigned n_opened = ask->n_opened, n_restarts = 0;
	int r;

	for (;;) {
		memcpy((char *)request + CURSOR_OFFSET, &gathered->cursor, sizeof(gathered->cursor));
		r = ask_look(ask, type, request, request_size, sizeof(struct protocol_listed));
		if (r == -ENOENT && ask->may_be_gone) {
			ask->is_gone = true;
			gathered->n_rows = 0;
			return 0;
		}
		ask->is_forgotten = r == -ENODATA && type == PROTOCOL_WHO_ROWS;
		if (ask->is_forgotten) {
			gathered->n_rows = 0;
			return 0;
		}
		if (r < 0)
			return ask_report(ask, r);
		/* Asked with a cursor of another daemon's, it has answered something else. */
		if (ask->n_opened != n_opened && gathered->cursor) {
			if (++n_restarts > ASK_RESTARTS_MAX)
				return report_failure(ask->ctl, SEGMENTCTL_NO_DAEMON, "segmentd is started anew again and again");
			n_opened = ask->n_opened;
			gathered->n_rows = 0;
			gathered->cursor = 0;
			continue;
		}
		r = gather_page(ask, gathered);
		if (r != 0 || !(ask->reply.listed.header.flags & PROTOCOL_MORE))
			return r;
	}
}

int
ask_rows(struct ask *ask, enum protocol_type type, void *request, size_t request_size, size_t row_size,
    ask_row_fn fn, void *arg)
{
	struct gathered gathered = { .row_size = row_size };
	_Alignas(8) char row[ASK_ROW_MAX];
	int r = gather_rows(ask, type, request, request_size, &gathered);

	for (size_t i = 0; i < gathered.n_rows && r == 0; i++) {
		memcpy(row, gathered.rows + i * row_size, row_size);
		r = fn(row, arg);
	}
	free(gathered.rows);
	return r;
}

const char *
ask_text(const struct ask *ask, size_t offset, uint32_t length)
{
	const char *text = ask->reply.bytes + offset;

	if (length == 0)
		return "";
	if (offset > ask->reply_bytes || length > ask->reply_bytes - offset)
		return NULL;
	return strnlen(text, length) == length - 1 ? text : NULL;
}

int
ask_check_name(const struct segmentctl *ctl, const char *name)
{
	static_assert(DEFINITION_NAME_MAX < PROTOCOL_NAME_SIZE, "a name fits");

	if (definition_name_valid(name))
		return 0;
	return report_usage(ctl, "'%.*s'%s cannot be a segment's name: expected letters, digits, '.', '_' and '-', "
	    "a letter or digit first, %d at most", DEFINITION_NAME_MAX, name,
	    strlen(name) > DEFINITION_NAME_MAX ? "..." : "", DEFINITION_NAME_MAX);
}

void
ask_set_name(char field[PROTOCOL_NAME_SIZE], const char *name)
{
	size_t length = strnlen(name, PROTOCOL_NAME_SIZE - 1);

	memset(field, 0, PROTOCOL_NAME_SIZE);
	memcpy(field, name, length);
}
