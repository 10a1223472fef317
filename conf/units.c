/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Sizes, times and modes as people write them. No locale, no floating point, no strtol: each of them takes more than is
 * meant (leading blanks, signs, "0x", "nan"), and a size must never be read as another one.
 */
#include "config.h"

#include "conf/units.h"

#include "base/base.h"

#define QUOTE_SIZE	96
#define QUOTE_MAX	60		/* bytes of a string that a sentence shows */

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{ "TiB", TIB }, { "GiB", GIB }, { "MiB", MIB }, { "KiB", KIB }, { "B", 1 },
	{ "T", TIB }, { "G", GIB }, { "M", MIB }, { "K", KIB }, { "", 1 },
};

static const struct unit time_units[] = {
	{ "h", 3600000 }, { "min", 60000 }, { "s", 1000 }, { "ms", 1 },
};

/* Units of other rules, and what their writer most likely means. */
static const struct {
	const char *wrong, *meant;
} mistakes[] = {
	{ "KB", "KiB" }, { "MB", "MiB" }, { "GB", "GiB" }, { "TB", "TiB" }, { "kB", "KiB" },
	{ "kb", "KiB" }, { "mb", "MiB" }, { "gb", "GiB" }, { "tb", "TiB" }, { "b", "B" },
	{ "k", "K" }, { "m", "M" }, { "g", "G" }, { "t", "T" },
	{ "kib", "KiB" }, { "mib", "MiB" }, { "gib", "GiB" }, { "tib", "TiB" },
	{ "Kib", "KiB" }, { "Mib", "MiB" }, { "Gib", "GiB" }, { "Tib", "TiB" },
	{ "KIB", "KiB" }, { "MIB", "MiB" }, { "GIB", "GiB" }, { "TIB", "TiB" },
	{ "sec", "s" }, { "S", "s" }, { "second", "s" }, { "seconds", "s" }, { "msec", "ms" },
	{ "MS", "ms" }, { "minute", "min" }, { "minutes", "min" }, { "hour", "h" },
	{ "hours", "h" }, { "H", "h" },
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

const char *
units_quote(char *buf, size_t size, const char *text)
{
	size_t n = 0, i;

	if (size < 12) {
		if (size)
			buf[0] = '\0';
		return buf;
	}
	buf[n++] = '"';
	for (i = 0; i < QUOTE_MAX && text[i] && n + 10 < size; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			buf[n++] = (char)c;
		else
			n += (size_t)snprintf(buf + n, 5, "\\x%02x", c);
	}
	/* There is room for it: many values are quoted before they turn out to be good. */
	memcpy(buf + n, text[i] ? "...\"" : "\"", text[i] ? sizeof("...\"") : sizeof("\""));
	return buf;
}

/* Reads the digits at *text, and leaves *text behind them. False: they do not fit. */
static bool
read_digits(const char **text, uint64_t *ret_value)
{
	uint64_t value = 0;
	bool fits = true;

	for (; is_digit(**text); (*text)++)
		fits = fits && checked_mul(value, 10, &value) &&
		    checked_add(value, (uint64_t)(**text - '0'), &value);
	*ret_value = value;
	return fits;
}

static const struct unit *
find_unit(const struct unit *units, size_t n_units, const char *name)
{
	for (size_t i = 0; i < n_units; i++)
		if (streq(units[i].name, name))
			return &units[i];
	return NULL;
}

static void
explain_unit(char *why, const char *quoted, const char *unit, const char *expected)
{
	char shown[QUOTE_SIZE];

	units_quote(shown, sizeof(shown), unit);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(mistakes); i++)
		if (streq(mistakes[i].wrong, unit) && strstr(expected, mistakes[i].meant)) {
			(void)snprintf(why, UNITS_WHY_SIZE, "%s has the unknown unit %s; write \"%s\"",
			    quoted, shown, mistakes[i].meant);
			return;
		}
	(void)snprintf(why, UNITS_WHY_SIZE, "%s has the unknown unit %s; expected %s", quoted, shown,
	    expected);
}

/* What sizes and times have in common: a whole number, perhaps one blank, and a unit. */
struct grammar {
	const char *what;		/* "a size" */
	const char *example;
	const char *expected;		/* the units, for a sentence */
	const char *smaller;		/* how a fraction is written instead */
	const struct unit *units;
	size_t n_units;
	uint64_t max;
	const char *max_text;
};

static const struct grammar size_grammar = {
	.what = "a size", .example = "\"512MiB\"",
	.expected = "B, KiB, MiB, GiB or TiB (K, M, G, T for short)",
	.smaller = "\"1536MiB\" for one and a half GiB",
	.units = size_units, .n_units = BASE_ARRAY_SIZE(size_units),
	.max = UNITS_SIZE_MAX, .max_text = "4194304TiB",
};

