/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The one table of configuration keys. It drives parsing, types, defaults, what `show` prints, what a reload may do, and
 * the test against the manual page. A new key is a row here.
 */
#ifndef CONF_KEYS_H
#define CONF_KEYS_H

#include "conf/definition.h"

/* What a reload may do with a key's change. */
enum keys_reload {
	KEYS_LIVE,			/* acts at once */
	KEYS_DRAINED,			/* waits until the last client is gone */
	KEYS_NEVER,			/* refused, with the way out */
	KEYS_RELOAD_N
};

/* One key of a definition with its value, as show prints it. */
struct keys_value {
	const char *key;
	const char *text;		/* as it would be written in the file */
	bool is_default;
	enum keys_reload reload;
};

typedef void (*keys_value_fn)(const struct keys_value *value, void *arg);

/* Calls fn for each key that applies to the definition, in the table's order. 0, or -ENOMEM. */
int keys_describe(const struct definition *definition, keys_value_fn fn, void *arg);

const char *keys_reload_name(enum keys_reload reload);

#endif
