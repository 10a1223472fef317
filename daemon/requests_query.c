/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Requests that only look: list, show, holders, clients. Rows come in pages of one message; a page's cursor is the last
 * row's, so that nothing is remembered between pages and the bound on a turn of the loop holds for any number of rows. Where
 * there may be thousands between two rows, of what is not shown, that is gone over in several turns.
 */
#include "config.h"

#include "base/base.h"
#include "conf/keys.h"
#include "daemon/reload_judge.h"
#include "daemon/requests.h"
#include "host/process.h"

/* What is had otherwise than it was asked for. Before it is ready there is nothing to be held against. */
static uint8_t
requests_differences(const struct segment *segment, uint64_t resident_bytes, uint64_t locked_bytes)
{
	const struct definition *definition = segment->definition;
	const struct holding *holding = &segment->holding;
	uint64_t huge_bytes = definition->size_bytes & ~(2 * MIB - 1);
	uint8_t differs = 0;
	bool pages_differ;

	if (segment->state != PROTOCOL_READY && segment->state != PROTOCOL_DRAINING)
		return 0;
	pages_differ = definition_huge_bytes(definition) != holding->object.page_bytes ||
	    (definition->page_size == DEFINITION_PAGE_TRANSPARENT && definition->prefault && holding->huge_bytes < huge_bytes) ||
	    (definition->page_size == DEFINITION_PAGE_BASE && holding->huge_bytes);
	/* What is not locked of a file leaves memory when the kernel wants that, and how much it is may be an older count. */
	if (definition->prefault && resident_bytes < definition->size_bytes && !backend_has(definition->backend, BACKEND_DURABLE))
		differs |= PROTOCOL_DIFFERS_RESIDENT;
	if (definition->mlock && locked_bytes < definition->size_bytes)
		differs |= PROTOCOL_DIFFERS_LOCKED;
	if (pages_differ)
		differs |= PROTOCOL_DIFFERS_PAGES;
	if (holding->is_elsewhere)
		differs |= PROTOCOL_DIFFERS_NODES;
	return differs;
}

static void
requests_describe(struct segment *segment, struct protocol_segment *row)
{
	char text[FINDINGS_TEXT_SIZE];
	int changed = segment_check(segment, text, sizeof(text));
	const struct definition *definition = segment->definition;
	const struct provision *provision = segment->provision ? segment->provision : segment->growth;
	uint64_t resident_bytes = segment_resident_bytes(segment), locked_bytes = holding_locked_bytes(&segment->holding);
	uint64_t page_bytes = segment->holding.object.page_bytes;

	/* What others cut off or gave back is locked no more, whatever was. */
	if (changed)
		locked_bytes = min_u64(locked_bytes, resident_bytes + holding_control_locked_bytes(&segment->holding));
	*row = (struct protocol_segment) {
		.cursor = segment->cursor,
		.generation = segment->generation,
		.size_bytes = definition->size_bytes,
		.max_size_bytes = definition->max_size_bytes,
		.resident_bytes = resident_bytes,
		.locked_bytes = locked_bytes,
		.huge_bytes = segment->holding.huge_bytes,
		.recoveries = segment->locks->n_recoveries,
		.readers = segment->n_readers,
		.writers = segment->n_writers,
		.unsupervised = segment->n_unsupervised,
		.others = (uint16_t)min_u64(segment_n_others(segment), UINT16_MAX),
		.owner = access_owner(definition),
		.group = access_group(definition),
		.mode = definition->mode,
		.state = (uint8_t)segment->state,
		.backend = (uint8_t)definition->backend,
		.page_size_asked = (uint8_t)definition->page_size,
		.lifetime = (uint8_t)definition->lifetime,
		.numa = (uint8_t)definition->numa,
		.page_shift = page_bytes ? (uint8_t)__builtin_ctzll(page_bytes) : 0,
		.differs = requests_differences(segment, resident_bytes, locked_bytes),
		.flags = (uint8_t)((segment->is_declared ? 0 : PROTOCOL_SEGMENT_CREATED) |
		    (definition->required ? PROTOCOL_SEGMENT_REQUIRED : 0) |
		    (segment->state == PROTOCOL_READY && (segment->reason || segment->growth_reason ||
		    segment_file_trouble(segment) || changed) ?
		    PROTOCOL_SEGMENT_DEGRADED : 0) |
		    (segment->locks->n_poisoned ? PROTOCOL_SEGMENT_POISONED : 0) |
		    (segment->successor ? PROTOCOL_SEGMENT_FOLLOWED : 0) |
		    (segment_is_unsealed(segment) ? PROTOCOL_SEGMENT_UNSEALED : 0) |
		    (segment_counts_others(segment) ? PROTOCOL_SEGMENT_COUNTED : 0)),
	};
	if (provision) {
		row->progress_bytes = provision_progress_bytes(provision);
		row->total_bytes = provision_end_bytes(provision);
	} else if (segment->state == PROTOCOL_READY && definition->prefault) {
		row->progress_bytes = definition->size_bytes;
		row->total_bytes = definition->size_bytes;
	}
	(void)snprintf(row->name, sizeof(row->name), "%s", definition->name);
}

