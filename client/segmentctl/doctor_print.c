/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What doctor found, for people and for programs. Sentences are broken to the terminal's width between words, but a command,
 * which stands between backticks, never: it is there to be copied.
 */
#include "config.h"

#include <assert.h>

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"

#define NAMES_MAX	8		/* of segments in a line for people */
#define WIDTH_MIN	16

enum { LEVEL, CHECK, FINDING, N_COLUMNS };

static const struct table_column columns[] = {
	[LEVEL] = { "LEVEL", 0, 0 },
	[CHECK] = { "CHECK", 0, 0 },
	[FINDING] = { "FINDING", 0, 0 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

static const struct {
	const char *name;
	const char *color;
} levels[DOCTOR_LEVEL_N] = {
	[DOCTOR_OK] = { "ok", "green" },
	[DOCTOR_NOTE] = { "note", "cyan" },
	[DOCTOR_PROBLEM] = { "problem", "yellow" },
	[DOCTOR_REQUIRED] = { "required", "red" },
};

struct printer {
	struct table table;
	size_t width;			/* of a line of a finding; 0: it is not broken */
	const struct doctor_row *row;
	bool is_first;			/* line of the row */
	int error;
};

const char *
doctor_level_name(enum doctor_level level)
{
	return levels[level].name;
}

/* A line of the finding; level and check stand beside the first one. */
static void
put_line(struct printer *printer, const char *line)
{
	const struct doctor_row *row = printer->row;
	const char *cells[N_COLUMNS] = { "", "", line };

	if (printer->is_first) {
		cells[LEVEL] = levels[row->level].name;
		cells[CHECK] = row->check;
	}
	if (printer->error == 0)
		printer->error = table_add_row(&printer->table, cells, printer->is_first ? levels[row->level].color : NULL, LEVEL);
	printer->is_first = false;
}

/* The length of the next piece that is not broken: a word, or as many as stand in a command. */
static size_t
piece_length(const char *text)
{
	bool in_command = false;
	size_t len = 0;

	for (; text[len] && (in_command || text[len] != ' '); len++)
		in_command ^= text[len] == '`';
	return len;
}

static void
put_text(struct printer *printer, const char *indent, const char *text)
{
	cleanup_free char *line = malloc(strlen(indent) + strlen(text) + 1);
	size_t len = strlen(indent);
	bool is_empty = true;

	if (!line) {
		printer->error = -ENOMEM;
		return;
	}
	(void)strcpy(line, indent);
	while (*text) {
		size_t piece = piece_length(text);

		if (printer->width && !is_empty && len + 1 + piece > printer->width) {
			put_line(printer, line);
			len = strlen(indent);
			is_empty = true;
		}
		if (!is_empty)
			line[len++] = ' ';
		memcpy(line + len, text, piece);
		len += piece;
		line[len] = '\0';
		is_empty = false;
		text += piece;
		text += strspn(text, " ");
	}
	put_line(printer, line);
}

/* "a, b and 3 more: means". NULL where there is nothing to say, or memory is short. */
static char *
format_means(const struct doctor_row *row)
{
	char *text = NULL;
	size_t size = 0, n = min_u64(row->n_segments, NAMES_MAX);
	FILE *out;

	if (!row->means && !row->n_segments)
		return NULL;
	out = open_memstream(&text, &size);
	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++)
		fprintf(out, "%s%s", i ? ", " : "", row->segments[i]);
	if (n < row->n_segments)
		fprintf(out, " and %zu more", row->n_segments - n);
	fprintf(out, "%s%s", n && row->means ? ": " : "", row->means ? row->means : "");
	return fclose(out) == 0 ? text : NULL;
}

/* The check of a row of the same level before this one that has the same remedy; NULL: there is none. */
static const char *
find_same_remedy(const struct doctor *doctor, const struct doctor_row *row)
{
	for (const struct doctor_row *other = doctor->rows; other < row; other++)
		if (other->level == row->level && other->remedy && streq(other->remedy, row->remedy))
			return other->check;
	return NULL;
}

static void
put_row(struct printer *printer, const struct doctor *doctor, const struct doctor_row *row)
{
	cleanup_free char *means = format_means(row), *remedy = NULL;
	const char *same;

	printer->row = row;
	printer->is_first = true;
	put_text(printer, "", row->what);
	if (means)
		put_text(printer, "  ", means);
	if (!row->remedy)
		return;
	same = find_same_remedy(doctor, row);
	if ((same ? asprintf(&remedy, "remedy: as for %s above", same) : asprintf(&remedy, "remedy: %s", row->remedy)) < 0) {
		remedy = NULL;
		printer->error = -ENOMEM;
		return;
	}
	put_text(printer, "  ", remedy);
}

static size_t
count_level(const struct doctor *doctor, enum doctor_level level)
{
	size_t n = 0;

	for (size_t i = 0; i < doctor->n_rows; i++)
		n += doctor->rows[i].level == level;
	return n;
}

/* What is left of the terminal beside level and check. */
static size_t
finding_width(const struct doctor *doctor)
{
	size_t terminal = table_terminal_width(STDOUT_FILENO), level = strlen("LEVEL"), check = strlen("CHECK"), taken;

	if (!terminal)
		return 0;
	for (size_t i = 0; i < doctor->n_rows; i++) {
		level = max_u64(level, strlen(levels[doctor->rows[i].level].name));
		check = max_u64(check, strlen(doctor->rows[i].check));
	}
	taken = level + 2 + check + 2;
	return terminal > taken + WIDTH_MIN ? terminal - taken : WIDTH_MIN;
}

static bool
has_name(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (streq(names[i], name))
			return true;
	return false;
}

/* " about a, b and more": segments of all rows of a level, each once; nothing where there are none. */
static void
print_names(const struct doctor *doctor, enum doctor_level level)
{
	const char *names[NAMES_MAX];
	size_t n = 0;

	for (size_t i = 0; i < doctor->n_rows; i++) {
		const struct doctor_row *row = &doctor->rows[i];

		for (size_t j = 0; row->level == level && j < row->n_segments; j++) {
			if (has_name(names, n, row->segments[j]))
				continue;
			if (n == NAMES_MAX) {
				printf(" and more");
				return;
			}
			printf("%s%s", n ? ", " : " about ", row->segments[j]);
			names[n++] = row->segments[j];
		}
	}
}

static void
print_sum(const struct doctor *doctor)
{
	size_t n_required = count_level(doctor, DOCTOR_REQUIRED), n_problems = count_level(doctor, DOCTOR_PROBLEM);

	putchar('\n');
	if (n_required) {
		printf("The start will fail: %zu finding%s", n_required, n_required == 1 ? "" : "s");
		print_names(doctor, DOCTOR_REQUIRED);
		printf(".\n");
	}
	if (n_problems) {
		printf("%s: %zu problem%s", n_required ? "Besides" : "What is required fits", n_problems, n_problems == 1 ? "" : "s");
		print_names(doctor, DOCTOR_PROBLEM);
		printf(".\n");
	}
	if (!n_required && !n_problems)
		printf("Everything fits.\n");
}

/* What is worst comes last, where whoever looks at a terminal sees it. */
static int
print_table(const struct doctor *doctor)
{
	struct printer printer = { .table = TABLE_NULL, .width = finding_width(doctor) };

	printer.error = table_init(&printer.table, columns, N_COLUMNS);
	for (unsigned level = 0; level < DOCTOR_LEVEL_N; level++)
		for (size_t i = 0; i < doctor->n_rows && printer.error == 0; i++)
			if (doctor->rows[i].level == level)
				put_row(&printer, doctor, &doctor->rows[i]);
	if (printer.error == 0)
		printer.error = table_print(&printer.table);
	table_deinit(&printer.table);
	if (printer.error == 0)
		print_sum(doctor);
	return printer.error;
}

/* What stands between backticks, each by itself. */
static void
add_commands(struct json *json, const char *remedy)
{
	const char *from = remedy ? strchr(remedy, '`') : NULL, *to;

	json_open_array(json, "commands");
	while (from && (to = strchr(from + 1, '`'))) {
		cleanup_free char *command = strndup(from + 1, (size_t)(to - from - 1));

		json_add_string(json, NULL, command);
		from = strchr(to + 1, '`');
	}
	json_close_array(json);
}

static void
add_row(struct json *json, const struct doctor_row *row)
{
	json_open_object(json, NULL);
	json_add_string(json, "level", levels[row->level].name);
	json_add_string(json, "check", row->check);
	json_add_string(json, "finding", row->what);
	json_add_string(json, "means", row->means);
	json_open_array(json, "segments");
	for (size_t i = 0; i < row->n_segments; i++)
		json_add_string(json, NULL, row->segments[i]);
	json_close_array(json);
	json_add_string(json, "remedy", row->remedy);
	add_commands(json, row->remedy);
	json_close_object(json);
}

static int
print_json(const struct doctor *doctor)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_add_string(&json, "file", doctor->file);
		json_add_bool(&json, "daemon", doctor->has_daemon);
		json_add_string(&json, "limits_of", doctor->whose);
		json_add_bool(&json, "fits", count_level(doctor, DOCTOR_REQUIRED) == 0);
		json_open_array(&json, "findings");
		for (size_t i = 0; i < doctor->n_rows; i++)
			add_row(&json, &doctor->rows[i]);
		json_close_array(&json);
		json_open_object(&json, "counts");
		for (unsigned level = 0; level < DOCTOR_LEVEL_N; level++)
			json_add_number(&json, levels[level].name, count_level(doctor, level));
		json_close_object(&json);
		r = json_print(&json);
	}
	json_deinit(&json);
	return r;
}

int
doctor_print(const struct segmentctl *ctl, const struct doctor *doctor)
{
	return ctl->json ? print_json(doctor) : print_table(doctor);
}
