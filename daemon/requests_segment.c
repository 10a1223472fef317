/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Requests about one segment: detach, create, remove, wait. */
#include "config.h"

#include "base/base.h"
#include "conf/units.h"
#include "daemon/log.h"
#include "daemon/requests.h"

int
requests_detach(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_detach *detach = (const void *)request;
	struct attachment *attachment;
	struct protocol_header reply;
	int r = 0;

	if (!(request->flags & PROTOCOL_QUIET))
		r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
	/* One that ended already, by the kernel's word, is answered alike: its holder cannot know which came first. */
	if (r)
		return r;
	LIST_FOREACH(attachment, &session->attachments, session_entry)
		if (attachment->id == detach->attachment && attachment->segment->generation == detach->generation)
			break;
	if (attachment)
		attachment_give_up(attachment, UINT64_MAX);
	else
		events_forget_end(&session->ends, detach->attachment, detach->generation);
	return 0;
}

/* That is no limit of a uid: whoever asks may have none of the template's. */
static void
requests_tell_count(struct requests *requests, const struct session *session, const struct definition *definition)
{
	static struct log_limit limit = { .interval_ns = 60 * NS_PER_SEC, .burst = 5 };
	const struct log_about about = { .has_client_uid = true, .client_uid = session->identity.uid };

	requests->registry->n_count_refused++;
	if (log_allowed(&limit))
		log_write(MESSAGE_LIMIT_REACHED, &about, "uid %u wants one more of template '%s', of which there are the %u that its "
		    "max_count allows: more of it are refused", session->identity.uid, definition->name, definition->max_count);
}

static int
requests_refuse_create(struct requests *requests, struct session *session, const struct protocol_create *create, int r)
{
	const struct protocol_header *request = &create->header;
	const char *name = create->name;
	const struct registry_template *template_ = registry_template_for(requests->registry, name, session->identity.uid);
	const struct definition *definition = template_ ? template_->definition : NULL;
	char asked[32], max[32], text[ACCOUNTS_TEXT_SIZE];

	switch (r) {
	case REGISTRY_E_EXISTS:
		return session_refuse(session, request, -EEXIST, "there is a segment '%s' already", name);
	case REGISTRY_E_NO_TEMPLATE:
		return session_refuse(session, request, -EPERM, "no template of the configuration lets uid %u create '%s'",
		    session->identity.uid, name);
	case REGISTRY_E_SIZE:
		return session_refuse(session, request, -EFBIG, "%s were asked for; expected at least 1 byte, and at most %s, the "
		    "max_size of template '%s'", units_format_size(asked, sizeof(asked), create->size_bytes),
		    units_format_size(max, sizeof(max), definition->max_size_bytes), definition->name);
	case REGISTRY_E_LOCKS:
		return session_refuse(session, request, -EINVAL, "a lock of the template protects bytes beyond that size: ask for "
		    "more, at most the template's max_size");
	case REGISTRY_E_ACCESS:
		return session_refuse(session, request, -EACCES, "uid %u is not in group %u of template '%s', and could not attach "
		    "what it creates: the kernel lets the group have it by mode %04o, and no owner but the daemon",
		    session->identity.uid, access_group(definition), definition->name, definition->mode);
	case REGISTRY_E_COUNT:
		requests_tell_count(requests, session, definition);
		return session_refuse(session, request, -EDQUOT, "there %s %u segment%s of template '%s', as many as its "
		    "max_count allows; remove some, or have the administrator raise it",
		    template_->n_segments == 1 ? "is" : "are", template_->n_segments,
		    template_->n_segments == 1 ? "" : "s", definition->name);
	case REGISTRY_E_SEGMENTS:
		return session_refuse(session, request, -EDQUOT, "%s", accounts_refuse(session->host->accounts,
		    session->identity.uid, ACCOUNTS_SEGMENTS, 1, text));
	case REGISTRY_E_LIMIT:
		return session_refuse(session, request, -EDQUOT, "%s", accounts_refuse(session->host->accounts,
		    session->identity.uid, ACCOUNTS_BYTES, create->size_bytes + locks_control_bytes(definition), text));
	default:
		return session_refuse(session, request, r, "the segment cannot be created: %s", strerror(-r));
	}
}

/*
 * The segment is made at the first look at the request, which then waits in the queue until the segment is ready; at the
 * next look it is found to be this request's own, and is handed out.
 */
