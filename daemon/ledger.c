/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Writing. Which rows are in use is known here alone: a row of a text that no segment's row names any more is not cleared in the
 * file, but written over when its place is needed.
 */
#include "config.h"

#include <fcntl.h>
#include <stdarg.h>

#include "base/base.h"
#include "daemon/ledger_rows.h"
#include "daemon/rowfile.h"
#include "host/mark.h"

static_assert(LEDGER_BOOT_SIZE == MARK_BOOT_SIZE, "the same id");

void
ledger_tell(const struct ledger *ledger, const char *format, ...)
{
	char text[PACK_WHY_SIZE + 256];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ledger->tell(text, ledger->tell_arg);
}

const char *
ledger_describe_error(const struct ledger *ledger, char *text, size_t text_size)
{
	const char *remedy = "make room where daemon.state_dir is";

	if (ledger->error == -ENOMEM)
		remedy = "let the daemon have more memory";
	else if (ledger->error == -EFBIG)
		remedy = "shorten the definition, or make several segments of it";
	(void)snprintf(text, text_size, "it cannot be entered in '%s/" LEDGER_FILE "', by which a restart keeps it: %s. Remedy: %s",
	    ledger->state_dir, strerror(-ledger->error), remedy);
	return text;
}

static int
ledger_fail(struct ledger *ledger, int r)
{
	ledger->error = r;
	return r;
}

/* Rows */

/* Where nobody looks before the commit, rows are gathered: thousands that are taken over are one write then. */
static int
ledger_gather(struct ledger *ledger, uint32_t index, const void *row)
{
	size_t n = ledger->n_gathered ? ledger->n_gathered : 64;
	unsigned char *gathered;

	while (n <= index)
		n *= 2;
	if (n > ledger->n_gathered) {
		gathered = reallocarray(ledger->gathered, n, LEDGER_ROW_BYTES);
		if (!gathered)
			return -ENOMEM;
		ledger->gathered = gathered;
		ledger->n_gathered = n;
	}
	memcpy(ledger->gathered + (size_t)index * LEDGER_ROW_BYTES, row, LEDGER_ROW_BYTES);
	return 0;
}

static int
ledger_write(struct ledger *ledger, uint32_t index, const void *row)
{
	if (!ledger->is_committed)
		return ledger_gather(ledger, index, row);
	return rowfile_write(ledger->fd, row, LEDGER_ROW_BYTES, (uint64_t)index * LEDGER_ROW_BYTES);
}

static int
write_row(struct ledger *ledger, uint32_t index, struct ledger_row *row)
{
	row->index = index;
	row->sum = ledger_sum(row);
	return ledger_write(ledger, index, row);
}

/* The row that the next one to be added gets, and room to know of it. 0 or a negative errno. */
static int
ledger_next_row(struct ledger *ledger, uint32_t *ret_index)
{
	uint32_t n = ledger->n_allocated ? 2 * ledger->n_allocated : 64;
	uint32_t *links;

	if (ledger->first_free) {
		*ret_index = ledger->first_free;
		return 0;
	}
	if (ledger->n_rows == LEDGER_ROWS_MAX)
		return -ENOSPC;
	if (ledger->n_rows >= ledger->n_allocated) {
		links = reallocarray(ledger->links, n, sizeof(*links));
		if (!links)
			return -ENOMEM;
		ledger->links = links;
		ledger->n_allocated = n;
	}
	*ret_index = ledger->n_rows;
	return 0;
}

static void
ledger_take_row(struct ledger *ledger, uint32_t index)
{
	if (index == ledger->first_free) {
		ledger->first_free = ledger->links[index];
		ledger->n_free--;
	} else {
		ledger->n_rows++;
	}
	ledger->links[index] = 0;
}

static void
ledger_free_row(struct ledger *ledger, uint32_t index)
{
	ledger->links[index] = ledger->first_free;
	ledger->first_free = index;
	ledger->n_free++;
}

static int
ledger_put(struct ledger *ledger, struct ledger_entry *entry, enum ledger_kind kind, const void *body)
{
	struct ledger_row row = { .kind = kind };
	uint32_t index = entry->index;
	int r = 0;

	if (!index)
		r = ledger_next_row(ledger, &index);
	if (r)
		return ledger_fail(ledger, r);
	memcpy(&row.body, body, sizeof(row.body));
	r = write_row(ledger, index, &row);
	if (r)
		return ledger_fail(ledger, r);
	if (!entry->index)
		ledger_take_row(ledger, index);
	entry->index = index;
	return 0;
}

/* Texts */

static void
ledger_free_chain(struct ledger *ledger, uint32_t first)
{
	while (first) {
		uint32_t next = ledger->links[first];

		ledger_free_row(ledger, first);
		first = next;
	}
}

