/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Writes one JSON document, whole or not at all: it grows in memory and is printed when it is complete, so that an error
 * halfway leaves a document of the error alone on standard output.
 *
 * Why not libsmartcols' JSON: it prints one table as one document, but `show` is an object of sections, the types of
 * cells (numbers, booleans) came one by one with its releases, and strings that are not UTF-8 pass through it unchanged.
 */
#ifndef CLIENT_SEGMENTCTL_JSON_H
#define CLIENT_SEGMENTCTL_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX	8

struct json {
	FILE *out;			/* to text */
	char *text;
	size_t text_bytes;
	unsigned depth;
	bool is_line;			/* all of it stands in one line */
	bool filled[JSON_DEPTH_MAX];	/* something stands before the next value of this level */
};

#define JSON_NULL	{ 0 }

/* Begins the document, an object. 0 or a negative errno. */
int json_init(struct json *json);
/* The same for a document that is one line, as one of many. */
int json_init_line(struct json *json);
/* Ends the document and prints it, with a newline. 0 or a negative errno: of memory, or of writing. */
int json_print(struct json *json);
void json_deinit(struct json *json);

/* In an object each value has a key; in an array key is NULL. */
void json_open_object(struct json *json, const char *key);
void json_close_object(struct json *json);
void json_open_array(struct json *json, const char *key);
void json_close_array(struct json *json);
void json_add_string(struct json *json, const char *key, const char *value);	/* NULL: null */
void json_add_number(struct json *json, const char *key, uint64_t value);
void json_add_bool(struct json *json, const char *key, bool value);

#endif
