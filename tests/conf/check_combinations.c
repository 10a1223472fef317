/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every backend with every page size, as a segment and as a template, in sizes that are multiples and others, with any one and
 * any two of the keys that have to do with them: what is refused is what the table here says, at that key's line, with a way
 * out, and all else is taken. Not a word of it is in the table that the code has.
 */
#include "config.h"

#include "tests/conf/suite.h"

/* Of each axis a bit a value. */
#define MEMFD		0x1u
#define POSIX		0x2u
#define SYSV		0x4u
#define FILES		0x8u
#define SEGMENT		0x1u
#define TEMPLATE	0x2u
#define AUTO		0x1u
#define BASE		0x2u
#define TRANSPARENT	0x4u
#define OF_2MIB		0x8u
#define OF_1GIB		0x10u
#define POOL		(OF_2MIB | OF_1GIB)
#define SIZE_ODD	0x1u		/* whole base pages, and no more */
#define SIZE_2MIB	0x2u
#define SIZE_1GIB	0x4u
#define ANY		0xffffffffu

enum option {
	OWNER, ALLOW, OBJECT, KEY, PATH, SYNC, ON_UNCLEAN, INIT, SCRUB, NO_PREFAULT, ONE_NODE, BIND, MODE, OPTION_N
};
#define BIT(option)	(1u << (option))

static const struct {
	const char *key, *text;
} options[OPTION_N] = {
	[OWNER] = { "owner", "owner = \"0\";" },
	[ALLOW] = { "allow", "allow = ( { user = \"0\"; access = \"r\"; } );" },
	[OBJECT] = { "object", "object = \"/an-object\";" },
	[KEY] = { "key", "key = 0x7A2F;" },
	[PATH] = { "path", "path = \"/var/lib/a-file\";" },
	[SYNC] = { "sync", "sync = \"5s\";" },
	[ON_UNCLEAN] = { "on_unclean", "on_unclean = \"zero\";" },
	[INIT] = { "init", "init = \"/var/lib/contents\";" },
	[SCRUB] = { "scrub", "scrub = true;" },
	[NO_PREFAULT] = { "prefault", "prefault = false;" },
	[ONE_NODE] = { "numa", "numa = \"interleave:1\";" },
	[BIND] = { "numa", "numa = \"bind:0\";" },
	[MODE] = { "mode", "mode = \"0660\";" },
};

static const char *const backends[] = { "memfd", "posix", "sysv", "file" };
static const char *const pages[] = { "auto", "base", "transparent", "2MiB", "1GiB" };
static const char *const sizes[] = { "12KiB", "6MiB", "2GiB" };

