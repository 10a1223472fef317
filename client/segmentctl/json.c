/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The JSON writer. Strings may hold any bytes: what is not UTF-8 becomes U+FFFD, so that the document stays valid
 * whatever a peer calls itself.
 */
#include "config.h"

#include "client/segmentctl/json.h"

#include <assert.h>
#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/text.h"

static void
put_string(FILE *out, const char *string)
{
	const unsigned char *p = (const unsigned char *)string;

	putc('"', out);
	while (*p) {
		size_t n = text_utf8_length(p);

		if (n == 0) {
			fputs("\\ufffd", out);
			n = 1;
		} else if (*p == '"' || *p == '\\') {
			fprintf(out, "\\%c", *p);
		} else if (*p == '\n') {
			fputs("\\n", out);
		} else if (*p == '\t') {
			fputs("\\t", out);
		} else if (*p < ' ' || *p == 0x7f) {
			fprintf(out, "\\u%04x", *p);
		} else {
			fwrite(p, 1, n, out);
		}
		p += n;
	}
	putc('"', out);
}

static void
begin_line(struct json *json, unsigned depth)
{
	if (!json->is_line)
		fprintf(json->out, "\n%*s", (int)(2 * depth), "");
}

static void
begin_value(struct json *json, const char *key)
{
	if (json->filled[json->depth])
		fputs(json->is_line ? ", " : ",", json->out);
	json->filled[json->depth] = true;
	begin_line(json, json->depth + 1);
	if (key) {
		put_string(json->out, key);
		fputs(": ", json->out);
	}
}

static void
open_level(struct json *json, char bracket)
{
	putc(bracket, json->out);
	assert(json->depth + 1 < JSON_DEPTH_MAX);
	json->filled[++json->depth] = false;
}

static void
close_level(struct json *json, char bracket)
{
	if (json->filled[json->depth])
		begin_line(json, json->depth);
	json->depth--;
	putc(bracket, json->out);
}

int
json_init(struct json *json)
{
	*json = (struct json)JSON_NULL;
	json->out = open_memstream(&json->text, &json->text_bytes);
	if (!json->out)
		return -errno;
	putc('{', json->out);
	return 0;
}

int
json_init_line(struct json *json)
{
	int r = json_init(json);

	json->is_line = true;
	return r;
}

int
json_print(struct json *json)
{
	int r;

	assert(json->depth == 0);
	if (json->filled[0])
		begin_line(json, 0);
	fputs("}\n", json->out);
	r = fflush(json->out) != 0 || ferror(json->out) ? -ENOMEM : 0;
	if (r == 0 && fwrite(json->text, 1, json->text_bytes, stdout) != json->text_bytes)
		r = -errno;
	return r;
}

void
json_deinit(struct json *json)
{
	if (json->out)
		(void)fclose(json->out);
	free(json->text);
	*json = (struct json)JSON_NULL;
}

void
json_open_object(struct json *json, const char *key)
{
	begin_value(json, key);
	open_level(json, '{');
}

void
json_close_object(struct json *json)
{
	close_level(json, '}');
}

void
json_open_array(struct json *json, const char *key)
{
	begin_value(json, key);
	open_level(json, '[');
}

void
json_close_array(struct json *json)
{
	close_level(json, ']');
}

void
json_add_string(struct json *json, const char *key, const char *value)
{
	begin_value(json, key);
	if (value)
		put_string(json->out, value);
	else
		fputs("null", json->out);
}

void
json_add_number(struct json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	fprintf(json->out, "%" PRIu64, value);
}

void
json_add_bool(struct json *json, const char *key, bool value)
{
	begin_value(json, key);
	fputs(value ? "true" : "false", json->out);
}
