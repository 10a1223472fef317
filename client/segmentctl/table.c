/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* libsmartcols, with what every table of segmentctl has in common. */
#include "config.h"

#include "client/segmentctl/table.h"

#include <assert.h>
#include <libsmartcols.h>
#include <sys/ioctl.h>

#include "base/base.h"
#include "client/segmentctl/text.h"

#define SEPARATOR	"  "
#define CUT_WIDTH_MIN	6		/* what of a cell is shown at least */

size_t
table_terminal_width(int fd)
{
	struct winsize size = { 0 };

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool
table_wants_color(void)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");

	return isatty(STDOUT_FILENO) && !(no_color && *no_color) && !(term && streq(term, "dumb"));
}

int
table_init(struct table *table, const struct table_column *columns, size_t n_columns)
{
	assert(n_columns <= TABLE_COLUMNS_MAX);
	*table = (struct table){ .columns = columns, .n_columns = n_columns };
	table->scols = scols_new_table();
	if (!table->scols)
		return -ENOMEM;
	for (size_t i = 0; i < n_columns; i++) {
		table->widths[i] = strlen(columns[i].name);
		if (!scols_table_new_column(table->scols, columns[i].name, 0,
		    columns[i].flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0))
			return -ENOMEM;
	}
	(void)scols_table_enable_colors(table->scols, table_wants_color());
	return scols_table_set_column_separator(table->scols, SEPARATOR);
}

void
table_deinit(struct table *table)
{
	scols_unref_table(table->scols);
	*table = (struct table)TABLE_NULL;
}

int
table_add_row(struct table *table, const char *const *cells, const char *color, size_t color_column)
{
	struct libscols_line *line = scols_table_new_line(table->scols, NULL);
	int r = 0;

	if (!line)
		return -ENOMEM;
	for (size_t i = 0; i < table->n_columns && r == 0; i++) {
		char *escaped = text_escape(cells[i]);

		if (!escaped)
			return -ENOMEM;
		table->is_filled[i] = table->is_filled[i] || *escaped;
		table->widths[i] = max_u64(table->widths[i], text_width(escaped));
		r = scols_line_refer_data(line, i, escaped);	/* which takes it */
	}
	if (r == 0 && color)
		r = scols_cell_set_color(scols_line_get_cell(line, color_column), color);
	table->n_rows++;
	return r;
}

static bool
is_hidden(const struct table *table, size_t i)
{
	return scols_column_is_hidden(scols_table_get_column(table->scols, i));
}

static int
hide(struct table *table, size_t i)
{
	struct libscols_column *column = scols_table_get_column(table->scols, i);

	return scols_column_set_flags(column, scols_column_get_flags(column) | SCOLS_FL_HIDDEN);
}

/* Columns that all rows leave empty say nothing. */
static int
hide_empty(struct table *table)
{
	int r = 0;

	for (size_t i = 0; i < table->n_columns && r == 0; i++)
		if (table->columns[i].flags & TABLE_HIDE_EMPTY && !table->is_filled[i])
			r = hide(table, i);
	return r;
}

/* What the shown columns take. Of what can be cut, at most so much is counted. */
static size_t
measure(const struct table *table, size_t cut_width)
{
	size_t width = 0, n = 0;

	for (size_t i = 0; i < table->n_columns; i++) {
		bool can_be_cut = table->columns[i].flags & TABLE_TRUNCATE;

		if (is_hidden(table, i))
			continue;
		width += can_be_cut ? min_u64(table->widths[i], cut_width) : table->widths[i];
		n++;
	}
	return width + (n > 1 ? (n - 1) * strlen(SEPARATOR) : 0);
}

/* The shown column that is missed least; n_columns: all that are left are wanted. */
static size_t
find_dispensable(const struct table *table)
{
	size_t found = table->n_columns;
	unsigned most = 0;

	for (size_t i = 0; i < table->n_columns; i++) {
		if (table->columns[i].dispensable <= most || is_hidden(table, i))
			continue;
		most = table->columns[i].dispensable;
		found = i;
	}
	return found;
}

/* The widest column that can be cut further; n_columns: none. */
static size_t
find_widest(const struct table *table)
{
	size_t found = table->n_columns, widest = CUT_WIDTH_MIN;

	for (size_t i = 0; i < table->n_columns; i++) {
		if (!(table->columns[i].flags & TABLE_TRUNCATE) || is_hidden(table, i) || table->widths[i] <= widest)
			continue;
		widest = table->widths[i];
		found = i;
	}
	return found;
}

/* Cuts the cells of a column to its width. */
static int
cut_column(struct table *table, size_t i)
{
	for (size_t row = 0; row < table->n_rows; row++) {
		struct libscols_line *line = scols_table_get_line(table->scols, row);
		const char *cell = scols_line_get_column_data(line, scols_table_get_column(table->scols, i));
		char *cut;
		int r;

		if (!cell || text_width(cell) <= table->widths[i])
			continue;
		cut = text_cut(cell, table->widths[i]);
		if (!cut)
			return -ENOMEM;
		r = scols_line_refer_data(line, i, cut);
		if (r < 0)
			return r;
	}
	return 0;
}

/* First whole columns give way; then what can be cut loses its end, and shows it: a part must not pass for a whole name. */
static int
fit(struct table *table, size_t terminal_width)
{
	size_t width, i;
	int r = 0;

	while (r == 0 && measure(table, terminal_width / 2) > terminal_width) {
		i = find_dispensable(table);
		if (i == table->n_columns)
			break;
		r = hide(table, i);
	}
	while ((width = measure(table, SIZE_MAX)) > terminal_width && (i = find_widest(table)) < table->n_columns)
		table->widths[i]--;
	for (i = 0; i < table->n_columns && r == 0; i++)
		if (table->columns[i].flags & TABLE_TRUNCATE && !is_hidden(table, i))
			r = cut_column(table, i);
	return r;
}

/* libsmartcols prints nothing at all where there is no row. */
static int
print_heading(const struct table *table)
{
	bool is_first = true;

	for (size_t i = 0; i < table->n_columns; i++) {
		if (is_hidden(table, i))
			continue;
		printf("%s%s", is_first ? "" : SEPARATOR, table->columns[i].name);
		is_first = false;
	}
	putchar('\n');
	return ferror(stdout) ? -EIO : 0;
}

int
table_print(struct table *table)
{
	size_t terminal_width = table_terminal_width(STDOUT_FILENO);
	int r = hide_empty(table);

	if (r == 0 && terminal_width > 0)
		r = fit(table, terminal_width);
	if (r == 0 && terminal_width > 0)
		r = scols_table_set_termwidth(table->scols, terminal_width);
	if (r < 0)
		return r;
	if (table->n_rows == 0)
		return print_heading(table);
	errno = 0;
	r = scols_print_table(table->scols);
	return r < 0 && errno ? -errno : r;
}
