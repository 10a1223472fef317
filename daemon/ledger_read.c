/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reading what an earlier daemon left, as if anybody had written it: sizes are bounded, texts end, and a chain is followed no
 * further than it is long. Rows that are good are believed each for itself: what one refers to is not looked for here.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/ledger_rows.h"
#include "host/mark.h"
#include "host/rows.h"

#define TOLD_MAX	16		/* rows of which each has a sentence */
#define CHUNK_BYTES	((size_t)1 << 20)

struct reading {
	struct ledger *ledger;
	const struct pack_known *known;
	ledger_take_fn take;
	void *arg;
	int fd;
	struct ledger_row *rows;	/* the file's, mapped; what is not believed is cleared */
	uint32_t n_rows;		/* with the header */
	size_t map_bytes;
	uint32_t *seen;			/* rows by what they are about: a table */
	uint32_t seen_mask;
	uint32_t n_damaged;
};

static void BASE_PRINTF(2, 3)
tell_damaged(struct reading *reading, const char *format, ...)
{
	char text[PACK_WHY_SIZE + 192];
	va_list args;

	if (reading->n_damaged++ >= TOLD_MAX)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	ledger_tell(reading->ledger, "%s", text);
}

static bool
is_free(const struct ledger_row *row)
{
	static const struct ledger_row zeros;

	return memcmp(row, &zeros, sizeof(zeros)) == 0;
}

/* A row as one was written in its place, whatever it says. */
static bool
is_sound(const struct ledger_row *row, uint32_t index)
{
	return row->sum == ledger_sum(row) && row->index == index && row->kind > LEDGER_FREE && row->kind < LEDGER_KIND_N;
}

/* Of what a row is: two numbers that no other row of the kind has. False: of none. */
static bool
row_key(const struct ledger_row *row, uint64_t *ret_one, uint64_t *ret_other)
{
	*ret_other = 0;
	switch (row->kind) {
	case LEDGER_SEGMENT:
		*ret_one = row->body.segment.generation;
		return true;
	case LEDGER_LOCK:
		*ret_one = row->body.lock.generation;
		*ret_other = row->body.lock.index;
		return true;
	case LEDGER_SESSION:
		*ret_one = row->body.session.id;
		return true;
	case LEDGER_ATTACHMENT:
		*ret_one = row->body.attachment.generation;
		*ret_other = row->body.attachment.id;
		return true;
	default:
		return false;
	}
}

static bool
is_same(const struct ledger_row *row, const struct ledger_row *other)
{
	uint64_t one, another, rest, other_rest;

	return row->kind == other->kind && row_key(row, &one, &rest) && row_key(other, &another, &other_rest) && one == another &&
	    rest == other_rest;
}

/* The row that said the same before; or 0, and this one has said it. The table has twice as many places as there are rows. */
static uint32_t
reading_see(struct reading *reading, uint32_t index)
{
	const struct ledger_row *row = &reading->rows[index];
	uint64_t one, rest, hash;
	uint32_t at;

	if (!row_key(row, &one, &rest))
		return 0;
	hash = (one * UINT64_C(0x9e3779b97f4a7c15) ^ rest) * UINT64_C(0xff51afd7ed558ccd) + row->kind;
	for (at = (uint32_t)(hash >> 32) & reading->seen_mask; reading->seen[at]; at = (at + 1) & reading->seen_mask)
		if (is_same(row, &reading->rows[reading->seen[at]]))
			return reading->seen[at];
	reading->seen[at] = index;
	return 0;
}

static void
reading_note_numbers(struct reading *reading, const struct ledger_row *row)
{
	struct ledger *ledger = reading->ledger;

	if (row->kind == LEDGER_SEGMENT) {
		ledger->last_generation = max_u64(ledger->last_generation, row->body.segment.generation);
		ledger->last_session = max_u64(ledger->last_session, row->body.segment.created_session);
	} else if (row->kind == LEDGER_SESSION) {
		ledger->last_session = max_u64(ledger->last_session, row->body.session.id);
	} else if (row->kind == LEDGER_ATTACHMENT) {
		ledger->last_session = max_u64(ledger->last_session, row->body.attachment.session);
	}
}

/* Clears what is not to be believed. */
static void
reading_check_rows(struct reading *reading)
{
	for (uint32_t i = 1; i < reading->n_rows; i++) {
		struct ledger_row *row = &reading->rows[i];
		uint32_t same = 0;

		if (is_free(row))
			continue;
		if (!is_sound(row, i))
			tell_damaged(reading, "row %" PRIu32 " is damaged: what it was about is not known", i);
		else if ((same = reading_see(reading, i)))
			tell_damaged(reading, "row %" PRIu32 " is about the same as row %" PRIu32 ", and is passed over", i, same);
		else {
			reading_note_numbers(reading, row);
			continue;
		}
		*row = (struct ledger_row) { .kind = LEDGER_FREE };
	}
}

