/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A definition in the words of the configuration, key by key: what was read can be written, and reads as the same again. */
#include "config.h"

#include <stdarg.h>

#include "base/base.h"
#include "conf/keys.h"
#include "conf/units.h"
#include "conf/value.h"

static const void *
at(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* A string as libconfig reads it back. *ret_text NULL: there is none. */
static int
format_string(const char *text, char **ret_text)
{
	char *quoted, *to;

	*ret_text = NULL;
	if (!text)
		return 0;
	quoted = malloc(2 * strlen(text) + 3);
	if (!quoted)
		return -ENOMEM;
	to = quoted;
	*to++ = '"';
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			*to++ = '\\';
		*to++ = *text;
	}
	*to++ = '"';
	*to = '\0';
	*ret_text = quoted;
	return 0;
}

static int BASE_PRINTF(2, 3)
format_text(char **ret_text, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = vasprintf(ret_text, format, args);
	va_end(args);
	return r < 0 ? -ENOMEM : 0;
}

static bool
is_unset(const struct keys_row *row, const void *base)
{
	return row->flag_offset != KEYS_NO_FIELD && !*(const bool *)at(base, row->flag_offset);
}

static int
format_account(const struct keys_row *row, const void *base, char **ret_text)
{
	const char *name = NULL;

	if (row->name_offset != KEYS_NO_FIELD)
		name = *(char *const *)at(base, row->name_offset);
	if (name)
		return format_string(name, ret_text);
	return format_text(ret_text, "\"%lu\"", (unsigned long)*(const uint32_t *)at(base, row->offset));
}

static int
format_numa(const struct definition *definition, char **ret_text)
{
	const char *word = definition_numa_names[definition->numa];
	char nodes[256] = "";
	size_t n = 0;

	for (unsigned i = 0; i < 64; i++)
		if (definition->numa_nodes >> i & 1)
			n += (size_t)snprintf(nodes + n, sizeof(nodes) - n, "%s%u", n ? "," : ":", i);
	return format_text(ret_text, "\"%s%s\"", word, nodes);
}

static int
format_mode(const struct keys_row *row, const void *base, char **ret_text)
{
	unsigned mode = row->scope == KEYS_ORPHAN_SYSV ? *(const uint32_t *)at(base, row->offset) :
	    *(const uint16_t *)at(base, row->offset);

	return format_text(ret_text, "\"%04o\"", mode);
}

int
value_format(const struct keys_row *row, const void *base, char **ret_text)
{
	const void *field = row->offset == KEYS_NO_FIELD ? NULL : at(base, row->offset);
	char buf[32];

	*ret_text = NULL;
	if (is_unset(row, base))
		return 0;
	switch (row->type) {
	case KEYS_TYPE_BOOL:
		return format_text(ret_text, "%s", *(const bool *)field ? "true" : "false");
	case KEYS_TYPE_UINT:
		return format_text(ret_text, "%lu", (unsigned long)*(const uint32_t *)field);
	case KEYS_TYPE_NUMBER:
		return format_text(ret_text, "0x%lX", (unsigned long)*(const uint32_t *)field);
	case KEYS_TYPE_SIZE:
		return format_text(ret_text, "\"%s\"",
		    units_format_size(buf, sizeof(buf), *(const uint64_t *)field));
	case KEYS_TYPE_SYNC:
		if (!((const struct definition *)base)->sync)
			return format_text(ret_text, "\"none\"");
		/* fall through */
	case KEYS_TYPE_TIME:
		return format_text(ret_text, "\"%s\"",
		    units_format_time(buf, sizeof(buf), *(const uint64_t *)field));
	case KEYS_TYPE_MODE:
		return format_mode(row, base, ret_text);
	case KEYS_TYPE_WORD:
		return format_text(ret_text, "\"%s\"", row->words[*(const uint8_t *)field]);
	case KEYS_TYPE_FLAG:
		return format_text(ret_text, "\"%s\"", row->words[*(const bool *)field]);
	case KEYS_TYPE_NAME:
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		return format_string(*(char *const *)field, ret_text);
	case KEYS_TYPE_ADMIN_GROUP:
		return format_string(*(char *const *)field ? *(char *const *)field : "", ret_text);
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		return format_account(row, base, ret_text);
	case KEYS_TYPE_NUMA:
		return format_numa(base, ret_text);
	default:
		return 0;
	}
}

