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
		int flags = (columns[i].flags & TABLE_RIGHT ? SCOLS_FL_RIGHT : 0) |
		    (columns[i].flags & TABLE_TRUNCATE ? SCOLS_FL_TRUNC : 0);

		table->widths[i] = strlen(columns[i].name);
		if (!scols_table_new_column(table->scols, columns[i].name, 0, flags))
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
		table->widths[i] = max_u64(table->widths[i], text_width(escaped));
		r = scols_line_refer_data(line, i, escaped);	/* which takes it */
	}
	if (r == 0 && color)
		r = scols_cell_set_color(scols_line_get_cell(line, color_column), color);
	table->n_rows++;
	return r;
}

/* The shown column that is missed least; NULL: all that are left are wanted. */
static struct libscols_column *
find_dispensable(const struct table *table, size_t *ret_width)
{
	struct libscols_column *found = NULL;
	unsigned most = 0;

	for (size_t i = 0; i < table->n_columns; i++) {
		struct libscols_column *column = scols_table_get_column(table->scols, i);

		if (table->columns[i].dispensable <= most || scols_column_is_hidden(column))
			continue;
		most = table->columns[i].dispensable;
		*ret_width = table->widths[i];
		found = column;
	}
	return found;
}

static int
fit(struct table *table, size_t terminal_width)
{
	size_t width = (table->n_columns - 1) * strlen(SEPARATOR), column_width;

	for (size_t i = 0; i < table->n_columns; i++)
		width += table->widths[i];
	while (width > terminal_width) {
		struct libscols_column *column = find_dispensable(table, &column_width);
		int r;

		if (!column)
			break;		/* libsmartcols cuts those that may be cut */
		r = scols_column_set_flags(column, scols_column_get_flags(column) | SCOLS_FL_HIDDEN);
		if (r < 0)
			return r;
		width -= column_width + strlen(SEPARATOR);
	}
	return 0;
}

int
table_print(struct table *table)
{
	size_t terminal_width = table_terminal_width(STDOUT_FILENO);
	int r;

	if (table->n_rows == 0) {
		/* libsmartcols prints nothing at all then. */
		for (size_t i = 0; i < table->n_columns; i++)
			printf("%s%s", i ? SEPARATOR : "", table->columns[i].name);
		putchar('\n');
		return ferror(stdout) ? -EIO : 0;
	}
	if (terminal_width > 0) {
		r = fit(table, terminal_width);
		if (r == 0)
			r = scols_table_set_termwidth(table->scols, terminal_width);
		if (r < 0)
			return r;
	}
	errno = 0;
	r = scols_print_table(table->scols);
	return r < 0 && errno ? -errno : r;
}
