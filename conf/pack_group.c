/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A group of keys as bytes: each key by its name, each value as it would have been written in a file. So reading one is what
 * reading a file is, with the same checks and the same sentences (value.c), and a new key needs nothing here. The exception
 * are users and groups: their number is packed beside the name, since whoever reads must not ask a directory service.
 */
#include "config.h"

#include "conf/pack_group.h"

#include <stdarg.h>

#include "conf/units.h"
#include "conf/value.h"

#define ROWS_MAX	128		/* of the whole table */
#define SHORT_SIZE	128		/* texts up to here are not allocated */

int
pack_refuse(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vsnprintf(why, PACK_WHY_SIZE, format, args);
	va_end(args);
	return PACK_E_INVALID;
}

static const void *
at(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

static const char *
text_at(const void *base, size_t offset)
{
	return *(char *const *)at(base, offset);
}

static bool
is_account(const struct keys_row *row)
{
	return row->type == KEYS_TYPE_USER || row->type == KEYS_TYPE_GROUP;
}

/* Nodes as they are written; buf has room for all 64. */
static const char *
format_numa(const struct definition *definition, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "%s", definition_numa_names[definition->numa]);
	char before = ':';

	for (unsigned i = 0; i < 64; i++)
		if (definition->numa_nodes >> i & 1) {
			n += (size_t)snprintf(buf + n, size - n, "%c%u", before, i);
			before = ',';
		}
	return buf;
}

static const char *
format_mode(const struct keys_row *row, const void *base, char *buf, size_t size)
{
	unsigned mode = row->scope == KEYS_ORPHAN_SYSV ? *(const uint32_t *)at(base, row->offset) :
	    *(const uint16_t *)at(base, row->offset);

	(void)snprintf(buf, size, "%04o", mode);
	return buf;
}

/* A row's value as it would be written, with its text in buf or in base. False: there is none. */
static bool
value_of(const struct keys_row *row, const void *base, char *buf, size_t size, struct value *ret_value)
{
	struct value value = { .kind = VALUE_STRING };
	const struct definition *definition = base;

	switch (row->type) {
	case KEYS_TYPE_BOOL:
		value = (struct value){ .kind = VALUE_BOOL, .boolean = *(const bool *)at(base, row->offset) };
		break;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		value = (struct value){ .kind = VALUE_INTEGER, .integer = *(const uint32_t *)at(base, row->offset) };
		break;
	case KEYS_TYPE_SIZE:
		value = (struct value){ .kind = VALUE_INTEGER,
			.integer = (int64_t)*(const uint64_t *)at(base, row->offset) };
		break;
	case KEYS_TYPE_TIME:
		value.string = units_format_time(buf, size, *(const uint64_t *)at(base, row->offset));
		break;
	case KEYS_TYPE_SYNC:
		value.string = definition->sync ? units_format_time(buf, size, definition->sync_ms) : "none";
		break;
	case KEYS_TYPE_MODE:
		value.string = format_mode(row, base, buf, size);
		break;
	case KEYS_TYPE_WORD:
		value.string = row->words[*(const uint8_t *)at(base, row->offset)];
		break;
	case KEYS_TYPE_FLAG:
		value.string = row->words[*(const bool *)at(base, row->offset)];
		break;
	case KEYS_TYPE_NUMA:
		value.string = format_numa(definition, buf, size);
		break;
	default:
		value.string = text_at(base, row->offset);
		break;
	}
	*ret_value = value;
	/* zero in a row that does not go down to it: not given, as the length of a mutex that zeroes nothing */
	return value.kind == VALUE_INTEGER ? value.integer != 0 || row->min == 0 :
	    value.kind == VALUE_BOOL || value.string;
}

static void
put_value(struct pack *pack, const struct value *value)
{
	pack_put_u8(pack, (uint8_t)value->kind);
	if (value->kind == VALUE_BOOL)
		pack_put_u8(pack, value->boolean);
	else if (value->kind == VALUE_INTEGER)
		pack_put_u64(pack, (uint64_t)value->integer);
	else
		pack_put(pack, value->string, strlen(value->string));
}

