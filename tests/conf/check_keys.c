/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The table of keys: its defaults parse, the manual page says the same as it does, and what is described reads as the same
 * definition again. And definitions made from templates.
 */
#include "config.h"

#include "conf/keys.h"
#include "conf/value.h"
#include "tests/conf/facts.h"
#include "tests/conf/suite.h"

START_TEST(every_row_is_whole)
{
	const struct keys_row *rows;
	size_t n;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		const struct keys_row *row = &rows[i];

		ck_assert_msg(row->help && row->help[0], "%s has no help", row->key);
		ck_assert_msg(row->fallback || row->fallback_words, "%s has no default", row->key);
		ck_assert_msg(!row->required || !row->fallback, "%s is required and has a default", row->key);
		ck_assert_msg((row->scope == KEYS_DEFINITION) == (row->where != 0), "%s applies nowhere",
		    row->key);
		ck_assert_ptr_eq(keys_find(row->scope, row->key), row);	/* no key twice */
		ck_assert_ptr_eq(keys_nearest(row->scope, row->where, row->key), row->key);
		if (i > 0)
			ck_assert_int_ge(row->scope, rows[i - 1].scope);
	}
}
END_TEST

/* Large enough for whatever a row's offset is in. */
union anything {
	struct definition definition;
	struct definition_lock lock;
	struct definition_allow allow;
	struct conf_daemon daemon;
	struct conf_limits limits;
	struct conf_orphan orphan;
};

START_TEST(every_default_parses_and_is_written_the_same)
{
	const struct keys_row *rows;
	size_t n;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		char why[VALUE_WHY_SIZE] = "", buf[128];
		union anything base;
		struct value value;
		char *text;

		if (!rows[i].fallback || rows[i].type == KEYS_TYPE_LIST)
			continue;
		memset(&base, 0, sizeof(base));
		ck_assert(value_from_fallback(rows[i].fallback, buf, sizeof(buf), &value));
		ck_assert_msg(value_set(&rows[i], &value, &base, why) == 0, "%s: %s", rows[i].key, why);
		ck_assert_int_eq(value_format(&rows[i], &base, &text), 0);
		ck_assert_str_eq(text, rows[i].fallback);
		free(text);
		if (rows[i].type == KEYS_TYPE_PATH || rows[i].type == KEYS_TYPE_ADMIN_GROUP)
			free(*(char **)(void *)((char *)&base + rows[i].offset));
	}
}
END_TEST

/* The page's line at *at without its newline, which *at is moved behind; false at the end. */
static bool
next_line(const char **at, char *line, size_t size)
{
	size_t n = strcspn(*at, "\n");

	if (!**at)
		return false;
	(void)snprintf(line, size, "%.*s", (int)n, *at);
	*at += n + ((*at)[n] == '\n');
	return true;
}

/* The scope that a section of the page is about. */
static enum keys_scope
scope_of(const char *title)
{
	for (unsigned i = 0; i < KEYS_SCOPE_N; i++)
		if (streq(keys_scope_name((enum keys_scope)i), title))
			return (enum keys_scope)i;
	ck_abort_msg("segmentd.conf.5 has an unknown section '%s' under KEYS", title);
	return KEYS_SCOPE_N;
}

/* Compares the text gathered for a key with its row, and counts it. */
static void
compare_entry(const char *key, const char *text, enum keys_scope scope, size_t *n_seen)
{
	const struct keys_row *row = keys_find(scope, key);
	char facts[FACTS_SIZE];

	ck_assert_msg(row != NULL, "segmentd.conf.5 has %s in %s, the table has not", key,
	    keys_scope_name(scope));
	ck_assert_msg(streq(text, facts_of(row, facts)),
	    "segmentd.conf.5 says of %s in %s:\n%s\nthe table says:\n%s", key, keys_scope_name(scope), text,
	    facts);
	(*n_seen)++;
}

START_TEST(manual_page_and_table_say_the_same)
{
	char line[512], key[64] = "", text[FACTS_SIZE] = "";
	enum keys_scope scope = KEYS_SCOPE_N;
	size_t length, n_rows, n_seen = 0;
	char *page = read_whole(MANUAL_PAGE, &length);
	const char *at = strstr(page, "\n.Sh KEYS\n");

	ck_assert_msg(at != NULL, "segmentd.conf.5 has no section KEYS");
	at += strlen("\n.Sh KEYS\n");
	while (next_line(&at, line, sizeof(line)) && strncmp(line, ".Sh ", 4) != 0) {
		bool item = strncmp(line, ".It Ic ", 7) == 0;

		if (key[0] && (item || streq(line, ".El"))) {
			compare_entry(key, text, scope, &n_seen);
			key[0] = text[0] = '\0';
		}
		if (strncmp(line, ".Ss ", 4) == 0)
			scope = scope_of(line + 4);
		else if (item)
			(void)snprintf(key, sizeof(key), "%.60s", line + 7);
		else if (key[0] && line[0] != '.' && strlen(text) + strlen(line) + 2 < sizeof(text))
			(void)strcat(strcat(text, text[0] ? " " : ""), line);
	}
	(void)keys_rows(&n_rows);
	ck_assert_msg(n_seen == n_rows, "segmentd.conf.5 has %zu keys, the table has %zu", n_seen, n_rows);
	free(page);
}
END_TEST

