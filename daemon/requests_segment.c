/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Requests about one segment: attach, detach, create, remove, wait. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>

#include "base/base.h"
#include "daemon/procfd.h"
#include "daemon/requests.h"

#define ALIGNMENT_HUGE	(2 * MIB)
#define ALIGNMENT_BASE	4096

/* Who may read it but not write it, is told so: that it exists is no secret from them. */
static int
requests_refuse_access(struct session *session, const struct protocol_header *request, const struct segment *segment)
{
	return session_refuse(session, request, -EACCES,
	    "uid %u may not attach segment '%s' in this way: its owner is %u, its group %u, its mode %04o",
	    session->identity.uid, segment->definition->name, access_owner(segment->definition),
	    access_group(segment->definition), segment->definition->mode);
}

/* 0: it may be attached now. Positive: it was refused, *ret_r is what the dispatch returns. */
static int
requests_check_state(struct session *session, const struct protocol_header *request, const struct segment *segment,
    int *ret_r)
{
	const char *name = segment->definition->name;

	switch (segment->state) {
	case PROTOCOL_READY:
		return 0;
	case PROTOCOL_DECLARED:
	case PROTOCOL_PROVISIONING:
		*ret_r = session_refuse(session, request, -EAGAIN,
		    "segment '%s' is being provisioned; `segmentctl wait %s` waits for it", name, name);
		return 1;
	case PROTOCOL_FAILED:
		*ret_r = session_refuse(session, request, -EIO, "segment '%s' could not be provisioned: %s", name,
		    segment->reason ? segment->reason : "no reason was given");
		return 1;
	default:
		*ret_r = session_refuse(session, request, -ESHUTDOWN,
		    "segment '%s' is being removed, and waits for those that are attached", name);
		return 1;
	}
}

static int
requests_refuse_error(struct session *session, const struct protocol_header *request, int r)
{
	if (r == ACCOUNTS_E_LIMIT)
		return session_refuse(session, request, -EDQUOT,
		    "uid %u has %" PRIu64 " attachments already, as many as limits.attachments allows each uid; "
		    "detach some, or have the administrator raise it", session->identity.uid,
		    session->host->accounts->limits[ACCOUNTS_ATTACHMENTS]);
	if (r == -EMFILE || r == -ENFILE)
		return session_refuse(session, request, -ENFILE,
		    "the daemon is out of file descriptors: the administrator can raise LimitNOFILE of its service");
	if (r == -ENOSPC)
		return session_refuse(session, request, -ENOSPC,
		    "the host is out of inotify watches: raise fs.inotify.max_user_watches");
	if (r == -ENOMEM)
		return session_refuse(session, request, -ENOMEM, "the daemon is out of memory");
	return session_refuse(session, request, r, "the segment cannot be handed out: %s", strerror(-r));
}

/* The rows of its locks behind the reply, if they fit. Returns the reply's size. */
static size_t
requests_add_locks(struct requests *requests, const struct segment *segment, struct protocol_attached *reply,
    uint16_t *ret_flags)
{
	const struct locks *locks = &segment->locks;
	struct protocol_lock *rows = (void *)(reply + 1);

	reply->n_locks = locks->n;
	reply->control_bytes = segment->holding.control.map_bytes;
	if (locks->n * sizeof(*rows) > sizeof(requests->reply) - sizeof(*reply)) {
		*ret_flags = PROTOCOL_MORE;
		return sizeof(*reply);
	}
	for (uint32_t i = 0; i < locks->n; i++)
		requests_describe_lock(&locks->list[i], &rows[i]);
	return sizeof(*reply) + locks->n * sizeof(*rows);
}

/*
 * Control memory for a writer: a description of its own, as of data. With ours, the kernel would take us for alone with memory
 * that is mapped, and a segment that is removed would have its locks' pages given back under their owners.
 */