/* A page of rows that read /proc is short: each costs some microseconds. */
#define SLOW_ROWS_MAX	8

void *
requests_page_next(struct requests_page *page)
{
	size_t at = sizeof(struct protocol_listed) + (size_t)page->n_rows * page->row_size;

	if (at + page->row_size > sizeof(page->requests->reply) || (page->max_rows && page->n_rows == page->max_rows)) {
		page->has_more = true;
		return NULL;
	}
	page->n_rows++;
	return page->requests->reply.bytes + at;
}

int
requests_page_reply(struct requests_page *page, struct session *session, const struct protocol_header *request)
{
	struct protocol_listed *reply = (void *)&page->requests->reply;

	reply->n_rows = page->n_rows;
	reply->row_size = page->row_size;
	return session_reply(session, request, &reply->header,
	    sizeof(*reply) + (size_t)page->n_rows * page->row_size, page->has_more ? PROTOCOL_MORE : 0, NULL, 0);
}

#define WALK_MAX	512		/* segments in a turn of one session: 20 us */

void
requests_walk_begin(struct requests_walk *walk, struct requests *requests, struct session *session,
    const struct protocol_header *request, uint64_t cursor)
{
	*walk = (struct requests_walk) { .session = session, .serial = request->serial };
	if (session->walk_serial == request->serial && session->walk_cursor > cursor)
		cursor = session->walk_cursor;
	walk->at = registry_after(requests->registry, cursor);
}

struct segment *
requests_walk_next(struct requests_walk *walk)
{
	struct segment *segment = walk->at;

	if (!segment || walk->n == WALK_MAX)
		return NULL;
	walk->n++;
	walk->at = TAILQ_NEXT(segment, entry);
	return segment;
}

bool
requests_walk_ends(struct requests_walk *walk)
{
	if (!walk->at)
		return true;
	walk->session->walk_serial = walk->serial;
	walk->session->walk_cursor = walk->at->cursor - 1;
	return false;
}

int
requests_list(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_list *list = (const void *)request;
	struct requests_page page = { .requests = requests, .row_size = sizeof(struct protocol_segment) };
	bool is_admin = requests_is_administrator(requests, &session->identity);
	struct requests_walk walk;
	struct segment *segment;

	requests_walk_begin(&walk, requests, session, request, list->cursor);
	while ((segment = requests_walk_next(&walk))) {
		struct protocol_segment *row;

		if (!is_admin && !access_allowed(segment->definition, &session->identity))
			continue;
		row = requests_page_next(&page);
		if (!row)
			break;
		requests_describe(segment, row);
	}
	/* Who has some rows asks on behind the last one. */
	if (page.n_rows)
		page.has_more |= walk.at != NULL;
	else if (!requests_walk_ends(&walk))
		return SESSION_E_AGAIN;
	return requests_page_reply(&page, session, request);
}