/* What cannot be: where all of it holds, the key is refused. */
static const struct rule {
	unsigned backends, kinds, pages, sizes;
	unsigned has, lacks;		/* options */
	const char *key;
	const char *words;
} rules[] = {
	/* keys of one backend */
	{ MEMFD | SYSV | FILES, SEGMENT, ANY, ANY, BIT(OBJECT), 0, "object", "belongs to backend \"posix\"" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(OBJECT), 0, "object", "belongs to" },
	{ MEMFD | POSIX | FILES, SEGMENT, ANY, ANY, BIT(KEY), 0, "key", "belongs to backend \"sysv\"" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(KEY), 0, "key", "belongs to" },
	{ MEMFD | POSIX | SYSV, SEGMENT, ANY, ANY, BIT(PATH), 0, "path", "belongs to backend \"file\"" },
	{ MEMFD | POSIX | SYSV, SEGMENT, ANY, ANY, BIT(SYNC), 0, "sync", "belongs to backend \"file\"" },
	{ MEMFD | POSIX | SYSV, SEGMENT, ANY, ANY, BIT(ON_UNCLEAN), 0, "on_unclean", "belongs to backend \"file\"" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(PATH), 0, "path", "belongs to" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(SYNC), 0, "sync", "belongs to" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(ON_UNCLEAN), 0, "on_unclean", "belongs to" },
	{ ANY, TEMPLATE, ANY, ANY, BIT(INIT), 0, "init", "belongs to a segment" },
	/* what a backend needs */
	{ POSIX, SEGMENT, ANY, ANY, 0, BIT(OBJECT), "object", "is missing; backend \"posix\" requires it" },
	{ FILES, SEGMENT, ANY, ANY, 0, BIT(PATH), "path", "is missing; backend \"file\" requires it" },
	/* a mount has a size */
	{ POSIX, SEGMENT, ANY, ANY, BIT(NO_PREFAULT), 0, "prefault", "contradicts backend \"posix\"" },
	/* a file keeps its contents, in the page cache's pages */
	{ FILES, SEGMENT, ANY, ANY, BIT(SCRUB), 0, "scrub", "a file's contents are kept" },
	{ FILES, SEGMENT, POOL | TRANSPARENT, ANY, 0, 0, "page_size", "not to be had of backend \"file\"" },
	/* templates */
	{ FILES, TEMPLATE, ANY, ANY, 0, 0, "backend", "would have one file" },
	{ POSIX, TEMPLATE, ANY, ANY, 0, 0, "backend", "would have one object" },
	/* System V memory, of which the kernel judges who attaches */
	{ SYSV, ANY, ANY, ANY, BIT(OWNER), 0, "owner", "contradicts backend \"sysv\"" },
	{ SYSV, ANY, ANY, ANY, BIT(ALLOW), 0, "allow", "contradicts backend \"sysv\"" },
	{ SYSV, TEMPLATE, ANY, ANY, 0, BIT(MODE), "mode", "is 0600, which lets nobody have what they create" },
	/* pages of the pools */
	{ POSIX, ANY, POOL, ANY, 0, 0, "page_size", "not to be had of backend \"posix\"" },
	{ MEMFD | SYSV, ANY, POOL, ANY, BIT(NO_PREFAULT), 0, "page_size", "contradicts prefault = false" },
	{ MEMFD | SYSV, SEGMENT, POOL, SIZE_ODD, 0, 0, "size", "12KiB is no multiple" },
	{ MEMFD | SYSV, SEGMENT, OF_1GIB, SIZE_2MIB, 0, 0, "size", "6MiB is no multiple" },
	{ MEMFD | SYSV, TEMPLATE, POOL, SIZE_ODD, 0, 0, "max_size", "12KiB is no multiple" },
	{ MEMFD | SYSV, TEMPLATE, OF_1GIB, SIZE_2MIB, 0, 0, "max_size", "6MiB is no multiple" },
	/* nodes */
	{ ANY, ANY, ANY, ANY, BIT(ONE_NODE), 0, "numa", "interleaves one node" },
	{ ANY, ANY, ANY, ANY, BIT(ONE_NODE) | BIT(NO_PREFAULT), 0, "numa", "contradicts prefault = false" },
	{ ANY, ANY, ANY, ANY, BIT(BIND) | BIT(NO_PREFAULT), 0, "numa", "contradicts prefault = false" },
};

/* One of the combinations, and the text that says it: a key a line. */
struct combination {
	unsigned backend, kind, page, size;	/* which */
	unsigned has;
	char text[1024];
	struct {
		const char *key;
		unsigned line;
	} keys[16];
	size_t n_keys, length;
};

static void
add(struct combination *combination, const char *key, const char *before, const char *value, const char *after)
{
	int n = snprintf(combination->text + combination->length, sizeof(combination->text) - combination->length, "%s%s%s\n",
	    before, value, after);

	combination->keys[combination->n_keys].key = key;
	combination->keys[combination->n_keys].line = 2 + (unsigned)combination->n_keys;
	combination->n_keys++;
	combination->length += (size_t)n;
	ck_assert_uint_lt(combination->length, sizeof(combination->text));
}

