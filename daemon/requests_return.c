/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A client that had to connect anew is attached to what it was attached to. Who it is the kernel says, what it had the daemon's own
 * rows, and what memory it brings the kernel again: nothing of it is believed for being said.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>

#include "base/base.h"
#include "daemon/requests.h"
#include "daemon/survival_await.h"

/* 0: it was found, or there is none. SESSION_E_AGAIN: thousands were looked at, and more are to be in the next turn. */
static int
return_find_segment(struct requests *requests, struct session *session, const struct protocol_return *asked,
    struct segment **ret_segment)
{
	struct requests_walk walk;

	requests_walk_begin(&walk, requests, session, &asked->header, 0);
	while ((*ret_segment = requests_walk_next(&walk)))
		if ((*ret_segment)->generation == asked->generation) {
			/* It may be asked for again, when it has been waited for. */
			walk.at = *ret_segment;
			(void)requests_walk_ends(&walk);
			return 0;
		}
	return requests_walk_ends(&walk) ? 0 : SESSION_E_AGAIN;
}

static struct attachment *
return_find_attachment(const struct segment *segment, uint32_t id, const struct identity *identity)
{
	struct attachment *attachment = segment_find_attachment(segment, id);

	return attachment && identity_is_process(identity, attachment->uid, attachment->pid, attachment->process) ? attachment : NULL;
}

static int
return_reply(struct requests *requests, struct session *session, const struct protocol_header *request, uint32_t wants)
{
	struct protocol_returned *reply = (void *)&requests->reply;

	*reply = (struct protocol_returned) { .wants = wants };
	return session_reply(session, request, &reply->header, sizeof(*reply), 0, NULL, 0);
}

static int
return_refuse_stale(struct session *session, const struct protocol_return *asked)
{
	return session_refuse(session, &asked->header, -ESTALE, "process %d has no attachment %u of generation %" PRIu64 " any more: "
	    "the segment was removed, or made anew", session->identity.pid, asked->attachment, asked->generation);
}

/* What a worker has received, or not. True: the segment has it back, or is gone; else *ret_r is what comes of the request. */
static bool
return_take(struct requests *requests, struct session *session, const struct protocol_return *asked, struct segment *segment,
    int *ret_r)
{
	const struct parcel *parcel = session->parcel;
	char text[FINDINGS_TEXT_SIZE + DEFINITION_NAME_MAX + JOB_TEXT_SIZE];
	int r = parcel->status;

	if (r)
		(void)snprintf(text, sizeof(text), "what was to be the memory of segment '%s' is not: %s", segment->definition->name,
		    parcel->text);
	else
		r = survival_take_back(requests->survival, segment, asked->flags, parcel->fd, text, sizeof(text));
	(void)parcels_forget(session);
	if (r == 0)
		return true;
	*ret_r = r < 0 ? session_refuse(session, &asked->header, r, "%s", text) : return_reply(requests, session, &asked->header,
	    survival_misses(requests->survival, segment));
	return false;
}

/* The segment waits for its memory. Results as above. */
static bool
return_take_back(struct requests *requests, struct session *session, const struct protocol_return *asked, struct segment *segment,
    int *ret_r)
{
	const struct parcel *parcel = session->parcel;
	struct parcels_proof proof;
	int r;

	*ret_r = SESSION_E_WAIT;
	if (!survival_expects(requests->survival, segment, asked->attachment, &session->identity, asked->flags, &proof)) {
		*ret_r = return_refuse_stale(session, asked);
	} else if (!session->brings_fds) {
		*ret_r = return_reply(requests, session, &asked->header, survival_misses(requests->survival, segment));
	} else if (!parcel || parcel->serial != asked->header.serial) {
		r = parcels_receive(&session->host->parcels, session, asked->header.serial, &proof);
		if (r)
			*ret_r = session_refuse(session, &asked->header, r, "the daemon is out of memory or descriptors");
	} else if (parcel->is_done) {
		return return_take(requests, session, asked, segment, ret_r);
	}
	return false;
}

/*
 * Another connection of the same process has it. Where that was closed, and is only not read to its end yet, it gives the attachment up in
 * its turn: whoever has lost a connection, and made a new one, is faster than that.
 */
static bool
return_is_over(const struct session *session, uint64_t id)
{
	struct pollfd poll_fd = { .events = POLLRDHUP };
	const struct session *other;

	TAILQ_FOREACH(other, session_of_uid(session), account_entry)
		if (other->id == id)
			break;
	/* What a worker is at there may take it long. */
	if (!other || other->parcel)
		return false;
	poll_fd.fd = other->fd;
	return poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & (POLLRDHUP | POLLHUP);
}

int
requests_return(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_return *asked = (const void *)request;
	struct attachment *attachment;
	struct segment *segment;
	int r = return_find_segment(requests, session, asked, &segment);

	if (r)
		return r;
	if (asked->flags > PROTOCOL_RETURN_CONTROL || (session->brings_fds && !asked->flags))
		return session_refuse(session, request, -EINVAL, "the flags of a return must say what it brings");
	if (segment && segment->is_awaited && !return_take_back(requests, session, asked, segment, &r))
		return r;
	/* It may have ended while it was taken back. */
	r = return_find_segment(requests, session, asked, &segment);
	if (r)
		return r;
	attachment = segment ? return_find_attachment(segment, asked->attachment, &session->identity) : NULL;
	if (!attachment)
		return return_refuse_stale(session, asked);
	if (attachment->session && attachment->session != session->id && return_is_over(session, attachment->session))
		return SESSION_E_AGAIN;
	if (attachment->session && attachment->session != session->id)
		return session_refuse(session, request, -EBUSY, "another connection of process %d has this attachment",
		    session->identity.pid);
	r = return_reply(requests, session, request, 0);
	if (r || attachment->session)
		return r;
	attachment_adopt(attachment, session->id, &session->identity, &session->attachments);
	requests_on_return(session, attachment);
	return 0;
}
