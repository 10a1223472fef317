/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The shipped configuration and one that uses every key, changed at random, always in the same way: whatever comes of it,
 * it is taken or refused with a reason, and nothing crashes or leaks (the sanitizers say so in such a build).
 */
#include "config.h"

#include "tests/conf/suite.h"

#define ROUNDS		4000
#define SECONDS_MAX	10	/* a slow machine does fewer */

static const char every_key[] =
    "daemon = { socket = \"/a\"; socket_mode = \"0600\"; state_dir = \"/b\"; admin_group = \"\"; workers = 3;\n"
    "memory_reserve = \"1G\"; limits = { clients = 5; attachments = 6; bytes = 7; }; };\n"
    "segments = ( { name = \"a\"; size = 0x1000; max_size = \"1T\"; backend = \"sysv\"; key = 0x7A2F;\n"
    "object = \"/o\"; path = \"/p\"; sync = \"5s\"; on_unclean = \"fail\"; page_size = \"1GiB\"; prefault = true;\n"
    "mlock = true; numa = \"bind:0,2-5\"; placement = \"prefer\"; owner = \"root\"; group = \"root\"; mode = \"0640\";\n"
    "allow = ( { user = \"root\"; access = \"r\"; }, { group = \"0\"; access = \"rw\"; } ); layout = \"l/1\";\n"
    "init = \"/i\"; required = false; lifetime = \"attached\"; linger = \"1min\"; scrub = true; dump = false;\n"
    "locks = ( { name = \"x\"; offset = \"0\"; length = \"1K\"; undo = \"64KiB\"; on_death = \"zero\"; },\n"
    "{ name = \"y\"; at = \"2K\"; init = true; on_death = \"keep\"; } ); } );\n"
    "templates = ( { name = \"s-%U-\"; max_size = \"64MiB\"; max_count = 9; } ); /* c */\n"
    "orphans = ( { posix = \"/psm_*\"; after = \"30s\"; action = \"remove\"; },\n"
    "{ sysv = { user = \"root\"; key = 1; mode = \"0666\"; }; after = \"1min\"; action = \"report\"; } ); // c\n";

/* Nothing of it is refused: what becomes of locks shows in definitions that are taken, too. */
static const char locks[] =
    "segments = ( { name = \"a\"; size = \"1M\"; locks = ( { name = \"x\"; length = 512; }, { name = \"y\"; at = 512; init = true; },\n"
    "{ name = \"z\"; offset = \"2K\"; length = \"4K\"; undo = 64; on_death = \"poison\"; }, { name = \"w\"; at = 8192; offset = 9000;\n"
    "length = 99; on_death = \"zero\"; }, { name = \"v\"; offset = 1024; length = 8; undo = 0; on_death = \"keep\"; } ); } );\n";

/* What the grammar and the units turn on. */
static const char *const tokens[] = { "{", "}", "(", ")", "[", "]", "=", ";", ",", ":", "\"", "\\", "\\x00",
	"\\x41", "/*", "*/", "//", "#", "@include \"x\"\n", "\n@include", "-", "0x", "L", "LL", "99999999999999999999",
	"4294967296", "1.5e999", "%U", "\n", "\r", "\t", "\x01", "\xff", "true", "name", "size = 1;", "0", "..", "e" };

static uint64_t state = 20240521;

static size_t
random_below(size_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (size_t)(state % n);
}

/* Replaces cut bytes at a place by length bytes; the buffer has room. */
static void
splice(char *text, size_t *n, size_t at, size_t cut, const char *bytes, size_t length)
{
	if (cut > *n - at)
		cut = *n - at;
	memmove(text + at + length, text + at + cut, *n - at - cut);
	memcpy(text + at, bytes, length);
	*n += length - cut;
}

static void
mutate(char *text, size_t *n, size_t room)
{
	char copied[256];
	size_t at = random_below(*n), from = random_below(*n);
	size_t length = random_below(sizeof(copied));
	const char *token = tokens[random_below(BASE_ARRAY_SIZE(tokens))];
	char byte = (char)random_below(256);

	if (*n + sizeof(copied) >= room)
		return;
	switch (random_below(5)) {
	case 0:
		text[at] = byte;
		break;
	case 1:
		splice(text, n, at, random_below(4), token, strlen(token));
		break;
	case 2:
		splice(text, n, at, random_below(16), "", 0);
		break;
	case 3:
		length = (size_t)min_u64(length, *n - from);
		memcpy(copied, text + from, length);
		splice(text, n, at, 0, copied, length);
		break;
	default:
		text[at] ^= (char)(1 << random_below(8));
		break;
	}
	if (*n == 0)
		splice(text, n, 0, 0, ";", 1);
}

