/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration as bytes: every key comes back as it was, bytes that are none of ours are refused, and what reading costs.
 * The keys are taken from the table, so that a new one is covered as soon as it has a row.
 */
#include "config.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include "conf/field.h"
#include "conf/pack.h"
#include "conf/pack_group.h"
#include "conf/value.h"
#include "tests/conf/suite.h"

#define SLICE_NS	(NS_PER_MS / 2)

/* Large enough for whatever a row's offset is in. */
union anything {
	struct definition definition;
	struct definition_lock lock;
	struct definition_allow allow;
	struct conf_daemon daemon;
	struct conf_limits limits;
	struct conf_orphan orphan;
};

static uint64_t state = 88172645463325252u;

static uint64_t
random_next(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static uint64_t
random_between(uint64_t min, uint64_t max)
{
	return min + random_next() % (max - min + 1);
}

static void *
at(void *base, size_t offset)
{
	return (char *)base + offset;
}

static void
set_text(void *base, size_t offset, const char *text)
{
	char **to = at(base, offset);

	free(*to);
	*to = strdup(text);
}

static void
fill_account(const struct keys_row *row, union anything *base)
{
	*(uint32_t *)at(base, row->offset) = (uint32_t)random_between(0, UINT32_MAX - 1);
	if (row->name_offset != KEYS_NO_FIELD)
		set_text(base, row->name_offset, "somebody");
	if (row->flag_offset != KEYS_NO_FIELD)
		*(bool *)at(base, row->flag_offset) = true;
}

/* Gives a row's field one of the values that it may have. */
static void
fill_row(const struct keys_row *row, union anything *base)
{
	static const uint16_t modes[] = { 0, 0400, 0600, 0640, 0644, 0660, 0666, 0444 };
	unsigned n_words = 0;

	switch (row->type) {
	case KEYS_TYPE_BOOL:
	case KEYS_TYPE_FLAG:
		*(bool *)at(base, row->offset) = random_next() & 1;
		break;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		*(uint32_t *)at(base, row->offset) = (uint32_t)random_between(row->min, row->max);
		if (row->flag_offset != KEYS_NO_FIELD)
			*(bool *)at(base, row->flag_offset) = true;
		break;
	case KEYS_TYPE_SIZE:
	case KEYS_TYPE_TIME:
		*(uint64_t *)at(base, row->offset) = random_between(row->min, row->max);
		break;
	case KEYS_TYPE_MODE:
		if (row->scope == KEYS_ORPHAN_SYSV)
			*(uint32_t *)at(base, row->offset) = modes[random_next() % BASE_ARRAY_SIZE(modes)];
		else
			*(uint16_t *)at(base, row->offset) = modes[random_next() % BASE_ARRAY_SIZE(modes)];
		if (row->flag_offset != KEYS_NO_FIELD)
			*(bool *)at(base, row->flag_offset) = true;
		break;
	case KEYS_TYPE_WORD:
		while (row->words[n_words])
			n_words++;
		*(uint8_t *)at(base, row->offset) = (uint8_t)(random_next() % (row->n_honoured ? row->n_honoured : n_words));
		break;
	case KEYS_TYPE_NAME:
		set_text(base, row->offset, "a-name.of_9");
		break;
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		set_text(base, row->offset, random_next() & 1 ? "/text" : "/a \"longer\" \\ text \xc3\xa9");
		break;
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		fill_account(row, base);
		break;
	case KEYS_TYPE_ADMIN_GROUP:
		set_text(base, row->offset, "wheel");
		base->daemon.has_admin_gid = true;
		base->daemon.admin_gid = (uint32_t)random_between(0, UINT32_MAX - 1);
		break;
	case KEYS_TYPE_NUMA:
		/* as far as they are honoured */
		base->definition.numa = (enum definition_numa)(random_next() % row->n_honoured);
		if (base->definition.numa >= DEFINITION_NUMA_BIND)
			base->definition.numa_nodes = (uint64_t)1 << random_between(0, 63);
		break;
	case KEYS_TYPE_SYNC:
		base->definition.sync = random_next() & 1;
		base->definition.sync_ms = base->definition.sync ? random_between(row->min, row->max) : 0;
		break;
	default:
		break;
	}
}

static void
free_row(const struct keys_row *row, union anything *base)
{
	if (row->type == KEYS_TYPE_NAME || row->type == KEYS_TYPE_TEXT || row->type == KEYS_TYPE_PATH ||
	    row->type == KEYS_TYPE_ADMIN_GROUP) {
		free(*(char **)at(base, row->offset));
		*(char **)at(base, row->offset) = NULL;
	} else if ((row->type == KEYS_TYPE_USER || row->type == KEYS_TYPE_GROUP) && row->name_offset != KEYS_NO_FIELD) {
		free(*(char **)at(base, row->name_offset));
		*(char **)at(base, row->name_offset) = NULL;
	} else if (row->type == KEYS_TYPE_LIST && row->scope == KEYS_DEFINITION) {
		free(streq(row->key, "allow") ? (void *)base->definition.allow : base->definition.locks);
	}
}

/* Whether a row's value is the same, and its words. */
static void
expect_same(const struct keys_row *row, union anything *a, union anything *b)
{
	cleanup_free char *x = NULL, *y = NULL;

	ck_assert_msg(field_equal(row, a, b), "%s differs", row->key);
	ck_assert_int_eq(value_format(row, a, &x), 0);
	ck_assert_int_eq(value_format(row, b, &y), 0);
	ck_assert_msg((!x && !y) || (x && y && streq(x, y)), "%s: %s, %s", row->key, x, y);
}

/* All rows of a scope with a value each; and again with each of them left at zero or its default. */
static void
round_trip(enum keys_scope scope, unsigned where)
{
	union anything base, back;
	struct pack pack = PACK_NULL;
	const struct keys_row *rows;
	char why[PACK_WHY_SIZE] = "";
	struct cursor cursor;
	size_t n;

	memset(&base, 0, sizeof(base));
	memset(&back, 0, sizeof(back));
	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++)
		if (rows[i].scope == scope && (!where || rows[i].where & where) && rows[i].type < KEYS_TYPE_TABLE)
			fill_row(&rows[i], &base);
	pack_put_group(&pack, scope, where, &base);
	ck_assert_int_eq(pack.error, 0);
	cursor = (struct cursor){ .at = pack.bytes, .end = pack.bytes + pack.length };
	ck_assert_msg(pack_get_group(&cursor, scope, where, &back, why) == 0, "%s", why);
	ck_assert_uint_eq(cursor_left(&cursor), 0);
	for (size_t i = 0; i < n; i++)
		if (rows[i].scope == scope && (!where || rows[i].where & where)) {
			/* an entry of allow is about a group once it has one */
			if (scope != KEYS_ALLOW || rows[i].type != KEYS_TYPE_USER)
				expect_same(&rows[i], &base, &back);
			free_row(&rows[i], &base);
			free_row(&rows[i], &back);
		}
	pack_deinit(&pack);
}

