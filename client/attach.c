/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Attaching and creating: from names to the daemon's answers, of which client/answer.c makes handles. One segment or many go
 * the same way; only what is sent for one alone is shorter.
 */
#include "config.h"

#include "client/answer.h"

#define NAME_MAX_BYTES		128	/* of a name and of a layout */
#define FLAGS_ALL		(SEGMENT_READ | SEGMENT_WRITE | SEGMENT_NOWAIT | SEGMENT_POPULATE | SEGMENT_DONTFORK | \
				 SEGMENT_OWNED)
/* A segment can be gone for provisioning again (scrub) between "ready" and our request; but not for ever. */
#define WAITS_MAX		1000

/* What one message brought. Large, and not cleared. */
struct reply {
	char *bytes;
	size_t size;
	size_t at;			/* the next answer */
	uint32_t n;			/* answers to come */
	unsigned n_fds;			/* room for them: -1 where none came, or it was taken */
	unsigned n_taken;		/* of the fds, by the answers so far */
	uint64_t epoch;
	int fds[PROTOCOL_FDS_MAX];
};

/* How the attempt to attach went. */
struct attempt {
	size_t refused;			/* the request that was in the way; the number of all: none alone */
	bool is_unready;		/* that one is being provisioned; or, if none: is to be tried again */
};

static void
reply_release(struct reply *reply)
{
	free(reply->bytes);
	for (unsigned i = 0; i < reply->n_fds; i++)
		close_fd(&reply->fds[i]);
}
#define cleanup_reply	__attribute__((cleanup(reply_release)))

static int
check_name(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t length;

	if (!name)
		return error_set(-EINVAL, "the segment's name is missing (NULL)");
	length = strnlen(name, NAME_MAX_BYTES + 1);
	if (length == 0)
		return error_set(-EINVAL, "the segment's name is empty");
	if (length > NAME_MAX_BYTES)
		return error_set(-EINVAL, "the segment's name is longer than %d bytes: '%.40s...'", NAME_MAX_BYTES, name);
	if (strspn(name, allowed) != length || strchr("._-", name[0]))
		return error_set(-EINVAL, "a segment's name is of letters, digits, '.', '_' and '-', and begins with a letter "
		    "or a digit; the character at %zu is not", strspn(name, allowed) == length ? 1 : strspn(name, allowed) + 1);
	return 0;
}

static int
check_layout(const char *layout)
{
	if (!layout)
		return 0;
	if (*layout == '\0')
		return error_set(-EINVAL, "the layout is empty; NULL is for any");
	if (strnlen(layout, NAME_MAX_BYTES + 1) > NAME_MAX_BYTES)
		return error_set(-EINVAL, "the layout is longer than %d bytes: '%.40s...'", NAME_MAX_BYTES, layout);
	return 0;
}

static int
check_flags(unsigned flags)
{
	if (flags & ~FLAGS_ALL)
		return error_set(-EINVAL, "unknown flags 0x%x; this library knows 0x%x", flags & ~FLAGS_ALL, FLAGS_ALL);
	if (!(flags & (SEGMENT_READ | SEGMENT_WRITE)))
		return error_set(-EINVAL, "the flags say neither SEGMENT_READ nor SEGMENT_WRITE");
	return 0;
}

static int
check_request(const struct segment_request *request)
{
	int r;

	if ((r = check_name(request->name)) < 0 || (r = check_layout(request->layout)) < 0)
		return r;
	return check_flags(request->flags);
}

/* Asks for n segments. *ret_row: which was refused, from 1; 0: none alone. The reply is to be released in any case. */
static int
ask(struct segment_client *client, enum protocol_type type, struct protocol_header *request, size_t request_size, uint32_t n,
    struct reply *reply, uint32_t *ret_row)
{
	struct client_call call = {
		.type = type, .request = request, .request_size = request_size,
		.reply_size = PROTOCOL_MESSAGE_MAX, .fds = reply->fds, .n_fds = n * PROTOCOL_ATTACH_FDS,
	};
	int r;