/* What keys_describe gave, as a text of a configuration. */
static void
gather(const struct keys_value *value, void *arg)
{
	char *text = arg;

	(void)sprintf(text + strlen(text), "%s = %s;\n", value->key, value->text);
}

static void
count_set(const struct keys_value *value, void *arg)
{
	*(unsigned *)arg += !value->is_default;
}

START_TEST(what_is_described_reads_as_the_same)
{
	static const char full[] = "segments = ( { name = \"a\"; size = 8589934592; max_size = \"16GiB\";"
	    "page_size = \"transparent\"; prefault = true; mlock = false; placement = \"prefer\";"
	    "owner = \"root\"; group = \"0\"; mode = \"0644\"; allow = ( { user = \"root\"; access = \"r\"; },"
	    "{ group = \"root\"; access = \"rw\"; } ); layout = \"q\\\"\\\\/3\"; required = false;"
	    "lifetime = \"attached\"; linger = \"90s\"; scrub = true; dump = false;"
	    "locks = ( { name = \"a\"; length = 1; }, { name = \"b\"; at = 128; }, { name = \"c\"; at = \"1G\"; init = true;"
	    "on_death = \"zero\"; offset = \"2M\"; length = \"4K\"; }, { name = \"d\"; offset = 65; length = 3; undo = 0;"
	    "on_death = \"poison\"; } ); } );";
	char text[4096] = "segments = ( {", again[4096] = "segments = ( {";
	struct definition *a;
	unsigned n_set = 0;
	struct run run;

	expect_good(&run, full);
	a = run.conf->segments[0];
	ck_assert_uint_eq(a->size_bytes, 8 * GIB);
	ck_assert_uint_eq(a->max_size_bytes, 16 * GIB);
	ck_assert(!a->mlock && a->prefault && a->scrub && !a->dump && !a->required);
	ck_assert(a->has_owner && a->owner == 0 && a->has_group && a->group == 0);
	ck_assert_uint_eq(a->mode, 0644);
	ck_assert_uint_eq(a->n_allow, 2);
	ck_assert(!a->allow[0].write && !a->allow[0].is_group && a->allow[1].write && a->allow[1].is_group);
	ck_assert_str_eq(a->layout, "q\"\\/3");
	ck_assert_uint_eq(a->linger_ms, 90000);
	ck_assert_int_eq(keys_describe(a, gather, text), 0);
	ck_assert_int_eq(keys_describe(a, count_set, &n_set), 0);
	ck_assert_uint_eq(n_set, 17);	/* all but backend, prefault, numa */
	ck_assert_ptr_nonnull(strstr(text, "locks = ( { name = \"a\"; offset = \"0B\"; length = \"1B\"; undo = \"64KiB\"; "
	    "on_death = \"rollback\"; }, { name = \"b\"; at = \"128B\"; init = false; on_death = \"keep\"; }, { name = "
	    "\"c\"; at = \"1GiB\"; init = true; offset = \"2MiB\"; length = \"4KiB\"; on_death = \"zero\"; }, { name = "
	    "\"d\"; offset = \"65B\"; length = \"3B\"; undo = \"0B\"; on_death = \"poison\"; } );"));
	run_done(&run);
	(void)strcat(text, "} );");
	expect_good(&run, text);
	ck_assert_int_eq(keys_describe(run.conf->segments[0], gather, again), 0);
	(void)strcat(again, "} );");
	ck_assert_str_eq(text, again);
	run_done(&run);
}
END_TEST

START_TEST(defaults_follow_from_other_keys)
{
	struct definition *a, *b, *t;
	struct run run;

	expect_good(&run, "segments = ( { name = \"a\"; size = 5000; }, { name = \"b\"; size = \"1\"; prefault = false; } );"
	    "templates = ( { name = \"t-%U-\"; max_size = \"1MiB\"; } );");
	a = run.conf->segments[0];
	b = run.conf->segments[1];
	t = run.conf->templates[0];
	ck_assert_uint_eq(a->size_bytes, 5000);
	ck_assert_uint_eq(a->max_size_bytes, 5000);
	ck_assert(a->prefault && a->mlock && a->required && a->dump && !a->scrub);
	ck_assert(!b->prefault && !b->mlock);
	ck_assert(!a->has_owner && !a->has_group && a->mode == 0600);
	ck_assert_int_eq(a->lifetime, DEFINITION_PERSISTENT);
	ck_assert_int_eq(a->placement, DEFINITION_REQUIRE);
	ck_assert_int_eq(t->lifetime, DEFINITION_ATTACHED);
	ck_assert(t->is_template && t->mode == 0600 && t->max_count == 100 && t->size_bytes == 0 && !t->required);
	run_done(&run);
}
END_TEST