/* The keys' text under construction. */
struct requests_keys {
	char *buf;
	size_t size;
	size_t len;
};

/* What all the other keys may need, so that a long one does not cost them their lines. */
#define KEYS_REST_BYTES	8192

static void
requests_add_key(const struct keys_value *value, void *arg)
{
	struct requests_keys *keys = arg;
	size_t room = keys->size - keys->len;
	bool is_too_long = strlen(value->text) > KEYS_REST_BYTES;
	int n = snprintf(keys->buf + keys->len, room, "%s\t%s\t%s\t%s\n", value->key,
	    is_too_long ? "(too long to be shown here)" : value->text,
	    value->is_default ? "default" : "set", keys_reload_name(value->reload));

	/* A line that does not fit is left out whole. */
	if (n < 0 || (size_t)n >= room)
		keys->buf[keys->len] = '\0';
	else
		keys->len += (size_t)n;
}

/* What is on which node, a line each. Its length with the NUL. */
static size_t
requests_describe_nodes(const struct holding *holding, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < holding->n_nodes && len < size; i++)
		if (holding->node_bytes[i])
			len += (size_t)snprintf(buf + len, size - len, "%u\t%llu\n", i,
			    (unsigned long long)holding->node_bytes[i]);
	return min_u64(len, size - 1) + 1;
}

#define NODES_BYTES	2048		/* 64 lines of 20 digits and less */

static void
requests_describe_file(const struct segment *segment, struct protocol_shown *reply)
{
	struct segment_file_sight sight = { 0 };
	bool is_file = segment_file_sight(segment, &sight);

	reply->synced_ns = sight.synced_ns;
	reply->dirty_bytes = sight.dirty_bytes;
	reply->file_flags = (is_file ? PROTOCOL_SHOWN_FILE : 0) | (sight.is_dirty ? PROTOCOL_SHOWN_DIRTY : 0);
	reply->zero = 0;
}

int
requests_show(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	struct segment *segment = requests->segment;
	struct protocol_shown *reply = (void *)&requests->reply;
	struct reload_text reason;
	struct requests_keys keys;
	size_t reason_len, size;
	int r;

	requests_describe(segment, &reply->segment);
	requests_describe_file(segment, reply);
	(void)segment_describe(segment, reason.bytes, sizeof(reason.bytes));
	reason.len = strlen(reason.bytes);
	reload_judge_explain(segment, &reason);
	reason_len = reason.len + 1;
	memcpy(reply + 1, reason.bytes, reason_len);
	keys = (struct requests_keys) {
		.buf = (char *)(reply + 1) + reason_len,
		.size = sizeof(requests->reply) - sizeof(*reply) - reason_len - NODES_BYTES,
	};
	keys.buf[0] = '\0';
	r = keys_describe(segment->definition, requests_add_key, &keys);
	if (r)
		return session_refuse(session, request, r, "the daemon is out of memory");
	reply->reason_len = (uint32_t)reason_len;
	reply->keys_len = (uint32_t)keys.len + 1;
	size = sizeof(*reply) + reason_len + keys.len + 1;
	size += requests_describe_nodes(&segment->holding, requests->reply.bytes + size, NODES_BYTES);
	return session_reply(session, request, &reply->header, size, 0, NULL, 0);
}

static uint32_t
requests_holder_flags(const struct attachment *attachment)
{
	return (attachment->session ? 0 : PROTOCOL_HOLDER_UNSUPERVISED) |
	    (attachment->is_marked ? 0 : PROTOCOL_HOLDER_UNMARKED);
}