	*ret_row = 0;
	reply->at = 0;
	reply->n = n;
	reply->n_fds = 0;
	reply->n_taken = 0;
	reply->bytes = malloc(PROTOCOL_MESSAGE_MAX);
	if (!reply->bytes)
		return error_set(-ENOMEM, "memory ran out");
	call.reply = reply->bytes;
	r = client_call(client, &call);
	if (r < 0 && call.row > n) {
		client_drop(client, call.epoch);
		return error_set(-EPROTO, "the daemon broke the protocol: it refused row %u of %u; the connection was closed",
		    (unsigned)call.row, (unsigned)n);
	}
	*ret_row = call.row;
	if (r < 0)
		return r;
	reply->n_fds = call.n_fds;
	reply->epoch = call.epoch;
	reply->size = call.reply_size;
	return 0;
}

/* What is wrong with the beginning of a reply to many; or NULL, and the first answer is next. */
static const char *
many_fault(struct reply *reply)
{
	struct protocol_attached_many many;
	unsigned n_fds = 0;

	if (reply->size < sizeof(many))
		return "it is too short to say how many attachments it has";
	memcpy(&many, reply->bytes, sizeof(many));
	if (many.header.flags & PROTOCOL_MORE)
		return "more are said to follow, and all were asked for";
	if (many.n_rows != reply->n)
		return "it has fewer or more attachments than were asked for";
	while (n_fds < reply->n_fds && reply->fds[n_fds] >= 0)
		n_fds++;
	if (many.n_fds != n_fds)
		return "fewer or more fds came with it than it says";
	reply->at = sizeof(many);
	return NULL;
}

/* The next answer; what is wrong, or NULL. Of the fds, the last answer has all that are left. */
static const char *
next_answer(struct reply *reply, struct answer *ret_answer)
{
	static int none = -1;
	size_t left = reply->size - reply->at;
	const char *bytes = reply->bytes + reply->at;
	struct protocol_attached *attached = &ret_answer->attached;

	if (left < sizeof(*attached))
		return "an attachment is cut off";
	memcpy(attached, bytes, sizeof(*attached));
	if (attached->header.size < sizeof(*attached) || attached->header.size > left)
		return "an attachment is larger or smaller than can be";
	/* One alone has the message's header, which was checked already. */
	if ((reply->at > 0 && attached->header.type != PROTOCOL_ATTACH) || attached->header.status || attached->header.zero ||
	    (attached->header.flags & ~PROTOCOL_MORE) != PROTOCOL_REPLY)
		return "an attachment's header is none of a good answer";
	reply->at += attached->header.size;
	reply->n--;
	ret_answer->rows = bytes + sizeof(*attached);
	ret_answer->rows_bytes = attached->header.size - sizeof(*attached);
	ret_answer->epoch = reply->epoch;
	ret_answer->fd = ret_answer->control_fd = &none;
	if (reply->n_taken < reply->n_fds)
		ret_answer->fd = &reply->fds[reply->n_taken++];
	if (reply->n_taken < reply->n_fds && (attached->n_locks || reply->n == 0))
		ret_answer->control_fd = &reply->fds[reply->n_taken++];
	if (reply->n > 0)
		return NULL;
	if (reply->at != reply->size)
		return "bytes are left behind its last attachment";
	for (unsigned i = reply->n_taken; i < reply->n_fds; i++)
		if (reply->fds[i] >= 0)
			return "more fds came with it than its attachments have";
	return NULL;
}

/* Takes the next answer for a request. */
static int
take_next(struct segment_client *client, struct reply *reply, const char *name, unsigned flags, struct segment **ret_segment)
{
	struct answer answer;
	const char *fault = next_answer(reply, &answer);

	if (fault)
		return answer_disbelieve(client, reply->epoch, name, fault);
	return answer_take(client, name, &answer, flags, ret_segment);
}

static void
detach_all(struct segment_request *requests, size_t n)
{
	while (n-- > 0) {
		(void)segment_detach(requests[n].segment);
		requests[n].segment = NULL;
	}
}

/* Makes handles of all answers, or gives all back. *ret_refused: the request that one could not be made for. */
static int
take_all(struct segment_client *client, struct reply *reply, struct segment_request *requests, size_t n, size_t *ret_refused)
{
	struct answer answer;
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		r = take_next(client, reply, requests[i].name, requests[i].flags, &requests[i].segment);
		if (r == 0)
			continue;
		*ret_refused = i;
		while (reply->n > 0 && !next_answer(reply, &answer))
			answer_give_back(client, &answer);
		detach_all(requests, i);
		break;
	}
	return r;
}

