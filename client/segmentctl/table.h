/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Tables for people, by libsmartcols: aligned, coloured on a terminal only, and as wide as the terminal at most: the
 * least important columns are left out where it is too narrow. Cells are escaped here, whoever they come from.
 */
#ifndef CLIENT_SEGMENTCTL_TABLE_H
#define CLIENT_SEGMENTCTL_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#define TABLE_COLUMNS_MAX	16

#define TABLE_RIGHT	0x1u		/* aligned to the right: numbers */
#define TABLE_TRUNCATE	0x2u		/* may lose its end on a terminal; never a number, which would become another one */
#define TABLE_HIDE_EMPTY 0x4u		/* left out where no row has anything in it */

struct table_column {
	const char *name;
	unsigned flags;
	unsigned dispensable;		/* 0: always shown; the largest is left out first */
};

struct libscols_table;

struct table {
	const struct table_column *columns;
	size_t n_columns;
	size_t widths[TABLE_COLUMNS_MAX];
	bool is_filled[TABLE_COLUMNS_MAX];
	size_t n_rows;
	struct libscols_table *scols;
};

#define TABLE_NULL	{ 0 }

int table_init(struct table *table, const struct table_column *columns, size_t n_columns);
void table_deinit(struct table *table);

/* A row; color: of the cell in column color_column ("green"), or NULL. 0 or a negative errno. */
int table_add_row(struct table *table, const char *const *cells, const char *color, size_t color_column);

/* Prints it on standard output, a heading at least. 0 or a negative errno. */
int table_print(struct table *table);

/* Columns of the terminal on fd, 0 if it is none. Colours: whether standard output wants them. */
size_t table_terminal_width(int fd);
bool table_wants_color(void);

#endif
