/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The text that libconfig gets to parse. Looked over beforehand, because libconfig 1.5 takes some things silently that
 * nobody means: a number beyond 32 bits loses its upper half unless it ends in L (it gets its L here), one beyond 64 bits
 * is clamped, "\x00" vanishes from a string, and a comment that does not end swallows the rest of the file. It also searches
 * a group for each key that it adds to it and descends as deep as the text asks it to: both are bounded here.
 *
 * The directives are carried out here, too: the bounds hold over all files then, what was looked at is what is
 * parsed, and a text from a peer cannot name files.
 */
#include "config.h"

#include "conf/source.h"

#include "base/base.h"
#include "conf/file.h"
#include "conf/report.h"
#include "conf/units.h"

/* One run over a text and what it includes. */
struct scan {
	struct source *source;
	struct conf_report *report;
	bool includes;			/* are carried out; else refused */
	unsigned include_nesting;
	unsigned n_includes;
	unsigned n_marks;
	unsigned n_values;
	unsigned nesting;
	unsigned n_keys[SOURCE_NESTING_MAX + 1];	/* of the group at each level of nesting */
};

/* One file or text in it. */
struct input {
	const char *name;
	unsigned file;			/* its index in source->files */
	const char *at;
	const char *end;
	const char *begin;
	unsigned line;
};

static int scan_input(struct scan *scan, const char *name, const char *bytes, size_t length);

static int BASE_PRINTF(4, 5)
refuse(struct scan *scan, const struct input *input, unsigned line, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = report_add_v(scan->report, input->name, line, NULL, format, args);
	va_end(args);
	return r < 0 ? r : SOURCE_E_REFUSED;
}

static int
emit(struct scan *scan, const struct input *input, const char *bytes, size_t length)
{
	struct source *source = scan->source;
	size_t needed = source->length + length + 1;

	if (needed > (size_t)CONF_FILE_MAX_BYTES + MIB)
		return refuse(scan, input, input->line,
		    "is larger than %u bytes together with what it includes", CONF_FILE_MAX_BYTES);
	if (needed > source->room) {
		size_t room = max_u64(2 * source->room, needed + 4096);
		char *text = realloc(source->text, room);

		if (!text)
			return -ENOMEM;
		source->text = text;
		source->room = room;
	}
	memcpy(source->text + source->length, bytes, length);
	source->length += length;
	source->text[source->length] = '\0';
	return 0;
}

/* Copies length bytes of the input, none of them a newline. */
static int
copy(struct scan *scan, struct input *input, size_t length)
{
	int r = emit(scan, input, input->at, length);

	input->at += length;
	return r;
}

static int
copy_newline(struct scan *scan, struct input *input)
{
	int r = copy(scan, input, 1);

	input->line++;
	scan->source->line++;
	return r;
}

/* What follows is line `line` of file number `file`. */
static int
add_span(struct source *source, unsigned file, unsigned line)
{
	struct source_span *spans = reallocarray(source->spans, source->n_spans + 1, sizeof(*spans));

	if (!spans)
		return -ENOMEM;
	source->spans = spans;
	spans[source->n_spans++] = (struct source_span){
		.first = source->line, .line = line, .file = file,
	};
	return 0;
}