START_TEST(every_key_comes_back)
{
	const struct keys_row *rows;
	size_t n;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_lt(rows[i].type, KEYS_TYPE_N);
	for (unsigned i = 0; i < 500; i++) {
		round_trip(KEYS_DEFINITION, KEYS_OF_SEGMENT);
		round_trip(KEYS_DEFINITION, KEYS_OF_TEMPLATE);
		round_trip(KEYS_DAEMON, 0);
		round_trip(KEYS_LIMITS, 0);
		round_trip(KEYS_ALLOW, 0);
		round_trip(KEYS_LOCK, 0);
		round_trip(KEYS_ORPHAN, 0);
		round_trip(KEYS_ORPHAN_SYSV, 0);
	}
}
END_TEST

static const char whole_text[] =
    "daemon = { workers = 3; admin_group = \"root\"; limits = { clients = 77; }; };\n"
    "segments = (\n"
    "  { name = \"plain\"; size = \"4KiB\"; },\n"
    "  { name = \"rich\"; size = \"1MiB\"; max_size = \"2MiB\"; owner = \"root\"; group = \"7\"; mode = \"0640\"; dump = false;\n"
    "    layout = \"rich/1\"; lifetime = \"attached\"; linger = \"5s\"; scrub = true; required = false;\n"
    "    allow = ( { user = \"root\"; access = \"r\"; }, { group = \"0\"; access = \"rw\"; } );\n"
    "    locks = ( { name = \"a\"; length = \"64B\"; }, { name = \"b\"; offset = 64; length = 64; undo = 0; on_death = \"poison\"; },\n"
    "              { name = \"m\"; at = 128; }, { name = \"z\"; at = 168; init = true; on_death = \"zero\"; offset = 208; length = 8; } ); },\n"
    "  { name = \"lazy\"; size = 1; prefault = false; page_size = \"base\"; placement = \"prefer\"; } );\n"
    "templates = ( { name = \"job-%U-\"; max_size = \"1GiB\"; max_count = 5; mode = \"0666\"; },\n"
    "  { name = \"tmp.\"; max_size = \"8KiB\"; owner = \"1\"; locks = ( { name = \"l\"; length = 8; } ); } );\n";

