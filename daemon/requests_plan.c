/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Requests of administrators about the configuration: plan and reload, whose answer waits until all is judged, and the lines of
 * the last one, which its session keeps; and retry.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/reload.h"
#include "daemon/requests.h"

/* It is judged: the request, which waits in the session's queue, is looked at again. */
static void
requests_on_planned(struct reload_request *plan)
{
	struct session *session = plan->arg;

	session->waiter.wake(&session->waiter);
}

static bool
requests_may_plan(const struct reload_request *plan)
{
	const struct session *session = plan->arg;

	return requests_is_administrator(session->host->arg, &session->identity);
}

bool
requests_owes_lines(const struct session *session, const struct protocol_header *request)
{
	const struct reload_request *plan = session->plan;

	if (!plan || !plan->applies || !plan->has_begun)
		return false;
	return request->type == PROTOCOL_PLAN ? request->serial == session->plan_serial :
	    request->type == PROTOCOL_PLAN_LINES && plan->is_done;
}

static int
requests_reply_plan(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	struct protocol_planned *reply = (void *)&requests->reply;
	const struct reload_request *plan = session->plan;

	if (plan->has_failed)
		return session_refuse(session, request, -EIO, "the configuration is not judged, and all stays as it is: %s",
		    plan->why);
	*reply = (struct protocol_planned) { .n_lines = plan->lines.n };
	memcpy(reply->counts, plan->lines.counts, sizeof(reply->counts));
	return session_reply(session, request, &reply->header, sizeof(*reply), 0, NULL, 0);
}

int
requests_plan(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_plan *plan = (const void *)request;
	const struct identity *identity = &session->identity;

	if (session->plan && session->plan_serial == request->serial)
		return session->plan->is_done ? requests_reply_plan(requests, session, request) : SESSION_E_WAIT;
	if (plan->flags & ~(PROTOCOL_PLAN_RELOAD | PROTOCOL_PLAN_UPLOADED) ||
	    plan->flags == (PROTOCOL_PLAN_RELOAD | PROTOCOL_PLAN_UPLOADED))
		return session_refuse(session, request, -EINVAL, "plan was asked for with unknown flags, or a reload of what was "
		    "uploaded: a reload reads the daemon's own files");
	if (plan->flags & PROTOCOL_PLAN_UPLOADED && session->upload.fd < 0)
		return session_refuse(session, request, -ENODATA, "this connection has uploaded nothing yet");
	session->plan = reload_request_free(session->plan);
	session->plan = reload_request_new(plan->flags & PROTOCOL_PLAN_RELOAD, identity->pid, identity->uid,
	    requests_on_planned, session);
	if (!session->plan)
		return session_refuse(session, request, -ENOMEM, "the daemon is out of memory");
	if (accounts_charge_again(session->host->accounts, identity->uid, ACCOUNTS_MEMORY, 0, &session->plan->lines.charge)) {
		session->plan = reload_request_free(session->plan);
		return session_refuse(session, request, -ENOMEM, "the daemon is out of memory");
	}
	session->plan->may_begin = requests_may_plan;
	if (plan->flags & PROTOCOL_PLAN_UPLOADED)
		session->plan->upload = &session->upload;
	session->plan_serial = request->serial;
	reload_submit(requests->reload, session->plan);
	return SESSION_E_WAIT;
}

int
requests_plan_lines(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_plan_lines *asked = (const void *)request;
	struct protocol_listed *reply = (void *)&requests->reply;
	bool has_more = false;
	const char *rows;
	size_t size = 0;

	if (!session->plan || !session->plan->is_done)
		return session_refuse(session, request, -ENODATA, "this connection has asked for no plan yet");
	*reply = (struct protocol_listed) { 0 };
	if (reload_lines_page(&session->plan->lines, asked->cursor, &rows, &size, &reply->n_rows, &has_more))
		memcpy(reply + 1, rows, size);
	return session_reply(session, request, &reply->header, sizeof(*reply) + size, has_more ? PROTOCOL_MORE : 0, NULL, 0);
}

int
requests_retry(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_retry *retry = (const void *)request;
	struct segment *segment = requests_find(requests, session, retry->name);
	struct protocol_header reply;
	int r;

	if (!segment)
		return requests_refuse_unknown(session, request, retry->name);
	if (segment->state != PROTOCOL_FAILED)
		return session_refuse(session, request, -EINVAL, "segment '%s' has not failed: it is %s", retry->name,
		    segment_state_name(segment->state));
	r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
	if (r == 0)
		segment_start(segment);
	return r;
}

/* One at a time of a uid: each takes memory. */
static bool
requests_uploads(const struct session *session)
{
	const struct session *other;

	TAILQ_FOREACH(other, session_of_uid(session), account_entry)
		if (other != session && other->upload.fd >= 0)
			return true;
	return false;
}

static int
requests_refuse_upload(struct session *session, const struct protocol_header *request, int r)
{
	const struct protocol_upload *upload = (const void *)request;
	uint32_t uid = session->identity.uid;
	char text[ACCOUNTS_TEXT_SIZE];

	if (r == PARSE_E_LIMIT)
		return session_refuse(session, request, -EDQUOT, "%s", accounts_refuse(session->host->accounts, uid,
		    ACCOUNTS_MEMORY, upload->length, text));
	if (r == PARSE_E_TOO_LARGE)
		return session_refuse(session, request, -E2BIG, "the configuration is too large: %u bytes and %u files at most",
		    CONF_FILE_MAX_BYTES, PARSE_TEXTS_MAX);
	if (r == PARSE_E_INVALID)
		return session_refuse(session, request, -EINVAL, "a file begins with its name, which has no NUL in it");
	return session_refuse(session, request, r, "the configuration cannot be kept: %s", strerror(-r));
}

int
requests_upload(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_upload *upload = (const void *)request;
	bool is_name = upload->flags & PROTOCOL_UPLOAD_NAME, begins = upload->flags & PROTOCOL_UPLOAD_BEGIN;
	struct protocol_header reply;
	int r;

	if (upload->flags & ~(PROTOCOL_UPLOAD_BEGIN | PROTOCOL_UPLOAD_NAME) || (begins && !is_name) ||
	    upload->length > sizeof(upload->bytes))
		return session_refuse(session, request, -EINVAL, "a piece of an upload has flags or a length that it cannot have");
	if (session->upload.fd < 0 && !begins)
		return session_refuse(session, request, -EINVAL, "an upload begins with the name of its first file");
	if (begins && requests_uploads(session))
		return session_refuse(session, request, -EBUSY, "another connection of uid %u has uploaded a configuration: "
		    "one at a time", session->identity.uid);
	if (begins)
		parse_upload_deinit(&session->upload, requests->reload->host.parser);
	if (!session->upload.charge.account && accounts_charge_again(session->host->accounts, session->identity.uid, ACCOUNTS_MEMORY,
	    0, &session->upload.charge))
		return requests_refuse_upload(session, request, -ENOMEM);
	if (is_name)
		r = parse_upload_begin(&session->upload, upload->bytes, upload->length);
	else
		r = parse_upload_append(&session->upload, upload->bytes, upload->length);
	if (r)
		return requests_refuse_upload(session, request, r);
	return session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
}

void
requests_end_plan(struct requests *requests, struct session *session)
{
	session->plan = reload_request_free(session->plan);
	parse_upload_deinit(&session->upload, requests->reload->host.parser);
}
