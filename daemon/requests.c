/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* From a peer's bytes to a handler: nothing of a message is used before its row has checked it. */
#include "config.h"

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/requests.h"
#include "daemon/vigil.h"

#define STRINGS_MAX	2
#define END_NS		(NS_PER_MS / 2)	/* of asking the kernel at a session's end */

#define REQUESTS_E_ANSWERED	1	/* *ret_r is what the dispatch returns */

struct requests_row {
	const char *name;
	uint32_t size;			/* of the whole message, or of what precedes its rows */
	uint32_t row_size;		/* 0: it has no rows; else a count of them follows the header */
	uint32_t rows_max;
	enum requests_privilege privilege;
	const char *deed;		/* of what not everybody may: what it is, to people */
	bool sends_fds;			/* held back while an earlier reply with fds is unread */
	bool awaits_fds;		/* likewise, though it sends none */
	uint16_t flags;			/* of the header that it takes: PROTOCOL_QUIET, PROTOCOL_BRIEF */
	bool is_done_once;		/* a repeated one gets its first answer's status, and is not done again */
	bool ends_segment;		/* where an earlier daemon did it, the segment that is named is gone, or another */
	requests_handler_fn handler;
	uint16_t strings[STRINGS_MAX];	/* offsets of fields of PROTOCOL_NAME_SIZE, 0: none */
	uint16_t zeros[STRINGS_MAX];	/* offsets of 32-bit fields that must be 0, 0: none */
	uint16_t row_strings[STRINGS_MAX];	/* as strings, in each row */
};

static int requests_hello(struct requests *requests, struct session *session, const struct protocol_header *request);

