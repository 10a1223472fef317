/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Values of single keys. A setter for each type of the table; it stores what is right and explains what is not, and
 * leaves everything that concerns two keys to check.c.
 */
#include "config.h"

#include "conf/value.h"

#include <grp.h>
#include <pwd.h>

#include "base/base.h"
#include "conf/load.h"
#include "conf/units.h"

#define QUOTE_SIZE	96
#define NODE_MAX	63

static const char *const kind_names[VALUE_KIND_N] = { "a boolean", "an integer", "a number with a fraction",
	"a string", "a group { }", "an array [ ]", "a list ( )" };

const char *
value_kind_name(enum value_kind kind)
{
	return kind < VALUE_KIND_N ? kind_names[kind] : "nothing";
}

static void *
field(void *base, size_t offset)
{
	return (char *)base + offset;
}

static void
set_flag(const struct keys_row *row, void *base, bool value)
{
	if (row->flag_offset != KEYS_NO_FIELD)
		*(bool *)field(base, row->flag_offset) = value;
}

/* Replaces the string at an offset by a copy of text. */
static int
set_string(void *base, size_t offset, const char *text)
{
	char **at = field(base, offset);
	char *copied = strdup(text);

	if (!copied)
		return -ENOMEM;
	free(*at);
	*at = copied;
	return 0;
}

