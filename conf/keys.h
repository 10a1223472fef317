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

/* Which group of the configuration a key stands in. */
enum keys_scope {
	KEYS_TOP,			/* the file itself */
	KEYS_DAEMON,			/* daemon */
	KEYS_LIMITS,			/* daemon.limits */
	KEYS_DEFINITION,		/* an entry of segments or templates */
	KEYS_ALLOW,			/* an entry of allow */
	KEYS_LOCK,			/* an entry of locks */
	KEYS_ORPHAN,			/* an entry of orphans */
	KEYS_ORPHAN_SYSV,		/* sysv of an orphan rule */
	KEYS_SCOPE_N
};

/* How a value is written, and what it is stored as at its row's offset. */
enum keys_type {
	KEYS_TYPE_BOOL,			/* bool */
	KEYS_TYPE_UINT,			/* uint32_t, min to max */
	KEYS_TYPE_SIZE,			/* uint64_t, bytes, min to max */
	KEYS_TYPE_TIME,			/* uint64_t, milliseconds, min to max */
	KEYS_TYPE_MODE,			/* uint16_t */
	KEYS_TYPE_WORD,			/* enum: index into words */
	KEYS_TYPE_FLAG,			/* bool: index into two words */
	KEYS_TYPE_NAME,			/* char *: a segment's name */
	KEYS_TYPE_TEXT,			/* char *: printable, max bytes at most */
	KEYS_TYPE_PATH,			/* char *: absolute, max bytes at most */
	KEYS_TYPE_USER,			/* uint32_t: a uid; its name at name_offset, its flag at flag_offset */
	KEYS_TYPE_GROUP,		/* uint32_t: a gid, likewise */
	KEYS_TYPE_ADMIN_GROUP,		/* struct conf_daemon's three fields */
	KEYS_TYPE_NUMA,			/* struct definition's two fields */
	KEYS_TYPE_SYNC,			/* "none" or a time: struct definition's two fields */
	KEYS_TYPE_NUMBER,		/* uint32_t, its flag at flag_offset */
	KEYS_TYPE_TABLE,		/* a group of another scope */
	KEYS_TYPE_LIST,			/* a list of groups of another scope */
	KEYS_TYPE_N
};

#define KEYS_OF_SEGMENT		1u	/* where a row of KEYS_DEFINITION applies */
#define KEYS_OF_TEMPLATE	2u

#define KEYS_NO_FIELD		((size_t)-1)

/* A row of the table. */
struct keys_row {
	enum keys_scope scope;
	const char *key;
	enum keys_type type;
	unsigned where;			/* KEYS_OF_* */
	unsigned backends;		/* bit N: applies to enum definition_backend N; 0: to all */
	size_t offset;
	size_t name_offset;
	size_t flag_offset;
	uint64_t min, max;
	const char *const *words;	/* NULL ends them */
	const char *fallback;		/* the default as written in a file; NULL: none, and */
	const char *fallback_words;	/* what holds without it, or "required" */
	bool required;
	enum keys_reload reload;
	const char *range;		/* what it may be, in words, where type and limits do not say it */
	const char *help;
};

/* All rows, those of a scope together and in the order in which they are shown. */
const struct keys_row *keys_rows(size_t *ret_n);

/* The row of a key, or NULL. */
const struct keys_row *keys_find(enum keys_scope scope, const char *key);

/* The key of the scope that was probably meant, or NULL. where: 0, or the KEYS_OF_* that it has to apply to. */
const char *keys_nearest(enum keys_scope scope, unsigned where, const char *key);

/* The same among words. */
const char *keys_nearest_word(const char *const *words, const char *text);

const char *keys_scope_name(enum keys_scope scope);
const char *keys_type_name(enum keys_type type);

/* One key of a definition with its value, as show prints it. */
struct keys_value {
	const char *key;
	const char *text;		/* as it would be written in the file */
	bool is_default;
	enum keys_reload reload;
};

typedef void (*keys_value_fn)(const struct keys_value *value, void *arg);

/*
 * Calls fn for each key that applies to the definition and has a value, in the table's order: an optional key that was
 * not given and stands for nothing (no owner, no layout) is left out. 0, or -ENOMEM.
 */
int keys_describe(const struct definition *definition, keys_value_fn fn, void *arg);

const char *keys_reload_name(enum keys_reload reload);

#endif