static void
fill_row(const struct segment_request *request, struct protocol_attach_row *row)
{
	row->access = answer_access(request->flags);
	row->flags = request->flags & SEGMENT_OWNED ? PROTOCOL_ATTACH_OWNED : 0;
	memcpy(row->name, request->name, strlen(request->name));
	if (request->layout)
		memcpy(row->layout, request->layout, strlen(request->layout));
}

static int
ask_one(struct segment_client *client, const struct segment_request *request, struct reply *reply)
{
	struct {
		struct protocol_header header;
		struct protocol_attach_row row;
	} message = { .row = { 0 } };
	uint32_t row;

	fill_row(request, &message.row);
	return ask(client, PROTOCOL_ATTACH, &message.header, sizeof(message), 1, reply, &row);
}

static int
ask_many(struct segment_client *client, const struct segment_request *requests, size_t n, struct reply *reply,
    uint32_t *ret_row)
{
	struct protocol_attach_row *rows;
	size_t size = sizeof(struct protocol_attach_many) + n * sizeof(*rows);
	cleanup_free struct protocol_attach_many *message = calloc(1, size);
	const char *fault;
	int r;

	if (!message)
		return error_set(-ENOMEM, "memory ran out");
	rows = (void *)(message + 1);
	message->n_rows = (uint32_t)n;
	for (size_t i = 0; i < n; i++)
		fill_row(&requests[i], &rows[i]);
	r = ask(client, PROTOCOL_ATTACH_MANY, &message->header, size, (uint32_t)n, reply, ret_row);
	if (r < 0)
		return r;
	fault = many_fault(reply);
	return fault ? answer_disbelieve(client, reply->epoch, requests[0].name, fault) : 0;
}

/* Attaches what fits into one message, all or none. */
static int
attach_some(struct segment_client *client, struct segment_request *requests, size_t n, bool is_alone,
    struct attempt *attempt)
{
	cleanup_reply struct reply reply;
	uint32_t row = 0;
	int r;

	attempt->refused = n;
	reply.bytes = NULL;
	reply.n_fds = 0;
	r = is_alone ? ask_one(client, requests, &reply) : ask_many(client, requests, n, &reply, &row);
	if (r < 0) {
		if (is_alone)
			attempt->refused = 0;
		else if (row > 0)
			attempt->refused = row - 1;
		attempt->is_unready = r == -EAGAIN && attempt->refused < n;
		return r;
	}
	return take_all(client, &reply, requests, n, &attempt->refused);
}

/* Attaches all or none, by as many messages as it takes. */
static int
attach_once(struct segment_client *client, struct segment_request *requests, size_t count, struct attempt *attempt)
{
	size_t n;
	int r = 0;

	for (size_t done = 0; done < count; done += n) {
		n = min_u64(count - done, PROTOCOL_ATTACH_ROWS);
		r = attach_some(client, &requests[done], n, count == 1, attempt);
		attempt->refused = attempt->refused < n ? done + attempt->refused : count;
		/* Half of another daemon's, if it was restarted in between: none of it could be relied on together. */
		if (r == 0 && requests[done].segment->epoch != requests[0].segment->epoch) {
			r = error_set(-EAGAIN, "the connection to segmentd was lost again and again");
			attempt->is_unready = true;
			detach_all(&requests[done], n);
		}
		if (r < 0) {
			detach_all(requests, done);
			return r;
		}
	}
	return r;
}

/*
 * Waits until the segment is no longer being provisioned, on a connection of its own: other threads go on using the
 * client's. A connection that breaks meanwhile is made anew by client_call.
 */