static int
add_file(struct source *source, const char *name, unsigned *ret_file)
{
	char **files = reallocarray(source->files, source->n_files + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	source->files = files;
	files[source->n_files] = strdup(name);
	if (!files[source->n_files])
		return -ENOMEM;
	*ret_file = (unsigned)source->n_files++;
	return 0;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_word(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '*';
}

static bool
starts_with(const struct input *input, const char *text)
{
	size_t len = strlen(text);

	return (size_t)(input->end - input->at) >= len && memcmp(input->at, text, len) == 0;
}

static int
scan_line_comment(struct scan *scan, struct input *input)
{
	const char *newline = memchr(input->at, '\n', (size_t)(input->end - input->at));

	return copy(scan, input, (size_t)((newline ? newline : input->end) - input->at));
}

static int
scan_block_comment(struct scan *scan, struct input *input)
{
	unsigned line = input->line;
	int r = copy(scan, input, 2);

	while (r == 0 && input->at < input->end) {
		if (starts_with(input, "*/"))
			return copy(scan, input, 2);
		r = *input->at == '\n' ? copy_newline(scan, input) : copy(scan, input, 1);
	}
	return r ? r : refuse(scan, input, line, "a comment starts here and does not end; expected */");
}

static int
scan_string(struct scan *scan, struct input *input)
{
	const char *at = input->at + 1;

	for (; at < input->end && *at != '"' && *at != '\n'; at++) {
		if (*at != '\\')
			continue;
		if (input->end - at >= 4 && memcmp(at, "\\x00", 4) == 0)
			return refuse(scan, input, input->line,
			    "a string holds \\x00; no value of the configuration does");
		at++;
		if (at == input->end || *at == '\n')
			break;
	}
	if (at >= input->end || *at == '\n')
		return refuse(scan, input, input->line,
		    "a string starts on this line and does not end on it; expected another \"");
	return copy(scan, input, (size_t)(at + 1 - input->at));
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Reads digits of a base from at to end. False: they do not fit into ret_value. */
static bool
read_integer(const char **at, const char *end, unsigned base, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool fits = true;

	for (; *at < end; (*at)++) {
		int digit = hex_value(**at);

		if (digit < 0 || (unsigned)digit >= base)
			break;
		fits = fits && checked_mul(value, base, &value) &&
		    checked_add(value, (uint64_t)digit, &value);
	}
	*ret_value = value;
	return fits;
}

static int
scan_number(struct scan *scan, struct input *input)
{
	bool hex = starts_with(input, "0x") || starts_with(input, "0X");
	const char *at = input->at + (hex ? 2 : 0);
	bool fits, is_long;
	uint64_t value;
	int r;

	fits = read_integer(&at, input->end, hex ? 16 : 10, &value);
	if (!hex && at < input->end && strchr(".eE", *at)) {
		while (at < input->end && (is_digit(*at) || strchr(".eE+-", *at)))
			at++;
		return copy(scan, input, (size_t)(at - input->at));
	}
	if (!fits || value > INT64_MAX)
		return refuse(scan, input, input->line,
		    "the number %.*s is too large; expected at most %lld", (int)min_u64((uint64_t)(at - input->at), 60),
		    input->at, (long long)INT64_MAX);
	is_long = at < input->end && *at == 'L';
	r = copy(scan, input, (size_t)(at - input->at));
	if (r == 0 && value > INT32_MAX && !is_long)
		r = emit(scan, input, "L", 1);
	while (r == 0 && input->at < input->end && is_word(*input->at))
		r = copy(scan, input, 1);
	return r;
}

static int
scan_word(struct scan *scan, struct input *input)
{
	const char *at = input->at;

	while (at < input->end && (is_word(*at) || *at == '-'))
		at++;
	return copy(scan, input, (size_t)(at - input->at));
}

static int
scan_bracket(struct scan *scan, struct input *input)
{
	bool opens = strchr("{([", *input->at) != NULL;

	if (opens && scan->nesting == SOURCE_NESTING_MAX)
		return refuse(scan, input, input->line, "brackets are nested more than %d deep",
		    SOURCE_NESTING_MAX);
	if (opens)
		scan->n_keys[++scan->nesting] = 0;
	else if (scan->nesting)
		scan->nesting--;
	return copy(scan, input, 1);
}

/* A key or an element of a list: counts it. */
static int
scan_value(struct scan *scan, struct input *input)
{
	if (++scan->n_values > SOURCE_VALUES_MAX)
		return refuse(scan, input, input->line, "there are more than %d values",
		    SOURCE_VALUES_MAX);
	if (*input->at != ',' && ++scan->n_keys[scan->nesting] > SOURCE_GROUP_KEYS_MAX)
		return refuse(scan, input, input->line, "a group holds more than %d keys",
		    SOURCE_GROUP_KEYS_MAX);
	return copy(scan, input, 1);
}

/* Whether only blanks stand before the input's position on its line. */
static bool
starts_line(const struct input *input)
{
	const char *at = input->at;

	while (at > input->begin && (at[-1] == ' ' || at[-1] == '\t'))
		at--;
	return at == input->begin || at[-1] == '\n';
}

/* Takes the file name out of the directive, which is left behind. NULL: it is malformed. */
static char *
take_include_path(struct input *input)
{
	const char *at = input->at + strlen("@include");
	const char *begin;
	char *path;

	while (at < input->end && (*at == ' ' || *at == '\t'))
		at++;
	if (at == input->end || *at != '"')
		return NULL;
	begin = ++at;
	while (at < input->end && *at != '"' && *at != '\n' && *at != '\\')
		at++;
	if (at == input->end || *at != '"' || at == begin)
		return NULL;
	/* Not strndup(), which is for strings: the text has no NUL at its end. */
	path = calloc(1, (size_t)(at - begin) + 1);
	if (path)
		memcpy(path, begin, (size_t)(at - begin));
	input->at = at + 1;
	return path;
}

static int
include_file(struct scan *scan, struct input *input, const char *path)
{
	char quoted[128], why[FILE_WHY_SIZE];
	cleanup_free char *bytes = NULL;
	size_t length;
	int r;

	if (scan->include_nesting == SOURCE_INCLUDE_NESTING_MAX)
		return refuse(scan, input, input->line,
		    "files include files more than %d deep; does one include itself?",
		    SOURCE_INCLUDE_NESTING_MAX);
	if (++scan->n_includes > SOURCE_INCLUDES_MAX)
		return refuse(scan, input, input->line, "more than %d files are included",
		    SOURCE_INCLUDES_MAX);
	r = file_read(path, scan->report->origin, why, &bytes, &length);
	if (r > 0)
		return refuse(scan, input, input->line, "the included file %s %s",
		    units_quote(quoted, sizeof(quoted), path), why);
	if (r < 0)
		return r;
	scan->include_nesting++;
	r = scan_input(scan, path, bytes, length);
	scan->include_nesting--;
	return r;
}

static int
scan_include(struct scan *scan, struct input *input)
{
	cleanup_free char *named = NULL, *path = NULL;
	int r;

	if (!scan->includes)
		return refuse(scan, input, input->line,
		    "@include is not taken in a configuration that is sent; put the contents in its place");
	named = take_include_path(input);
	if (!named)
		return refuse(scan, input, input->line,
		    "@include is malformed; expected @include \"FILE\"");
	path = file_beside(input->name, named);
	if (!path)
		return -ENOMEM;
	r = include_file(scan, input, path);
	if (r == 0)
		r = emit(scan, input, "\n", 1);
	scan->source->line++;
	return r ? r : add_span(scan->source, input->file, input->line);
}

/* What a mark says, which begins at the input's position. The name reaches to the last quote of its line. False: it is none. */
static bool
read_mark(const struct input *input, unsigned *ret_line, char **ret_name)
{
	const char *newline = memchr(input->at, '\n', (size_t)(input->end - input->at));
	const char *at = input->at + strlen(SOURCE_MARK), *end = newline ? newline : input->end;
	uint64_t line;

	if ((input->at > input->begin && input->at[-1] != '\n') || !newline || at >= end || !is_digit(*at))
		return false;
	if (!read_integer(&at, end, 10, &line) || line > UINT32_MAX / 2)
		return false;
	while (end > at && end[-1] != '"')
		end--;
	if (end - at < 4 || at[0] != ' ' || at[1] != '"')
		return false;
	at += 2;
	for (const char *c = at; c < end; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
	*ret_line = (unsigned)line;
	*ret_name = calloc(1, (size_t)(end - at));	/* the quote's byte is the NUL's */
	if (*ret_name)
		memcpy(*ret_name, at, (size_t)(end - 1 - at));
	return true;
}

/* Takes a mark: from the next line on, the text is of that file. Or the comment that it is otherwise. */
static int
scan_mark(struct scan *scan, struct input *input)
{
	cleanup_free char *name = NULL;
	unsigned line;
	int r;

	if (!read_mark(input, &line, &name))
		return scan_line_comment(scan, input);
	if (!name)
		return -ENOMEM;
	if (++scan->n_marks > SOURCE_MARKS_MAX)
		return refuse(scan, input, input->line, "more than %d marks of the form #line", SOURCE_MARKS_MAX);
	r = scan_line_comment(scan, input);
	if (r == 0)
		r = copy_newline(scan, input);
	if (r == 0)
		r = add_file(scan->source, name, &input->file);
	if (r)
		return r;
	input->name = scan->source->files[input->file];
	input->line = line;
	return add_span(scan->source, input->file, line);
}

static int
scan_token(struct scan *scan, struct input *input)
{
	char c = *input->at;

	if (c == '\n')
		return copy_newline(scan, input);
	if (c == '#' && !scan->includes && starts_with(input, SOURCE_MARK))
		return scan_mark(scan, input);
	if (c == '#' || starts_with(input, "//"))
		return scan_line_comment(scan, input);
	if (starts_with(input, "/*"))
		return scan_block_comment(scan, input);
	if (c == '"')
		return scan_string(scan, input);
	if (is_digit(c))
		return scan_number(scan, input);
	if (is_word(c))
		return scan_word(scan, input);
	if (strchr("{}()[]", c))
		return scan_bracket(scan, input);
	if (c == '=' || c == ':' || c == ',')
		return scan_value(scan, input);
	if (c == '@' && starts_with(input, "@include") && starts_line(input))
		return scan_include(scan, input);
	return copy(scan, input, 1);
}

/* Text has no byte 0, which would also end it for the parser. */
static int
refuse_binary(struct scan *scan, const struct input *input)
{
	const char *zero = memchr(input->at, '\0', (size_t)(input->end - input->at));
	unsigned line = 1;

	if (!zero)
		return 0;
	for (const char *at = input->at; at < zero; at++)
		line += *at == '\n';
	return refuse(scan, input, line, "holds a byte 0, so it is not a text; expected a configuration");
}

static int
scan_input(struct scan *scan, const char *name, const char *bytes, size_t length)
{
	struct input input = { .name = name, .at = bytes, .begin = bytes, .end = bytes + length,
		.line = 1 };
	int r;

	r = add_file(scan->source, name, &input.file);
	if (r == 0)
		r = add_span(scan->source, input.file, 1);
	if (r == 0)
		r = refuse_binary(scan, &input);
	if (starts_with(&input, "\xef\xbb\xbf"))
		input.at += 3;	/* some editors put a byte order mark there; it means nothing in UTF-8 */
	while (r == 0 && input.at < input.end)
		r = scan_token(scan, &input);
	return r;
}

static int
read_text(struct source *source, const char *name, const char *bytes, size_t length,
    struct conf_report *report, bool includes)
{
	struct scan scan = { .source = source, .report = report, .includes = includes };
	struct input whole = { .name = name };
	int r = emit(&scan, &whole, "", 0);	/* an empty text is one, too */

	if (r == 0 && length > CONF_FILE_MAX_BYTES)
		return refuse(&scan, &whole, 0, "has %zu bytes; a configuration has at most %u", length,
		    CONF_FILE_MAX_BYTES);
	if (r == 0)
		r = scan_input(&scan, name, bytes, length);
	/* to libconfig a comment on the last line is one only if that line ends */
	return r ? r : emit(&scan, &whole, "\n", 1);
}

int
source_read_text(struct source *source, const char *name, const char *bytes, size_t length,
    struct conf_report *report)
{
	return read_text(source, name, bytes, length, report, false);
}

int
source_read_file(struct source *source, const char *path, struct conf_report *report)
{
	cleanup_free char *bytes = NULL;
	char why[FILE_WHY_SIZE];
	size_t length;
	int r = file_read(path, report->origin, why, &bytes, &length);

	if (r == FILE_E_GONE)
		return SOURCE_E_GONE;
	if (r > 0) {
		r = report_add(report, path, 0, NULL, "%s", why);
		return r < 0 ? r : SOURCE_E_REFUSED;
	}
	return r < 0 ? r : read_text(source, path, bytes, length, report, true);
}

void
source_find(const struct source *source, unsigned line, const char **ret_file, unsigned *ret_line)
{
	size_t i = 0, beyond = source->n_spans;

	while (beyond - i > 1) {	/* the last that begins there or before it: they are in order */
		size_t middle = i + (beyond - i) / 2;

		if (source->spans[middle].first <= line)
			i = middle;
		else
			beyond = middle;
	}
	*ret_file = source->files[source->spans[i].file];
	*ret_line = line < source->spans[i].first ? source->spans[i].line :
	    source->spans[i].line + (line - source->spans[i].first);
}

void
source_deinit(struct source *source)
{
	for (size_t i = 0; i < source->n_files; i++)
		free(source->files[i]);
	free(source->files);
	free(source->spans);
	free(source->text);
	*source = (struct source)SOURCE_NULL;
}