static int
new_file(void)
{
	int fd = memfd_create("check_pack", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	return fd;
}

static uint64_t
length_of(int fd)
{
	struct stat st;

	ck_assert_int_eq(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

static void
expect_same_definition(const struct definition *a, const struct definition *b)
{
	const struct keys_row *rows;
	size_t n;

	ck_assert_str_eq(a->file, b->file);
	ck_assert_uint_eq(a->line, b->line);
	ck_assert_int_eq(a->is_template, b->is_template);
	ck_assert_uint_eq(b->n_refs, 1);
	ck_assert_uint_eq(a->n_allow, b->n_allow);
	ck_assert_uint_eq(a->n_locks, b->n_locks);
	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		union anything x = { .definition = *a }, y = { .definition = *b };

		if (rows[i].scope == KEYS_DEFINITION)
			expect_same(&rows[i], &x, &y);
		for (size_t j = 0; rows[i].scope == KEYS_ALLOW && j < a->n_allow; j++) {
			x.allow = a->allow[j];
			y.allow = b->allow[j];
			expect_same(&rows[i], &x, &y);
		}
		for (size_t j = 0; rows[i].scope == KEYS_LOCK && j < a->n_locks; j++) {
			ck_assert_int_eq(a->locks[j].is_mutex, b->locks[j].is_mutex);
			x.lock = a->locks[j];
			y.lock = b->locks[j];
			expect_same(&rows[i], &x, &y);
		}
	}
}

START_TEST(whole_configuration_comes_back)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item;
	int fd = new_file();
	struct run run;

	expect_good(&run, whole_text);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	ck_assert_int_eq(pack_reader_init(&reader, fd, length_of(fd)), 0);
	ck_assert_int_eq(reader.summary.result, 0);
	ck_assert_uint_eq(reader.summary.n_problems, 0);
	ck_assert_uint_eq(reader.summary.n_segments, 3);
	ck_assert_uint_eq(reader.summary.n_templates, 2);
	ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
	ck_assert_int_eq(item.kind, PACK_DAEMON);
	ck_assert_uint_eq(item.daemon.workers, 3);
	ck_assert_str_eq(item.daemon.admin_group, "root");
	ck_assert_uint_eq(item.daemon.limits.clients, 77);
	ck_assert_str_eq(item.daemon.socket, run.conf->daemon.socket);
	pack_item_deinit(&item);
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_msg(pack_reader_next(&reader, &item) == 0, "%s", reader.why);
		ck_assert_int_eq(item.kind, i < 3 ? PACK_SEGMENT : PACK_TEMPLATE);
		expect_same_definition(i < 3 ? run.conf->segments[i] : run.conf->templates[i - 3], item.definition);
		pack_item_deinit(&item);
	}
	ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
	ck_assert_int_eq(item.kind, PACK_END);
	ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
	ck_assert_int_eq(item.kind, PACK_END);
	pack_reader_deinit(&reader);
	run_done(&run);
	(void)close(fd);
}
END_TEST

