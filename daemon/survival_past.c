/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Lists that double while the ledger and the box are read; sorted once, when all is there, and searched by halves or by a table then. */
#include "config.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/session.h"
#include "daemon/survival_past.h"

#define LABEL_ID_MAX	(UINT64_MAX / 2)	/* that is believed: numbers count up from there */

struct past *
past_new(void)
{
	return calloc(1, sizeof(struct past));
}

struct past *
past_free(struct past *past)
{
	if (!past)
		return NULL;
	past_close_fds(past);
	HASH_CLEAR(hh, past->by_generation);
	HASH_CLEAR(hh, past->by_id);
	for (size_t i = 0; i < past->n_segments; i++) {
		(void)definition_unref(past->segments[i].definition);
		free(past->segments[i].template_name);
		free(past->segments[i].reason);
		free(past->segments[i].growth_reason);
		free(past->segments[i].node_bytes);
	}
	free(past->segments);
	free(past->locks);
	free(past->sessions);
	free(past->attachments);
	free(past->fds);
	free(past);
	return NULL;
}

/* Room for one more at the end of a list of n; zeroed. At 0, 1, 2, 4, 8, ... there is none left. NULL when memory is short. */
static void *
past_grow(void **list, size_t n, size_t size)
{
	if (!(n & (n - 1))) {
		void *grown = reallocarray(*list, n ? 2 * n : 1, size);

		if (!grown)
			return NULL;
		*list = grown;
	}
	return memset((char *)*list + n * size, 0, size);
}

static int
past_copy(const char *text, char **ret_copy)
{
	*ret_copy = text ? strdup(text) : NULL;
	return text && !*ret_copy ? -ENOMEM : 0;
}

static int
past_take_segment(struct past *past, const struct ledger_item *item)
{
	struct past_segment *segment = past_grow((void **)&past->segments, past->n_segments, sizeof(*segment));
	const struct ledger_texts *texts = &item->texts;

	if (!segment)
		return -ENOMEM;
	segment->row = *item->segment;
	if (texts->definition)
		segment->definition = definition_ref(texts->definition);
	segment->packed = texts->packed;
	segment->n_packed = texts->n_packed;
	past->n_segments++;
	if (past_copy(texts->template_name, &segment->template_name) || past_copy(texts->reason, &segment->reason) ||
	    past_copy(texts->growth_reason, &segment->growth_reason))
		return -ENOMEM;
	if (!texts->n_nodes)
		return 0;
	segment->node_bytes = malloc(texts->n_nodes * sizeof(*segment->node_bytes));
	if (!segment->node_bytes)
		return -ENOMEM;
	memcpy(segment->node_bytes, texts->node_bytes, texts->n_nodes * sizeof(*segment->node_bytes));
	segment->n_nodes = texts->n_nodes;
	return 0;
}

int
past_take_row(const struct ledger_item *item, void *arg)
{
	struct past *past = arg;
	struct past_attachment *attachment;
	struct past_session *session;
	struct ledger_lock *lock;

	switch (item->kind) {
	case LEDGER_SEGMENT:
		return past_take_segment(past, item);
	case LEDGER_LOCK:
		lock = past_grow((void **)&past->locks, past->n_locks, sizeof(*lock));
		if (!lock)
			return -ENOMEM;
		*lock = *item->lock;
		past->n_locks++;
		return 0;
	case LEDGER_SESSION:
		session = past_grow((void **)&past->sessions, past->n_sessions, sizeof(*session));
		if (!session)
			return -ENOMEM;
		session->row = *item->session;
		past->n_sessions++;
		return 0;
	case LEDGER_ATTACHMENT:
		attachment = past_grow((void **)&past->attachments, past->n_attachments, sizeof(*attachment));
		if (!attachment)
			return -ENOMEM;
		attachment->row = *item->attachment;
		past->n_attachments++;
		return 0;
	default:
		return 0;
	}
}

static int
compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int
compare_segments(const void *a, const void *b)
{
	const struct past_segment *one = a, *other = b;

	return compare_u64(one->row.cursor, other->row.cursor);
}

static int
compare_sessions(const void *a, const void *b)
{
	const struct past_session *one = a, *other = b;

	return compare_u64(one->row.id, other->row.id);
}

static int
compare_attachments(const void *a, const void *b)
{
	const struct past_attachment *one = a, *other = b;
	int r = compare_u64(one->row.generation, other->row.generation);

	return r ? r : compare_u64(one->row.id, other->row.id);
}

static int
compare_fds(const void *a, const void *b)
{
	const struct past_fd *one = a, *other = b;
	int r = compare_u64(one->label.kind, other->label.kind);

	return r ? r : compare_u64(one->label.id, other->label.id);
}

/* As they are, as a rule: the daemon before entered them in this order when it took them over itself. */
static bool
segments_are_sorted(const struct past *past)
{
	for (size_t i = 1; i < past->n_segments; i++)
		if (compare_segments(&past->segments[i - 1], &past->segments[i]) > 0)
			return false;
	return true;
}