START_TEST(template_makes_segments_of_its_creator)
{
	struct definition *template_, *made;
	struct run run;
	char name[200];

	expect_good(&run, "templates = ( { name = \"t-%U-\"; max_size = \"1MiB\"; layout = \"l/1\"; group = \"root\";"
	    "allow = ( { user = \"root\"; access = \"r\"; } ); } );");
	template_ = run.conf->templates[0];
	ck_assert(definition_matches(template_, "t-1000-x", 1000));
	ck_assert(!definition_matches(template_, "t-1000-", 1000));
	ck_assert(!definition_matches(template_, "t-1000-x", 100));
	ck_assert(!definition_matches(template_, "t-1000-x", 10001));
	ck_assert(!definition_matches(template_, "t-100", 1000));
	ck_assert(!definition_matches(template_, "", 1000));
	made = definition_instantiate(template_, "t-1000-x", 4097, 1000, 1001);
	ck_assert_ptr_nonnull(made);
	run_done(&run);	/* what was made holds nothing of the template's */
	ck_assert_str_eq(made->name, "t-1000-x");
	ck_assert(!made->is_template && made->n_refs == 1);
	ck_assert_uint_eq(made->size_bytes, 4097);
	ck_assert(made->has_owner && made->owner == 1000);
	ck_assert(made->has_group && made->group == 0);
	ck_assert_str_eq(made->layout, "l/1");
	ck_assert_str_eq(made->allow[0].name, "root");
	ck_assert_ptr_eq(definition_ref(made), made);
	ck_assert_ptr_null(definition_unref(made));
	ck_assert_str_eq(made->layout, "l/1");
	ck_assert_ptr_null(definition_unref(made));
	ck_assert_ptr_null(definition_unref(NULL));
	memset(name, 'a', sizeof(name));
	name[128] = '\0';
	ck_assert(definition_name_valid(name));
	name[128] = 'a';
	name[129] = '\0';
	ck_assert(!definition_name_valid(name));
	ck_assert(definition_name_valid("0.a_b-C") && !definition_name_valid("_a") && !definition_name_valid(""));
}
END_TEST

START_TEST(names_that_only_look_alike_are_good)
{
	struct run run;

	expect_good(&run, "segments = ( { name = \"t-x-1\"; size = 1; }, { name = \"t-17-\"; size = 1; },"
	    "{ name = \"t-17\"; size = 1; }, { name = \"u-1-a\"; size = 1; } );"
	    "templates = ( { name = \"t-%U-\"; max_size = 1; }, { name = \"u-%U-b\"; max_size = 1; },"
	    "{ name = \"u-%U-c\"; max_size = 1; } );");
	run_done(&run);
}
END_TEST

START_TEST(near_misses_are_recognised_and_others_are_not)
{
	ck_assert_str_eq(keys_nearest(KEYS_DEFINITION, 0, "PageSize"), "page_size");
	ck_assert_str_eq(keys_nearest(KEYS_DEFINITION, 0, "lifetiem"), "lifetime");
	ck_assert_str_eq(keys_nearest(KEYS_DEFINITION, 0, "m_lock"), "mlock");
	ck_assert_str_eq(keys_nearest(KEYS_DAEMON, 0, "state-dir"), "state_dir");
	ck_assert_ptr_null(keys_nearest(KEYS_DEFINITION, 0, "quux"));
	ck_assert_ptr_null(keys_nearest(KEYS_DEFINITION, 0, ""));
	ck_assert_ptr_null(keys_nearest(KEYS_DEFINITION, 0, "a_very_long_key_that_nobody_would_write"));
	ck_assert_ptr_null(keys_nearest(KEYS_DEFINITION, KEYS_OF_SEGMENT, "max_coumt"));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/keys");
	TCase *tc = tcase_create("keys");

	tcase_add_test(tc, every_row_is_whole);
	tcase_add_test(tc, every_default_parses_and_is_written_the_same);
	tcase_add_test(tc, manual_page_and_table_say_the_same);
	tcase_add_test(tc, what_is_described_reads_as_the_same);
	tcase_add_test(tc, defaults_follow_from_other_keys);
	tcase_add_test(tc, template_makes_segments_of_its_creator);
	tcase_add_test(tc, names_that_only_look_alike_are_good);
	tcase_add_test(tc, near_misses_are_recognised_and_others_are_not);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