START_TEST(problems_come_back)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item;
	int fd = new_file();
	struct run run;

	run_text(&run, "segments = ( { name = \"a\"; }, { nam = 1; } );\ntemplates = ( { name = \"%\"; max_size = -1; } );");
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	run.report.n_left_out = 12;
	ck_assert_int_eq(pack_write(fd, run.result, NULL, &run.report), 0);
	ck_assert_int_eq(pack_reader_init(&reader, fd, length_of(fd)), 0);
	ck_assert_int_eq(reader.summary.result, CONF_E_INVALID);
	ck_assert_uint_eq(reader.summary.n_left_out, 12);
	ck_assert_uint_eq(reader.summary.n_problems, run.report.n_problems);
	for (size_t i = 0; i < run.report.n_problems; i++) {
		const struct conf_problem *problem = &run.report.problems[i];

		ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
		ck_assert_int_eq(item.kind, PACK_PROBLEM);
		ck_assert_str_eq(item.problem.file, problem->file);
		ck_assert_uint_eq(item.problem.line, problem->line);
		ck_assert_int_eq(item.problem.key == NULL, problem->key == NULL);
		if (problem->key)
			ck_assert_str_eq(item.problem.key, problem->key);
		ck_assert_str_eq(item.problem.text, problem->text);
		pack_item_deinit(&item);
	}
	ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
	ck_assert_int_eq(item.kind, PACK_END);
	pack_reader_deinit(&reader);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* An older version did not know every key: what it did not say holds its default. */
START_TEST(missing_keys_hold_their_defaults)
{
	struct definition *back;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE];
	size_t begun, value;

	pack_put_u8(&pack, 0);
	pack_put_text(&pack, "old.conf");
	pack_put_u32(&pack, 3);
	begun = pack_begin(&pack);
	for (unsigned i = 0; i < 3; i++) {
		static const char *const keys[] = { "name", "size", "max_size" };

		pack_put_u8(&pack, (uint8_t)strlen(keys[i]));
		pack_put(&pack, keys[i], strlen(keys[i]));
		value = pack_begin(&pack);
		pack_put_u8(&pack, i ? VALUE_INTEGER : VALUE_STRING);
		if (i)
			pack_put_u64(&pack, 4096);
		else
			pack_put(&pack, "old", 3);
		pack_end(&pack, value);
	}
	pack_end(&pack, begun);
	ck_assert_msg(pack_read_definition(pack.bytes, pack.length, why, &back) == 0, "%s", why);
	ck_assert_str_eq(back->name, "old");
	ck_assert_uint_eq(back->mode, 0600);
	ck_assert(back->dump);
	ck_assert(back->prefault);
	ck_assert(back->required);
	definition_unref(back);
	/* one that is required is not among them */
	pack.bytes[begun + 1] = 'N';
	ck_assert_int_eq(pack_read_definition(pack.bytes, pack.length, why, &back), PACK_E_INVALID);
	ck_assert_str_eq(why, "\"Name\": this version has no such key in segments and templates");
	pack_deinit(&pack);
}
END_TEST

/* Changes one thing in a definition that is good, and expects it to be refused for that. */
static void
expect_refused(void (*spoil)(struct definition *), const char *words)
{
	struct definition *back = NULL;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE] = "";
	struct run run;

	expect_good(&run, whole_text);
	spoil(run.conf->segments[1]);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[1]), 0);
	ck_assert_int_eq(pack_read_definition(pack.bytes, pack.length, why, &back), PACK_E_INVALID);
	ck_assert_msg(strstr(why, words), "'%s', expected '%s'", why, words);
	pack_deinit(&pack);
	run_done(&run);
}

static void spoil_name(struct definition *d) { d->name[0] = '%'; }
static void spoil_max_size(struct definition *d) { d->max_size_bytes = d->size_bytes - 1; }
static void spoil_mlock(struct definition *d) { d->prefault = false; d->locks[3].init = false; }
static void spoil_linger(struct definition *d) { d->lifetime = DEFINITION_PERSISTENT; }
static void spoil_beyond(struct definition *d) { d->locks[0].length_bytes = d->size_bytes + 1; }
static void spoil_overlap(struct definition *d) { d->locks[1].offset_bytes = 63; }
static void spoil_names(struct definition *d) { d->locks[1].name[0] = 'a'; }
static void spoil_undo(struct definition *d) { d->locks[0].undo_bytes = 63; }
static void spoil_mutex(struct definition *d) { d->locks[2].at_bytes = 129; }
static void spoil_mode(struct definition *d) { d->mode = 0240; }
static void spoil_size(struct definition *d) { d->size_bytes = (uint64_t)1 << 63; }
static void spoil_backend(struct definition *d) { d->backend = DEFINITION_SYSV; }
static void spoil_linger_range(struct definition *d) { d->linger_ms = UINT64_MAX; }
static void spoil_id(struct definition *d) { d->owner = UINT32_MAX; }
static void spoil_allow(struct definition *d) { free(d->allow[0].name); d->allow[0].name = NULL; }