int
past_sort(struct past *past)
{
	if (!segments_are_sorted(past))
		qsort(past->segments, past->n_segments, sizeof(*past->segments), compare_segments);
	if (past->n_sessions)
		qsort(past->sessions, past->n_sessions, sizeof(*past->sessions), compare_sessions);
	if (past->n_attachments)
		qsort(past->attachments, past->n_attachments, sizeof(*past->attachments), compare_attachments);
	for (size_t i = 0; i < past->n_segments; i++) {
		HASH_ADD(hh, past->by_generation, row.generation, sizeof(uint64_t), &past->segments[i]);
		if (!HASH_TAKES(&past->segments[i]))
			return -ENOMEM;
	}
	for (size_t i = 0; i < past->n_sessions; i++) {
		HASH_ADD(hh, past->by_id, row.id, sizeof(uint64_t), &past->sessions[i]);
		if (!HASH_TAKES(&past->sessions[i]))
			return -ENOMEM;
	}
	return 0;
}

struct past_segment *
past_find_segment(const struct past *past, uint64_t generation)
{
	struct past_segment *segment;

	HASH_FIND(hh, past->by_generation, &generation, sizeof(generation), segment);
	return segment;
}

struct past_session *
past_find_session(const struct past *past, uint64_t id)
{
	struct past_session *session;

	HASH_FIND(hh, past->by_id, &id, sizeof(id), session);
	return session;
}

int
past_take_fd(const struct box_label *label, int fd, void *arg)
{
	struct past *past = arg;
	struct past_fd *past_fd = past_grow((void **)&past->fds, past->n_fds, sizeof(*past_fd));

	if (!past_fd) {
		(void)close(fd);
		return -ENOMEM;
	}
	*past_fd = (struct past_fd) { .label = { .kind = label->kind, .id = label->id }, .fd = fd };
	past->n_fds++;
	/*
	 * Killed while it asked the kernel whether somebody else has it open, it left its lease: that belongs to the description, which
	 * the box has kept. Nobody could open the object.
	 */
	if (label->kind != BOX_SESSION)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	return 0;
}

struct past_attachment *
past_first_attachment(const struct past *past, uint64_t generation)
{
	size_t from = 0, to = past->n_attachments;

	while (from < to) {
		size_t at = from + (to - from) / 2;

		if (past->attachments[at].row.generation < generation)
			from = at + 1;
		else
			to = at;
	}
	return from < past->n_attachments && past->attachments[from].row.generation == generation ? &past->attachments[from] : NULL;
}

struct past_fd *
past_find_fd(const struct past *past, enum box_kind kind, uint64_t id)
{
	const struct past_fd key = { .label = { .kind = kind, .id = id } };
	struct past_fd *past_fd = NULL;

	if (past->n_fds)
		past_fd = bsearch(&key, past->fds, past->n_fds, sizeof(key), compare_fds);
	return past_fd && past_fd->fd >= 0 ? past_fd : NULL;
}

int
past_fd(struct past *past, enum box_kind kind, uint64_t id)
{
	struct past_fd *past_fd = past_find_fd(past, kind, id);

	return past_fd ? take_fd(&past_fd->fd) : -1;
}

int
past_object_fd(struct past *past, enum box_kind kind, uint64_t id, uint64_t device, uint64_t inode)
{
	cleanup_close int fd = past_fd(past, kind, id);
	struct stat st;

	if (fd >= 0 && inode && (fstat(fd, &st) || st.st_dev != device || st.st_ino != inode))
		return -1;
	return take_fd(&fd);
}

static void
past_close_fd(struct past *past, struct past_fd *past_fd)
{
	/* The box has another reference, which would keep its peer waiting: unless for the next start. */
	if (past_fd->fd >= 0 && past_fd->label.kind == BOX_SESSION && !past->is_kept)
		session_hang_up(past->parcels, &past_fd->fd);
	close_fd(&past_fd->fd);
}

bool
past_is_unknown_session(const struct past *past, const struct past_fd *past_fd)
{
	return past_fd->fd >= 0 && past_fd->label.kind == BOX_SESSION && !past_find_session(past, past_fd->label.id);
}

void
past_close_unknown_sessions(struct past *past)
{
	for (size_t i = 0; i < past->n_fds; i++)
		if (past_is_unknown_session(past, &past->fds[i]))
			past_close_fd(past, &past->fds[i]);
}

void
past_close_fds(struct past *past)
{
	for (size_t i = 0; i < past->n_fds; i++)
		past_close_fd(past, &past->fds[i]);
}

uint64_t
past_last_id(const struct past *past, enum box_kind kind)
{
	uint64_t last = 0;

	for (size_t i = 0; i < past->n_fds; i++)
		if (past->fds[i].label.kind == kind && past->fds[i].label.id <= LABEL_ID_MAX)
			last = max_u64(last, past->fds[i].label.id);
	return last;
}