/* Texts */

/* All bytes of a chain. 0; PACK_E_INVALID: they are not whole; or -ENOMEM. */
static int
reading_join(const struct reading *reading, const struct ledger_chain *chain, unsigned char **ret_bytes)
{
	cleanup_free unsigned char *bytes = NULL;
	uint32_t index = chain->first, n = 0;

	if (chain->n_bytes < sizeof(struct ledger_texts_header) || chain->n_bytes > LEDGER_TEXTS_MAX)
		return PACK_E_INVALID;
	bytes = malloc(chain->n_bytes);
	if (!bytes)
		return -ENOMEM;
	for (uint32_t ordinal = 0; n < chain->n_bytes; ordinal++) {
		const struct ledger_row *row = index < reading->n_rows ? &reading->rows[index] : NULL;
		const struct ledger_text *text = row ? &row->body.text : NULL;

		if (!row || row->kind != LEDGER_TEXT || text->number != chain->number || text->ordinal != ordinal ||
		    text->n_bytes != min_u64(chain->n_bytes - n, LEDGER_TEXT_BYTES))
			return PACK_E_INVALID;
		memcpy(bytes + n, text->bytes, text->n_bytes);
		n += text->n_bytes;
		index = text->next;
	}
	*ret_bytes = take_ptr(bytes);
	return 0;
}

/* Takes so many bytes off *at. */
static const void *
take_bytes(const unsigned char **at, uint32_t length)
{
	const unsigned char *bytes = *at;

	*at += length;
	return length ? bytes : NULL;
}

/* Likewise a text. False: it does not end. */
static bool
take_text(const unsigned char **at, uint32_t length, const char **ret_text)
{
	*ret_text = take_bytes(at, length);
	return !length || strnlen(*ret_text, length) == length - 1;
}

/* Finds the texts among the bytes, all but the definition. False: they are none that a ledger has. */
static bool
split_texts(const unsigned char *bytes, uint32_t length, struct ledger_texts *texts, const void **ret_definition,
    uint32_t *ret_n_definition)
{
	const unsigned char *at = bytes + sizeof(struct ledger_texts_header);
	struct ledger_texts_header header;
	uint64_t sum;

	memcpy(&header, bytes, sizeof(header));
	sum = sizeof(header) + header.n_nodes * (uint64_t)sizeof(*texts->node_bytes) + header.n_definition + header.n_template +
	    header.n_reason + header.n_growth_reason + header.n_note;
	if (header.n_nodes > LEDGER_NODES_MAX || sum != length)
		return false;
	texts->n_nodes = header.n_nodes;
	texts->node_bytes = take_bytes(&at, header.n_nodes * (uint32_t)sizeof(*texts->node_bytes));
	*ret_n_definition = header.n_definition;
	*ret_definition = take_bytes(&at, header.n_definition);
	return take_text(&at, header.n_template, &texts->template_name) && take_text(&at, header.n_reason, &texts->reason) &&
	    take_text(&at, header.n_growth_reason, &texts->growth_reason) && take_text(&at, header.n_note, &texts->note);
}

/* As the configuration has it, which has most of them still: then it is the very same. */
static int
reading_read_definition(const struct reading *reading, const void *bytes, uint32_t length, char *why, struct ledger_texts *texts)
{
	struct definition *definition = pack_known_find(reading->known, bytes, length, &texts->packed);

	if (!definition)
		return pack_read_definition(bytes, length, why, &texts->definition);
	texts->definition = definition_ref(definition);
	texts->n_packed = length;
	return 0;
}

/* *ret_bytes is what the texts are in, the caller's. 0 or -ENOMEM. */
static int
reading_read_texts(struct reading *reading, const struct ledger_segment *segment, struct ledger_texts *ret_texts,
    unsigned char **ret_bytes)
{
	struct ledger_texts texts = { .definition = NULL };
	char why[PACK_WHY_SIZE] = "its rows are damaged";
	uint32_t n_definition = 0;
	const void *definition = NULL;
	int r = reading_join(reading, &segment->texts, ret_bytes);

	if (r == 0 && !split_texts(*ret_bytes, segment->texts.n_bytes, &texts, &definition, &n_definition)) {
		texts = (struct ledger_texts) { .definition = NULL };
		r = PACK_E_INVALID;
	}
	if (r == 0)
		r = reading_read_definition(reading, definition, n_definition, why, &texts);
	if (r == PACK_E_INVALID) {
		tell_damaged(reading, "the definition of the segment with generation %" PRIu64 " cannot be read: %s",
		    segment->generation, why);
		r = 0;
	}
	*ret_texts = texts;
	return r;
}