START_TEST(what_cannot_be_is_refused)
{
	expect_refused(spoil_name, "its name is none");
	expect_refused(spoil_max_size, "its max_size is less than its size");
	expect_refused(spoil_mlock, "it is to be locked without being there");
	expect_refused(spoil_linger, "it lingers, and never ends");
	expect_refused(spoil_beyond, "reaches beyond it");
	expect_refused(spoil_overlap, "have a byte in common");
	expect_refused(spoil_names, "have one name");
	expect_refused(spoil_undo, "one of its locks is none");
	expect_refused(spoil_mutex, "one of its locks is none");
	expect_refused(spoil_mode, "lets owner write and not read");
	expect_refused(spoil_size, "size: ");
	expect_refused(spoil_backend, "not supported by this version");
	expect_refused(spoil_linger_range, "linger: ");
	expect_refused(spoil_id, "owner: its bytes are no user or group");
	expect_refused(spoil_allow, "an entry names nobody");
}
END_TEST

/* Reads all of a file. The result, and how many items there were. */
static int
read_all(int fd, uint64_t length, unsigned *ret_n)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item = PACK_ITEM_NULL;
	unsigned n = 0;
	int r = pack_reader_init(&reader, fd, length);

	while (r == 0) {
		r = pack_reader_next(&reader, &item);
		if (r || item.kind == PACK_END)
			break;
		n++;
		pack_item_deinit(&item);
	}
	ck_assert_int_eq(item.kind, PACK_END);
	ck_assert_msg(r == 0 || (r == PACK_E_INVALID && reader.why[0]), "%d", r);
	ck_assert_uint_le(reader.room, PACK_ITEM_MAX_BYTES);
	pack_reader_deinit(&reader);
	*ret_n = n;
	return r;
}

static void
write_file(int fd, const unsigned char *bytes, size_t length)
{
	ck_assert_int_eq(ftruncate(fd, 0), 0);
	ck_assert_int_eq(pwrite(fd, bytes, length, 0), (ssize_t)length);
}

/* Changes some bytes as chance has it: bits, numbers that are large, pieces that move. */
static size_t
spoil_bytes(unsigned char *bytes, size_t length)
{
	for (unsigned n = 1 + (unsigned)(random_next() % 4); n > 0 && length > 8; n--) {
		size_t where = random_next() % length, size;

		switch (random_next() % 5) {
		case 0:
			bytes[where] ^= (unsigned char)(1 << random_next() % 8);
			break;
		case 1:
			bytes[where] = (unsigned char)random_next();
			break;
		case 2:
			memset(bytes + where, 0xff, min_u64(4, length - where));
			break;
		case 3:
			length = where;
			break;
		default:
			size = random_next() % min_u64(64, length - where) + 1;
			memmove(bytes + where, bytes + random_next() % (length - size + 1), min_u64(size, length - where));
			break;
		}
	}
	return length;
}

