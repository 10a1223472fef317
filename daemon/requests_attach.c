/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Handing out: one segment or many, by one code. All of a message's rows are judged before the first is touched, and until
 * the reply is sent nobody is told and nothing is begun that an undone attachment would leave behind.
 */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/procfd.h"
#include "daemon/requests.h"
#include "host/sysv.h"

#define ALIGNMENT_HUGE	(2 * MIB)
#define ALIGNMENT_BASE	4096

#define HANDOUT_E_REFUSED	1	/* *ret_r is what the dispatch returns */

/* What a message asks for, and how far that is. Large, and not cleared: the counts say what of it is set. */
struct handout {
	struct requests *requests;
	struct session *session;
	const struct protocol_header *request;
	struct protocol_header about;	/* the same with the row that is looked at, for a refusal */
	uint32_t n_rows;
	uint32_t n;			/* attachments so far */
	unsigned n_fds;			/* to be sent */
	unsigned n_own;			/* of them: to be closed afterwards */
	uint16_t flags;			/* of the last answer */
	size_t size;			/* of the reply so far */
	struct segment *segments[PROTOCOL_ATTACH_ROWS];
	struct attachment *attachments[PROTOCOL_ATTACH_ROWS];
	int fds[PROTOCOL_FDS_MAX];
	int own_fds[PROTOCOL_FDS_MAX];
};

#define handout_refuse(handout, ...) \
	session_refuse((handout)->session, &(handout)->about, __VA_ARGS__)

static void
handout_init(struct handout *handout, struct requests *requests, struct session *session,
    const struct protocol_header *request, uint32_t n_rows)
{
	handout->requests = requests;
	handout->session = session;
	handout->request = request;
	handout->about = *request;
	handout->n_rows = n_rows;
	handout->n = 0;
	handout->n_fds = 0;
	handout->n_own = 0;
	handout->flags = 0;
	handout->size = 0;
}

static bool
handout_is_many(const struct handout *handout)
{
	return handout->request->type == PROTOCOL_ATTACH_MANY;
}

/* What is refused from here on is so because of this row; a message of one alone has none. */
static void
handout_look_at(struct handout *handout, uint32_t index)
{
	if (handout_is_many(handout))
		handout->about.row = index + 1;
}

/* Who may read it but not write it, is told so: that it exists is no secret from them. */
static int
handout_refuse_access(const struct handout *handout, const struct segment *segment)
{
	return handout_refuse(handout, -EACCES,
	    "uid %u may not attach segment '%s' in this way: its owner is %u, its group %u, its mode %04o",
	    handout->session->identity.uid, segment->definition->name, access_owner(segment->definition),
	    access_group(segment->definition), segment->definition->mode);
}

static bool
handout_must_wait(const struct segment *segment)
{
	return segment->state == PROTOCOL_DECLARED || segment->state == PROTOCOL_PROVISIONING;
}

static int
handout_refuse_unready(const struct handout *handout, const struct segment *segment)
{
	const char *name = segment->definition->name;

	return handout_refuse(handout, -EAGAIN, "segment '%s' is being provisioned; `segmentctl wait %s` waits for it", name,
	    name);
}

/* 0: it is ready, or will be. Or HANDOUT_E_REFUSED. */
static int
handout_check_state(const struct handout *handout, const struct segment *segment, int *ret_r)
{
	const char *name = segment->definition->name;
	char text[FINDINGS_TEXT_SIZE];

	if (segment->state == PROTOCOL_READY && segment_check(segment, text, sizeof(text)) < 0) {
		*ret_r = handout_refuse(handout, -EIO, "segment '%s' cannot be used any more: %s", name, text);
		return HANDOUT_E_REFUSED;
	}
	if (segment->state == PROTOCOL_READY || handout_must_wait(segment))
		return 0;
	if (segment->state == PROTOCOL_FAILED)
		*ret_r = handout_refuse(handout, -EIO, "segment '%s' could not be provisioned: %s", name,
		    segment->reason ? segment->reason : "no reason was given");
	else
		*ret_r = handout_refuse(handout, -ESHUTDOWN,
		    "segment '%s' is being removed, and waits for those that are attached", name);
	return HANDOUT_E_REFUSED;
}

