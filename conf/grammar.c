/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whether a text is in libconfig's grammar, asked before libconfig is: version 1.5 says "syntax error" and no more, often a
 * line too late, and loses memory each time that a string is where it should not be. A daemon that is told to
 * reload a bad file must lose none, and whoever wrote it wants to know what was expected.
 *
 * What this takes and libconfig does not is reported in libconfig's words, so a difference costs clarity only.
 */
#include "config.h"

#include "conf/grammar.h"

#include "base/base.h"
#include "conf/report.h"
#include "conf/units.h"

#define QUOTE_SIZE	96
#define TOKEN_SHOWN	40

enum token {
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_EQUALS,
	TOKEN_BOOL,
	TOKEN_INTEGER,
	TOKEN_LONG,
	TOKEN_FLOAT,
	TOKEN_STRING,
	TOKEN_OTHER			/* one character: brackets, ; and , and what belongs nowhere */
};

struct parser {
	const struct source *source;
	struct conf_report *report;
	const char *at;			/* behind the token */
	unsigned line;			/* of at */
	enum token token;
	const char *begin;		/* the token's text */
	size_t length;
	unsigned token_line;
	unsigned last_line;		/* where the token before it ended */
};

static int parse_value(struct parser *parser);
static int parse_settings(struct parser *parser, char end);

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool
is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}

static bool
is_name(char c)
{
	return is_name_start(c) || is_digit(c) || c == '_' || c == '-';
}

/* Moves over blanks and comments; these are known to end. */
static void
skip_blanks(struct parser *parser)
{
	const char *at = parser->at;

	for (;;) {
		if (*at == '\n')
			parser->line++;
		if (*at && strchr(" \t\f\r\n", *at)) {
			at++;
		} else if (*at == '#' || (at[0] == '/' && at[1] == '/')) {
			at += strcspn(at, "\n");
		} else if (at[0] == '/' && at[1] == '*') {
			const char *end = strstr(at + 2, "*/");

			for (; end && at < end; at++)
				parser->line += *at == '\n';
			at += end ? 2 : strlen(at);
		} else {
			break;
		}
	}
	parser->at = at;
}

static const char *
skip_digits(const char *at)
{
	while (is_digit(*at))
		at++;
	return at;
}

/* The end of a number at `at`, and its kind; `at` itself: there is none. */
static const char *
find_number(const char *at, enum token *ret_token)
{
	const char *begin = at, *digits, *end;

	*ret_token = TOKEN_INTEGER;
	if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X') && strspn(at + 2, "0123456789abcdefABCDEF")) {
		end = at + 2 + strspn(at + 2, "0123456789abcdefABCDEF");
	} else {
		digits = at + (*at == '-' || *at == '+');
		end = skip_digits(digits);
		if (end == digits && *end != '.')
			return begin;
		if (*end == '.') {
			*ret_token = TOKEN_FLOAT;
			end = skip_digits(end + 1);
		}
		if (*end == 'e' || *end == 'E') {
			at = end + 1 + (end[1] == '-' || end[1] == '+');
			if (is_digit(*at)) {
				*ret_token = TOKEN_FLOAT;
				return skip_digits(at);
			}
		}
		if (*ret_token == TOKEN_FLOAT)
			return end;
	}
	if (*end == 'L') {
		*ret_token = TOKEN_LONG;
		end += end[1] == 'L' ? 2 : 1;
	}
	return end;
}

/* The end of the string that starts at `at`; it is known to have one on its line. */
static const char *
find_string_end(const char *at)
{
	for (at++; *at && *at != '"'; at++)
		if (*at == '\\' && at[1])
			at++;
	return *at ? at + 1 : at;
}

static void
next(struct parser *parser)
{
	const char *end;

	parser->last_line = parser->line;
	skip_blanks(parser);
	parser->begin = end = parser->at;
	parser->token_line = parser->line;
	if (!*end) {
		parser->token = TOKEN_END;
	} else if (*end == '"') {
		parser->token = TOKEN_STRING;
		end = find_string_end(end);
	} else if (is_name_start(*end)) {
		while (is_name(*end))
			end++;
		parser->token = TOKEN_NAME;
		if ((end - parser->at == 4 && strncasecmp(parser->at, "true", 4) == 0) ||
		    (end - parser->at == 5 && strncasecmp(parser->at, "false", 5) == 0))
			parser->token = TOKEN_BOOL;
	} else {
		end = find_number(end, &parser->token);
		if (end == parser->at) {
			parser->token = *end == '=' || *end == ':' ? TOKEN_EQUALS : TOKEN_OTHER;
			end++;
		}
	}
	parser->at = end;
	parser->length = (size_t)(end - parser->begin);
}

