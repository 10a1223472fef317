/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What segmentd.conf(5) has to say of a key. The wording is fixed, so that a test can compare the page with the table. */
#include "config.h"

#include "tests/conf/facts.h"

#include "base/base.h"
#include "conf/units.h"

static void
range_of(const struct keys_row *row, char *buf, size_t size)
{
	char min[32], max[32];
	size_t n = 0;

	buf[0] = '\0';
	if (row->range) {
		(void)snprintf(buf, size, "%s", row->range);
		return;
	}
	switch (row->type) {
	case KEYS_TYPE_BOOL:
		(void)snprintf(buf, size, "true or false");
		break;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
		(void)snprintf(buf, size, "%llu to %llu", (unsigned long long)row->min,
		    (unsigned long long)row->max);
		break;
	case KEYS_TYPE_SIZE:
		(void)snprintf(buf, size, "%s to %s", units_format_size(min, sizeof(min), row->min),
		    units_format_size(max, sizeof(max), row->max));
		break;
	case KEYS_TYPE_TIME:
		(void)snprintf(buf, size, "%s to %s", units_format_time(min, sizeof(min), row->min),
		    units_format_time(max, sizeof(max), row->max));
		break;
	case KEYS_TYPE_MODE:
		(void)snprintf(buf, size, "\"0000\" to \"%04o\"", (unsigned)row->max);
		break;
	case KEYS_TYPE_WORD:
	case KEYS_TYPE_FLAG:
		for (size_t i = 0; row->words[i]; i++)
			n += (size_t)snprintf(buf + n, size - n, "%s\"%s\"",
			    i == 0 ? "" : row->words[i + 1] ? ", " : " or ", row->words[i]);
		break;
	case KEYS_TYPE_LIST:
		(void)snprintf(buf, size, "%llu entries at most", (unsigned long long)row->max);
		break;
	default:
		(void)snprintf(buf, size, "a group { }");
		break;
	}
}

static const char *
where_of(const struct keys_row *row)
{
	if (row->where == KEYS_OF_SEGMENT)
		return " In: segments.";
	if (row->where == KEYS_OF_TEMPLATE)
		return " In: templates.";
	return row->where ? " In: segments and templates." : "";
}

const char *
facts_of(const struct keys_row *row, char *buf)
{
	bool both = row->fallback && row->fallback_words;
	char range[512];

	range_of(row, range, sizeof(range));
	(void)snprintf(buf, FACTS_SIZE, "%s Type: %s. Default: %s%s%s. Range: %s. Reload: %s.%s", row->help,
	    keys_type_name(row->type), row->fallback ? row->fallback : "", both ? "; " : "",
	    row->fallback_words ? row->fallback_words : "", range, keys_reload_name(row->reload),
	    where_of(row));
	return buf;
}