static void
put_account(struct pack *pack, const struct keys_row *row, const void *base)
{
	pack_put_u32(pack, *(const uint32_t *)at(base, row->offset));
	pack_put_text(pack, row->name_offset == KEYS_NO_FIELD ? NULL : text_at(base, row->name_offset));
}

static void
put_admin_group(struct pack *pack, const struct conf_daemon *daemon)
{
	pack_put_u8(pack, daemon->has_admin_gid);
	pack_put_u32(pack, daemon->admin_gid);
	pack_put_text(pack, daemon->admin_group);
}

static void
put_list(struct pack *pack, const struct keys_row *row, const struct definition *definition)
{
	bool is_allow = streq(row->key, "allow");

	pack_put_u32(pack, (uint32_t)(is_allow ? definition->n_allow : definition->n_locks));
	for (size_t i = 0; is_allow && i < definition->n_allow; i++)
		pack_put_group(pack, KEYS_ALLOW, 0, &definition->allow[i]);
	for (size_t i = 0; !is_allow && i < definition->n_locks; i++) {
		/* at is what makes a mutex of a lock, and bytes of its own say that it is there */
		pack_put_u8(pack, definition->locks[i].is_mutex);
		pack_put_group(pack, KEYS_LOCK, 0, &definition->locks[i]);
	}
}

/* Whether a row is to be packed; of an entry of allow the one that it is about. */
static bool
has_value(const struct keys_row *row, const void *base)
{
	if (row->type == KEYS_TYPE_TABLE)
		return false;
	if (row->scope == KEYS_ALLOW && is_account(row))
		return (row->type == KEYS_TYPE_GROUP) == ((const struct definition_allow *)base)->is_group;
	return row->flag_offset == KEYS_NO_FIELD || *(const bool *)at(base, row->flag_offset);
}

static void
put_row(struct pack *pack, const struct keys_row *row, const void *base)
{
	bool is_plain = row->type != KEYS_TYPE_LIST && row->type != KEYS_TYPE_ADMIN_GROUP && !is_account(row);
	struct value value;
	size_t begun, length;
	BASE_UNINITIALIZED char buf[256];

	if (!has_value(row, base) || (is_plain && !value_of(row, base, buf, sizeof(buf), &value)))
		return;
	length = strlen(row->key);
	pack_put_u8(pack, (uint8_t)length);
	pack_put(pack, row->key, length);
	begun = pack_begin(pack);
	if (is_plain)
		put_value(pack, &value);
	else if (row->type == KEYS_TYPE_LIST)
		put_list(pack, row, base);
	else if (row->type == KEYS_TYPE_ADMIN_GROUP)
		put_admin_group(pack, base);
	else
		put_account(pack, row, base);
	pack_end(pack, begun);
}

void
pack_put_group(struct pack *pack, enum keys_scope scope, unsigned where, const void *base)
{
	size_t begun = pack_begin(pack), n;
	const struct keys_row *rows;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++)
		if (rows[i].scope == scope && (!where || rows[i].where & where))
			put_row(pack, &rows[i], base);
	pack_end(pack, begun);
}

/* A text of the value, in buf where it fits; *ret_owned is to be freed. */
static int
get_text(struct cursor *cursor, char *buf, const char **ret_text, char **ret_owned)
{
	size_t length = cursor_left(cursor);
	int r;

	if (length >= SHORT_SIZE) {
		r = cursor_rest(cursor, ret_owned);
		*ret_text = *ret_owned;
		return r;
	}
	if (length && memchr(cursor->at, '\0', length))
		return PACK_E_INVALID;
	if (length)
		memcpy(buf, cursor->at, length);
	buf[length] = '\0';
	cursor->at = cursor->end;
	*ret_text = buf;
	return 0;
}

