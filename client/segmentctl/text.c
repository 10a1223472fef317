/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Values as people read them. Strings of peers are hostile until they are escaped. */
#include "config.h"

#include "client/segmentctl/text.h"

#include <grp.h>
#include <inttypes.h>
#include <langinfo.h>
#include <pwd.h>
#include <limits.h>
#include <wchar.h>

#include "base/base.h"

size_t
text_utf8_length(const unsigned char *p)
{
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t c;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
	if (p[0] < 0xc0 || p[0] >= 0xf8)
		return 0;
	c = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)	/* the ending NUL, too */
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	/* Overlong forms and surrogates are how filters are fooled. */
	if (c < smallest[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	return n;
}

/* Characters that show nothing of themselves but act: C1 controls, and those that reverse the direction of text. */
static bool
is_acting(const unsigned char *p, size_t n)
{
	if (n == 1)
		return *p < ' ' || *p == 0x7f;
	if (n == 2)
		return p[0] == 0xc2 && p[1] < 0xa0;
	return n == 3 && p[0] == 0xe2 &&
	    ((p[1] == 0x80 && ((p[2] >= 0x8b && p[2] <= 0x8f) || (p[2] >= 0xa8 && p[2] <= 0xae))) ||
		(p[1] == 0x81 && p[2] >= 0xa0 && p[2] <= 0xaf));
}

void
text_put_escaped(FILE *out, const char *string)
{
	const unsigned char *p = (const unsigned char *)string;

	while (*p) {
		size_t n = text_utf8_length(p);

		if (n == 0 || is_acting(p, n))
			for (size_t i = 0; i < max_u64(n, 1); i++)
				fprintf(out, "\\%03o", p[i]);
		else
			fwrite(p, 1, n, out);
		p += max_u64(n, 1);
	}
}

char *
text_escape(const char *string)
{
	char *escaped = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&escaped, &size);
	bool ok;

	if (!out)
		return NULL;
	text_put_escaped(out, string);
	ok = !ferror(out);
	if (fclose(out) != 0 || !ok) {
		free(escaped);
		return NULL;
	}
	return escaped;
}

size_t
text_width(const char *escaped)
{
	mbstate_t state = { 0 };
	size_t width = 0, n;
	wchar_t wide;

	while ((n = mbrtowc(&wide, escaped, MB_LEN_MAX, &state)) > 0) {
		int columns;

		if (n == (size_t)-1 || n == (size_t)-2)
			return width + strlen(escaped);		/* not this locale's */
		columns = wcwidth(wide);
		width += columns > 0 ? (size_t)columns : 0;
		escaped += n;
	}
	return width;
}

char *
text_cut(const char *escaped, size_t width)
{
	static const char ellipsis[] = "\342\200\246";	/* U+2026 */
	const char *mark = streq(nl_langinfo(CODESET), "UTF-8") ? ellipsis : "~";
	size_t length = 0, taken = 0, n;
	mbstate_t state = { 0 };
	wchar_t wide;
	char *cut;

	while ((n = mbrtowc(&wide, escaped + length, MB_LEN_MAX, &state)) > 0 && n < (size_t)-2) {
		int columns = wcwidth(wide);

		taken += columns > 0 ? (size_t)columns : 0;
		if (taken > width - 1)
			break;
		length += n;
	}
	return asprintf(&cut, "%.*s%s", (int)length, escaped, mark) < 0 ? NULL : cut;
}

void
text_format_size(uint64_t bytes, char buf[TEXT_SIZE])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t i = 0;

	/* 1023.95 would be rounded to 1024.0 of the smaller unit. */
	while (value >= 1023.95 && i + 1 < BASE_ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	if (((uint64_t)1 << (10 * i)) * (uint64_t)value == bytes)
		(void)snprintf(buf, TEXT_SIZE, "%" PRIu64 " %s", (uint64_t)value, units[i]);
	else
		(void)snprintf(buf, TEXT_SIZE, "%.1f %s", value, units[i]);
}

unsigned
text_percent(uint64_t part, uint64_t total)
{
	if (total == 0)
		return 0;
	return part >= total ? 100 : (unsigned)((double)part / (double)total * 100);
}

void
text_format_time(uint64_t since_ns, bool as_json, char buf[TEXT_SIZE])
{
	time_t seconds = (time_t)(since_ns / NS_PER_SEC);
	struct tm tm;
	size_t n;

	/* A year that does not fit is a peer's lie: an empty string. */
	buf[0] = '\0';
	if (!(as_json ? gmtime_r(&seconds, &tm) : localtime_r(&seconds, &tm)))
		return;
	n = strftime(buf, TEXT_SIZE, as_json ? "%Y-%m-%dT%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm);
	if (as_json)
		(void)snprintf(buf + n, TEXT_SIZE - n, ".%06uZ", (unsigned)(since_ns % NS_PER_SEC / 1000));
}

void
text_format_user(uint32_t uid, char buf[TEXT_USER_SIZE])
{
	const struct passwd *user = getpwuid(uid);

	if (user && strlen(user->pw_name) < TEXT_USER_SIZE)
		(void)strcpy(buf, user->pw_name);
	else
		(void)snprintf(buf, TEXT_USER_SIZE, "%" PRIu32, uid);
}

void
text_format_group(uint32_t gid, char buf[TEXT_USER_SIZE])
{
	const struct group *group = getgrgid(gid);

	if (group && strlen(group->gr_name) < TEXT_USER_SIZE)
		(void)strcpy(buf, group->gr_name);
	else
		(void)snprintf(buf, TEXT_USER_SIZE, "%" PRIu32, gid);
}

bool
text_field_ends(const char *field, size_t size)
{
	return memchr(field, '\0', size) != NULL;
}
