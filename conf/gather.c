/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration's files as texts that can be sent. A text is what its file was with all that it includes; wherever it goes
 * on in another file or at another line, a mark on a line of its own says so: #line NUMBER "FILE", as compilers have it. A
 * line of the file that would pass for one gets a blank before it: it is in a comment, where that changes nothing.
 */
#include "config.h"

#include "conf/gather.h"

#include "base/base.h"
#include "conf/files.h"
#include "conf/report.h"

void
gathered_deinit(struct gathered *gathered)
{
	for (size_t i = 0; i < gathered->n_texts; i++) {
		free((char *)(uintptr_t)gathered->texts[i].name);	/* const for who reads them, and ours */
		free((char *)(uintptr_t)gathered->texts[i].bytes);
	}
	free(gathered->texts);
	*gathered = (struct gathered)GATHERED_NULL;
}

/* A file's name as it can stand on a line: whatever would end it, or be none on a terminal, is a question mark. */
static char *
plain_name(const char *name)
{
	char *plain = strdup(name);

	for (char *at = plain; at && *at; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = '?';
	return plain;
}

/* The mark that the lines from here on are a span's. */
static int
print_mark(FILE *out, const struct source *source, const struct source_span *span)
{
	cleanup_free char *name = plain_name(source->files[span->file]);

	if (!name)
		return -ENOMEM;
	(void)fprintf(out, SOURCE_MARK "%u \"%s\"\n", span->line, name);
	return 0;
}

/* Writes a text, a line after the other, with marks wherever a span begins. */
static int
print_marked(FILE *out, const struct source *source)
{
	const char *at = source->text, *end = source->text + source->length;
	size_t next = 1;	/* the first span is the file's own first line, and needs none */
	unsigned line = 1;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		size_t length = newline ? (size_t)(newline + 1 - at) : (size_t)(end - at);
		const struct source_span *begins = NULL;

		for (; next < source->n_spans && source->spans[next].first <= line; next++)
			begins = &source->spans[next];	/* of several the last counts */
		if (begins && print_mark(out, source, begins) < 0)
			return -ENOMEM;
		if (strncmp(at, SOURCE_MARK, strlen(SOURCE_MARK)) == 0)
			(void)fputc(' ', out);
		(void)fwrite(at, 1, length, out);
		at += length;
		line++;
	}
	return 0;
}

static int
print_text(const struct source *source, char **ret_bytes, size_t *ret_length)
{
	FILE *out = open_memstream(ret_bytes, ret_length);
	int r;

	if (!out)
		return -ENOMEM;
	r = print_marked(out, source);
	if (ferror(out) | fclose(out))
		r = -ENOMEM;
	return r;
}

static int
gather_one(const struct source *source, void *arg)
{
	struct gathered *gathered = arg;
	cleanup_free char *name = plain_name(source->files[0]), *bytes = NULL;
	struct conf_text *texts;
	size_t length = 0;
	int r = name ? print_text(source, &bytes, &length) : -ENOMEM;

	if (r)
		return r;
	gathered->length += length;
	if (gathered->length > CONF_FILE_MAX_BYTES)
		return 0;	/* reported at the end; nothing more is kept */
	texts = reallocarray(gathered->texts, gathered->n_texts + 1, sizeof(*texts));
	if (!texts)
		return -ENOMEM;
	gathered->texts = texts;
	texts[gathered->n_texts++] = (struct conf_text){ .name = take_ptr(name), .bytes = take_ptr(bytes), .length = length };
	return 0;
}

int
conf_gather(const char *path, struct conf_report *report, struct gathered *ret_gathered)
{
	struct gathered gathered = GATHERED_NULL;
	size_t n_before = report->n_problems + report->n_left_out;
	int r = files_read(path, report, gather_one, &gathered);

	if (r == 0 && gathered.length > CONF_FILE_MAX_BYTES)
		r = report_add(report, path, 0, NULL,
		    "has %zu bytes together with segments.d and what they include; at most %u are sent",
		    gathered.length, CONF_FILE_MAX_BYTES);
	if (r == 0 && report->n_problems + report->n_left_out > n_before)
		r = CONF_E_INVALID;
	if (r == 0)
		*ret_gathered = gathered;
	else
		gathered_deinit(&gathered);
	return r;
}
