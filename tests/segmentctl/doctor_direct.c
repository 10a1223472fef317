/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A doctor without a command line: only what the checks read of it is set. */
#include "config.h"

#include "tests/segmentctl/doctor_direct.h"

#include <check.h>

#include "base/base.h"
#include "tests/host/tree.h"
#include "tests/segmentctl/doctor_host.h"
#include "tests/segmentctl/run.h"

struct doctor direct;
struct conf direct_conf;
struct definition direct_definitions[3];

static struct definition *list[] = { &direct_definitions[0], &direct_definitions[1], &direct_definitions[2] };

void
direct_define(size_t i, const char *name, enum definition_backend backend, uint64_t size_bytes, bool required)
{
	static char names[BASE_ARRAY_SIZE(direct_definitions)][16];

	(void)snprintf(names[i], sizeof(names[i]), "%s", name);
	doctor_drop_rows(&direct);
	direct_definitions[i] = (struct definition) { .name = names[i], .backend = backend, .size_bytes = size_bytes,
		.max_size_bytes = size_bytes, .required = required, .prefault = true };
	direct_conf = (struct conf) { .segments = list, .n_segments = i + 1 };
	direct = (struct doctor) { .root = tree_root, .conf = &direct_conf, .service_error = -ENOENT, .check = "x",
		.limits.uid = geteuid() };
}

void
direct_run(doctor_check_fn check, size_t n_rows)
{
	doctor_drop_rows(&direct);
	check(&direct);
	ck_assert_uint_eq(direct.n_rows, n_rows);
}

void
direct_assert(doctor_check_fn check, enum doctor_level level, const char *words, size_t n_segments)
{
	const struct doctor_row *row;
	char copy[FINDINGS_TEXT_SIZE];

	direct_run(check, 1);
	row = direct.rows;
	ck_assert_msg(row->level == level, "%s: %s", doctor_level_name(row->level), row->what);
	(void)snprintf(copy, sizeof(copy), "%s. %s", row->what, row->remedy ? row->remedy : "");
	assert_has(copy, words);
	ck_assert_uint_eq(row->n_segments, n_segments);
	for (char *p = strchr(copy, '`'); p; p = strchr(p + 1, '`')) {
		char *command = p + 1;

		p = strchr(command, '`');
		*p = '\0';
		doctor_try_command(command);
	}
}

void
direct_drop_rows(void)
{
	doctor_drop_rows(&direct);
}
