/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Handing out: one segment or many, by one code. All of a message's rows are judged before the first is touched, and until
 * the reply is sent nobody is told and nothing is begun that an undone attachment would leave behind. Many go in turns: what is
 * attached when the time is up is kept until the session's next turn, in which all rows are judged anew.
 */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/procfd.h"
#include "daemon/requests.h"
#include "host/sysv.h"

#define ALIGNMENT_HUGE	(2 * MIB)
#define ALIGNMENT_BASE	4096

#define TURN_NS		(NS_PER_MS / 4)		/* of attaching in one turn of the session */
#define ROW_FDS		UINT64_C(2)	/* of ours for each, at most */

#define HANDOUT_E_REFUSED	1	/* *ret_r is what the dispatch returns */

/* What has been had, of so many rows. */
struct handout_fds {
	unsigned n;			/* to be sent */
	unsigned n_own;			/* of them: to be closed afterwards */
	uint8_t rows[PROTOCOL_FDS_MAX];	/* of the own ones, whose segments they are */
	int own[PROTOCOL_FDS_MAX];
	int list[PROTOCOL_FDS_MAX];
};

/* From turn to turn. The attachments themselves are the session's last ones, but for those whose segments have gone meanwhile. */
struct handout_kept {
	uint64_t serial;
	uint32_t n;
	uint64_t generations[PROTOCOL_ATTACH_ROWS];	/* of the segments */
	struct handout_fds fds;
	struct charge charge;
};