START_TEST(spoiled_bytes_are_refused)
{
	int fd = new_file(), spoiled = new_file();
	unsigned char bytes[8192], copy[8192];
	unsigned n, n_taken = 0, n_refused = 0;
	uint64_t length;
	struct run run;

	expect_good(&run, whole_text);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	length = length_of(fd);
	ck_assert_uint_le(length, sizeof(bytes));
	ck_assert_int_eq(pread(fd, bytes, sizeof(bytes), 0), (ssize_t)length);
	ck_assert_int_eq(read_all(fd, length, &n), 0);
	ck_assert_uint_eq(n, 6);
	for (size_t cut = 0; cut < length; cut++) {	/* every truncation */
		write_file(spoiled, bytes, cut);
		ck_assert_int_eq(read_all(spoiled, cut, &n), PACK_E_INVALID);
	}
	write_file(spoiled, bytes, length - 7);		/* a file shorter than was said */
	ck_assert_int_eq(read_all(spoiled, length, &n), PACK_E_INVALID);
	memcpy(copy, bytes, length);
	copy[length] = 0;				/* and one that is longer */
	write_file(spoiled, copy, length + 1);
	ck_assert_int_eq(read_all(spoiled, length + 1, &n), PACK_E_INVALID);
	for (unsigned i = 0; i < 20000; i++) {
		size_t left;

		memcpy(copy, bytes, length);
		left = spoil_bytes(copy, length);
		write_file(spoiled, copy, left);
		if (read_all(spoiled, left, &n))
			n_refused++;
		else
			n_taken++;
	}
	(void)printf("20,000 spoiled files: %u refused, %u still good\n", n_refused, n_taken);
	ck_assert_uint_gt(n_refused, 15000);
	run_done(&run);
	(void)close(fd);
	(void)close(spoiled);
}
END_TEST

/* The same without a file's frame around it, so that more of it reaches the keys. */
START_TEST(spoiled_definitions_are_refused)
{
	struct definition *back;
	struct pack pack = PACK_NULL, again = PACK_NULL;
	unsigned char copy[4096];
	char why[PACK_WHY_SIZE];
	unsigned n_taken = 0;
	struct run run;

	expect_good(&run, whole_text);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[1]), 0);
	ck_assert_uint_le(pack.length, sizeof(copy));
	for (unsigned i = 0; i < 50000; i++) {
		size_t left;
		int r;

		memcpy(copy, pack.bytes, pack.length);
		left = spoil_bytes(copy, pack.length);
		why[0] = '\0';
		r = pack_read_definition(copy, left, why, &back);
		ck_assert_msg(r == 0 || (r == PACK_E_INVALID && why[0]), "%d", r);
		if (r)
			continue;
		/* what is taken is whole: it packs, and reads as the same again */
		n_taken++;
		again.length = 0;
		ck_assert_int_eq(pack_definition(&again, back), 0);
		definition_unref(back);
		ck_assert_msg(pack_read_definition(again.bytes, again.length, why, &back) == 0, "%s", why);
		definition_unref(back);
	}
	(void)printf("50,000 spoiled definitions: %u still good\n", n_taken);
	pack_deinit(&again);
	pack_deinit(&pack);
	run_done(&run);
}
END_TEST

START_TEST(too_large_is_said)
{
	static char long_name[PACK_ITEM_MAX_BYTES + 1];
	struct definition *definition;
	struct pack pack = PACK_NULL;
	int fd = new_file();
	struct run run;

	expect_good(&run, "segments = ( { name = \"a\"; size = 1; } );");
	definition = run.conf->segments[0];
	ck_assert_int_eq(definition_set_file(definition, memset(long_name, 'x', PACK_ITEM_MAX_BYTES)), 0);
	ck_assert_int_eq(pack_definition(&pack, definition), PACK_E_TOO_LARGE);
	ck_assert_uint_eq(pack.length, 0);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), PACK_E_TOO_LARGE);
	pack_deinit(&pack);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* What the daemon's loop does with 15,000 definitions: slices of half a millisecond. */
