/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The configuration as text: whatever the files have in them, they are taken or refused with a reason. What is taken keeps the
 * promises that the rest of the daemon rests on: locks are within their segment and apart, and what is packed for another process is
 * the same when it is unpacked.
 *
 * An input is the main file's text, and those of segments.d behind it, each after a byte 0x1e.
 */
#include "config.h"

#include "conf/load.h"
#include "conf/pack.h"
#include "conf/plan.h"
#include "tests/fuzz/fuzz.h"

#define TEXTS_MAX	4
#define SEPARATOR	0x1e

/* What the grammar and the units turn on. */
static const char *const tokens[] = { "{", "}", "(", ")", "[", "]", "=", ";", ",", ":", "\"", "\\", "\\x00",
	"\\x41", "/*", "*/", "//", "#", "@include \"x\"\n", "\n@include", "#line 7 \"x\"\n", "-", "0x", "L", "LL", "99999999999999999999",
	"4294967296", "1.5e999", "%U", "\n", "\r", "\t", "\x01", "\x1e", "\xff", "true", "false", "name", "size = 1;", "0", "..", "e",
	"locks = ( { name = \"x\"; length = 8; } );", "at = 64;", "offset", "length", "undo", "on_death = \"zero\";", "max_size = \"1M\";",
	"backend = \"file\"; path = \"/p\";", "backend = \"posix\"; object = \"/o\";", "backend = \"sysv\"; key = 1;", "numa = \"bind:0\";",
	"page_size = \"2MiB\";", "templates = (", "orphans = (", "segments = (", "daemon = {", "allow = ( { user = \"0\"; access = \"rw\"; } );",
	"lifetime = \"attached\";", "linger", "scrub", "KiB", "MiB", "TiB", "s", "min", "mode = \"0666\";" };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

size_t
LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	const char *token = tokens[(seed >> 2) % BASE_ARRAY_SIZE(tokens)];
	size_t length = strlen(token), at = size ? (seed >> 10) % (size + 1) : 0;

	if (seed % 4 || size + length > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	memmove(data + at + length, data + at, size - at);
	memcpy(data + at, token, length);
	return size + length;
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void
check_report(const struct conf_report *report, int result)
{
	char line[4096];

	fuzz_check((result == CONF_E_INVALID) == (report->n_problems > 0));
	for (size_t i = 0; i < report->n_problems; i++) {
		const struct conf_problem *problem = &report->problems[i];

		fuzz_check(problem->file && problem->text);
		fuzz_check(conf_problem_format(problem, line, sizeof(line)) > 0);
		/* Our grammar and libconfig's are the same. */
		fuzz_check_msg(strncmp(problem->text, "libconfig refuses", 17) != 0, "%s", line);
	}
}

static bool
are_apart(uint64_t offset, uint64_t length, uint64_t other, uint64_t other_length)
{
	return !length || !other_length || offset >= other + other_length || other >= offset + length;
}

/* What recovery relies on, by the simplest means: every byte that a lock has is in the segment, and in no other lock. */
static void
check_ranges(const struct definition *definition)
{
	uint64_t size_bytes = definition->is_template ? definition->max_size_bytes : definition->size_bytes;

	for (size_t i = 0; i < definition->n_locks; i++) {
		const struct definition_lock *a = &definition->locks[i];

		fuzz_check(a->is_mutex || a->length_bytes > 0);
		fuzz_check(a->length_bytes <= size_bytes);
		fuzz_check(a->offset_bytes <= size_bytes - a->length_bytes);
		fuzz_check(!a->is_mutex || a->at_bytes + DEFINITION_MUTEX_BYTES <= size_bytes);
		for (size_t j = 0; j < definition->n_locks; j++) {
			const struct definition_lock *b = &definition->locks[j];

			fuzz_check(i == j || are_apart(a->offset_bytes, a->length_bytes, b->offset_bytes, b->length_bytes));
			fuzz_check(!a->is_mutex || are_apart(a->at_bytes, DEFINITION_MUTEX_BYTES, b->offset_bytes, b->length_bytes));
		}
	}
}

static void
check_definition(const struct definition *definition, const struct definition *other)
{
	struct definition *back = NULL, *merged;
	struct pack pack = PACK_NULL;
	char why[PACK_WHY_SIZE] = "";
	unsigned effects;
	int r = pack_definition(&pack, definition);

	check_ranges(definition);
	if (r == 0) {
		r = pack_read_definition(pack.bytes, pack.length, why, &back);
		fuzz_check_msg(r == 0, "what was taken as text is refused as bytes: %s", why);
		fuzz_check(plan_equal(definition, back));
	}
	definition_unref(back);
	pack_deinit(&pack);
	/* As a reload that has the other one in its place would see it. */
	fuzz_check(plan_compare(other, definition, NULL, NULL, &effects) == 0);
	merged = plan_merge(other, definition);
	fuzz_check(merged);
	fuzz_check(plan_compare(merged, definition, NULL, NULL, &effects) == 0);
	fuzz_check(!(effects & 1u << PLAN_LIVE));
	definition_unref(merged);
}

static size_t
split(const uint8_t *data, size_t size, struct conf_text *texts)
{
	static const char *const names[TEXTS_MAX] = { "main", "a.conf", "b.conf", "c.conf" };
	size_t n = 0, from = 0;

	for (size_t i = 0; i <= size; i++) {
		if (i < size && (data[i] != SEPARATOR || n == TEXTS_MAX - 1))
			continue;
		texts[n] = (struct conf_text) { .name = names[n], .bytes = (const char *)data + from, .length = i - from };
		n++;
		from = i + 1;
	}
	return n;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct conf_text texts[TEXTS_MAX];
	struct conf *conf = NULL;
	size_t n;
	int r;

	n = split(data, size, texts);
	r = conf_load_texts(texts, n, &report, &conf);
	fuzz_check(r >= 0);
	fuzz_check((r == 0) == (conf != NULL));
	check_report(&report, r);
	for (size_t i = 0; conf && i < conf->n_segments; i++)
		check_definition(conf->segments[i], conf->segments[0]);
	for (size_t i = 0; conf && i < conf->n_templates; i++)
		check_definition(conf->templates[i], conf->templates[0]);
	conf_free(conf);
	conf_report_deinit(&report);
	return 0;
}