static int
requests_open_control(const struct segment *segment, uint32_t access, int *ret_fd)
{
	const struct holding *holding = &segment->holding;

	if (holding->control.fd < 0 || !(access & PROTOCOL_ACCESS_WRITE))
		return 0;
	return procfd_reopen(holding->control.fd, O_RDWR, ret_fd);
}

/* Attaches a segment that is ready, and answers with its fds. */
static int
requests_hand_out(struct requests *requests, struct session *session, const struct protocol_header *request,
    struct segment *segment, uint32_t access)
{
	struct protocol_attached *reply = (void *)&requests->reply;
	const struct definition *definition = segment->definition;
	struct attachment *attachment;
	bool was_attached = segment->was_attached;
	size_t size = sizeof(*reply);
	uint16_t flags = 0;
	int fds[PROTOCOL_FDS_MAX] = { -1, -1 };
	unsigned n_fds = 1;
	cleanup_close int fd = -1, control_fd = -1;
	int r;

	r = requests_open_control(segment, access, &control_fd);
	if (r)
		return requests_refuse_error(session, request, r);
	r = attachment_new(segment, &session->identity, session->id, access, session->host->accounts,
	    &session->attachments, &attachment, &fd);
	/* What it closed just now may not have been looked at yet: nobody is refused for that. */
	if (r == ACCOUNTS_E_LIMIT && attachment_prune(&session->attachments))
		return SESSION_E_AGAIN;
	if (r)
		return requests_refuse_error(session, request, r);
	*reply = (struct protocol_attached) {
		.generation = segment->generation,
		.size_bytes = definition->size_bytes,
		.map_bytes = segment->holding.object.map_bytes,
		.alignment_bytes = segment->holding.object.map_bytes >= ALIGNMENT_HUGE ?
		    ALIGNMENT_HUGE : ALIGNMENT_BASE,
		.attachment = attachment->id,
		.access = access,
		.flags = definition->dump ? 0 : PROTOCOL_ATTACHED_DONTDUMP,
	};
	fds[0] = fd;
	if (segment->holding.control.fd >= 0) {
		fds[n_fds++] = control_fd >= 0 ? control_fd : segment->holding.control_read_fd;
		size = requests_add_locks(requests, segment, reply, &flags);
	}
	r = session_reply(session, request, &reply->header, size, flags, fds, n_fds);
	/* It was not sent: nobody has it, and the request will come again or the session ends. */
	if (r) {
		attachment_free(attachment);
		segment->was_attached = was_attached;
		return r;
	}
	requests_on_attach(session, attachment);
	return 0;
}

int
requests_attach(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_attach *attach = (const void *)request;
	struct segment *segment = requests_find(requests, session, attach->name);
	uint32_t owner;
	int r;

	if (attach->access & ~(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE) ||
	    !(attach->access & PROTOCOL_ACCESS_READ) || attach->flags & ~PROTOCOL_ATTACH_OWNED)
		return session_refuse(session, request, -EINVAL,
		    "access must be read, or read and write; and the flags must be known ones");
	if (!segment)
		return requests_refuse_unknown(session, request, attach->name);
	if (attach->access & ~access_allowed(segment->definition, &session->identity))
		return requests_refuse_access(session, request, segment);
	owner = access_owner(segment->definition);
	if (attach->flags & PROTOCOL_ATTACH_OWNED && owner != 0 && owner != session->identity.uid)
		return session_refuse(session, request, -EPERM, "segment '%s' belongs to uid %u, and one of uid %u's own "
		    "or of root's was asked for", attach->name, owner, session->identity.uid);
	if (attach->generation && attach->generation != segment->generation)
		return session_refuse(session, request, -ESTALE, "segment '%s' was removed and made anew", attach->name);
	if (*attach->layout && segment->definition->layout && !streq(attach->layout, segment->definition->layout))
		return session_refuse(session, request, -EPROTOTYPE, "segment '%s' has layout '%s', not '%.*s'",
		    attach->name, segment->definition->layout, DEFINITION_LAYOUT_MAX, attach->layout);
	if (requests_check_state(session, request, segment, &r))
		return r;
	return requests_hand_out(requests, session, request, segment, attach->access);
}

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