/* 0: the row may have its segment, which may yet have to be waited for. Or HANDOUT_E_REFUSED. */
static int
handout_check_row(const struct handout *handout, const struct protocol_attach_row *row, struct segment **ret_segment,
    int *ret_r)
{
	struct session *session = handout->session;
	struct segment *segment = requests_find(handout->requests, session, row->name);
	uint32_t owner;

	if (row->access & ~(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE) ||
	    !(row->access & PROTOCOL_ACCESS_READ) || row->flags & ~PROTOCOL_ATTACH_OWNED)
		*ret_r = handout_refuse(handout, -EINVAL,
		    "access must be read, or read and write; and the flags must be known ones");
	else if (!segment)
		*ret_r = requests_refuse_unknown(session, &handout->about, row->name);
	else if (row->access & ~access_allowed(segment->definition, &session->identity))
		*ret_r = handout_refuse_access(handout, segment);
	else if ((owner = access_owner(segment->definition)) != 0 && owner != session->identity.uid &&
	    row->flags & PROTOCOL_ATTACH_OWNED)
		*ret_r = handout_refuse(handout, -EPERM, "segment '%s' belongs to uid %u, and one of uid %u's own or of root's "
		    "was asked for", row->name, owner, session->identity.uid);
	else if (row->generation && row->generation != segment->generation)
		*ret_r = handout_refuse(handout, -ESTALE, "segment '%s' was removed and made anew", row->name);
	else if (*row->layout && segment->definition->layout && !streq(row->layout, segment->definition->layout))
		*ret_r = handout_refuse(handout, -EPROTOTYPE, "segment '%s' has layout '%s', not '%.*s'",
		    row->name, segment->definition->layout, DEFINITION_LAYOUT_MAX, row->layout);
	else {
		*ret_segment = segment;
		return handout_check_state(handout, segment, ret_r);
	}
	return HANDOUT_E_REFUSED;
}

/* Of what is handed out a successor knows. */
static int
handout_refuse_unwritten(const struct handout *handout)
{
	const struct segment *segment = handout->segments[handout->about.row ? handout->about.row - 1 : 0];
	const struct ledger *ledger = segment->host->ledger;
	char text[FINDINGS_TEXT_SIZE];

	return handout_refuse(handout, ledger->error, "segment '%s' is not handed out: %s", segment->definition->name,
	    ledger_describe_error(ledger, text, sizeof(text)));
}

static int
handout_refuse_error(const struct handout *handout, int r)
{
	const struct session *session = handout->session;
	char text[ACCOUNTS_TEXT_SIZE];

	if (r == ACCOUNTS_E_LIMIT)
		return handout_refuse(handout, -EDQUOT, "%s", accounts_describe(session->host->accounts, session->identity.uid,
		    ACCOUNTS_ATTACHMENTS, handout->n_rows, text));
	if (r == ATTACHMENT_E_LEDGER)
		return handout_refuse_unwritten(handout);
	if (r == -EMFILE || r == -ENFILE)
		return handout_refuse(handout, -ENFILE, "%s", SESSION_OUT_OF_FDS);
	if (r == -ENOSPC)
		return handout_refuse(handout, -ENOSPC,
		    "the host is out of inotify watches: raise fs.inotify.max_user_watches");
	if (r == -ENOMEM)
		return handout_refuse(handout, -ENOMEM, "the daemon is out of memory");
	return handout_refuse(handout, r, "the segment cannot be handed out: %s", strerror(-r));
}

/*
 * Control memory for a writer: a description of its own, as of data. With ours, the kernel would take us for alone with memory
 * that is mapped, and a segment that is removed would have its locks' pages given back under their owners.
 */