static int
get_value(struct cursor *cursor, const struct keys_row *row, void *base, char *why)
{
	struct value value = { .kind = (enum value_kind)cursor_u8(cursor) };
	BASE_UNINITIALIZED char buf[SHORT_SIZE], reason[VALUE_WHY_SIZE];
	cleanup_free char *owned = NULL;
	int r = 0;

	if (value.kind == VALUE_BOOL) {
		uint8_t byte = cursor_u8(cursor);

		value.boolean = byte == 1;
		r = byte > 1;
	} else if (value.kind == VALUE_INTEGER) {
		value.integer = (int64_t)cursor_u64(cursor);
	} else if (value.kind == VALUE_STRING) {
		r = get_text(cursor, buf, &value.string, &owned);
	} else {
		r = PACK_E_INVALID;
	}
	if (r < 0)
		return r;
	if (r || cursor->is_short || cursor_left(cursor))
		return pack_refuse(why, "%s: its bytes are no value", row->key);
	r = value_set(row, &value, base, reason);
	return r > 0 ? pack_refuse(why, "%s: %s", row->key, reason) : r;
}

/* A name that is shown: what passed for one when it was looked up. */
static bool
is_shown(const char *name)
{
	for (; *name; name++)
		if ((unsigned char)*name < 0x20 || (unsigned char)*name == 0x7f)
			return false;
	return true;
}

static int
get_account(struct cursor *cursor, const struct keys_row *row, void *base, char *why)
{
	uint32_t id = cursor_u32(cursor);
	cleanup_free char *name = NULL;
	char **to;
	int r = cursor_text(cursor, &name);

	if (r < 0)
		return r;
	if (r || cursor->is_short || cursor_left(cursor) || id == UINT32_MAX || (name && !is_shown(name)) ||
	    (name && row->name_offset == KEYS_NO_FIELD))
		return pack_refuse(why, "%s: its bytes are no user or group", row->key);
	*(uint32_t *)(void *)((char *)base + row->offset) = id;
	if (row->flag_offset != KEYS_NO_FIELD)
		*((bool *)(void *)((char *)base + row->flag_offset)) = true;
	if (row->name_offset == KEYS_NO_FIELD)
		return 0;
	to = (char **)(void *)((char *)base + row->name_offset);
	free(*to);
	*to = take_ptr(name);
	return 0;
}

static int
get_admin_group(struct cursor *cursor, struct conf_daemon *daemon, char *why)
{
	uint8_t has_gid = cursor_u8(cursor);
	uint32_t gid = cursor_u32(cursor);
	cleanup_free char *name = NULL;
	int r = cursor_text(cursor, &name);

	if (r < 0)
		return r;
	if (r || cursor->is_short || cursor_left(cursor) || has_gid > 1 || (name && (!name[0] || !is_shown(name))) ||
	    (has_gid && (!name || gid == UINT32_MAX)))
		return pack_refuse(why, "admin_group: its bytes are no group");
	daemon->has_admin_gid = has_gid;
	daemon->admin_gid = has_gid ? gid : 0;
	free(daemon->admin_group);
	daemon->admin_group = take_ptr(name);
	return 0;
}

static int
get_allow(struct cursor *cursor, size_t n, struct definition *definition, char *why)
{
	int r = 0;

	free(definition->allow);
	definition->allow = calloc(n + 1, sizeof(*definition->allow));
	if (!definition->allow)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct definition_allow *allow = &definition->allow[definition->n_allow++];

		r = pack_get_group(cursor, KEYS_ALLOW, 0, allow, why);
		if (r == 0 && !allow->name)
			r = pack_refuse(why, "allow: an entry names nobody");
	}
	return r;
}

static int
get_locks(struct cursor *cursor, size_t n, struct definition *definition, char *why)
{
	int r = 0;

	free(definition->locks);
	definition->locks = calloc(n + 1, sizeof(*definition->locks));
	if (!definition->locks)
		return -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		struct definition_lock *lock = &definition->locks[definition->n_locks++];
		uint8_t is_mutex = cursor_u8(cursor);

		if (is_mutex > 1)
			return pack_refuse(why, "locks: an entry is neither a lock nor a mutex");
		lock->is_mutex = is_mutex;
		r = pack_get_group(cursor, KEYS_LOCK, 0, lock, why);
	}
	return r;
}