/* What a message asks for, and how far that is. Large, and not cleared: the counts say what of it is set. */
struct handout {
	struct requests *requests;
	struct session *session;
	const struct protocol_header *request;
	struct protocol_header about;	/* the same with the row that is looked at, for a refusal */
	uint32_t n_rows;
	uint32_t n;			/* attachments so far */
	uint16_t flags;			/* of the last answer */
	size_t size;			/* of the reply so far */
	struct segment *segments[PROTOCOL_ATTACH_ROWS];
	struct attachment *attachments[PROTOCOL_ATTACH_ROWS];
	struct handout_fds fds;
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
	handout->fds.n = 0;
	handout->fds.n_own = 0;
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
		segment_before_first(segment);
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
		return handout_refuse(handout, -EDQUOT, "%s", accounts_refuse(session->host->accounts, session->identity.uid,
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
handout_add_answer(struct handout *handout, uint32_t index)
{
	const struct attachment *attachment = handout->attachments[index];
	const struct segment *segment = attachment->segment;
	struct protocol_attached *answer = (void *)(handout->requests->reply.bytes + handout->size);
	struct protocol_lock *rows = (void *)(answer + 1);
	const struct locks *locks = segment->locks;
	uint64_t map_bytes = segment->holding.object.map_bytes;
	uint64_t alignment_bytes = map_bytes >= ALIGNMENT_HUGE ? ALIGNMENT_HUGE : ALIGNMENT_BASE;
	size_t to_come = (handout->n_rows - index) * sizeof(*answer);
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

static void
handout_add_own(struct handout *handout, int fd)
{
	handout->fds.rows[handout->fds.n_own] = (uint8_t)handout->n;
	handout->fds.own[handout->fds.n_own++] = fd;
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
		handout_add_own(handout, control_fd);
	r = attachment_new(segment, &session->identity, session->id, handout->request->serial, access, session->host->accounts,
	    &session->attachments, &handout->attachments[handout->n], &fd);
	if (r)
		return r;
	handout_add_own(handout, fd);
	handout->n++;
	handout->fds.list[handout->fds.n++] = fd;
	if (segment->holding.control)
		handout->fds.list[handout->fds.n++] = control_fd >= 0 ? control_fd : segment->holding.control->read_fd;
	return 0;
}

static void
handout_forget_kept(struct session *session)
{
	struct handout_kept *kept = take_ptr(session->handout);

	if (kept)
		charge_deinit(&kept->charge);
	free(kept);
}

/* Closes the last one of ours. segment: NULL: it has gone, and its toll with it, which would say what that costs. */
static void
handout_close_last(struct requests *requests, const struct session *session, struct handout_fds *fds,
    const struct segment *segment)
{
	struct toll *toll = segment && segment->watch ? &segment->watch->toll : NULL;
	int fd = fds->own[--fds->n_own];

	if (toll && !toll_closes_late(toll))
		toll_close(toll, segment_n_attached(segment), fd);
	else
		tolls_close_later(&requests->kernelcount->tolls, session->host->accounts, session->identity.uid, fd);
}

static void
handout_close(struct handout *handout)
{
	struct handout_fds *fds = &handout->fds;

	while (fds->n_own)
		handout_close_last(handout->requests, handout->session, fds, handout->segments[fds->rows[fds->n_own - 1]]);
	/* Not before: those that wait to be closed are charged by now. */
	handout_forget_kept(handout->session);
}

/* Nobody has them: out of all books, the last first. */
static void
handout_undo(struct handout *handout)
{
	while (handout->n)
		attachment_free(handout->attachments[--handout->n]);
	handout_close(handout);
}

/* The next one of those that the session has from turns before, beginning with the last. */
static struct attachment *
handout_kept_next(const struct session *session, struct attachment *attachment)
{
	attachment = attachment ? LIST_NEXT(attachment, session_entry) : LIST_FIRST(&session->attachments);
	return attachment && !attachment->is_told && attachment->serial == session->handout->serial ? attachment : NULL;
}

void
requests_end_handout(struct requests *requests, struct session *session)
{
	struct handout_kept *kept = session->handout;

	if (!kept)
		return;
	for (uint32_t row = kept->n; row--;) {
		struct attachment *attachment = handout_kept_next(session, NULL);
		struct segment *segment = NULL;

		/* Else the row's segment has gone, with all attachments of it. */
		if (attachment && attachment->segment->generation == kept->generations[row]) {
			segment = attachment->segment;
			attachment_free(attachment);
		}
		while (kept->fds.n_own && kept->fds.rows[kept->fds.n_own - 1] == row)
			handout_close_last(requests, session, &kept->fds, segment);
	}
	handout_forget_kept(session);
}

/* Goes on where the last turn ended. What of it went with its segment meanwhile has it begin anew. */
static void
handout_resume(struct handout *handout)
{
	struct session *session = handout->session;
	const struct handout_kept *kept = session->handout;
	struct attachment *attachment = NULL;
	uint32_t n = kept ? kept->n : 0;

	while (n && (attachment = handout_kept_next(session, attachment)) && attachment->segment == handout->segments[n - 1])
		handout->attachments[--n] = attachment;
	if (!kept)
		return;
	if (n) {
		requests_end_handout(handout->requests, session);
		return;
	}
	handout->n = kept->n;
	handout->fds = kept->fds;
}

/* 0: what was attached so far stays until the next turn. ACCOUNTS_E_LIMIT: that is too many descriptors; or -ENOMEM. */
static int
handout_keep(struct handout *handout)
{
	struct session *session = handout->session;
	struct handout_kept *kept = session->handout;
	int r;

	if (!kept) {
		kept = malloc(sizeof(*kept));
		if (!kept)
			return -ENOMEM;
		kept->charge = (struct charge) CHARGE_NULL;
		r = accounts_charge(session->host->accounts, session->identity.uid, ACCOUNTS_DESCRIPTORS, ROW_FDS * handout->n_rows,
		    &kept->charge);
		if (r) {
			free(kept);
			return r;
		}
		session->handout = kept;
	}
	kept->serial = handout->request->serial;
	kept->n = handout->n;
	kept->fds = handout->fds;
	for (uint32_t i = 0; i < kept->n; i++)
		kept->generations[i] = handout->segments[i]->generation;
	return 0;
}

/* The segment that is next rests: it is answered later. */
static int
handout_wait(struct handout *handout)
{
	struct session *session = handout->session;
	char text[ACCOUNTS_TEXT_SIZE];
	int r = handout->n ? handout_keep(handout) : 0;

	if (r == 0)
		return SESSION_E_LATER;
	if (r == ACCOUNTS_E_LIMIT)
		(void)accounts_refuse(session->host->accounts, session->identity.uid, ACCOUNTS_DESCRIPTORS,
		    ROW_FDS * handout->n_rows, text);
	handout_undo(handout);
	return r == ACCOUNTS_E_LIMIT ? handout_refuse(handout, -EDQUOT, "%s", text) : handout_refuse_error(handout, r);
}

/* It was not sent: nobody has it, and the request will come again or the session ends. */
static int
handout_put_off(struct handout *handout, int r)
{
	/* What took turns is not done again. */
	if (!handout->session->handout || handout_keep(handout))
		handout_undo(handout);
	return r;
}

static bool
handout_admits(const struct handout *handout, const struct segment *segment)
{
	return !segment->watch ||
	    toll_admits(&segment->watch->toll, &handout->requests->kernelcount->tolls, handout->session->identity.uid);
}

static int
handout_send(struct handout *handout)
{
	struct protocol_attached_many *many = (void *)&handout->requests->reply;
	uint16_t flags;

	handout->size = handout_is_many(handout) ? sizeof(*many) : 0;
	for (uint32_t i = 0; i < handout->n; i++)
		handout_add_answer(handout, i);
	flags = handout->flags;
	if (handout_is_many(handout)) {
		many->n_rows = handout->n;
		many->n_fds = handout->fds.n;
		flags = 0;
	}
	return session_reply(handout->session, handout->request, &handout->requests->reply.header, handout->size, flags,
	    handout->fds.list, handout->fds.n);
}

/* All are attached. */
static int
handout_answer(struct handout *handout)
{
	struct session *session = handout->session;
	char text[ACCOUNTS_TEXT_SIZE];
	int r = session_charge_flight(session, handout->fds.n, text);

	if (r == -ETOOMANYREFS)
		return handout_put_off(handout, r);
	if (r) {
		handout_undo(handout);
		return r == ACCOUNTS_E_LIMIT ? handout_refuse(handout, -EDQUOT, "%s", text) : handout_refuse_error(handout, r);
	}
	r = handout_send(handout);
	if (r)
		return handout_put_off(handout, r);
	for (uint32_t i = 0; i < handout->n; i++) {
		segment_on_more(handout->attachments[i]->segment);
		requests_on_attach(session, handout->attachments[i]);
	}
	handout_close(handout);
	return 0;
}

/* Attaches all segments, or none, and answers. rows: NULL, where access is that of all. */
static int
handout_carry_out(struct handout *handout, const struct protocol_attach_row *rows, uint32_t access)
{
	uint64_t until_ns = clock_monotonic_ns() + TURN_NS;
	int r = 0;

	for (uint32_t i = handout->n; r == 0 && i < handout->n_rows; i++) {
		handout_look_at(handout, i);
		if (!handout_admits(handout, handout->segments[i]))
			return handout_wait(handout);
		r = handout_add(handout, handout->segments[i], rows ? rows[i].access : access);
		/* Who may not have it kept has it in one go, as long as nothing rests. */
		if (r == 0 && handout->n < handout->n_rows && clock_monotonic_ns() >= until_ns && handout_keep(handout) == 0)
			return SESSION_E_AGAIN;
	}
	if (r == 0)
		return handout_answer(handout);
	handout_undo(handout);
	/* What it closed just now may not have been looked at yet: nobody is refused for that. */
	if (r == ACCOUNTS_E_LIMIT && attachment_prune(&handout->session->attachments))
		return SESSION_E_AGAIN;
	return handout_refuse_error(handout, r);
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
		if (handout_check_row(&handout, &rows[i], &handout.segments[i], &r)) {
			requests_end_handout(requests, session);
			return r;
		}
		if (unready == n_rows && handout_must_wait(handout.segments[i]))
			unready = i;
	}
	if (unready == n_rows) {
		handout_resume(&handout);
		return handout_carry_out(&handout, rows, 0);
	}
	requests_end_handout(requests, session);
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