static bool
is_char(const struct parser *parser, char c)
{
	return parser->token == TOKEN_OTHER && *parser->begin == c;
}

static int
refuse(struct parser *parser, const char *expected)
{
	char shown[TOKEN_SHOWN + 1], quoted[QUOTE_SIZE] = "the end of the file";
	const char *file;
	unsigned line;
	int r;

	if (parser->token != TOKEN_END) {
		(void)snprintf(shown, sizeof(shown), "%.*s", (int)min_u64(parser->length, TOKEN_SHOWN),
		    parser->begin);
		(void)units_quote(quoted, sizeof(quoted), shown);
	}
	/* What is missing is missing where the last good token ended, as far as its writer is concerned. */
	source_find(parser->source, parser->token == TOKEN_END ? parser->last_line : parser->token_line,
	    &file, &line);
	r = report_add(parser->report, file, line, NULL, "syntax error: found %s; expected %s", quoted,
	    expected);
	return r < 0 ? r : GRAMMAR_E_REFUSED;
}

/* The values of an array or a list, up to the bracket that ends it. */
static int
parse_values(struct parser *parser, bool is_array)
{
	char end = is_array ? ']' : ')';
	enum token kind;
	int r;

	next(parser);
	kind = parser->token;
	if (is_char(parser, end)) {
		next(parser);
		return 0;
	}
	for (;;) {
		if (is_array && parser->token == TOKEN_OTHER)
			return refuse(parser, "a number, a string, true or false in an array [ ], or ]");
		if (is_array && parser->token != kind)
			return refuse(parser, "values of one kind in an array [ ]; a list ( ) takes others");
		r = parse_value(parser);
		if (r)
			return r;
		if (is_char(parser, end))
			break;
		if (!is_char(parser, ','))
			return refuse(parser, is_array ? "a comma or ] after a value in an array" :
			    "a comma or ) after a value in a list");
		next(parser);
	}
	next(parser);
	return 0;
}

static int
parse_value(struct parser *parser)
{
	switch (parser->token) {
	case TOKEN_STRING:
		while (parser->token == TOKEN_STRING)	/* adjacent strings are one, as in C */
			next(parser);
		return 0;
	case TOKEN_BOOL:
	case TOKEN_INTEGER:
	case TOKEN_LONG:
	case TOKEN_FLOAT:
		next(parser);
		return 0;
	case TOKEN_NAME:
		return refuse(parser, "a value; a text stands between double quotes");
	default:
		break;
	}
	if (is_char(parser, '{')) {
		next(parser);
		return parse_settings(parser, '}');
	}
	if (is_char(parser, '(') || is_char(parser, '['))
		return parse_values(parser, is_char(parser, '['));
	return refuse(parser, "a value");
}

/* Settings up to the bracket that ends the group; of the file itself, end is 0. */
static int
parse_settings(struct parser *parser, char end)
{
	int r;

	while (parser->token == TOKEN_NAME) {
		next(parser);
		if (parser->token != TOKEN_EQUALS)
			return refuse(parser, "\"=\" after a key");
		next(parser);
		r = parse_value(parser);
		if (r)
			return r;
		if (is_char(parser, ';') || is_char(parser, ','))
			next(parser);
	}
	if (end ? !is_char(parser, end) : parser->token != TOKEN_END)
		return refuse(parser, end ? "a key, as in \"name = value;\", or } to end the group" :
		    "a key, as in \"name = value;\"");
	if (end)
		next(parser);
	return 0;
}

int
grammar_check(const struct source *source, struct conf_report *report)
{
	struct parser parser = { .source = source, .report = report, .at = source->text, .line = 1 };

	next(&parser);
	return parse_settings(&parser, '\0');
}