static const struct requests_row requests_table[PROTOCOL_TYPE_N] = {
	[PROTOCOL_HELLO] = {
		.name = "hello",
		.size = sizeof(struct protocol_hello),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_hello,
		.zeros = { offsetof(struct protocol_hello, zero) },
	},
	[PROTOCOL_ATTACH] = {
		.name = "attach",
		.size = sizeof(struct protocol_attach),
		.privilege = REQUESTS_ATTACHER,
		.sends_fds = true,
		.handler = requests_attach,
		.strings = { offsetof(struct protocol_attach, name), offsetof(struct protocol_attach, layout) },
	},
	[PROTOCOL_DETACH] = {
		.name = "detach",
		.size = sizeof(struct protocol_detach),
		.privilege = REQUESTS_ANYONE,
		/*
		 * Nobody knows of an attachment whose fds were not read yet. Given up then, it might be charged to nobody, where
		 * the marks are disturbed, and its fds lie around all the same: they count against all that we send.
		 */
		.awaits_fds = true,
		.flags = PROTOCOL_QUIET,
		.handler = requests_detach,
		.zeros = { offsetof(struct protocol_detach, zero) },
	},
	[PROTOCOL_CREATE] = {
		.name = "create",
		.size = sizeof(struct protocol_create),
		.privilege = REQUESTS_INSTANTIATOR,
		.sends_fds = true,
		.handler = requests_create,
		.strings = { offsetof(struct protocol_create, name) },
		.zeros = { offsetof(struct protocol_create, zero), offsetof(struct protocol_create, flags) },
	},
	[PROTOCOL_REMOVE] = {
		.name = "remove",
		.size = sizeof(struct protocol_remove),
		.privilege = REQUESTS_CREATOR,
		.deed = "remove it",
		.ends_segment = true,
		.is_done_once = true,
		.handler = requests_remove,
		.strings = { offsetof(struct protocol_remove, name) },
		.zeros = { offsetof(struct protocol_remove, zero) },
	},
	[PROTOCOL_LIST] = {
		.name = "list",
		.size = sizeof(struct protocol_list),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_list,
	},
	[PROTOCOL_SHOW] = {
		.name = "show",
		.size = sizeof(struct protocol_show),
		.privilege = REQUESTS_READER,
		.handler = requests_show,
		.strings = { offsetof(struct protocol_show, name) },
	},
	[PROTOCOL_HOLDERS] = {
		.name = "holders",
		.size = sizeof(struct protocol_holders),
		.privilege = REQUESTS_READER,
		.flags = PROTOCOL_BRIEF,
		.handler = requests_holders,
		.strings = { offsetof(struct protocol_holders, name) },
	},
	[PROTOCOL_WHO] = {
		.name = "who",
		.size = sizeof(struct protocol_who),
		.privilege = REQUESTS_READER,
		.handler = requests_who,
		.strings = { offsetof(struct protocol_who, name) },
	},
	[PROTOCOL_WHO_ROWS] = {
		.name = "who rows",
		.size = sizeof(struct protocol_who_rows),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_who_rows,
	},
	[PROTOCOL_CLIENTS] = {
		.name = "clients",
		.size = sizeof(struct protocol_clients),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_clients,
	},
	[PROTOCOL_USERS] = {
		.name = "users",
		.size = sizeof(struct protocol_users),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_users,
	},
	[PROTOCOL_WAIT] = {
		.name = "wait",
		.size = sizeof(struct protocol_wait),
		.privilege = REQUESTS_READER,
		.handler = requests_wait,
		.strings = { offsetof(struct protocol_wait, name) },
	},
	[PROTOCOL_LOCKS] = {
		.name = "locks",
		.size = sizeof(struct protocol_locks),
		.privilege = REQUESTS_READER,
		.handler = requests_locks,
		.strings = { offsetof(struct protocol_locks, name) },
	},
	[PROTOCOL_RECOVER] = {
		.name = "recover",
		.size = sizeof(struct protocol_recover),
		.privilege = REQUESTS_WRITER,
		.deed = "recover its locks",
		.handler = requests_recover,
		.strings = { offsetof(struct protocol_recover, name), offsetof(struct protocol_recover, lock) },
		.zeros = { offsetof(struct protocol_recover, zero) },
	},
	[PROTOCOL_ATTACH_MANY] = {
		.name = "attach many",
		.size = sizeof(struct protocol_attach_many),
		.row_size = sizeof(struct protocol_attach_row),
		.rows_max = PROTOCOL_ATTACH_ROWS,
		.privilege = REQUESTS_ATTACHER,
		.sends_fds = true,
		.handler = requests_attach_many,
		.zeros = { offsetof(struct protocol_attach_many, zero) },
		.row_strings = { offsetof(struct protocol_attach_row, name), offsetof(struct protocol_attach_row, layout) },
	},
	[PROTOCOL_METRICS] = {
		.name = "metrics",
		.size = sizeof(struct protocol_header),
		.privilege = REQUESTS_ADMINISTRATOR,
		.deed = "see the metrics",
		.handler = requests_metrics,
	},
	[PROTOCOL_PLAN] = {
		.name = "plan",
		.size = sizeof(struct protocol_plan),
		.privilege = REQUESTS_ADMINISTRATOR,
		.deed = "plan or reload",
		.handler = requests_plan,
		.zeros = { offsetof(struct protocol_plan, zero) },
	},
	[PROTOCOL_UPLOAD] = {
		.name = "upload",
		.size = sizeof(struct protocol_upload),
		.privilege = REQUESTS_ADMINISTRATOR,
		.deed = "plan or reload",
		.is_done_once = true,
		.handler = requests_upload,
	},
	[PROTOCOL_PLAN_LINES] = {
		.name = "plan lines",
		.size = sizeof(struct protocol_plan_lines),
		.privilege = REQUESTS_ADMINISTRATOR,
		.deed = "plan or reload",
		.handler = requests_plan_lines,
	},
	[PROTOCOL_RETRY] = {
		.name = "retry",
		.size = sizeof(struct protocol_retry),
		.privilege = REQUESTS_ADMINISTRATOR,
		.deed = "retry what failed",
		.is_done_once = true,
		.handler = requests_retry,
		.strings = { offsetof(struct protocol_retry, name) },
	},
	[PROTOCOL_RETURN] = {
		.name = "return",
		.size = sizeof(struct protocol_return),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_return,
	},
	[PROTOCOL_SUBSCRIBE] = {
		.name = "subscribe",
		.size = sizeof(struct protocol_subscribe),
		.privilege = REQUESTS_ANYONE,
		.handler = requests_subscribe,
		.zeros = { offsetof(struct protocol_subscribe, zero) },
	},
};

static int
requests_violation(struct session *session, const char *how)
{
	session->violation = how;
	return SESSION_E_VIOLATION;
}