START_TEST(reading_is_cut_in_slices)
{
	const unsigned n_segments = 15000;
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item;
	uint64_t begun, spent = 0, worst_item = 0, worst_slice = 0, slice = 0;
	unsigned n_slices = 1, n = 0;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int fd = new_file();
	struct run run;

	(void)fputs("segments = (", out);
	for (unsigned i = 0; i < n_segments; i++)
		(void)fprintf(out, "%s { name = \"segment-%u\"; size = \"4KiB\"; owner = \"0\"; mode = \"0640\"; layout = \"l/%u\"; "
		    "allow = ( { user = \"1\"; access = \"r\"; } ); }\n", i ? "," : "", i, i);
	(void)fputs(" );", out);
	ck_assert_int_eq(fclose(out), 0);
	begun = clock_monotonic_ns();
	expect_good(&run, text);
	(void)printf("15,000 definitions: read from %zu KiB of text in %.1f ms", size / 1024,
	    (double)(clock_monotonic_ns() - begun) / 1e6);
	free(text);
	begun = clock_monotonic_ns();
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	(void)printf("; packed in %.1f ms (%llu KiB)", (double)(clock_monotonic_ns() - begun) / 1e6,
	    (unsigned long long)(length_of(fd) / 1024));
	begun = clock_monotonic_ns();
	ck_assert_int_eq(pack_reader_init(&reader, fd, length_of(fd)), 0);
	for (;;) {
		uint64_t took;

		ck_assert_int_eq(pack_reader_next(&reader, &item), 0);
		if (item.kind == PACK_END)
			break;
		n += item.kind == PACK_SEGMENT;
		pack_item_deinit(&item);
		took = clock_monotonic_ns() - begun;
		begun += took;
		spent += took;
		slice += took;
		worst_item = max_u64(worst_item, took);
		worst_slice = max_u64(worst_slice, slice);
		if (slice >= SLICE_NS) {
			slice = 0;
			n_slices++;
		}
	}
	(void)printf("; unpacked in %.1f ms: %u slices, the longest %.2f ms; one definition %.2f us, the longest %.0f us\n",
	    (double)spent / 1e6, n_slices, (double)worst_slice / 1e6, (double)spent / n_segments / 1e3,
	    (double)worst_item / 1e3);
	ck_assert_uint_eq(n, n_segments);
	pack_reader_deinit(&reader);
	run_done(&run);
	(void)close(fd);
}
END_TEST

/* The largest that a definition can be: a thousand locks, and everybody allowed. */
START_TEST(largest_definition_is_read_at_once)
{
	struct definition *back;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE];
	uint64_t begun, best = UINT64_MAX;
	struct run run;
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)fputs("segments = ( { name = \"a\"; size = \"1MiB\"; allow = (", out);
	for (unsigned i = 0; i < DEFINITION_ALLOW_MAX; i++)
		(void)fprintf(out, "%s { user = \"%u\"; access = \"rw\"; }", i ? "," : "", i);
	(void)fputs(" ); locks = (", out);
	for (unsigned i = 0; i < DEFINITION_LOCKS_MAX; i++)
		(void)fprintf(out, "%s { name = \"%0120u\"; offset = %u; length = 8; undo = 64; }", i ? "," : "", i, 8 * i);
	(void)fputs(" ); } );", out);
	ck_assert_int_eq(fclose(out), 0);
	expect_good(&run, text);
	free(text);
	ck_assert_int_eq(pack_definition(&pack, run.conf->segments[0]), 0);
	ck_assert_uint_le(pack.length, PACK_ITEM_MAX_BYTES);
	for (unsigned i = 0; i < 5; i++) {
		begun = clock_monotonic_ns();
		ck_assert_int_eq(pack_read_definition(pack.bytes, pack.length, why, &back), 0);
		best = min_u64(best, clock_monotonic_ns() - begun);
		definition_unref(back);
	}
	(void)printf("the largest definition: %zu KiB, unpacked in %.2f ms\n", pack.length / 1024, (double)best / 1e6);
	pack_deinit(&pack);
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("pack");
	TCase *tcase = tcase_create("pack");

	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, every_key_comes_back);
	tcase_add_test(tcase, whole_configuration_comes_back);
	tcase_add_test(tcase, problems_come_back);
	tcase_add_test(tcase, missing_keys_hold_their_defaults);
	tcase_add_test(tcase, what_cannot_be_is_refused);
	tcase_add_test(tcase, spoiled_bytes_are_refused);
	tcase_add_test(tcase, spoiled_definitions_are_refused);
	tcase_add_test(tcase, too_large_is_said);
	tcase_add_test(tcase, reading_is_cut_in_slices);
	tcase_add_test(tcase, largest_definition_is_read_at_once);
	suite_add_tcase(suite, tcase);
	return suite_main(suite);
}