static void
write_text(struct combination *combination)
{
	bool is_template = BIT(combination->kind) == TEMPLATE;

	combination->length = combination->n_keys = 0;
	combination->length = (size_t)snprintf(combination->text, sizeof(combination->text), "%s = ( { name = \"a-\";\n",
	    is_template ? "templates" : "segments");
	add(combination, is_template ? "max_size" : "size", is_template ? "max_size = \"" : "size = \"",
	    sizes[combination->size], "\";");
	add(combination, "backend", "backend = \"", backends[combination->backend], "\";");
	add(combination, "page_size", "page_size = \"", pages[combination->page], "\";");
	for (unsigned i = 0; i < OPTION_N; i++)
		if (combination->has & BIT(i))
			add(combination, options[i].key, "", options[i].text, "");
	add(combination, "end", "} );", "", "");
}

/* Where a problem of the key is to be: where it stands, or where the group begins that it is missing in. */
static unsigned
line_of(const struct combination *combination, const char *key)
{
	for (size_t i = 0; i < combination->n_keys; i++)
		if (streq(combination->keys[i].key, key))
			return combination->keys[i].line;
	return 1;
}

static bool
rule_holds(const struct rule *rule, const struct combination *combination)
{
	return rule->backends & BIT(combination->backend) && rule->kinds & BIT(combination->kind) &&
	    rule->pages & BIT(combination->page) && rule->sizes & BIT(combination->size) &&
	    (rule->has & combination->has) == rule->has && !(rule->lacks & combination->has);
}

static void
key_path(const struct combination *combination, const char *key, char *buf, size_t size)
{
	(void)snprintf(buf, size, "%s[0].%s", BIT(combination->kind) == TEMPLATE ? "templates" : "segments", key);
}

static bool
is_expected(const struct conf_problem *problem, const struct combination *combination)
{
	char path[64];

	for (size_t i = 0; i < BASE_ARRAY_SIZE(rules); i++) {
		if (!rule_holds(&rules[i], combination))
			continue;
		key_path(combination, rules[i].key, path, sizeof(path));
		if (problem->key && streq(problem->key, path) && strstr(problem->text, rules[i].words))
			return true;
	}
	return false;
}

/* A sentence without a way out is half a sentence. */
static bool
has_remedy(const struct conf_problem *problem)
{
	return strstr(problem->text, "expected") || strstr(problem->text, "emove it") || strstr(problem->text, "requires") ||
	    strstr(problem->text, "set ");
}

static void
expect(const struct combination *combination)
{
	char path[64];
	struct run run;

	run_text(&run, combination->text);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rules); i++) {
		if (!rule_holds(&rules[i], combination))
			continue;
		key_path(combination, rules[i].key, path, sizeof(path));
		ck_assert_msg(run_find(&run, line_of(combination, rules[i].key), path, rules[i].words),
		    "%sexpected in line %u, key %s: '%s'; got:\n%s", combination->text,
		    line_of(combination, rules[i].key), path, rules[i].words, run_problems(&run));
	}
	for (size_t i = 0; i < run.report.n_problems; i++) {
		const struct conf_problem *problem = &run.report.problems[i];

		ck_assert_msg(is_expected(problem, combination), "%snot expected: %s: %s", combination->text,
		    problem->key ? problem->key : "", problem->text);
		ck_assert_msg(has_remedy(problem), "no way out: %s", problem->text);
	}
	run_done(&run);
}

static void
expect_all_with(struct combination *combination)
{
	for (combination->page = 0; combination->page < BASE_ARRAY_SIZE(pages); combination->page++)
		for (combination->size = 0; combination->size < BASE_ARRAY_SIZE(sizes); combination->size++) {
			write_text(combination);
			expect(combination);
		}
}

