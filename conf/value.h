/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Values of single keys: from what was written into the field that the key's row names, and back. */
#ifndef CONF_VALUE_H
#define CONF_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "conf/keys.h"

#define VALUE_WHY_SIZE	768

enum value_kind {
	VALUE_BOOL,
	VALUE_INTEGER,
	VALUE_FLOAT,
	VALUE_STRING,
	VALUE_TABLE,
	VALUE_ARRAY,
	VALUE_LIST,
	VALUE_KIND_N
};

/* A value as it was written. */
struct value {
	enum value_kind kind;
	bool boolean;
	int64_t integer;
	const char *string;
};

/* Positive results. */
enum {
	VALUE_E_INVALID = 1		/* why, of VALUE_WHY_SIZE bytes, says what was found and expected */
};

/* Checks a value and stores it in the row's field of base. Also -ENOMEM. */
int value_set(const struct keys_row *row, const struct value *value, void *base, char *why);

/* Stores a row's default, if it has one of its own. 0 or -ENOMEM. */
int value_set_default(const struct keys_row *row, void *base);

/* Reads a default as a row holds it: true, 12, "text". False: it is none of these. */
bool value_from_fallback(const char *fallback, char *buf, size_t size, struct value *ret_value);

/* The field's value as it would be written in a file, the caller's to free; NULL when there is none. 0 or -ENOMEM. */
int value_format(const struct keys_row *row, const void *base, char **ret_text);

/* "a string", "an integer": what was written, for a sentence. */
const char *value_kind_name(enum value_kind kind);

/* What a row expects, for a sentence. Returns buf. */
const char *value_expected(const struct keys_row *row, char *buf, size_t size);

#endif