static int
requests_open_control(const struct segment *segment, uint32_t access, int *ret_fd)
{
	const struct holding *holding = &segment->holding;

	if (!holding->control || !(access & PROTOCOL_ACCESS_WRITE))
		return 0;
	return procfd_reopen(holding->control->object.fd, O_RDWR, ret_fd);
}

/* Adds the attachment's answer to the reply; with the rows of its locks, if all answers to come fit behind them. */
static void
handout_add_answer(struct handout *handout, const struct segment *segment, const struct attachment *attachment)
{
	struct protocol_attached *answer = (void *)(handout->requests->reply.bytes + handout->size);
	struct protocol_lock *rows = (void *)(answer + 1);
	const struct locks *locks = segment->locks;
	uint64_t map_bytes = segment->holding.object.map_bytes;
	uint64_t alignment_bytes = map_bytes >= ALIGNMENT_HUGE ? ALIGNMENT_HUGE : ALIGNMENT_BASE;
	size_t to_come = (handout->n_rows - handout->n) * sizeof(*answer);
	size_t size = sizeof(*answer);

	*answer = (struct protocol_attached) {
		.generation = segment->generation,
		.size_bytes = segment->definition->size_bytes,
		.map_bytes = map_bytes,
		.alignment_bytes = max_u64(alignment_bytes, segment->holding.object.page_bytes),
		.attachment = attachment->id,
		.access = attachment->access,
		.flags = (segment->definition->dump ? 0 : PROTOCOL_ATTACHED_DONTDUMP) |
		    (segment->holding.object.is_file ? PROTOCOL_ATTACHED_FILE : 0),
	};
	if (segment->holding.object.shm_id >= 0) {
		answer->flags |= PROTOCOL_ATTACHED_SHM;
		answer->shm_id = segment->holding.object.shm_id;
		answer->ipc_namespace = sysv_namespace();
	}
	handout->flags = 0;
	if (segment->holding.control) {
		answer->n_locks = locks->n;
		answer->control_bytes = segment->holding.control->object.map_bytes;
		if (locks->n * sizeof(*rows) > sizeof(handout->requests->reply) - handout->size - to_come)
			handout->flags = PROTOCOL_MORE;
		else
			for (uint32_t i = 0; i < locks->n; i++, size += sizeof(*rows))
				requests_describe_lock(&locks->list[i], &rows[i]);
	}
	answer->header = (struct protocol_header) {
		.size = (uint32_t)size,
		.type = PROTOCOL_ATTACH,
		.flags = (uint16_t)(PROTOCOL_REPLY | handout->flags),
		.serial = handout->request->serial,
	};
	handout->size += size;
}

/* Attaches one. 0, ACCOUNTS_E_LIMIT or a negative errno; whatever is held by then, handout_undo() gives back. */
static int
handout_add(struct handout *handout, struct segment *segment, uint32_t access)
{
	struct session *session = handout->session;
	int fd, control_fd = -1;
	int r;

	r = requests_open_control(segment, access, &control_fd);
	if (r)
		return r;
	if (control_fd >= 0)
		handout->own_fds[handout->n_own++] = control_fd;
	r = attachment_new(segment, &session->identity, session->id, handout->request->serial, access, session->host->accounts,
	    &session->attachments, &handout->attachments[handout->n], &fd);
	if (r)
		return r;
	handout_add_answer(handout, segment, handout->attachments[handout->n]);
	handout->n++;
	handout->own_fds[handout->n_own++] = fd;
	handout->fds[handout->n_fds++] = fd;
	if (segment->holding.control)
		handout->fds[handout->n_fds++] = control_fd >= 0 ? control_fd : segment->holding.control->read_fd;
	return 0;
}

static void
handout_close(struct handout *handout)
{
	while (handout->n_own)
		(void)close(handout->own_fds[--handout->n_own]);
}

