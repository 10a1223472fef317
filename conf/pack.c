/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration as bytes. A file of it: a header that says how loading ended and how many of everything there are, then
 * the problems, the daemon, segments, templates and orphan rules, each with its kind and length, and nothing behind them. The
 * reader knows from the header what comes next, and takes nothing else.
 */
#include "config.h"

#include "conf/pack.h"

#include "base/base.h"
#include "conf/pack_bytes.h"
#include "conf/pack_check.h"
#include "conf/pack_group.h"
#include "conf/report.h"

#define MAGIC		"segmconf"
#define HEADER_BYTES	(8 + 4 + 7 * 4)
#define ITEM_BYTES	8		/* before each: its kind and its length */
#define FLUSH_BYTES	(64u << 10)
#define ERRNO_MAX	4095

static const char *const kind_words[] = { "a problem", "the daemon", "a segment", "a template", "an orphan rule",
	"nothing more" };

_Static_assert(BASE_ARRAY_SIZE(kind_words) == PACK_END + 1, "words each");

static void
put_definition(struct pack *pack, const struct definition *definition)
{
	pack_put_u8(pack, definition->is_template);
	pack_put_text(pack, definition->file);
	pack_put_u32(pack, definition->line);
	pack_put_group(pack, KEYS_DEFINITION, definition->is_template ? KEYS_OF_TEMPLATE : KEYS_OF_SEGMENT, definition);
}

int
pack_definition(struct pack *pack, const struct definition *definition)
{
	size_t before = pack->length;

	put_definition(pack, definition);
	if (pack->error)
		return pack->error;
	if (pack->length - before > PACK_ITEM_MAX_BYTES) {
		pack->length = before;
		return PACK_E_TOO_LARGE;
	}
	return 0;
}

static int
get_definition(struct cursor *cursor, struct definition *definition, char *why)
{
	uint8_t is_template = cursor_u8(cursor);
	cleanup_free char *file = NULL;
	const char *fault = NULL;
	int r = cursor_text(cursor, &file);

	if (r == 0 && file)
		r = definition_set_file(definition, file);
	if (r < 0)
		return r;
	definition->line = cursor_u32(cursor);
	if (r || cursor->is_short || is_template > 1)
		return pack_refuse(why, "a definition ends before its bytes do");
	definition->is_template = is_template;
	r = pack_get_group(cursor, KEYS_DEFINITION, is_template ? KEYS_OF_TEMPLATE : KEYS_OF_SEGMENT, definition, why);
	if (r)
		return r;
	if (cursor_left(cursor))
		return pack_refuse(why, "a definition has bytes beyond its keys");
	r = pack_check(definition, &fault);
	return fault ? pack_refuse(why, "a definition cannot be: %s", fault) : r;
}

int
pack_read_definition(const void *bytes, size_t length, char *why, struct definition **ret_definition)
{
	struct cursor cursor = { .at = bytes, .end = (const unsigned char *)bytes + length };
	struct definition *definition = definition_new();
	int r;

	if (!definition)
		return -ENOMEM;
	r = get_definition(&cursor, definition, why);
	if (r == 0)
		*ret_definition = definition;
	else
		definition_unref(definition);
	return r;
}

/* A file that is being written: what is put is written when there is enough of it. */
struct writing {
	struct pack pack;
	int fd;
	uint64_t written;
};

static int
flush(struct writing *writing)
{
	size_t done = 0;

	if (writing->pack.error)
		return writing->pack.error;
	if (writing->written + writing->pack.length > PACK_MAX_BYTES)
		return PACK_E_TOO_LARGE;
	while (done < writing->pack.length) {
		ssize_t n = pwrite(writing->fd, writing->pack.bytes + done, writing->pack.length - done,
		    (off_t)(writing->written + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += (size_t)n;
	}
	writing->written += done;
	writing->pack.length = 0;
	return 0;
}

/* Ends what item_begin began. */
static int
item_end(struct writing *writing, size_t begun)
{
	size_t length = writing->pack.length - begun;

	pack_end(&writing->pack, begun);
	if (length > PACK_ITEM_MAX_BYTES)
		return PACK_E_TOO_LARGE;
	return writing->pack.error || writing->pack.length >= FLUSH_BYTES ? flush(writing) : 0;
}

static size_t
item_begin(struct writing *writing, enum pack_kind kind)
{
	pack_put_u32(&writing->pack, kind);
	return pack_begin(&writing->pack);
}

static int
write_problems(struct writing *writing, const struct conf_report *report)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < report->n_problems; i++) {
		const struct conf_problem *problem = &report->problems[i];
		size_t begun = item_begin(writing, PACK_PROBLEM);

		pack_put_text(&writing->pack, problem->file);
		pack_put_u32(&writing->pack, problem->line);
		pack_put_text(&writing->pack, problem->key);
		pack_put_text(&writing->pack, problem->text);
		r = item_end(writing, begun);
	}
	return r;
}