static int
reading_give_segment(struct reading *reading, const struct ledger_segment *segment)
{
	struct ledger_item item = { .kind = LEDGER_SEGMENT, .segment = segment };
	cleanup_free unsigned char *bytes = NULL;
	int r = reading_read_texts(reading, segment, &item.texts, &bytes);

	if (r == 0)
		r = reading->take(&item, reading->arg);
	(void)definition_unref(item.texts.definition);
	return r;
}

static int
reading_give(struct reading *reading, const struct ledger_row *row)
{
	struct ledger_item item = { .kind = row->kind };

	switch (row->kind) {
	case LEDGER_SEGMENT:
		return reading_give_segment(reading, &row->body.segment);
	case LEDGER_LOCK:
		item.lock = &row->body.lock;
		break;
	case LEDGER_SESSION:
		item.session = &row->body.session;
		break;
	default:
		item.attachment = &row->body.attachment;
		break;
	}
	return reading->take(&item, reading->arg);
}

static int
reading_give_all(struct reading *reading)
{
	static const enum ledger_kind order[] = { LEDGER_SEGMENT, LEDGER_LOCK, LEDGER_SESSION, LEDGER_ATTACHMENT };
	int r = 0;

	for (size_t i = 0; r == 0 && i < BASE_ARRAY_SIZE(order); i++)
		for (uint32_t row = 1; r == 0 && row < reading->n_rows; row++)
			if (reading->rows[row].kind == order[i])
				r = reading_give(reading, &reading->rows[row]);
	return r;
}

/* The file */

/* What a file is by its header. */
enum header_judgement {
	HEADER_GOOD,			/* the rows are ours to believe */
	HEADER_OTHER_BOOT,		/* what it tells of went with the memory of that boot */
	HEADER_NEWER,
	HEADER_DAMAGED,
};

static enum header_judgement
judge_header(const struct ledger_header *header, const char *boot)
{
	bool is_ours = memcmp(header->magic, LEDGER_MAGIC, sizeof(header->magic)) == 0;

	if (is_ours && (header->version > LEDGER_VERSION || header->row_bytes > LEDGER_ROW_BYTES))
		return HEADER_NEWER;
	if (!is_ours || header->sum != ledger_sum(header) || header->version == 0 || header->row_bytes != LEDGER_ROW_BYTES ||
	    !memchr(header->boot, '\0', sizeof(header->boot)))
		return HEADER_DAMAGED;
	return streq(header->boot, boot) ? HEADER_GOOD : HEADER_OTHER_BOOT;
}

static bool
reading_has_sound_row(const struct reading *reading, uint64_t n_bytes)
{
	for (uint32_t i = 1; i < min_u64(n_bytes / LEDGER_ROW_BYTES, LEDGER_ROWS_MAX); i++)
		if (is_sound(&reading->rows[i], i))
			return true;
	return false;
}

/* 0: each row is ours to believe for itself. 1: they are not, which was told where it matters. */
static int
reading_check_header(struct reading *reading, uint64_t n_bytes, const char *boot)
{
	struct ledger *ledger = reading->ledger;
	struct ledger_header header;

	memcpy(&header, reading->rows, sizeof(header));
	switch (judge_header(&header, boot)) {
	case HEADER_GOOD:
		ledger->old = ROWFILE_REPLACED;
		return 0;
	case HEADER_OTHER_BOOT:
		ledger->old = ROWFILE_REPLACED;
		return 1;
	case HEADER_NEWER:
		ledger->old = ROWFILE_FOREIGN;
		ledger->is_newer = true;
		ledger_tell(ledger, "it is of a newer segmentd (version %" PRIu32 " with rows of %" PRIu32 " bytes; this one knows "
		    "version %d with %d): what that one had is not taken over. Remedy: give the file its name back and start that one "
		    "again, before this machine is", header.version, header.row_bytes, LEDGER_VERSION, LEDGER_ROW_BYTES);
		return 1;
	default:
		break;
	}
	/* Rows have sums of their own; and that they are of this boot is shown by the descriptors that they are about. */
	if (reading_has_sound_row(reading, n_bytes)) {
		tell_damaged(reading, "its first row is damaged: the others are believed, each for itself");
		return 0;
	}
	ledger->old = ROWFILE_FOREIGN;
	ledger_tell(ledger, "%s", memcmp(header.magic, LEDGER_MAGIC, sizeof(header.magic)) == 0 ?
	    "its first row is damaged, and nothing of it is believed" : "it is none that segmentd writes");
	return 1;
}