/* All but the command, which row has no room for in brief: in its place, since there may be many. */
static void
requests_describe_holder(const struct attachment *attachment, struct protocol_holder *row)
{
	row->cursor = attachment->id;
	row->session = attachment->session;
	row->since_ns = attachment->since_ns;
	row->attachment = attachment->id;
	row->access = attachment->access;
	row->flags = requests_holder_flags(attachment);
	row->uid = attachment->uid;
	row->pid = attachment->pid;
	row->zero = 0;
}

/* What takes looks in /proc. Where the process is gone, the pid may be another's by now. */
static void
requests_name_holder(const struct attachment *attachment, struct protocol_holder *row)
{
	memset(row->command, 0, sizeof(*row) - offsetof(struct protocol_holder, command));
	if (!attachment_process_lives(attachment))
		return;
	row->flags |= PROTOCOL_HOLDER_LIVES;
	process_command(attachment->pid, row->command, sizeof(row->command));
	process_cgroup(attachment->pid, row->cgroup, sizeof(row->cgroup), row->container, sizeof(row->container));
}

int
requests_holders(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_holders *holders = (const void *)request;
	bool is_brief = request->flags & PROTOCOL_BRIEF;
	struct requests_page page = {
		.requests = requests,
		.row_size = is_brief ? PROTOCOL_BRIEF_SIZE : sizeof(struct protocol_holder),
		.max_rows = is_brief ? 0 : SLOW_ROWS_MAX,
	};
	struct attachment *attachment;

	attachment = segment_attachment_after(requests->segment, (uint32_t)min_u64(holders->cursor, UINT32_MAX));
	for (; attachment; attachment = TAILQ_NEXT(attachment, segment_entry)) {
		struct protocol_holder *row;

		if (attachment->id <= holders->cursor)
			continue;
		row = requests_page_next(&page);
		if (!row)
			break;
		requests_describe_holder(attachment, row);
		if (!is_brief)
			requests_name_holder(attachment, row);
	}
	return requests_page_reply(&page, session, request);
}

static uint32_t
requests_count_attachments(const struct session *session)
{
	const struct attachment *attachment;
	uint32_t n = 0;

	LIST_FOREACH(attachment, &session->attachments, session_entry)
		n++;
	return n;
}

/* Who connected; where it has died, others may have the socket still, and the pid. */
static void
requests_name_client(struct session *session, struct protocol_client *row)
{
	int32_t pid = session->identity.pid;

	if (session_peer_has_ended(session))
		return;
	process_command(pid, row->command, sizeof(row->command));
	process_cgroup(pid, row->cgroup, sizeof(row->cgroup), row->container, sizeof(row->container));
}

int
requests_clients(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	const struct protocol_clients *clients = (const void *)request;
	struct requests_page page = {
		.requests = requests,
		.row_size = sizeof(struct protocol_client),
		.max_rows = SLOW_ROWS_MAX,
	};
	bool is_admin = requests_is_administrator(requests, &session->identity);
	struct session *other = is_admin ? TAILQ_FIRST(&session->host->sessions) : TAILQ_FIRST(session_of_uid(session));

	/* Who sees their own alone goes over their own alone: thousands of others' would take the loop's time. */
	for (; other; other = is_admin ? TAILQ_NEXT(other, entry) : TAILQ_NEXT(other, account_entry)) {
		struct protocol_client *row;

		if (other->id <= clients->cursor ||
		    (!is_admin && other != session && !identity_is_uid(&session->identity, other->identity.uid)))
			continue;
		row = requests_page_next(&page);
		if (!row)
			break;
		*row = (struct protocol_client) {
			.cursor = other->id,
			.since_ns = other->since_ns,
			.requests = other->n_requests,
			.uid = other->identity.uid,
			.gid = other->identity.gid,
			.pid = other->identity.pid,
			.attachments = requests_count_attachments(other),
		};
		requests_name_client(other, row);
	}
	return requests_page_reply(&page, session, request);
}
