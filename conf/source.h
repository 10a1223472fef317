/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The text that libconfig gets to parse: a file with its @include directives carried out, looked over beforehand, and with
 * the way back from a line of it to the file and line that it came from.
 */
#ifndef CONF_SOURCE_H
#define CONF_SOURCE_H

#include <stddef.h>

#include "conf/load.h"

#define SOURCE_NESTING_MAX	16	/* brackets in brackets; the design needs 5 */
#define SOURCE_INCLUDE_NESTING_MAX 10
#define SOURCE_INCLUDES_MAX	1000
#define SOURCE_GROUP_KEYS_MAX	256	/* of one group: libconfig searches it for each key that is added */
#define SOURCE_MARKS_MAX	(4 * SOURCE_INCLUDES_MAX)	/* of one text from memory */
#define SOURCE_MARK		"#line "	/* and a number and a name in quotes: a comment that says where the next line is from */
#define SOURCE_VALUES_MAX	1000000	/* of one text */

/* From line first of the text on, up to the next span: lines of files[file], from line on. */
struct source_span {
	unsigned first;
	unsigned line;
	unsigned file;
};

struct source {
	char *text;			/* ends with a NUL */
	size_t length;
	size_t room;
	unsigned line;			/* the last one of text, from 1 */
	struct source_span *spans;
	size_t n_spans;
	char **files;
	size_t n_files;
};

#define SOURCE_NULL	{ .line = 1 }

/* Positive results. */
enum {
	SOURCE_E_REFUSED = 1,		/* the report says why */
	SOURCE_E_GONE = 2		/* there is no such file; nothing was reported */
};

/* Reads a file and what it includes. source: initialised to SOURCE_NULL, and to be given back whatever is returned. */
int source_read_file(struct source *source, const char *path, struct conf_report *report);

/* The same of a text from memory, in which @include is refused and marks count. */
int source_read_text(struct source *source, const char *name, const char *bytes, size_t length,
    struct conf_report *report);

/* Where a line of text came from; the string lives as long as the source. */
void source_find(const struct source *source, unsigned line, const char **ret_file, unsigned *ret_line);

void source_deinit(struct source *source);

#endif
