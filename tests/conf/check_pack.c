/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration as bytes: every key comes back as it was. The keys are taken from the table, so that a new one is covered as
 * soon as it has a row.
 */
#include "config.h"

#include "conf/field.h"
#include "conf/pack.h"
#include "conf/pack_group.h"
#include "conf/value.h"
#include "tests/conf/packing.h"

/* Large enough for whatever a row's offset is in. */
union anything {
	struct definition definition;
	struct definition_lock lock;
	struct definition_allow allow;
	struct conf_daemon daemon;
	struct conf_limits limits;
	struct conf_orphan orphan;
};

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
	*(uint32_t *)at(base, row->offset) = (uint32_t)packing_random_between(0, UINT32_MAX - 1);
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
		*(bool *)at(base, row->offset) = packing_random() & 1;
		break;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		*(uint32_t *)at(base, row->offset) = (uint32_t)packing_random_between(row->min, row->max);
		if (row->flag_offset != KEYS_NO_FIELD)
			*(bool *)at(base, row->flag_offset) = true;
		break;
	case KEYS_TYPE_SIZE:
	case KEYS_TYPE_TIME:
		*(uint64_t *)at(base, row->offset) = packing_random_between(row->min, row->max);
		break;
	case KEYS_TYPE_MODE:
		if (row->scope == KEYS_ORPHAN_SYSV)
			*(uint32_t *)at(base, row->offset) = modes[packing_random() % BASE_ARRAY_SIZE(modes)];
		else
			*(uint16_t *)at(base, row->offset) = modes[packing_random() % BASE_ARRAY_SIZE(modes)];
		if (row->flag_offset != KEYS_NO_FIELD)
			*(bool *)at(base, row->flag_offset) = true;
		break;
	case KEYS_TYPE_WORD:
		while (row->words[n_words])
			n_words++;
		*(uint8_t *)at(base, row->offset) = (uint8_t)(packing_random() % n_words);
		break;
	case KEYS_TYPE_NAME:
		set_text(base, row->offset, "a-name.of_9");
		break;
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		set_text(base, row->offset, packing_random() & 1 ? "/text" : "/a \"longer\" \\ text \xc3\xa9");
		break;
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		fill_account(row, base);
		break;
	case KEYS_TYPE_ADMIN_GROUP:
		set_text(base, row->offset, "wheel");
		base->daemon.has_admin_gid = true;
		base->daemon.admin_gid = (uint32_t)packing_random_between(0, UINT32_MAX - 1);
		break;
	case KEYS_TYPE_NUMA:
		base->definition.numa = (enum definition_numa)(packing_random() % DEFINITION_NUMA_N);
		if (base->definition.numa >= DEFINITION_NUMA_BIND)
			base->definition.numa_nodes = (uint64_t)1 << packing_random_between(0, 63);
		break;
	case KEYS_TYPE_SYNC:
		base->definition.sync = packing_random() & 1;
		base->definition.sync_ms = base->definition.sync ? packing_random_between(row->min, row->max) : 0;
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

static void
expect_same_orphan(const struct conf_orphan *a, const struct conf_orphan *b)
{
	ck_assert_str_eq(a->file, b->file);
	ck_assert_uint_gt(a->line, 0);
	ck_assert_uint_eq(a->line, b->line);
	ck_assert_int_eq(a->is_sysv, b->is_sysv);
	ck_assert_pstr_eq(a->posix, b->posix);
	ck_assert_int_eq(a->has_user, b->has_user);
	ck_assert_uint_eq(a->user, b->user);
	ck_assert_int_eq(a->has_key, b->has_key);
	ck_assert_int_eq(a->has_mode, b->has_mode);
	ck_assert_uint_eq(a->mode, b->mode);
	ck_assert_uint_eq(a->after_ms, b->after_ms);
	ck_assert_int_eq(a->remove, b->remove);
}

START_TEST(whole_configuration_comes_back)
{
	struct pack_reader reader = PACK_READER_NULL;
	struct pack_item item;
	int fd = packing_file();
	struct run run;

	expect_good(&run, packing_text);
	ck_assert_int_eq(pack_write(fd, 0, run.conf, &run.report), 0);
	ck_assert_int_eq(pack_reader_init(&reader, fd, packing_length(fd)), 0);
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
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_msg(pack_reader_next(&reader, &item) == 0, "%s", reader.why);
		ck_assert_int_eq(item.kind, PACK_ORPHAN);
		expect_same_orphan(&run.conf->orphans[i], &item.orphan);
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
	int fd = packing_file();
	struct run run;

	run_text(&run, "segments = ( { name = \"a\"; }, { nam = 1; } );\ntemplates = ( { name = \"%\"; max_size = -1; } );");
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	run.report.n_left_out = 12;
	ck_assert_int_eq(pack_write(fd, run.result, NULL, &run.report), 0);
	ck_assert_int_eq(pack_reader_init(&reader, fd, packing_length(fd)), 0);
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

int
main(void)
{
	Suite *suite = suite_create("pack");
	TCase *tcase = tcase_create("pack");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, every_key_comes_back);
	tcase_add_test(tcase, whole_configuration_comes_back);
	tcase_add_test(tcase, problems_come_back);
	tcase_add_test(tcase, missing_keys_hold_their_defaults);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