static int
wait_ready(const struct segment_client *client, const char *name)
{
	struct protocol_wait request = { .progress_bytes = PROTOCOL_WAIT_STATE };
	struct protocol_waited waited;
	struct segment_client *waiter = NULL;
	cleanup_free char *reply = malloc(PROTOCOL_MESSAGE_MAX);
	struct client_call call = {
		.type = PROTOCOL_WAIT, .request = &request.header, .request_size = sizeof(request),
		.reply = reply, .reply_size = PROTOCOL_MESSAGE_MAX,
	};
	int r;

	if (!reply)
		return error_set(-ENOMEM, "memory ran out");
	memcpy(request.name, name, strlen(name));
	r = client_new(client->path, &waiter);
	if (r < 0)
		return r;
	r = client_call(waiter, &call);
	client_free(waiter);
	if (r < 0)
		return r;
	if (call.reply_size < sizeof(waited))
		return error_set(-EPROTO, "the daemon broke the protocol: an answer to WAIT of %zu bytes", call.reply_size);
	memcpy(&waited, reply, sizeof(waited));
	if (waited.state == PROTOCOL_DECLARED || waited.state == PROTOCOL_PROVISIONING || waited.state >= PROTOCOL_STATE_N)
		return error_set(-EPROTO, "the daemon broke the protocol: '%s' is in state %u after the wait for it", name,
		    (unsigned)waited.state);
	return 0;
}

/* Attaches all or none, and waits where that is asked for. *ret_refused: as in struct attempt. */
static int
attach(struct segment_client *client, struct segment_request *requests, size_t count, size_t *ret_refused)
{
	struct attempt attempt = { .refused = count };
	bool waits = true;
	int r;

	for (size_t i = 0; i < count; i++)
		waits = waits && !(requests[i].flags & SEGMENT_NOWAIT);
	for (unsigned n = 0;; n++) {
		attempt.is_unready = false;
		r = attach_once(client, requests, count, &attempt);
		if (!attempt.is_unready || n == WAITS_MAX)
			break;
		if (attempt.refused == count)
			continue;
		if (!waits)
			break;
		r = wait_ready(client, requests[attempt.refused].name);
		if (r < 0)
			break;
	}
	*ret_refused = attempt.refused;
	return r;
}

int
segment_attach(struct segment_client *client, const char *name, const char *layout, unsigned flags,
    struct segment **ret_segment)
{
	struct segment_request request = { .name = name, .layout = layout, .flags = flags };
	size_t refused;
	int r;

	if (!client || !ret_segment)
		return error_set(-EINVAL, "segment_attach: the %s is missing (NULL)", client ? "place for the segment" : "client");
	r = check_request(&request);
	if (r == 0)
		r = attach(client, &request, 1, &refused);
	if (r == 0)
		*ret_segment = request.segment;
	return r;
}

int
segment_attach_many(struct segment_client *client, struct segment_request *requests, size_t count)
{
	size_t refused = count;
	int r = 0;

	if (!client || (!requests && count))
		return error_set(-EINVAL, "segment_attach_many: the %s missing (NULL)", client ? "requests are" : "client is");
	for (size_t i = 0; i < count; i++)
		requests[i].segment = NULL;
	for (size_t i = 0; r == 0 && i < count; i++) {
		r = check_request(&requests[i]);
		if (r < 0)
			refused = i;
	}
	if (r == 0)
		r = attach(client, requests, count, &refused);
	for (size_t i = 0; i < count; i++)
		requests[i].error = r == 0 || refused == count || i == refused ? r : -ECANCELED;
	return r;
}

int
segment_create(struct segment_client *client, const char *name, size_t size, unsigned flags, struct segment **ret_segment)
{
	struct segment_request request = { .name = name, .flags = flags | SEGMENT_WRITE };
	struct protocol_create message = { .size_bytes = size };
	cleanup_reply struct reply reply;
	size_t refused;
	uint32_t row;
	int r;

	reply.bytes = NULL;
	reply.n_fds = 0;
	if (!client || !ret_segment)
		return error_set(-EINVAL, "segment_create: the %s is missing (NULL)", client ? "place for the segment" : "client");
	if ((r = check_request(&request)) < 0)
		return r;
	if (size == 0)
		return error_set(-EINVAL, "a segment of no bytes cannot be created");
	memcpy(message.name, name, strlen(name));
	r = ask(client, PROTOCOL_CREATE, &message.header, sizeof(message), 1, &reply, &row);
	if (r == 0)
		r = take_next(client, &reply, name, request.flags, &request.segment);
	/* It exists now, and is provisioned as any other. */
	else if (r == -EAGAIN && !(flags & SEGMENT_NOWAIT) && (r = wait_ready(client, name)) == 0)
		r = attach(client, &request, 1, &refused);
	if (r == 0)
		*ret_segment = request.segment;
	return r;
}