/* Nobody has them: out of all books, the last first. */
static void
handout_undo(struct handout *handout)
{
	while (handout->n)
		attachment_free(handout->attachments[--handout->n]);
	handout_close(handout);
}

static int
handout_send(struct handout *handout)
{
	struct protocol_attached_many *many = (void *)&handout->requests->reply;
	uint16_t flags = handout->flags;

	if (handout_is_many(handout)) {
		many->n_rows = handout->n;
		many->n_fds = handout->n_fds;
		flags = 0;
	}
	return session_reply(handout->session, handout->request, &handout->requests->reply.header, handout->size, flags,
	    handout->fds, handout->n_fds);
}

/* Attaches all segments, or none, and answers. rows: NULL, where access is that of all. */
static int
handout_carry_out(struct handout *handout, const struct protocol_attach_row *rows, uint32_t access)
{
	struct session *session = handout->session;
	char text[ACCOUNTS_TEXT_SIZE];
	int r = 0;

	handout->size = handout_is_many(handout) ? sizeof(struct protocol_attached_many) : 0;
	for (uint32_t i = 0; r == 0 && i < handout->n_rows; i++) {
		handout_look_at(handout, i);
		r = handout_add(handout, handout->segments[i], rows ? rows[i].access : access);
	}
	if (r) {
		handout_undo(handout);
		/* What it closed just now may not have been looked at yet: nobody is refused for that. */
		if (r == ACCOUNTS_E_LIMIT && attachment_prune(&session->attachments))
			return SESSION_E_AGAIN;
		return handout_refuse_error(handout, r);
	}
	r = session_charge_flight(session, handout->n_fds, text);
	if (r) {
		handout_undo(handout);
		if (r == -ETOOMANYREFS)
			return r;
		return r == ACCOUNTS_E_LIMIT ? handout_refuse(handout, -EDQUOT, "%s", text) : handout_refuse_error(handout, r);
	}
	r = handout_send(handout);
	/* It was not sent: nobody has it, and the request will come again or the session ends. */
	if (r) {
		handout_undo(handout);
		return r;
	}
	for (uint32_t i = 0; i < handout->n; i++) {
		segment_on_more(handout->attachments[i]->segment);
		requests_on_attach(session, handout->attachments[i]);
	}
	handout_close(handout);
	return 0;
}

static int
requests_attach_rows(struct requests *requests, struct session *session, const struct protocol_header *request,
    const struct protocol_attach_row *rows, uint32_t n_rows)
{
	struct handout handout;
	uint32_t unready = n_rows;
	int r;

	handout_init(&handout, requests, session, request, n_rows);
	for (uint32_t i = 0; i < n_rows; i++) {
		handout_look_at(&handout, i);
		if (handout_check_row(&handout, &rows[i], &handout.segments[i], &r))
			return r;
		if (unready == n_rows && handout_must_wait(handout.segments[i]))
			unready = i;
	}
	if (unready == n_rows)
		return handout_carry_out(&handout, rows, 0);
	handout_look_at(&handout, unready);
	return handout_refuse_unready(&handout, handout.segments[unready]);
}

int
requests_attach(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	return requests_attach_rows(requests, session, request, (const void *)(request + 1), 1);
}

int
requests_attach_many(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_attach_many *many = (const void *)request;

	return requests_attach_rows(requests, session, request, (const void *)(many + 1), many->n_rows);
}

int
requests_hand_out(struct requests *requests, struct session *session, const struct protocol_header *request,
    struct segment *segment, uint32_t access)
{
	struct handout handout;
	int r;

	handout_init(&handout, requests, session, request, 1);
	if (handout_check_state(&handout, segment, &r))
		return r;
	if (handout_must_wait(segment))
		return handout_refuse_unready(&handout, segment);
	handout.segments[0] = segment;
	return handout_carry_out(&handout, NULL, access);
}