static int
requests_refuse_create(struct session *session, const struct protocol_header *request, const char *name, int r)
{
	switch (r) {
	case REGISTRY_E_EXISTS:
		return session_refuse(session, request, -EEXIST, "there is a segment '%s' already", name);
	case REGISTRY_E_NO_TEMPLATE:
		return session_refuse(session, request, -EPERM, "no template of the configuration lets uid %u create '%s'",
		    session->identity.uid, name);
	case REGISTRY_E_SIZE:
		return session_refuse(session, request, -EFBIG,
		    "the size must be at least 1 byte, and at most the template's max_size");
	case REGISTRY_E_LOCKS:
		return session_refuse(session, request, -EINVAL, "a lock of the template protects bytes beyond that size: ask for "
		    "more, at most the template's max_size");
	case REGISTRY_E_COUNT:
		return session_refuse(session, request, -EDQUOT,
		    "there are as many segments of this template as its max_count allows");
	case REGISTRY_E_LIMIT:
		return session_refuse(session, request, -EDQUOT,
		    "uid %u would have created more than the %" PRIu64 " bytes that limits.bytes allows each uid; "
		    "remove some, or have the administrator raise it",
		    session->identity.uid, session->host->accounts->limits[ACCOUNTS_BYTES]);
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
	bool is_own = segment && segment->created_session == session->id &&
	    segment->created_serial == request->serial && !segment->is_declared;
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
			return requests_refuse_create(session, request, create->name, r);
		session->created_serial = request->serial;
		memcpy(session->created_name, create->name, sizeof(session->created_name));
	}
	if (segment->state == PROTOCOL_PROVISIONING) {
		segment_wait(segment, &session->waiter, false);
		return SESSION_E_WAIT;
	}
	if (!requests_check_state(session, request, segment, &r))
		r = requests_hand_out(requests, session, request, segment,
		    PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE);
	if (r)
		return r;
	/* Answered. What was made for it and not handed out is nobody's: the name is free for another try. */
	is_new = session->created_serial == request->serial;
	session->created_serial = 0;
	if (is_new && !segment->was_attached)
		segment_remove(segment, true);
	return 0;
}

static bool
requests_may_remove(struct requests *requests, struct session *session, const struct segment *segment)
{
	if (requests_is_administrator(requests, &session->identity))
		return true;
	return !segment->is_declared && access_owner(segment->definition) == session->identity.uid;
}

int
requests_remove(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_remove *removal = (const void *)request;
	struct segment *segment = requests_find(requests, session, removal->name);
	struct protocol_header reply;
	int r;

	if (removal->flags & ~PROTOCOL_REMOVE_NOW)
		return session_refuse(session, request, -EINVAL, "remove was asked for with unknown flags");
	if (!segment)
		return requests_refuse_unknown(session, request, removal->name);
	if (!requests_may_remove(requests, session, segment))
		return session_refuse(session, request, -EPERM,
		    "segment '%s' is removed by its creator or an administrator only", removal->name);
	r = session_reply(session, request, &reply, sizeof(reply), 0, NULL, 0);
	if (r == 0)
		segment_remove(segment, removal->flags & PROTOCOL_REMOVE_NOW);
	return r;
}

int
requests_wait(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_wait *wait = (const void *)request;
	struct segment *segment = requests_find(requests, session, wait->name);
	struct protocol_waited *reply = (void *)&requests->reply;
	bool is_settled, has_progress = false;
	size_t reason_len;

	if (!segment)
		return requests_refuse_unknown(session, request, wait->name);
	*reply = (struct protocol_waited) { .state = segment->state };
	if (segment->provision) {
		reply->progress_bytes = segment->provision->done_bytes;
		reply->total_bytes = segment->provision->total_bytes;
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