static int
write_definitions(struct writing *writing, enum pack_kind kind, struct definition *const *definitions, size_t n)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		size_t begun = item_begin(writing, kind);

		put_definition(&writing->pack, definitions[i]);
		r = item_end(writing, begun);
	}
	return r;
}

static int
write_conf(struct writing *writing, const struct conf *conf)
{
	size_t begun = item_begin(writing, PACK_DAEMON);
	int r;

	pack_put_group(&writing->pack, KEYS_DAEMON, 0, &conf->daemon);
	pack_put_group(&writing->pack, KEYS_LIMITS, 0, &conf->daemon.limits);
	r = item_end(writing, begun);
	if (r == 0)
		r = write_definitions(writing, PACK_SEGMENT, conf->segments, conf->n_segments);
	if (r == 0)
		r = write_definitions(writing, PACK_TEMPLATE, conf->templates, conf->n_templates);
	for (size_t i = 0; r == 0 && i < conf->n_orphans; i++) {
		begun = item_begin(writing, PACK_ORPHAN);
		pack_put_text(&writing->pack, conf->orphans[i].file);
		pack_put_u32(&writing->pack, conf->orphans[i].line);
		pack_put_u8(&writing->pack, conf->orphans[i].is_sysv);
		pack_put_group(&writing->pack, KEYS_ORPHAN, 0, &conf->orphans[i]);
		pack_put_group(&writing->pack, KEYS_ORPHAN_SYSV, 0, &conf->orphans[i]);
		r = item_end(writing, begun);
	}
	return r;
}

int
pack_write(int fd, int result, const struct conf *conf, const struct conf_report *report)
{
	struct writing writing = { .pack = PACK_NULL, .fd = fd };
	int r;

	pack_put(&writing.pack, MAGIC, strlen(MAGIC));
	pack_put_u32(&writing.pack, PACK_VERSION);
	pack_put_u32(&writing.pack, (uint32_t)result);
	pack_put_u32(&writing.pack, (uint32_t)report->n_problems);
	pack_put_u32(&writing.pack, (uint32_t)min_u64(report->n_left_out, UINT32_MAX));
	pack_put_u32(&writing.pack, conf ? (uint32_t)conf->n_segments : 0);
	pack_put_u32(&writing.pack, conf ? (uint32_t)conf->n_templates : 0);
	pack_put_u32(&writing.pack, conf ? (uint32_t)conf->n_orphans : 0);
	pack_put_u32(&writing.pack, 0);
	r = write_problems(&writing, report);
	if (r == 0 && conf)
		r = write_conf(&writing, conf);
	if (r == 0)
		r = flush(&writing);
	pack_deinit(&writing.pack);
	return r;
}

void
pack_item_deinit(struct pack_item *item)
{
	free(item->problem.file);
	free(item->problem.key);
	free(item->problem.text);
	free(item->daemon.socket);
	free(item->daemon.state_dir);
	free(item->daemon.admin_group);
	free(item->daemon.audit_socket);
	conf_orphan_deinit(&item->orphan);
	definition_unref(item->definition);
	*item = (struct pack_item)PACK_ITEM_NULL;
}

static int
get_problem(struct cursor *cursor, struct conf_problem *problem, char *why)
{
	int r = cursor_text(cursor, &problem->file);

	problem->line = cursor_u32(cursor);
	if (r == 0)
		r = cursor_text(cursor, &problem->key);
	if (r == 0)
		r = cursor_text(cursor, &problem->text);
	if (r < 0)
		return r;
	if (r || cursor->is_short || cursor_left(cursor) || !problem->file || !problem->text)
		return pack_refuse(why, "the bytes of a problem are none");
	return 0;
}