/* "memfd", "posix" or "sysv": the words in quotes. */
static void
list_words(const char *const *words, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (size_t i = 0; words[i] && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s\"%s\"",
		    i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
}

const char *
value_expected(const struct keys_row *row, char *buf, size_t size)
{
	switch (row->type) {
	case KEYS_TYPE_BOOL:
		(void)snprintf(buf, size, "true or false");
		break;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		(void)snprintf(buf, size, "an integer from %llu to %llu",
		    (unsigned long long)row->min, (unsigned long long)row->max);
		break;
	case KEYS_TYPE_SIZE:
		(void)snprintf(buf, size, "a size, as in \"512MiB\"");
		break;
	case KEYS_TYPE_TIME:
		(void)snprintf(buf, size, "a time, as in \"30s\"");
		break;
	case KEYS_TYPE_MODE:
		(void)snprintf(buf, size, "permission bits as a string in octal, as in \"0640\"");
		break;
	case KEYS_TYPE_WORD:
	case KEYS_TYPE_FLAG:
		list_words(row->words, buf, size);
		break;
	case KEYS_TYPE_TABLE:
		(void)snprintf(buf, size, "a group, as in %s = { ... };", row->key);
		break;
	case KEYS_TYPE_LIST:
		(void)snprintf(buf, size, "a list of groups, as in %s = ( { ... }, { ... } );", row->key);
		break;
	default:
		(void)snprintf(buf, size, "a string: %s", row->range ? row->range : "text");
		break;
	}
	return buf;
}

/* Refuses a value of the wrong kind: what was found in the words of the file, and what was expected. */
static int
refuse_kind(const struct keys_row *row, const struct value *value, char *why)
{
	char expected[256], found[QUOTE_SIZE];
	const char *remedy = "";

	if (value->kind == VALUE_STRING)
		(void)units_quote(found, sizeof(found), value->string);
	else if (value->kind == VALUE_INTEGER)
		(void)snprintf(found, sizeof(found), "%lld", (long long)value->integer);
	else if (value->kind == VALUE_BOOL)
		(void)snprintf(found, sizeof(found), "%s", value->boolean ? "true" : "false");
	else
		found[0] = '\0';
	if (value->kind == VALUE_STRING && (row->type == KEYS_TYPE_BOOL || row->type == KEYS_TYPE_UINT))
		remedy = ", without quotes";
	(void)snprintf(why, VALUE_WHY_SIZE, "found %s%s%s; expected %s%s",
	    value_kind_name(value->kind), found[0] ? " " : "", found,
	    value_expected(row, expected, sizeof(expected)), remedy);
	return VALUE_E_INVALID;
}

static int
refuse_range(const struct keys_row *row, int64_t found, char *why)
{
	if (row->range)
		(void)snprintf(why, VALUE_WHY_SIZE, "%lld is out of range; expected %s", (long long)found, row->range);
	else
		(void)snprintf(why, VALUE_WHY_SIZE, "%lld is out of range; expected %llu to %llu",
		    (long long)found, (unsigned long long)row->min, (unsigned long long)row->max);
	return VALUE_E_INVALID;
}

static int
set_bool(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	if (value->kind != VALUE_BOOL)
		return refuse_kind(row, value, why);
	*(bool *)field(base, row->offset) = value->boolean;
	return 0;
}

static int
set_uint(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	if (value->kind != VALUE_INTEGER)
		return refuse_kind(row, value, why);
	if (value->integer < 0 || (uint64_t)value->integer < row->min ||
	    (uint64_t)value->integer > row->max)
		return refuse_range(row, value->integer, why);
	*(uint32_t *)field(base, row->offset) = (uint32_t)value->integer;
	set_flag(row, base, true);
	return 0;
}

static int
set_size(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	char smallest[32], largest[32], found[32];
	uint64_t bytes;

	if (value->kind == VALUE_STRING) {
		if (units_parse_size(value->string, why, &bytes))
			return VALUE_E_INVALID;
	} else if (value->kind != VALUE_INTEGER) {
		return refuse_kind(row, value, why);
	} else if (value->integer < 0) {
		(void)snprintf(why, VALUE_WHY_SIZE,
		    "%lld is negative; expected a size of zero or more, as in \"512MiB\"",
		    (long long)value->integer);
		return VALUE_E_INVALID;
	} else {
		bytes = (uint64_t)value->integer;
	}
	if (bytes < row->min || bytes > row->max) {
		(void)snprintf(why, VALUE_WHY_SIZE, "%s is out of range; expected %s to %s",
		    units_format_size(found, sizeof(found), bytes),
		    units_format_size(smallest, sizeof(smallest), row->min),
		    units_format_size(largest, sizeof(largest), row->max));
		return VALUE_E_INVALID;
	}
	*(uint64_t *)field(base, row->offset) = bytes;
	return 0;
}

static int
set_time(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	char smallest[32], largest[32];
	uint64_t ms = 0;

	if (value->kind == VALUE_INTEGER && value->integer != 0) {
		(void)snprintf(why, VALUE_WHY_SIZE,
		    "%lld has no unit; expected a time, as in \"5s\" (ms, s, min or h)",
		    (long long)value->integer);
		return VALUE_E_INVALID;
	}
	if (value->kind != VALUE_INTEGER && value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	if (value->kind == VALUE_STRING && units_parse_time(value->string, why, &ms))
		return VALUE_E_INVALID;
	if (ms < row->min || ms > row->max) {
		(void)snprintf(why, VALUE_WHY_SIZE, "the time is out of range; expected %s to %s",
		    units_format_time(smallest, sizeof(smallest), row->min),
		    units_format_time(largest, sizeof(largest), row->max));
		return VALUE_E_INVALID;
	}
	*(uint64_t *)field(base, row->offset) = ms;
	return 0;
}

/* "none", or a time. */
static int
set_sync(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	struct definition *definition = base;
	int r;

	if (value->kind == VALUE_STRING && streq(value->string, "none")) {
		definition->sync = false;
		return 0;
	}
	r = set_time(row, value, base, why);
	if (r == 0)
		definition->sync = true;
	return r;
}

/* A segment's permissions: w without r cannot be had from the kernel, and x would be ignored. */
static int
check_segment_mode(uint16_t mode, const char *text, char *why)
{
	static const char *const classes[] = { "others", "group", "owner" };

	if (mode & 0111) {
		(void)snprintf(why, VALUE_WHY_SIZE,
		    "\"%s\" has execute bits, which mean nothing for a segment; use \"%04o\"", text,
		    (unsigned)(mode & 0666));
		return VALUE_E_INVALID;
	}
	for (unsigned i = 0; i < 3; i++)
		if ((mode >> (3 * i) & 6) == 2) {
			(void)snprintf(why, VALUE_WHY_SIZE,
			    "\"%s\" lets %s write and not read; a writable mapping can always be read: use "
			    "\"%04o\"", text, classes[i], (unsigned)(mode | (mode & 0222) << 1));
			return VALUE_E_INVALID;
		}
	return 0;
}

static int
set_mode(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	uint16_t mode;

	if (value->kind == VALUE_INTEGER) {
		(void)snprintf(why, VALUE_WHY_SIZE,
		    "a mode is a string in octal; write \"0%lld\" with quotes, if that is what it says",
		    (long long)value->integer);
		return VALUE_E_INVALID;
	}
	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	if (units_parse_mode(value->string, why, &mode))
		return VALUE_E_INVALID;
	if (row->max == 0666 && check_segment_mode(mode, value->string, why))
		return VALUE_E_INVALID;
	if (row->scope == KEYS_ORPHAN_SYSV)	/* wider there, as the kernel has it */
		*(uint32_t *)field(base, row->offset) = mode;
	else
		*(uint16_t *)field(base, row->offset) = mode;
	set_flag(row, base, true);
	return 0;
}

/* The index of a word; negative: there is no such word, and why says so. */
static int
find_word(const struct keys_row *row, const char *text, char *why)
{
	char expected[256], found[QUOTE_SIZE];
	const char *nearest;

	for (int i = 0; row->words[i]; i++)
		if (streq(row->words[i], text))
			return i;
	nearest = keys_nearest_word(row->words, text);
	(void)units_quote(found, sizeof(found), text);
	list_words(row->words, expected, sizeof(expected));
	(void)snprintf(why, VALUE_WHY_SIZE, "found %s; expected %s%s%s%s", found, expected,
	    nearest ? ". Did you mean \"" : "", nearest ? nearest : "", nearest ? "\"?" : "");
	return -1;
}

static int
set_word(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	int index;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	index = find_word(row, value->string, why);
	if (index < 0)
		return VALUE_E_INVALID;
	if (row->type == KEYS_TYPE_FLAG)
		*(bool *)field(base, row->offset) = index == 1;
	else
		*(uint8_t *)field(base, row->offset) = (uint8_t)index;
	return 0;
}

static int
set_name(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	char found[QUOTE_SIZE];
	size_t len;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	len = strlen(value->string);
	(void)units_quote(found, sizeof(found), value->string);
	if (len > DEFINITION_NAME_MAX) {
		(void)snprintf(why, VALUE_WHY_SIZE, "%s has %zu bytes; expected %d at most", found, len,
		    DEFINITION_NAME_MAX);
		return VALUE_E_INVALID;
	}
	/* A template's name has a %U besides; who knows that it is one looks at it again. */
	if (row->scope != KEYS_DEFINITION && !definition_name_valid(value->string)) {
		(void)snprintf(why, VALUE_WHY_SIZE, "%s is no name; expected a letter or digit, then letters, "
		    "digits, dots, underscores and hyphens", found);
		return VALUE_E_INVALID;
	}
	return set_string(base, row->offset, value->string);
}

static bool
is_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || (unsigned char)*text == 0x7f)
			return false;
	return true;
}