static int
requests_hello(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_hello *hello = (const void *)request;
	struct protocol_welcome *welcome = (void *)&requests->reply;
	int r;

	if (hello->magic != PROTOCOL_MAGIC)
		return requests_violation(session, "the first message is not segmentd's");
	if (hello->version_min > PROTOCOL_VERSION || hello->version_max < PROTOCOL_VERSION)
		return session_refuse(session, request, -EPROTONOSUPPORT,
		    "this daemon (segmentd %s) speaks version %d of the protocol, the client %u to %u: "
		    "upgrade the older of the two", PACKAGE_VERSION, PROTOCOL_VERSION,
		    hello->version_min, hello->version_max);
	*welcome = (struct protocol_welcome) {
		.version = PROTOCOL_VERSION, .features = PROTOCOL_FEATURE_RETURN, .session = session->id,
	};
	(void)snprintf(welcome->release, sizeof(welcome->release), "%s", PACKAGE_VERSION);
	r = session_reply(session, request, &welcome->header, sizeof(*welcome), 0, NULL, 0);
	if (r)
		return r;
	session->is_greeted = true;
	/* Where we die in between it is in the queue still, and is said again to who knows it. */
	session->serial = request->serial;
	session_write_row(session);
	return 0;
}

/* A string's field: ends with a NUL, and is zero behind it. */
static bool
requests_string_valid(const char *field)
{
	static const char zeros[PROTOCOL_NAME_SIZE];
	size_t len = strnlen(field, PROTOCOL_NAME_SIZE);

	return len < PROTOCOL_NAME_SIZE && memcmp(field + len, zeros, PROTOCOL_NAME_SIZE - len) == 0;
}

#define STRING_WRONG	"a string does not end, or has bytes behind its end"

/* The rows of a message that has some: as many as it says, and each in its form. NULL, or what is wrong. */
static const char *
requests_check_rows(const struct requests_row *row, const struct protocol_header *request)
{
	const char *bytes = (const char *)request;
	uint32_t n;

	if (request->size < row->size)
		return "the message has not the size of its type";
	memcpy(&n, bytes + sizeof(*request), sizeof(n));
	if (n == 0 || n > row->rows_max)
		return "the message has no rows, or more than its type may have";
	if (request->size != row->size + n * row->row_size)
		return "the message has not the size of its rows";
	for (uint32_t i = 0; i < n; i++)
		for (size_t j = 0; j < STRINGS_MAX; j++)
			if (!requests_string_valid(bytes + row->size + i * row->row_size + row->row_strings[j]))
				return STRING_WRONG;
	return NULL;
}

/* NULL: the message keeps to the row's form; else how it does not. */
static const char *
requests_check_form(const struct requests_row *row, const struct protocol_header *request)
{
	const char *bytes = (const char *)request;
	const char *wrong = NULL;

	if (row->row_size)
		wrong = requests_check_rows(row, request);
	else if (request->size != row->size)
		wrong = "the message has not the size of its type";
	if (wrong)
		return wrong;
	if (request->flags & ~row->flags)
		return request->flags & PROTOCOL_QUIET ? "a reply to this type cannot be left out" : "there is no brief reply to this type";
	for (size_t i = 0; i < STRINGS_MAX; i++) {
		uint32_t zero;

		if (row->strings[i] && !requests_string_valid(bytes + row->strings[i]))
			return STRING_WRONG;
		if (!row->zeros[i])
			continue;
		memcpy(&zero, bytes + row->zeros[i], sizeof(zero));
		if (zero)
			return "a field that must be zero is not";
	}
	return NULL;
}

static const char *
requests_check_header(const struct session *session, const struct protocol_header *request)
{
	if (request->flags & ~(PROTOCOL_QUIET | PROTOCOL_BRIEF) || request->status || request->zero)
		return "the header has bits that requests have not";
	if (request->serial == 0 || request->serial < session->serial)
		return "serials must rise";
	if (!session->is_greeted && request->type != PROTOCOL_HELLO)
		return "the first message must be HELLO";
	if (session->is_greeted && request->type == PROTOCOL_HELLO && request->serial != session->serial)
		return "HELLO was said already";
	return NULL;
}

/* A request that was done already, and is asked again since its answer may have been lost: the same answer. */
static int
requests_repeat(struct session *session, const struct protocol_header *request)
{
	struct protocol_header reply;

	if (session->status)
		return session_refuse(session, request, session->status,
		    "this request was answered before: %s", strerror(-session->status));
	return session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
}