static void
check_report(const struct conf_report *report, int result, const char *text)
{
	char line[4096];

	ck_assert_int_eq(result == CONF_E_INVALID, report->n_problems > 0);
	for (size_t i = 0; i < report->n_problems; i++) {
		const struct conf_problem *problem = &report->problems[i];

		ck_assert_ptr_nonnull(problem->file);
		ck_assert_ptr_nonnull(problem->text);
		ck_assert_int_gt(conf_problem_format(problem, line, sizeof(line)), 0);
		/* our grammar and libconfig's are the same */
		ck_assert_msg(!strstr(problem->text, "libconfig refuses"), "%s:\n%s", line, text);
	}
}

/* What recovery relies on, by the simplest means: every byte that a lock has is in the segment, and in no other lock. */
static void
check_ranges(const struct definition *definition)
{
	for (size_t i = 0; i < definition->n_locks; i++) {
		const struct definition_lock *a = &definition->locks[i];

		ck_assert(a->is_mutex || a->length_bytes > 0);
		ck_assert_uint_le(a->length_bytes, definition->size_bytes);
		ck_assert_uint_le(a->offset_bytes, definition->size_bytes - a->length_bytes);
		ck_assert(!a->is_mutex || a->at_bytes + DEFINITION_MUTEX_BYTES <= definition->size_bytes);
		for (size_t j = 0; j < definition->n_locks; j++) {
			const struct definition_lock *b = &definition->locks[j];

			ck_assert(i == j || !a->length_bytes || !b->length_bytes ||
			    a->offset_bytes >= b->offset_bytes + b->length_bytes ||
			    b->offset_bytes >= a->offset_bytes + a->length_bytes);
			ck_assert(!a->is_mutex || !b->length_bytes ||
			    a->at_bytes >= b->offset_bytes + b->length_bytes ||
			    b->offset_bytes >= a->at_bytes + DEFINITION_MUTEX_BYTES);
		}
	}
}

static void
fuzz(const char *seed, size_t length)
{
	uint64_t end = clock_monotonic_ns() + SECONDS_MAX * NS_PER_SEC;
	size_t room = 4 * length + 1024;
	char *text = malloc(room);
	unsigned n_good = 0, n_bad = 0;

	ck_assert_ptr_nonnull(text);
	for (unsigned i = 0; i < ROUNDS && clock_monotonic_ns() < end; i++) {
		struct conf_report report = CONF_REPORT_NULL;
		struct conf_text one = { .name = "fuzz", .bytes = text };
		struct conf *conf = NULL;
		size_t n = length, n_mutations = 1 + random_below(6);
		int r;

		memcpy(text, seed, length);
		while (n_mutations--)
			mutate(text, &n, room);
		one.length = n;
		r = conf_load_texts(&one, 1, &report, &conf);
		ck_assert_int_ge(r, 0);
		ck_assert((r == 0) == (conf != NULL));
		for (size_t j = 0; conf && j < conf->n_segments; j++)
			check_ranges(conf->segments[j]);
		text[n] = '\0';
		check_report(&report, r, text);
		n_good += r == 0;
		n_bad += r != 0;
		conf_free(conf);
		conf_report_deinit(&report);
	}
	printf("%u changed texts taken, %u refused\n", n_good, n_bad);
	ck_assert_uint_gt(n_bad, 0);
	free(text);
}

START_TEST(changed_shipped_configuration_crashes_nothing)
{
	size_t length;
	char *text = read_whole(SHIPPED_CONF, &length);

	fuzz(text, length);
	free(text);
}
END_TEST

START_TEST(changed_use_of_every_key_crashes_nothing)
{
	fuzz(every_key, sizeof(every_key) - 1);
}
END_TEST

START_TEST(changed_locks_crash_nothing)
{
	fuzz(locks, sizeof(locks) - 1);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("conf/fuzz");
	TCase *tc = tcase_create("fuzz");

	tcase_set_timeout(tc, 4 * SECONDS_MAX);
	tcase_add_test(tc, changed_shipped_configuration_crashes_nothing);
	tcase_add_test(tc, changed_use_of_every_key_crashes_nothing);
	tcase_add_test(tc, changed_locks_crash_nothing);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}