static int
format_allow(const struct definition *definition, char **ret_text)
{
	cleanup_free char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int r = 0;

	if (!out)
		return -ENOMEM;
	(void)fputs("(", out);
	for (size_t i = 0; r == 0 && i < definition->n_allow; i++) {
		const struct definition_allow *allow = &definition->allow[i];
		cleanup_free char *name = NULL;

		r = format_string(allow->name, &name);
		(void)fprintf(out, "%s { %s = %s; access = \"%s\"; }", i ? "," : "",
		    allow->is_group ? "group" : "user", name ? name : "\"\"", allow->write ? "rw" : "r");
	}
	(void)fputs(" )", out);
	if ((ferror(out) | fclose(out)) && r == 0)
		r = -ENOMEM;
	if (r == 0)
		*ret_text = take_ptr(text);
	return r;
}

/* One lock with all keys that apply to it, also those at their defaults. */
static void
print_lock(FILE *out, const struct definition_lock *lock)
{
	char buf[32];

	(void)fprintf(out, " { name = \"%s\";", lock->name);	/* letters, digits, dots and the like: nothing to escape */
	if (lock->is_mutex)
		(void)fprintf(out, " at = \"%s\"; init = %s;", units_format_size(buf, sizeof(buf), lock->at_bytes),
		    lock->init ? "true" : "false");
	if (lock->length_bytes) {
		(void)fprintf(out, " offset = \"%s\";", units_format_size(buf, sizeof(buf), lock->offset_bytes));
		(void)fprintf(out, " length = \"%s\";", units_format_size(buf, sizeof(buf), lock->length_bytes));
	}
	if (!lock->is_mutex)
		(void)fprintf(out, " undo = \"%s\";", units_format_size(buf, sizeof(buf), lock->undo_bytes));
	(void)fprintf(out, " on_death = \"%s\"; }", definition_on_death_names[lock->on_death]);
}

static int
format_locks(const struct definition *definition, char **ret_text)
{
	cleanup_free char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return -ENOMEM;
	(void)fputs("(", out);
	for (size_t i = 0; i < definition->n_locks; i++) {
		(void)fputs(i ? "," : "", out);
		print_lock(out, &definition->locks[i]);
	}
	(void)fputs(" )", out);
	if (ferror(out) | fclose(out))
		return -ENOMEM;
	*ret_text = take_ptr(text);
	return 0;
}

static int
format_row(const struct keys_row *row, const struct definition *definition, char **ret_text)
{
	if (row->type == KEYS_TYPE_LIST)
		return streq(row->key, "allow") ? format_allow(definition, ret_text) :
		    format_locks(definition, ret_text);
	return value_format(row, definition, ret_text);
}

/* Whether a key's text is what it would be, had the key not been given. */
static bool
is_default(const struct keys_row *row, const struct definition *definition, const char *text)
{
	if (row->required)
		return false;
	if (streq(row->key, "max_size"))
		return !definition->is_template && definition->max_size_bytes == definition->size_bytes;
	if (streq(row->key, "mlock"))
		return definition->mlock == definition->prefault;
	if (streq(row->key, "lifetime") && definition->is_template)
		return definition->lifetime == DEFINITION_ATTACHED;
	return row->fallback && streq(row->fallback, text);
}

int
keys_describe(const struct definition *definition, keys_value_fn fn, void *arg)
{
	unsigned where = definition->is_template ? KEYS_OF_TEMPLATE : KEYS_OF_SEGMENT;
	const struct keys_row *rows;
	size_t n;
	int r;

	rows = keys_rows(&n);
	for (size_t i = 0; i < n; i++) {
		const struct keys_row *row = &rows[i];
		cleanup_free char *text = NULL;

		if (row->scope != KEYS_DEFINITION || !(row->where & where))
			continue;
		if (row->backends && !(row->backends >> definition->backend & 1))
			continue;
		r = format_row(row, definition, &text);
		if (r < 0)
			return r;
		if (text)
			fn(&(struct keys_value){ .key = row->key, .text = text, .reload = row->reload,
			    .is_default = is_default(row, definition, text) }, arg);
	}
	return 0;
}