static const struct grammar time_grammar = {
	.what = "a time", .example = "\"30s\"",
	.expected = "ms, s, min or h",
	.smaller = "\"1500ms\" for one and a half seconds",
	.units = time_units, .n_units = BASE_ARRAY_SIZE(time_units),
	.max = UNITS_TIME_MAX_MS, .max_text = "87600h",
};

/* Refuses what does not start as a whole number does; true: it was refused, and why says so. */
static bool
refuse_start(const struct grammar *grammar, const char *text, const char *quoted, char *why)
{
	if (is_digit(text[0]))
		return false;
	if (text[0] == '-')
		(void)snprintf(why, UNITS_WHY_SIZE, "%s is negative; expected %s of zero or more, as in %s",
		    quoted, grammar->what, grammar->example);
	else
		(void)snprintf(why, UNITS_WHY_SIZE,
		    "%s is not %s; expected a whole number and a unit, as in %s", quoted, grammar->what,
		    grammar->example);
	return true;
}

static int
parse(const struct grammar *grammar, const char *text, char *why, uint64_t *ret_value)
{
	char quoted[QUOTE_SIZE];
	const struct unit *unit;
	const char *at = text;
	uint64_t value;
	bool fits;

	units_quote(quoted, sizeof(quoted), text);
	if (refuse_start(grammar, text, quoted, why))
		return UNITS_E_INVALID;
	fits = read_digits(&at, &value);
	if (at[0] == '.' || at[0] == ',') {
		(void)snprintf(why, UNITS_WHY_SIZE,
		    "%s has a fraction; expected a whole number, as in %s", quoted, grammar->smaller);
		return UNITS_E_INVALID;
	}
	if (at[0] == ' ' && at[1])
		at++;
	unit = find_unit(grammar->units, grammar->n_units, at);
	if (!unit && !at[0] && fits && value == 0) {
		*ret_value = 0;
		return 0;
	}
	if (!unit && !at[0]) {
		(void)snprintf(why, UNITS_WHY_SIZE, "%s has no unit; expected %s", quoted,
		    grammar->expected);
		return UNITS_E_INVALID;
	}
	if (!unit) {
		explain_unit(why, quoted, at, grammar->expected);
		return UNITS_E_INVALID;
	}
	if (!fits || !checked_mul(value, unit->factor, &value) || value > grammar->max) {
		(void)snprintf(why, UNITS_WHY_SIZE, "%s is too large; expected at most %s", quoted,
		    grammar->max_text);
		return UNITS_E_INVALID;
	}
	*ret_value = value;
	return 0;
}

int
units_parse_size(const char *text, char *why, uint64_t *ret_bytes)
{
	return parse(&size_grammar, text, why, ret_bytes);
}

int
units_parse_time(const char *text, char *why, uint64_t *ret_ms)
{
	return parse(&time_grammar, text, why, ret_ms);
}

int
units_parse_mode(const char *text, char *why, uint16_t *ret_mode)
{
	char quoted[QUOTE_SIZE];
	unsigned mode = 0;
	size_t i;

	units_quote(quoted, sizeof(quoted), text);
	for (i = 0; text[i] >= '0' && text[i] <= '7' && i < 5; i++)
		mode = mode * 8 + (unsigned)(text[i] - '0');
	if (text[i] || i < 3 || i > 4) {
		(void)snprintf(why, UNITS_WHY_SIZE,
		    "%s is not a mode; expected permission bits in octal, as in \"0640\"", quoted);
		return UNITS_E_INVALID;
	}
	if (mode > 0777) {
		(void)snprintf(why, UNITS_WHY_SIZE,
		    "%s has more than permission bits; expected \"0777\" at most", quoted);
		return UNITS_E_INVALID;
	}
	*ret_mode = (uint16_t)mode;
	return 0;
}

static const char *
format(const struct unit *units, size_t n_units, char *buf, size_t size, uint64_t value)
{
	for (size_t i = 0; i < n_units; i++)
		if (value % units[i].factor == 0 && (value || units[i].factor == 1)) {
			(void)snprintf(buf, size, "%llu%s",
			    (unsigned long long)(value / units[i].factor), units[i].name);
			break;
		}
	return buf;
}

const char *
units_format_size(char *buf, size_t size, uint64_t bytes)
{
	return format(size_units, BASE_ARRAY_SIZE(size_units), buf, size, bytes);
}

const char *
units_format_time(char *buf, size_t size, uint64_t ms)
{
	if (ms == 0) {
		(void)snprintf(buf, size, "0s");
		return buf;
	}
	return format(time_units, BASE_ARRAY_SIZE(time_units), buf, size, ms);
}