/* A text or a path; orphan patterns and POSIX names start with a slash as well. */
static int
set_text(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	char found[QUOTE_SIZE];
	const char *text = value->string;
	bool slash = row->type == KEYS_TYPE_PATH || row->scope == KEYS_ORPHAN || row->backends;
	size_t len;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	(void)units_quote(found, sizeof(found), text);
	len = strlen(text);
	if (len == 0 || !is_printable(text))
		(void)snprintf(why, VALUE_WHY_SIZE, "%s is %s; expected %s", found,
		    len ? "not printable" : "empty", row->range);
	else if (len > row->max)
		(void)snprintf(why, VALUE_WHY_SIZE, "%s has %zu bytes; expected %llu at most", found, len,
		    (unsigned long long)row->max);
	else if (slash && text[0] != '/')
		(void)snprintf(why, VALUE_WHY_SIZE, "%s does not start with a slash; expected %s", found,
		    row->range);
	else if (slash && row->type == KEYS_TYPE_TEXT && (strchr(text + 1, '/') || len == 1 || streq(text, "/.") || streq(text, "/..")))
		(void)snprintf(why, VALUE_WHY_SIZE, "%s is no object's name; expected %s", found, row->range);
	else
		return set_string(base, row->offset, text);
	return VALUE_E_INVALID;
}