START_TEST(what_cannot_be_is_refused_and_all_else_is_taken)
{
	struct combination combination = { .backend = (unsigned)_i / 2, .kind = (unsigned)_i % 2 };

	for (unsigned a = 0; a < OPTION_N; a++)
		for (unsigned b = a; b < OPTION_N; b++) {
			if (a != b && streq(options[a].key, options[b].key))
				continue;
			combination.has = BIT(a) | BIT(b);
			expect_all_with(&combination);
		}
	combination.has = 0;
	expect_all_with(&combination);
	/* With what it needs, all that is allowed besides at once. */
	combination.has = BIT(OBJECT) | BIT(OWNER) | BIT(ALLOW) | BIT(SCRUB) | BIT(BIND) | BIT(MODE);
	expect_all_with(&combination);
}
END_TEST

#define TEN	"0123456789"

static const struct {
	const char *text;
	unsigned line;
	const char *key;
	const char *words;
} sentences[] = {
	{ "segments = ( { name = \"a\"; size = \"3MiB\"; page_size = \"2MiB\"; } );", 1, "segments[0].size",
	    "expected 2MiB or 4MiB, or a smaller page_size" },
	{ "segments = ( { name = \"a\"; size = \"1MiB\"; page_size = \"2MiB\"; } );", 1, "segments[0].size", "expected 2MiB, or" },
	{ "segments = ( { name = \"a\"; size = \"2MiB\"; page_size = \"2MiB\";\nmax_size = \"5MiB\"; } );", 2,
	    "segments[0].max_size", "5MiB is no multiple" },
	{ "segments = ( { name = \"a\"; size = \"1MiB\"; numa = \"interleave:3\"; } );", 1, "segments[0].numa",
	    "interleaves one node, 3; expected two or more, or \"bind:3\"" },
	{ "segments = ( { name = \"a\"; size = 1; backend = \"posix\"; object = \"/o\"; },\n"
	    "{ name = \"b\"; size = 1; backend = \"posix\"; object = \"/o\"; } );", 2, NULL,
	    "object \"/o\" is that of segment \"a\" of test.conf:1 already" },
#define FILE_SEGMENT(path)	"segments = ( { name = \"a\"; size = 1; backend = \"file\";\npath = \"" path "\"; } );"
	{ FILE_SEGMENT("file"), 2, "segments[0].path", "expected an absolute path" },
	{ FILE_SEGMENT("/"), 2, "segments[0].path", "names no file" },
	{ FILE_SEGMENT("/a/"), 2, "segments[0].path", "names no file" },
	{ FILE_SEGMENT("/a//b"), 2, "segments[0].path", "not by its shortest path" },
	{ FILE_SEGMENT("/a/../b"), 2, "segments[0].path", "not by its shortest path" },
	{ FILE_SEGMENT("/a/./b"), 2, "segments[0].path", "not by its shortest path" },
	{ FILE_SEGMENT("/a/b.segmentd"), 2, "segments[0].path", "as the mark that segmentd keeps" },
	{ FILE_SEGMENT("/a/" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN), 2,
	    "segments[0].path", "has a name of 250 bytes; expected 242 at most" },
	{ "segments = ( { name = \"a\"; size = 1; backend = \"file\"; path = \"/o\"; },\n"
	    "{ name = \"b\"; size = 1; backend = \"file\"; path = \"/o\"; } );", 2, NULL,
	    "path \"/o\" is that of segment \"a\" of test.conf:1 already" },
};

START_TEST(it_is_said_what_to_write_instead)
{
	struct run run;

	run_text(&run, sentences[_i].text);
	ck_assert_int_eq(run.result, CONF_E_INVALID);
	ck_assert_msg(run_find(&run, sentences[_i].line, sentences[_i].key, sentences[_i].words), "%s:\n%s", sentences[_i].text,
	    run_problems(&run));
	run_done(&run);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/combinations");
	TCase *tc = tcase_create("combinations");

	tcase_set_timeout(tc, 120);
	tcase_add_loop_test(tc, what_cannot_be_is_refused_and_all_else_is_taken, 0, 8);
	tcase_add_loop_test(tc, it_is_said_what_to_write_instead, 0, BASE_ARRAY_SIZE(sentences));
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
