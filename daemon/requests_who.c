/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who has a segment: the answer waits until the host's processes were looked through, and its rows are the session's. */
#include "config.h"

#include "base/base.h"
#include "daemon/requests.h"
#include "host/process.h"
#include "host/sysv.h"

/* It is there: the request, which waits in the session's queue, is looked at again. */
static void
requests_on_who(struct who_request *who)
{
	struct session *session = BASE_CONTAINER_OF(who, struct session, who);

	session->waiter.wake(&session->waiter);
}

/* The reply. Its size. */
static size_t
requests_describe_who(struct requests *requests, const struct who_answer *answer)
{
	struct protocol_told *reply = (void *)&requests->reply;
	size_t size = sizeof(*reply), objects_size = answer->told.n_objects * sizeof(answer->objects[0]);
	pid_t pids[WHO_PIDS];

	*reply = answer->told;
	reply->n_rows = (uint32_t)answer->n_rows;
	reply->pid_namespace = process_own_pid_namespace();
	reply->ipc_namespace = sysv_namespace();
	reply->n_pids = (uint32_t)who_own_pids(requests->who, pids, WHO_PIDS);
	reply->text_len = (uint32_t)strlen(answer->text) + 1;
	memcpy(requests->reply.bytes + size, answer->objects, objects_size);
	size += objects_size;
	memcpy(requests->reply.bytes + size, pids, reply->n_pids * sizeof(pids[0]));
	size += reply->n_pids * sizeof(pids[0]);
	memcpy(requests->reply.bytes + size, answer->text, reply->text_len);
	return size + reply->text_len;
}

static int
requests_reply_who(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	struct protocol_told *reply = (void *)&requests->reply;
	const struct who_answer *answer = session->who.answer;
	int r;

	r = session_reply(session, request, &reply->header, requests_describe_who(requests, answer), 0, NULL, 0);
	if (r == 0 && !answer->n_rows)
		who_forget(&session->who);
	return r;
}

/* Its uid keeps as much as it may already. */
static int
requests_refuse_who(struct session *session, const struct protocol_header *request)
{
	struct who_request *who = &session->who;
	char text[ACCOUNTS_TEXT_SIZE];
	int r;

	if (who->refusal == ACCOUNTS_E_LIMIT)
		r = session_refuse(session, request, -EDQUOT, "%s", accounts_refuse(who->accounts, who->uid, ACCOUNTS_MEMORY,
		    who->refused_bytes, text));
	else
		r = session_refuse(session, request, -ENOMEM, "the daemon is out of memory");
	if (r == 0)
		who_forget(who);
	return r;
}

int
requests_who(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	if (session->who_serial == request->serial && session->who.answer)
		return requests_reply_who(requests, session, request);
	if (session->who_serial == request->serial && session->who.refusal)
		return requests_refuse_who(session, request);
	if (session->who_serial == request->serial && session->who.entry)
		return SESSION_E_WAIT;
	session->who.wake = requests_on_who;
	session->who.accounts = session->host->accounts;
	session->who.uid = session->identity.uid;
	session->who.is_trusted = requests_is_administrator(requests, &session->identity);
	if (who_ask(requests->who, requests->segment, &session->who))
		return session_refuse(session, request, -ENOMEM, "the daemon is out of memory");
	session->who_serial = request->serial;
	return SESSION_E_WAIT;
}

int
requests_who_rows(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_who_rows *asked = (const void *)request;
	struct requests_page page = { .requests = requests, .row_size = sizeof(struct protocol_process) };
	const struct who_answer *answer = session->who.answer;
	struct protocol_process *row;
	int r;

	if (!answer)
		return session_refuse(session, request, -ENODATA, "this connection has asked for no segment's holders, or has had "
		    "all of them");
	/* A row's cursor is its place, from 1. */
	for (size_t i = (size_t)min_u64(asked->cursor, answer->n_rows); i < answer->n_rows; i++) {
		row = requests_page_next(&page);
		if (!row)
			break;
		*row = answer->rows[i];
	}
	r = requests_page_reply(&page, session, request);
	if (r == 0 && !page.has_more)
		who_forget(&session->who);
	return r;
}