/* A number of decimal digits alone that is a uid or gid; the greatest of 32 bits means "none" to the kernel. */
static bool
parse_id(const char *text, uint32_t *ret_id)
{
	uint64_t id = 0;

	if (!text[0] || strspn(text, "0123456789") != strlen(text) || strlen(text) > 10)
		return false;
	for (; *text; text++)
		id = id * 10 + (uint64_t)(*text - '0');
	if (id >= UINT32_MAX)
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

/* Looks a user or group up, by name first as chown does. False: there is none, or errno says why that is not known. */
static bool
find_account(bool is_group, const char *name, uint32_t *ret_id)
{
	bool is_found;

	errno = 0;
	if (is_group) {
		const struct group *group = getgrnam(name);

		if (group)
			*ret_id = group->gr_gid;
		is_found = group;
	} else {
		const struct passwd *user = getpwnam(name);

		if (user)
			*ret_id = user->pw_uid;
		is_found = user;
	}
	return is_found || parse_id(name, ret_id);
}

/* After that, with its errno: there is none, or it cannot be told now. The C library has many an errno for the former. */
static int
refuse_account(const struct keys_row *row, bool is_group, const char *name, char *why)
{
	const char *kind = is_group ? "group" : "user";
	char found[QUOTE_SIZE];
	int error = errno;

	(void)units_quote(found, sizeof(found), name);
	if (error == ENOMEM)
		return -ENOMEM;
	if (error == EMFILE || error == ENFILE || error == EIO || error == EINTR)
		(void)snprintf(why, VALUE_WHY_SIZE, "the %s %s cannot be looked up: %s", kind, found, strerror(error));
	else
		(void)snprintf(why, VALUE_WHY_SIZE, "there is no %s %s on this host; expected %s", kind, found, row->range);
	return VALUE_E_INVALID;
}

static int
set_account(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	bool is_group = row->type != KEYS_TYPE_USER;
	uint32_t id;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	if (!find_account(is_group, value->string, &id))
		return refuse_account(row, is_group, value->string, why);
	*(uint32_t *)field(base, row->offset) = id;
	set_flag(row, base, true);
	return row->name_offset == KEYS_NO_FIELD ? 0 :
	    set_string(base, row->name_offset, value->string);
}

/* The default group need not exist: root alone administers then. Another one was meant to. */
static int
set_admin_group(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	struct conf_daemon *daemon = base;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	free(daemon->admin_group);
	daemon->admin_group = NULL;
	daemon->has_admin_gid = false;
	if (!value->string[0])
		return 0;
	daemon->has_admin_gid = find_account(true, value->string, &daemon->admin_gid);
	if (!daemon->has_admin_gid) {
		int r = refuse_account(row, true, value->string, why);

		if (r < 0 || !streq(value->string, "segmentd"))
			return r;
	}
	return set_string(base, row->offset, value->string);
}

static bool
parse_node(const char **at, unsigned *ret_node)
{
	unsigned node = 0;
	size_t n = strspn(*at, "0123456789");

	if (n == 0 || n > 2)
		return false;
	for (; n > 0; n--, (*at)++)
		node = node * 10 + (unsigned)(**at - '0');
	*ret_node = node;
	return node <= NODE_MAX;
}

/* "0,2-3" as a mask. */
static bool
parse_nodes(const char *at, uint64_t *ret_nodes)
{
	uint64_t nodes = 0;
	unsigned first, last;

	for (;;) {
		if (!parse_node(&at, &first))
			return false;
		last = first;
		if (*at == '-') {
			at++;
			if (!parse_node(&at, &last) || last < first)
				return false;
		}
		for (; first <= last; first++)
			nodes |= (uint64_t)1 << first;
		if (*at != ',')
			break;
		at++;
	}
	*ret_nodes = nodes;
	return *at == '\0';
}

static int
set_numa(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	struct definition *definition = base;
	char found[QUOTE_SIZE];
	uint64_t nodes = 0;
	const char *colon;
	size_t len, i;
	bool good;

	if (value->kind != VALUE_STRING)
		return refuse_kind(row, value, why);
	colon = strchr(value->string, ':');
	len = colon ? (size_t)(colon - value->string) : strlen(value->string);
	for (i = 0; row->words[i]; i++)
		if (strlen(row->words[i]) == len && memcmp(row->words[i], value->string, len) == 0)
			break;
	good = row->words[i] && (i >= DEFINITION_NUMA_BIND) == (colon != NULL);
	if (good && colon)
		good = parse_nodes(colon + 1, &nodes) &&
		    (i != DEFINITION_NUMA_PREFERRED || (nodes & (nodes - 1)) == 0);
	if (!good) {
		(void)snprintf(why, VALUE_WHY_SIZE, "found %s; expected %s",
		    units_quote(found, sizeof(found), value->string), row->range);
		return VALUE_E_INVALID;
	}
	definition->numa = (enum definition_numa)i;
	definition->numa_nodes = nodes;
	return 0;
}

int
value_set(const struct keys_row *row, const struct value *value, void *base, char *why)
{
	switch (row->type) {
	case KEYS_TYPE_BOOL:
		return set_bool(row, value, base, why);
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		return set_uint(row, value, base, why);
	case KEYS_TYPE_SIZE:
		return set_size(row, value, base, why);
	case KEYS_TYPE_TIME:
		return set_time(row, value, base, why);
	case KEYS_TYPE_MODE:
		return set_mode(row, value, base, why);
	case KEYS_TYPE_WORD:
	case KEYS_TYPE_FLAG:
		return set_word(row, value, base, why);
	case KEYS_TYPE_NAME:
		return set_name(row, value, base, why);
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		return set_text(row, value, base, why);
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		return set_account(row, value, base, why);
	case KEYS_TYPE_ADMIN_GROUP:
		return set_admin_group(row, value, base, why);
	case KEYS_TYPE_NUMA:
		return set_numa(row, value, base, why);
	case KEYS_TYPE_SYNC:
		return set_sync(row, value, base, why);
	default:
		return refuse_kind(row, value, why);	/* groups and lists have no single value */
	}
}

bool
value_from_fallback(const char *fallback, char *buf, size_t size, struct value *ret_value)
{
	size_t len = strlen(fallback);
	char *end;

	*ret_value = (struct value){ 0 };
	/* A look at the first byte: thousands of definitions have dozens of keys each. */
	if ((fallback[0] == 't' && streq(fallback, "true")) || (fallback[0] == 'f' && streq(fallback, "false"))) {
		ret_value->kind = VALUE_BOOL;
		ret_value->boolean = fallback[0] == 't';
		return true;
	}
	if (fallback[0] == '"' && len >= 2 && fallback[len - 1] == '"' && len - 2 < size) {
		memcpy(buf, fallback + 1, len - 2);
		buf[len - 2] = '\0';
		ret_value->kind = VALUE_STRING;
		ret_value->string = buf;
		return true;
	}
	ret_value->kind = VALUE_INTEGER;
	ret_value->integer = strtoll(fallback, &end, 10);
	return len > 0 && *end == '\0';
}

int
value_set_default(const struct keys_row *row, void *base)
{
	BASE_UNINITIALIZED char why[VALUE_WHY_SIZE], buf[128];
	struct value value;
	int r;

	if (!row->fallback || row->type == KEYS_TYPE_LIST || row->type == KEYS_TYPE_TABLE)
		return 0;
	if (!value_from_fallback(row->fallback, buf, sizeof(buf), &value))
		return -EINVAL;	/* the table is wrong: a test would have said so */
	r = value_set(row, &value, base, why);
	return r > 0 ? -EINVAL : r;
}