/* The last part first, since each names the next one. What was written for nothing is named by nobody. */
static int
ledger_write_chain(struct ledger *ledger, const unsigned char *bytes, size_t length, struct ledger_chain *ret_chain)
{
	struct ledger_chain chain = { .number = ++ledger->last_chain, .n_bytes = (uint32_t)length };
	size_t n = (length + LEDGER_TEXT_BYTES - 1) / LEDGER_TEXT_BYTES;

	for (size_t i = n; i-- > 0; ) {
		size_t at = i * LEDGER_TEXT_BYTES;
		struct ledger_row row = { .kind = LEDGER_TEXT };
		uint32_t index;
		int r;

		row.body.text.number = chain.number;
		row.body.text.next = chain.first;
		row.body.text.ordinal = (uint32_t)i;
		row.body.text.n_bytes = (uint32_t)min_u64(length - at, LEDGER_TEXT_BYTES);
		memcpy(row.body.text.bytes, bytes + at, row.body.text.n_bytes);
		r = ledger_next_row(ledger, &index);
		if (r == 0)
			r = write_row(ledger, index, &row);
		if (r) {
			ledger_free_chain(ledger, chain.first);
			return r;
		}
		ledger_take_row(ledger, index);
		ledger->links[index] = chain.first;
		chain.first = index;
	}
	*ret_chain = chain;
	return 0;
}

static uint32_t
text_size_of(const char *text)
{
	return text ? (uint32_t)strlen(text) + 1 : 0;
}

/* All texts in a row. 0 or a negative errno. */
static int
join_texts(const struct ledger_texts *texts, const void *definition, size_t n_definition, unsigned char **ret_bytes,
    size_t *ret_length)
{
	struct ledger_texts_header header = {
		.n_nodes = texts->n_nodes,
		.n_definition = (uint32_t)n_definition,
		.n_template = text_size_of(texts->template_name),
		.n_reason = text_size_of(texts->reason),
		.n_growth_reason = text_size_of(texts->growth_reason),
		.n_note = text_size_of(texts->note),
	};
	const struct {
		const void *bytes;
		size_t length;
	} parts[] = {
		{ &header, sizeof(header) },
		{ texts->node_bytes, texts->n_nodes * sizeof(*texts->node_bytes) },
		{ definition, header.n_definition },
		{ texts->template_name, header.n_template },
		{ texts->reason, header.n_reason },
		{ texts->growth_reason, header.n_growth_reason },
		{ texts->note, header.n_note },
	};
	unsigned char *bytes, *at;
	size_t length = 0;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(parts); i++)
		length += parts[i].length;
	if (length > LEDGER_TEXTS_MAX || texts->n_nodes > LEDGER_NODES_MAX)
		return -EFBIG;
	at = bytes = malloc(length);
	if (!bytes)
		return -ENOMEM;
	for (size_t i = 0; i < BASE_ARRAY_SIZE(parts); i++)
		if (parts[i].length)
			at = (unsigned char *)mempcpy(at, parts[i].bytes, parts[i].length);
	*ret_bytes = bytes;
	*ret_length = length;
	return 0;
}

static int
ledger_put_texts(struct ledger *ledger, const struct ledger_texts *texts, struct ledger_chain *ret_chain)
{
	cleanup_free unsigned char *bytes = NULL;
	struct pack pack = PACK_NULL;
	size_t length = 0;
	int r = texts->packed ? 0 : pack_definition(&pack, texts->definition);

	if (r == PACK_E_TOO_LARGE)
		r = -EFBIG;
	if (r == 0 && texts->packed)
		r = join_texts(texts, texts->packed, texts->n_packed, &bytes, &length);
	else if (r == 0)
		r = join_texts(texts, pack.bytes, pack.length, &bytes, &length);
	pack_deinit(&pack);
	return r ? r : ledger_write_chain(ledger, bytes, length, ret_chain);
}

/* Puts */

int
ledger_put_segment(struct ledger *ledger, struct ledger_segment_entry *entry, const struct ledger_segment *body,
    const struct ledger_texts *texts)
{
	struct ledger_segment segment = *body;
	uint32_t was_first = entry->texts.first;
	int r = 0;

	if (!ledger)
		return 0;
	segment.texts = entry->texts;
	if (texts)
		r = ledger_put_texts(ledger, texts, &segment.texts);
	if (r)
		return ledger_fail(ledger, r);
	r = ledger_put(ledger, &entry->entry, LEDGER_SEGMENT, &segment);
	/* Those that no row names. */
	if (texts)
		ledger_free_chain(ledger, r ? segment.texts.first : was_first);
	if (r == 0)
		entry->texts = segment.texts;
	return r;
}

int
ledger_put_lock(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_lock *body)
{
	return ledger ? ledger_put(ledger, entry, LEDGER_LOCK, body) : 0;
}