/* What has had its effect when we die is not done again by who comes after us. */
static int
requests_do_once(const struct requests_row *row, struct requests *requests, struct session *session,
    const struct protocol_header *request)
{
	int r;

	session_set_doing(session, request->serial);
	r = row->handler(requests, session, request);
	/* It comes again, and has had none yet. */
	if (r > 0)
		session_set_doing(session, 0);
	return r;
}

/* The daemon before this one had done it, and could not say so any more; what has its name since is another. */
static bool
requests_was_done(const struct requests_row *row, const struct requests *requests, const struct session *session,
    const struct protocol_header *request)
{
	return row->ends_segment && request->serial == session->redone_serial &&
	    (!requests->segment || requests->segment->generation > requests->registry->past_generation);
}

static bool
requests_is_creator(const struct segment *segment, const struct identity *identity)
{
	return !segment->is_declared && identity_is_uid(identity, access_owner(segment->definition));
}

static int
requests_refuse_privilege(const struct requests_row *row, const struct requests *requests, struct session *session,
    const struct protocol_header *request)
{
	const char *name = requests->segment ? requests->segment->definition->name : "";

	if (row->privilege == REQUESTS_WRITER)
		return session_refuse(session, request, -EACCES,
		    "only those who may write segment '%s', and administrators, may %s", name, row->deed);
	if (row->privilege == REQUESTS_CREATOR)
		return session_refuse(session, request, -EPERM,
		    "only the creator of segment '%s', and administrators, may %s", name, row->deed);
	return session_refuse(session, request, -EPERM,
	    "only administrators may %s: root, and members of daemon.admin_group", row->deed);
}

/*
 * Whether the session may, by the row: 0, or REQUESTS_E_ANSWERED, and *ret_r is what the dispatch returns. What concerns a
 * segment is looked up and judged here and nowhere else; the handler finds it in requests->segment.
 */
static int
requests_judge(const struct requests_row *row, struct requests *requests, struct session *session,
    const struct protocol_header *request, int *ret_r)
{
	bool may = requests_is_administrator(requests, &session->identity);
	const char *name = (const char *)request + row->strings[0];
	struct protocol_header reply;

	requests->segment = NULL;
	switch (row->privilege) {
	case REQUESTS_READER:
	case REQUESTS_WRITER:
	case REQUESTS_CREATOR:
		requests->segment = requests_find(requests, session, name);
		if (requests_was_done(row, requests, session, request)) {
			*ret_r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
			return REQUESTS_E_ANSWERED;
		}
		if (!requests->segment) {
			/* It may be gone since it was asked about. */
			if (session->who_serial == request->serial)
				who_forget(&session->who);
			*ret_r = requests_refuse_unknown(session, request, name);
			return REQUESTS_E_ANSWERED;
		}
		if (row->privilege == REQUESTS_READER)
			may = true;
		else if (row->privilege == REQUESTS_CREATOR)
			may = may || requests_is_creator(requests->segment, &session->identity);
		else
			may = may || access_allowed(requests->segment->definition, &session->identity) & PROTOCOL_ACCESS_WRITE;
		break;
	case REQUESTS_ADMINISTRATOR:
		may = may || requests_owes_lines(session, request);
		break;
	default:
		may = true;
	}
	if (may)
		return 0;
	*ret_r = requests_refuse_privilege(row, requests, session, request);
	return REQUESTS_E_ANSWERED;
}

int
requests_privilege_of(unsigned type)
{
	return type < PROTOCOL_TYPE_N && requests_table[type].handler ? (int)requests_table[type].privilege : -1;
}

int
requests_dispatch(struct session *session, const struct protocol_header *request, void *arg)
{
	struct requests *requests = arg;
	const struct requests_row *row = NULL;
	const char *wrong = requests_check_header(session, request);
	int r;

	if (wrong)
		return requests_violation(session, wrong);
	if (request->type < PROTOCOL_TYPE_N && requests_table[request->type].handler)
		row = &requests_table[request->type];
	if (!row && request->flags)
		return requests_violation(session, "the header has bits that requests have not");
	if (!row)
		return session_refuse(session, request, -EOPNOTSUPP,
		    "request type %u is not known to this daemon (segmentd %s)", request->type, PACKAGE_VERSION);
	wrong = requests_check_form(row, request);
	if (wrong)
		return requests_violation(session, wrong);
	/* Before it is judged: what it was about may be gone by it. */
	if (row->is_done_once && request->serial == session->serial)
		return requests_repeat(session, request);
	if (requests_judge(row, requests, session, request, &r))
		return r;
	if (row->sends_fds && session->subscription)
		return session_refuse(session, request, -EBUSY, "this connection is subscribed to events, and gets no file "
		    "descriptors: '%s' goes through another connection", row->name);
	if ((row->sends_fds || row->awaits_fds) && !session_may_send_fds(session))
		return SESSION_E_FULL;
	if (row->is_done_once)
		return requests_do_once(row, requests, session, request);
	return row->handler(requests, session, request);
}