static int
get_list(struct cursor *cursor, const struct keys_row *row, struct definition *definition, char *why)
{
	size_t n = cursor_u32(cursor);
	int r;

	/* each entry has four bytes at least: what is allocated is bounded by what is there, too */
	if (cursor->is_short || n > row->max || n > cursor_left(cursor) / 4)
		return pack_refuse(why, "%s: its bytes are no list of %llu entries at most", row->key,
		    (unsigned long long)row->max);
	r = streq(row->key, "allow") ? get_allow(cursor, n, definition, why) : get_locks(cursor, n, definition, why);
	if (r == 0 && cursor_left(cursor))
		return pack_refuse(why, "%s: it has bytes beyond its entries", row->key);
	return r;
}

static int
get_row(struct cursor *cursor, const struct keys_row *row, void *base, char *why)
{
	if (row->type == KEYS_TYPE_LIST)
		return get_list(cursor, row, base, why);
	if (row->type == KEYS_TYPE_ADMIN_GROUP)
		return get_admin_group(cursor, base, why);
	if (is_account(row))
		return get_account(cursor, row, base, why);
	return get_value(cursor, row, base, why);
}

/* The row that a key names; one behind the last is the likely one. NULL: it is none of this group. */
static const struct keys_row *
find_row(struct cursor *cursor, enum keys_scope scope, unsigned where, const struct keys_row *likely, char *why)
{
	struct cursor key = cursor_take(cursor, cursor_u8(cursor));
	const struct keys_row *row;
	BASE_UNINITIALIZED char name[256], quoted[64];
	size_t n_rows;

	memcpy(name, key.at, cursor_left(&key));
	name[cursor_left(&key)] = '\0';
	row = keys_rows(&n_rows);
	/* In the order of the table, without those that had nothing to say. */
	while (likely && likely < row + n_rows && likely->scope == scope && !streq(likely->key, name))
		likely++;
	if (likely && likely < row + n_rows && likely->scope == scope)
		row = likely;
	else
		row = keys_find(scope, name);
	if (row && row->type != KEYS_TYPE_TABLE && (!where || row->where & where))
		return row;
	(void)pack_refuse(why, "%s: this version has no such key in %s", units_quote(quoted, sizeof(quoted), name),
	    keys_scope_name(scope));
	return NULL;
}

/* What was not there: of the daemon all of it is, of a definition what an older version did not know holds its default. */
static int
fill_in(enum keys_scope scope, unsigned where, const bool *seen, void *base, char *why)
{
	const struct keys_row *rows;
	size_t n;
	int r = 0;

	rows = keys_rows(&n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (rows[i].scope != scope || seen[i] || (where && !(rows[i].where & where)) ||
		    rows[i].type == KEYS_TYPE_TABLE)
			continue;
		if (rows[i].required || scope == KEYS_DAEMON || scope == KEYS_LIMITS)
			return pack_refuse(why, "%s is missing", rows[i].key);
		r = value_set_default(&rows[i], base);
	}
	return r;
}

int
pack_get_group(struct cursor *cursor, enum keys_scope scope, unsigned where, void *base, char *why)
{
	struct cursor group = cursor_enclosed(cursor);
	const struct keys_row *rows, *row = NULL;
	bool seen[ROWS_MAX] = { false };
	size_t n;
	int r = 0;

	rows = keys_rows(&n);
	if (n > ROWS_MAX)
		return -EINVAL;	/* a test would have said so */
	while (r == 0 && cursor_left(&group)) {
		struct cursor value;

		row = find_row(&group, scope, where, row ? row + 1 : NULL, why);
		if (!row)
			return PACK_E_INVALID;
		if (seen[row - rows])
			return pack_refuse(why, "%s is there twice", row->key);
		seen[row - rows] = true;
		value = cursor_enclosed(&group);
		if (value.is_short)
			return pack_refuse(why, "%s: it ends before its bytes do", row->key);
		r = get_row(&value, row, base, why);
	}
	if (r == 0 && group.is_short)
		return pack_refuse(why, "a group ends before its bytes do");
	return r ? r : fill_in(scope, where, seen, base, why);
}