int
requests_create(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_create *create = (const void *)request;
	struct segment *segment = registry_find(requests->registry, create->name);
	bool is_own = segment && segment->creation && segment->creation->session == session->id &&
	    segment->creation->serial == request->serial;
	bool is_new;
	int r;

	if (!definition_name_valid(create->name))
		return session_refuse(session, request, -EINVAL, "a segment's name is 1 to %d of A-Z a-z 0-9 . _ - and "
		    "begins with a letter or a digit", DEFINITION_NAME_MAX);
	/* It was made at an earlier look, and somebody removed it since: that is not undone. */
	if (!is_own && session->created_serial == request->serial) {
		r = session_refuse(session, request, -ESHUTDOWN, "segment '%s' was removed while it was being provisioned",
		    create->name);
		if (r == 0)
			session->created_serial = 0;
		return r;
	}
	if (!is_own) {
		r = registry_create(requests->registry, create->name, create->size_bytes, &session->identity,
		    session->id, request->serial, &segment);
		if (r)
			return requests_refuse_create(requests, session, create, r);
		session->created_serial = request->serial;
		memcpy(session->created_name, create->name, sizeof(session->created_name));
	}
	if (segment->state == PROTOCOL_PROVISIONING) {
		segment_wait(segment, &session->waiter, false);
		return SESSION_E_WAIT;
	}
	r = requests_hand_out(requests, session, request, segment, PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE);
	if (r)
		return r;
	/* Answered. What was made for it and not handed out is nobody's: the name is free for another try. */
	is_new = session->created_serial == request->serial;
	session->created_serial = 0;
	if (is_new && !segment->was_attached)
		segment_remove(segment, true);
	return 0;
}

/* Of what an administrator declared it is told who ends it; what clients make and remove is their own affair. */
static void
requests_log_remove(const struct session *session, const struct segment *segment, bool now)
{
	const struct identity *identity = &session->identity;
	const struct log_about about = { .segment = segment->definition->name, .client_pid = identity->pid,
	    .has_client_uid = true, .client_uid = identity->uid };

	log_write(segment->is_declared ? MESSAGE_SEGMENT_REMOVAL : LOG_DEBUG, &about, "segment '%s' is to be removed%s, asked for by pid %d "
	    "of uid %u", segment->definition->name, now ? " at once" : "", identity->pid, identity->uid);
}

int
requests_remove(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_remove *removal = (const void *)request;
	struct segment *segment = requests->segment;
	struct protocol_header reply;

	if (removal->flags & ~PROTOCOL_REMOVE_NOW)
		return session_refuse(session, request, -EINVAL, "remove was asked for with unknown flags");
	/* Whoever hears that it is done may rely on it, also where we die in between. */
	if (!session_has_room(session))
		return SESSION_E_FULL;
	requests_log_remove(session, segment, removal->flags & PROTOCOL_REMOVE_NOW);
	segment_remove(segment, removal->flags & PROTOCOL_REMOVE_NOW);
	return session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
}

int
requests_wait(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_wait *wait = (const void *)request;
	struct segment *segment = requests->segment;
	struct protocol_waited *reply = (void *)&requests->reply;
	bool is_settled, has_progress = false;
	size_t reason_len;

	*reply = (struct protocol_waited) { .state = segment->state };
	if (segment->provision) {
		reply->progress_bytes = provision_progress_bytes(segment->provision);
		reply->total_bytes = provision_end_bytes(segment->provision);
	}
	is_settled = segment->state != PROTOCOL_DECLARED && segment->state != PROTOCOL_PROVISIONING;
	if (wait->progress_bytes != PROTOCOL_WAIT_STATE)
		has_progress = reply->progress_bytes > wait->progress_bytes &&
		    reply->progress_bytes - wait->progress_bytes >= reply->total_bytes / 100;
	if (!is_settled && !has_progress) {
		segment_wait(segment, &session->waiter, wait->progress_bytes != PROTOCOL_WAIT_STATE);
		return SESSION_E_WAIT;
	}
	reason_len = segment->reason ? strlen(segment->reason) + 1 : 1;
	memcpy(reply + 1, segment->reason ? segment->reason : "", reason_len);
	reply->reason_len = (uint32_t)reason_len;
	return session_reply(session, request, &reply->header, sizeof(*reply) + reason_len, 0, NULL, 0);
}