int
ledger_put_session(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_session *body)
{
	return ledger ? ledger_put(ledger, entry, LEDGER_SESSION, body) : 0;
}

int
ledger_put_attachment(struct ledger *ledger, struct ledger_entry *entry, const struct ledger_attachment *body)
{
	return ledger ? ledger_put(ledger, entry, LEDGER_ATTACHMENT, body) : 0;
}

void
ledger_drop(struct ledger *ledger, struct ledger_entry *entry)
{
	static const struct ledger_row zeros;
	uint32_t index = entry->index;

	entry->index = 0;
	if (!ledger || !index)
		return;
	/* Of what stays for an error a successor finds that it is not so any more. */
	(void)ledger_write(ledger, index, &zeros);
	ledger_free_row(ledger, index);
}

void
ledger_drop_segment(struct ledger *ledger, struct ledger_segment_entry *entry)
{
	/* Its texts are nobody's only after it. */
	ledger_drop(ledger, &entry->entry);
	if (ledger)
		ledger_free_chain(ledger, entry->texts.first);
	*entry = (struct ledger_segment_entry) { 0 };
}

/* The file */

static int
write_header(const struct ledger *ledger, const char *boot)
{
	struct ledger_header header = {
		.magic = LEDGER_MAGIC,
		.version = LEDGER_VERSION,
		.row_bytes = LEDGER_ROW_BYTES,
		.pid = (int32_t)getpid(),
	};

	memcpy(header.boot, boot, sizeof(header.boot));
	header.sum = ledger_sum(&header);
	return rowfile_write(ledger->fd, &header, sizeof(header), 0);
}

static void
ledger_deinit(struct ledger *ledger)
{
	if (ledger->fd >= 0 && !ledger->is_committed)
		(void)unlinkat(ledger->dir_fd, LEDGER_NEW_FILE, 0);
	free(ledger->gathered);
	free(ledger->links);
	free(ledger->state_dir);
	close_fd(&ledger->fd);
	close_fd(&ledger->dir_fd);
	*ledger = (struct ledger) LEDGER_NULL;
}

static int
ledger_begin(struct ledger *ledger, const char *state_dir, const struct pack_known *known, ledger_take_fn take, void *arg)
{
	char boot[MARK_BOOT_SIZE];
	int r;

	ledger->state_dir = strdup(state_dir);
	if (!ledger->state_dir)
		return -ENOMEM;
	ledger->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = ledger->dir_fd < 0 ? -errno : mark_read_boot("", boot);
	if (r == 0)
		r = rowfile_create(ledger->dir_fd, LEDGER_NEW_FILE, &ledger->fd);
	if (r == 0)
		r = write_header(ledger, boot);
	return r ? r : ledger_read(ledger, boot, known, take, arg);
}

int
ledger_open(struct ledger *ledger, const char *state_dir, const struct pack_known *known, ledger_take_fn take,
    ledger_tell_fn tell, void *arg, char *text, size_t text_size)
{
	int r;

	*ledger = (struct ledger) { .dir_fd = -1, .fd = -1, .n_rows = 1, .tell = tell, .tell_arg = arg };
	r = ledger_begin(ledger, state_dir, known, take, arg);
	if (r == 0)
		return 0;
	(void)snprintf(text, text_size, "the ledger '%s/" LEDGER_FILE "' of who has what cannot be begun: %s", state_dir,
	    strerror(-r));
	ledger_deinit(ledger);
	return r;
}

int
ledger_commit(struct ledger *ledger, char *text, size_t text_size)
{
	char aside[64] = "";
	int r = 0;

	/* The first, the header, is there from the beginning: who has no room at all is told before anything is taken over. */
	if (ledger->n_rows > 1)
		r = rowfile_write(ledger->fd, ledger->gathered + LEDGER_ROW_BYTES, (size_t)(ledger->n_rows - 1) * LEDGER_ROW_BYTES,
		    LEDGER_ROW_BYTES);
	if (r == 0)
		r = rowfile_take_place(ledger->dir_fd, LEDGER_NEW_FILE, LEDGER_FILE, ledger->old, aside, sizeof(aside));
	if (r == 0) {
		free(ledger->gathered);
		ledger->gathered = NULL;
		ledger->n_gathered = 0;
		ledger->is_committed = true;
	}
	if (r == 0 && *aside)
		ledger_tell(ledger, "it is kept as '%s', to be looked over and removed", aside);
	if (r)
		(void)snprintf(text, text_size, "the ledger '%s/" LEDGER_FILE "' cannot take the place of the one before: %s",
		    ledger->state_dir, strerror(-r));
	return r;
}

void
ledger_close(struct ledger *ledger)
{
	if (ledger->is_committed && ledger->n_rows == 1 + ledger->n_free)
		(void)unlinkat(ledger->dir_fd, LEDGER_FILE, 0);
	ledger_deinit(ledger);
}