static int
get_daemon(struct cursor *cursor, struct conf_daemon *daemon, char *why)
{
	int r = pack_get_group(cursor, KEYS_DAEMON, 0, daemon, why);

	if (r == 0)
		r = pack_get_group(cursor, KEYS_LIMITS, 0, &daemon->limits, why);
	return r == 0 && cursor_left(cursor) ? pack_refuse(why, "the daemon has bytes beyond its keys") : r;
}

static int
get_orphan(struct cursor *cursor, struct conf_orphan *orphan, char *why)
{
	int r = cursor_text(cursor, &orphan->file);
	uint8_t is_sysv;

	if (r < 0)
		return r;
	orphan->line = cursor_u32(cursor);
	is_sysv = cursor_u8(cursor);
	if (r || !orphan->file)
		return pack_refuse(why, "the bytes of an orphan rule are none");
	r = pack_get_group(cursor, KEYS_ORPHAN, 0, orphan, why);
	if (r == 0)
		r = pack_get_group(cursor, KEYS_ORPHAN_SYSV, 0, orphan, why);
	if (r)
		return r;
	orphan->is_sysv = is_sysv;
	if (is_sysv > 1 || (orphan->posix != NULL) == orphan->is_sysv || cursor_left(cursor))
		return pack_refuse(why, "the bytes of an orphan rule are none");
	return 0;
}

static int
get_item(struct cursor *cursor, struct pack_item *item, char *why)
{
	switch (item->kind) {
	case PACK_PROBLEM:
		return get_problem(cursor, &item->problem, why);
	case PACK_DAEMON:
		return get_daemon(cursor, &item->daemon, why);
	case PACK_ORPHAN:
		return get_orphan(cursor, &item->orphan, why);
	default:
		item->definition = definition_new();
		if (!item->definition)
			return -ENOMEM;
		if (cursor_left(cursor) && (*cursor->at == 1) != (item->kind == PACK_TEMPLATE))
			return pack_refuse(why, "a segment stands where a template is expected, or the reverse");
		return get_definition(cursor, item->definition, why);
	}
}

