/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A file's contents are kept, its pages are the page cache's, and it has one place: what a definition asks for beyond that is
 * refused here, and not when the machine is down and nobody looks.
 */
#include "config.h"

#include "conf/check_file.h"

#include <limits.h>

#include "base/base.h"
#include "conf/units.h"

#define MARK_SUFFIX	".segmentd"	/* of the mark beside it; while it is being made it has another one more */
#define SUFFIXES_MAX	sizeof(".segmentd.new")
#define QUOTE_SIZE	96

static bool
ends_with(const char *text, const char *end)
{
	size_t length = strlen(text), end_length = strlen(end);

	return length >= end_length && streq(text + length - end_length, end);
}

/* Whether a part of the path is "." or "..", or empty: then another path could be the same file. */
static bool
has_detours(const char *path)
{
	for (const char *part = path; part; part = strchr(part, '/')) {
		size_t length = strcspn(++part, "/");

		if (length == 0 || (length <= 2 && strspn(part, ".") >= length))
			return true;
	}
	return false;
}

static void
check_path(struct reader *reader, config_setting_t *group, const char *path)
{
	config_setting_t *setting = config_setting_get_member(group, "path");
	char found[QUOTE_SIZE];

	if (!setting) {
		read_problem(reader, group, "path", "is missing; backend \"file\" requires it: where its contents are");
		return;
	}
	/* Refused already, as one that is not absolute. */
	if (!path)
		return;
	(void)units_quote(found, sizeof(found), path);
	if (has_detours(path))
		read_problem(reader, setting, NULL, "%s names no file, or not by its shortest path; expected the file's name at the "
		    "end, and no part that is empty, \".\" or \"..\"", found);
	else if (ends_with(path, MARK_SUFFIX))
		read_problem(reader, setting, NULL, "%s ends in \"" MARK_SUFFIX "\", as the mark that segmentd keeps beside a file "
		    "does; expected another name", found);
	else if (strlen(strrchr(path, '/') + 1) > NAME_MAX - SUFFIXES_MAX + 1)
		read_problem(reader, setting, NULL, "%s has a name of %zu bytes; expected %zu at most, since the mark beside it has "
		    "that name and more", found, strlen(strrchr(path, '/') + 1), NAME_MAX - SUFFIXES_MAX + 1);
}

void
check_file(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	config_setting_t *page_size = config_setting_get_member(group, "page_size");

	if (definition->is_template) {
		read_problem(reader, config_setting_get_member(group, "backend"), NULL,
		    "\"file\" is for segments: all that are made from a template would have one file; expected another backend, "
		    "or a segment for each file");
		return;
	}
	check_path(reader, group, definition->path);
	if (definition->scrub)
		read_problem(reader, config_setting_get_member(group, "scrub"), NULL,
		    "true contradicts backend \"file\": a file's contents are kept when nobody is attached; remove it");
	if (definition->page_size >= DEFINITION_PAGE_TRANSPARENT)
		read_problem(reader, page_size, NULL,
		    "\"%s\" is not to be had of backend \"file\": a file's pages are those of the page cache; expected \"auto\" or "
		    "\"base\"", definition_page_size_name(definition->page_size));
}
