/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/settings.h"

#define SETTINGS_MAX	4

static struct setting {
	const char *path;		/* NULL: free */
	char before[64];
} changed[SETTINGS_MAX];

static bool
settings_read(const char *path, char *text, size_t size)
{
	cleanup_fclose FILE *f = fopen(path, "re");

	text[0] = '\0';
	return f && fgets(text, (int)size, f);
}

static bool
settings_write(const char *path, const char *value)
{
	FILE *f = fopen(path, "we");
	bool written;

	if (!f)
		return false;
	written = fputs(value, f) >= 0;
	return fclose(f) == 0 && written;
}

bool
settings_chosen(const char *path, const char *word)
{
	char text[256], chosen[64];

	(void)snprintf(chosen, sizeof(chosen), "[%s]", word);
	return settings_read(path, text, sizeof(text)) && strstr(text, chosen);
}

uint64_t
settings_number(const char *path)
{
	char text[64];

	return settings_read(path, text, sizeof(text)) ? strtoull(text, NULL, 10) : 0;
}

/* What has to be written to get the present value: the word in brackets, or the whole line. */
static void
settings_value(const char *path, char *value, size_t size)
{
	char text[256], *open, *close;

	(void)settings_read(path, text, sizeof(text));
	text[strcspn(text, "\n")] = '\0';
	open = strchr(text, '[');
	close = open ? strchr(open, ']') : NULL;
	if (close) {
		*close = '\0';
		(void)snprintf(value, size, "%.*s", (int)size - 1, open + 1);
	} else {
		(void)snprintf(value, size, "%.*s", (int)size - 1, text);
	}
}

static void
settings_remember(const char *path)
{
	static bool registered;
	unsigned i;

	if (!registered)
		(void)atexit(settings_restore);
	registered = true;
	for (i = 0; i < SETTINGS_MAX && changed[i].path; i++) {
		if (streq(changed[i].path, path))
			return;
	}
	if (i == SETTINGS_MAX)
		bench_fail("more than %d settings changed at once", SETTINGS_MAX);
	settings_value(path, changed[i].before, sizeof(changed[i].before));
	changed[i].path = path;
}

bool
settings_change(const char *path, const char *value)
{
	settings_remember(path);
	return settings_write(path, value);
}

void
settings_restore(void)
{
	unsigned i;

	for (i = 0; i < SETTINGS_MAX; i++) {
		if (changed[i].path && !settings_write(changed[i].path, changed[i].before))
			(void)fprintf(stderr, "bench: %s could not be set back to '%s'\n", changed[i].path, changed[i].before);
		changed[i].path = NULL;
	}
}

uint64_t
settings_meminfo_bytes(const char *key)
{
	cleanup_fclose FILE *f = fopen("/proc/meminfo", "re");
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, key, strlen(key)) == 0)
			return strtoull(line + strlen(key), NULL, 10) * KIB;
	}
	return 0;
}