/* Sees to it that the window holds the next needed bytes. */
static int
window_fill(struct pack_reader *reader, size_t needed)
{
	size_t left = reader->filled - reader->at;

	if (left >= needed)
		return 0;
	if (needed - left > reader->length - reader->offset)
		return pack_refuse(reader->why, "the file ends before what is in it does");
	if (left)
		memmove(reader->window, reader->window + reader->at, left);
	reader->at = 0;
	reader->filled = left;
	if (needed > reader->room) {
		size_t room = reader->is_whole ? needed : max_u64(needed, FLUSH_BYTES);
		unsigned char *grown = realloc(reader->window, room);

		if (!grown)
			return -ENOMEM;
		reader->window = grown;
		reader->room = room;
	}
	while (reader->filled < needed) {
		size_t most = min_u64(reader->room - reader->filled, reader->length - reader->offset);
		ssize_t n = pread(reader->fd, reader->window + reader->filled, most, (off_t)reader->offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return pack_refuse(reader->why, "the file ends before its length");
		reader->filled += (size_t)n;
		reader->offset += (uint64_t)n;
	}
	return 0;
}

/* The next length bytes of the window, which are in it. */
static struct cursor
window_take(struct pack_reader *reader, size_t length)
{
	struct cursor cursor = { .at = reader->window + reader->at, .end = reader->window + reader->at + length };

	reader->at += length;
	return cursor;
}

static bool
summary_is_good(const struct pack_summary *summary)
{
	bool is_whole = summary->result == 0;

	if (summary->result > CONF_E_INVALID || summary->result < -ERRNO_MAX || summary->n_problems > CONF_REPORT_MAX)
		return false;
	if (!is_whole && (summary->n_segments || summary->n_templates || summary->n_orphans))
		return false;
	return summary->n_segments <= keys_find(KEYS_TOP, "segments")->max &&
	    summary->n_templates <= keys_find(KEYS_TOP, "templates")->max &&
	    summary->n_orphans <= keys_find(KEYS_TOP, "orphans")->max;
}

static int
reader_begin(struct pack_reader *reader, int fd, uint64_t length, bool is_whole)
{
	struct cursor header;
	uint32_t version;
	int r;

	*reader = (struct pack_reader){ .fd = fd, .length = length, .is_whole = is_whole };
	if (length > PACK_MAX_BYTES)
		return pack_refuse(reader->why, "the file has %llu bytes; expected %llu at most",
		    (unsigned long long)length, (unsigned long long)PACK_MAX_BYTES);
	r = window_fill(reader, is_whole ? max_u64(length, HEADER_BYTES) : HEADER_BYTES);
	if (r)
		return r;
	header = window_take(reader, HEADER_BYTES);
	if (memcmp(cursor_take(&header, 8).at, MAGIC, 8) != 0)
		return pack_refuse(reader->why, "the file is no packed configuration");
	version = cursor_u32(&header);
	if (version != PACK_VERSION)
		return pack_refuse(reader->why, "the file is of version %lu; expected %u", (unsigned long)version,
		    PACK_VERSION);
	reader->summary.result = (int)cursor_u32(&header);
	reader->summary.n_problems = cursor_u32(&header);
	reader->summary.n_left_out = cursor_u32(&header);
	reader->summary.n_segments = cursor_u32(&header);
	reader->summary.n_templates = cursor_u32(&header);
	reader->summary.n_orphans = cursor_u32(&header);
	if (cursor_u32(&header) != 0 || !summary_is_good(&reader->summary))
		return pack_refuse(reader->why, "the file's header says what cannot be");
	return 0;
}

int
pack_reader_init(struct pack_reader *reader, int fd, uint64_t length)
{
	return reader_begin(reader, fd, length, false);
}

int
pack_reader_init_whole(struct pack_reader *reader, int fd, uint64_t length)
{
	return reader_begin(reader, fd, length, true);
}

/* What comes next, by the header. */
static enum pack_kind
next_kind(const struct pack_reader *reader)
{
	const struct pack_summary *summary = &reader->summary;
	const uint32_t counts[PACK_END] = {
		[PACK_PROBLEM] = summary->n_problems,
		[PACK_DAEMON] = summary->result == 0,
		[PACK_SEGMENT] = summary->n_segments,
		[PACK_TEMPLATE] = summary->n_templates,
		[PACK_ORPHAN] = summary->n_orphans,
	};
	unsigned kind = PACK_PROBLEM;

	while (kind < PACK_END && reader->n_read[kind] == counts[kind])
		kind++;
	return (enum pack_kind)kind;
}

static int
check_end(struct pack_reader *reader)
{
	if (reader->at < reader->filled || reader->offset < reader->length)
		return pack_refuse(reader->why, "the file has bytes beyond what its header says");
	return 0;
}

int
pack_reader_next(struct pack_reader *reader, struct pack_item *ret_item)
{
	struct pack_item item = { .kind = next_kind(reader) };
	struct cursor cursor;
	uint32_t kind, length;
	int r;

	*ret_item = (struct pack_item)PACK_ITEM_NULL;
	if (item.kind == PACK_END)
		return check_end(reader);
	r = window_fill(reader, ITEM_BYTES);
	if (r)
		return r;
	cursor = window_take(reader, ITEM_BYTES);
	kind = cursor_u32(&cursor);
	length = cursor_u32(&cursor);
	if (kind != item.kind)
		return pack_refuse(reader->why, "the file has %s where %s is expected",
		    kind <= PACK_END ? kind_words[kind] : "something else", kind_words[item.kind]);
	if (length > PACK_ITEM_MAX_BYTES)
		return pack_refuse(reader->why, "%s has %lu bytes; expected %u at most", kind_words[kind],
		    (unsigned long)length, PACK_ITEM_MAX_BYTES);
	r = window_fill(reader, length);
	if (r)
		return r;
	cursor = window_take(reader, length);
	item.bytes = cursor.at;
	item.length = length;
	r = get_item(&cursor, &item, reader->why);
	if (r) {
		pack_item_deinit(&item);
		return r;
	}
	reader->n_read[kind]++;
	*ret_item = item;
	return 0;
}

void
pack_reader_deinit(struct pack_reader *reader)
{
	free(reader->window);
	*reader = (struct pack_reader)PACK_READER_NULL;
}