/* The whole file. It ends where it ends, whatever its size was said to be. 0 or a negative errno. */
static int
reading_load(struct reading *reading, uint64_t *ret_n_bytes)
{
	const uint64_t max_bytes = (uint64_t)LEDGER_ROWS_MAX * LEDGER_ROW_BYTES;
	off_t size = lseek(reading->fd, 0, SEEK_END);
	uint64_t n_bytes = 0;
	ssize_t n = 1;
	void *map;

	if (size < 0)
		return -errno;
	/* A row more than it has: its end is looked for. */
	reading->map_bytes = min_u64((uint64_t)size, max_bytes) + LEDGER_ROW_BYTES;
	map = mmap(NULL, reading->map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return -errno;
	reading->rows = map;
	while (n > 0 && n_bytes < reading->map_bytes) {
		n = rows_read(reading->fd, (char *)map + n_bytes, min_u64(CHUNK_BYTES, reading->map_bytes - n_bytes), n_bytes);
		n_bytes += n > 0 ? (uint64_t)n : 0;
	}
	*ret_n_bytes = n_bytes;
	return n < 0 ? (int)n : 0;
}

static int
reading_read_rows(struct reading *reading, uint64_t n_bytes)
{
	uint32_t n_places = 16;

	reading->n_rows = (uint32_t)min_u64(n_bytes / LEDGER_ROW_BYTES, LEDGER_ROWS_MAX);
	if (n_bytes > (uint64_t)reading->n_rows * LEDGER_ROW_BYTES)
		tell_damaged(reading, "row %" PRIu32 " and what follows cannot be read: %s", reading->n_rows,
		    reading->n_rows == LEDGER_ROWS_MAX ? "there are too many" : "the file is cut short");
	while (n_places < 2 * reading->n_rows)
		n_places *= 2;
	reading->seen = calloc(n_places, sizeof(*reading->seen));
	if (!reading->seen)
		return -ENOMEM;
	reading->seen_mask = n_places - 1;
	reading_check_rows(reading);
	return reading_give_all(reading);
}

static int
reading_read_file(struct reading *reading, const char *boot)
{
	struct ledger *ledger = reading->ledger;
	uint64_t n_bytes = 0;
	int r = reading_load(reading, &n_bytes);

	if (r || n_bytes == 0)
		return r;
	/* A header that is cut short ends in zeros, and so has another sum. */
	if (reading_check_header(reading, n_bytes, boot))
		return 0;
	r = reading_read_rows(reading, n_bytes);
	if (reading->n_damaged)
		ledger->old = ROWFILE_DAMAGED;
	if (reading->n_damaged > TOLD_MAX)
		ledger_tell(ledger, "the same is so of %" PRIu32 " more of its rows", reading->n_damaged - TOLD_MAX);
	return r;
}

int
ledger_read(struct ledger *ledger, const char *boot, const struct pack_known *known, ledger_take_fn take, void *arg)
{
	struct reading reading = { .ledger = ledger, .known = known, .take = take, .arg = arg, .fd = -1 };
	int r = rows_open(ledger->dir_fd, LEDGER_FILE, geteuid(), &reading.fd);

	if (r == ROWS_E_FOREIGN) {
		ledger_tell(ledger, "it is no file of ours that only we can write");
		ledger->old = ROWFILE_FOREIGN;
	}
	if (r == 0)
		r = reading_read_file(&reading, boot);
	close_fd(&reading.fd);
	free(reading.seen);
	if (reading.rows)
		(void)munmap(reading.rows, reading.map_bytes);
	return r > 0 ? 0 : r;
}

bool
ledger_has_segments(const char *state_dir)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	struct ledger_header header;
	struct ledger_row row;
	char boot[LEDGER_BOOT_SIZE];

	if (dir_fd < 0 || rows_open(dir_fd, LEDGER_FILE, geteuid(), &fd) || mark_read_boot("", boot) ||
	    rows_read(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) || judge_header(&header, boot) != HEADER_GOOD)
		return false;
	for (uint32_t i = 1; i < LEDGER_ROWS_MAX; i++) {
		if (rows_read(fd, &row, sizeof(row), (uint64_t)i * sizeof(row)) != (ssize_t)sizeof(row))
			return false;
		if (is_sound(&row, i) && row.kind == LEDGER_SEGMENT)
			return true;
	}
	return false;
}