/* What a creator leaves that never attached it goes with the creator: nobody else has been promised it. */
static void
requests_drop_created(struct requests *requests, const struct session *session)
{
	struct segment *segment;

	if (!session->created_serial)
		return;
	segment = registry_find(requests->registry, session->created_name);
	if (segment && segment->creation && segment->creation->session == session->id &&
	    segment->creation->serial == session->created_serial && !segment->was_attached)
		segment_remove(segment, true);
}

/*
 * Locks that the session's process may have. It is gone: they are due. It has only closed its connection: it may be in a
 * section, and the kernel tells by the mark (in attachment_give_up) or by the pidfd that it is not any more.
 */
static void
requests_give_up_locks(struct session *session, uint64_t until_ns)
{
	bool has_ended = session_peer_has_ended(session);
	struct attachment *attachment;
	struct vigil *vigil = NULL;

	LIST_FOREACH(attachment, &session->attachments, session_entry) {
		if (!attachment_may_own(attachment))
			continue;
		if (has_ended) {
			attachment_owner_gone(attachment, until_ns);
			continue;
		}
		/* When the time is up, in doubt: an attachment leaves the vigil in its own end. */
		if (clock_monotonic_ns() < until_ns && !attachment_is_held(attachment))
			continue;
		if (!vigil && session->pidfd >= 0)
			vigil = vigil_new(session->host->base, session->host->accounts, session->identity.uid, &session->pidfd);
		if (vigil)
			vigil_add(vigil, attachment);
	}
}

void
requests_on_session_end(struct session *session, void *arg)
{
	uint64_t until_ns = clock_monotonic_ns() + END_NS;
	struct requests *requests = arg;
	struct attachment *attachment;

	requests_end_subscriptions(session);
	requests_end_plan(requests, session);
	requests_end_handout(requests, session);
	who_forget(&session->who);
	deaths_expect(requests->deaths, session);
	segment_waiter_cancel(&session->waiter);
	requests_drop_created(requests, session);
	requests_give_up_locks(session, until_ns);
	/* Each ends if the kernel knows no holder any more, and stays unsupervised otherwise. */
	while ((attachment = LIST_FIRST(&session->attachments)))
		attachment_give_up(attachment, until_ns);
	deaths_conclude(requests->deaths, session);
	/* The table is right now, and who is told can see so. */
	if (session->has_ended)
		events_flush(requests->events);
}

void
requests_set_administrators(struct requests *requests, bool has_admin_gid, uint32_t admin_gid)
{
	struct events_subscriber *subscriber;

	requests->has_admin_gid = has_admin_gid;
	requests->admin_gid = admin_gid;
	LIST_FOREACH(subscriber, &requests->events->subscribers, entry)
		subscriber->is_administrator = requests_is_administrator(requests, subscriber->identity);
}

bool
requests_is_administrator(const struct requests *requests, const struct identity *identity)
{
	if (identity_is_uid(identity, 0) || identity_is_uid(identity, (uint32_t)geteuid()))
		return true;
	return requests->has_admin_gid && identity_in_group(identity, requests->admin_gid);
}

bool
requests_is_trusted(const struct identity *identity, void *arg)
{
	return requests_is_administrator(arg, identity);
}

struct segment *
requests_find(struct requests *requests, struct session *session, const char *name)
{
	struct segment *segment = registry_find(requests->registry, name);

	if (!segment)
		return NULL;
	if (!access_allowed(segment->definition, &session->identity) &&
	    !requests_is_administrator(requests, &session->identity))
		return NULL;
	return segment;
}

int
requests_refuse_unknown(struct session *session, const struct protocol_header *request, const char *name)
{
	return session_refuse(session, request, -ENOENT,
	    "there is no segment '%.*s' that uid %u may attach; `segmentctl list` shows those there are",
	    DEFINITION_NAME_MAX, definition_name_valid(name) ? name : "(not a valid name)", session->identity.uid);
}
