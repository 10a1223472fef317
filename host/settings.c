/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Settings of systemd's programs and units, from their files. */
#include "config.h"

#include <dirent.h>

#include "base/base.h"
#include "host/settings.h"

#define DROP_INS_MAX	256

static const char *const dirs[] = { "/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib" };

struct drop_in {
	char name[256];
	size_t dir;			/* of dirs */
};

struct drop_ins {
	struct drop_in list[DROP_INS_MAX];
	size_t n;
};

/* Without the space around it; in place. */
static char *
trim(char *text)
{
	size_t len;

	text += strspn(text, " \t\n");
	len = strlen(text);
	while (len > 0 && strchr(" \t\n", text[len - 1]))
		text[--len] = '\0';
	return text;
}

static void
take_lines(FILE *f, const char *file, settings_fn fn, void *arg)
{
	cleanup_free char *line = NULL;
	char section[64] = "", *text, *value;
	size_t size = 0;

	while (getline(&line, &size, f) > 0) {
		text = trim(line);
		if (*text == '[') {
			text[strcspn(text, "]")] = '\0';
			(void)snprintf(section, sizeof(section), "%s", text + 1);
			continue;
		}
		value = strchr(text, '=');
		if (!value || *text == '#' || *text == ';')
			continue;
		*value++ = '\0';
		fn(section, trim(text), trim(value), file, arg);
	}
}

/* 0, -ENOENT or another errno of opening it. */
static int
read_one(const char *root, const char *file, settings_fn fn, void *arg)
{
	cleanup_free char *full = NULL;
	cleanup_fclose FILE *f = NULL;

	if (asprintf(&full, "%s%s", root, file) < 0) {
		full = NULL;
		return -ENOMEM;
	}
	f = fopen(full, "re");
	if (!f)
		return -errno;
	take_lines(f, file, fn, arg);
	return 0;
}

/* A name that is there already comes from a directory that goes before. */
static void
drop_ins_add(struct drop_ins *drop_ins, const char *name, size_t dir)
{
	size_t len = strlen(name), i = 0;

	if (len < 6 || len >= sizeof(drop_ins->list[0].name) || !streq(name + len - 5, ".conf") ||
	    drop_ins->n == DROP_INS_MAX)
		return;
	while (i < drop_ins->n && strcmp(drop_ins->list[i].name, name) < 0)
		i++;
	if (i < drop_ins->n && streq(drop_ins->list[i].name, name))
		return;
	memmove(&drop_ins->list[i + 1], &drop_ins->list[i], (drop_ins->n - i) * sizeof(drop_ins->list[0]));
	(void)strcpy(drop_ins->list[i].name, name);
	drop_ins->list[i].dir = dir;
	drop_ins->n++;
}

static void
drop_ins_find(struct drop_ins *drop_ins, const char *root, const char *name)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(dirs); i++) {
		cleanup_free char *path = NULL;
		struct dirent *entry;
		DIR *dir;

		if (asprintf(&path, "%s%s/%s.d", root, dirs[i], name) < 0) {
			path = NULL;
			return;
		}
		dir = opendir(path);
		while (dir && (entry = readdir(dir)))
			drop_ins_add(drop_ins, entry->d_name, i);
		if (dir)
			(void)closedir(dir);
	}
}

static int
read_drop_ins(const char *root, const char *name, settings_fn fn, void *arg)
{
	cleanup_free struct drop_ins *drop_ins = calloc(1, sizeof(*drop_ins));

	if (!drop_ins)
		return -ENOMEM;
	drop_ins_find(drop_ins, root, name);
	for (size_t i = 0; i < drop_ins->n; i++) {
		cleanup_free char *file = NULL;

		if (asprintf(&file, "%s/%s.d/%s", dirs[drop_ins->list[i].dir], name, drop_ins->list[i].name) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		(void)read_one(root, file, fn, arg);
	}
	return 0;
}

static int
read_main(const char *root, const char *name, settings_fn fn, void *arg)
{
	int r = -ENOENT;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(dirs) && r == -ENOENT; i++) {
		cleanup_free char *file = NULL;

		if (asprintf(&file, "%s/%s", dirs[i], name) < 0) {
			file = NULL;
			return -ENOMEM;
		}
		r = read_one(root, file, fn, arg);
	}
	return r;
}

int
settings_read(const char *root, const char *name, settings_fn fn, void *arg)
{
	int r = read_main(root, name, fn, arg);

	return r ? r : read_drop_ins(root, name, fn, arg);
}

int
settings_read_drop_ins(const char *root, const char *name, settings_fn fn, void *arg)
{
	int r = read_main(root, name, fn, arg);

	return r && r != -ENOENT ? r : read_drop_ins(root, name, fn, arg);
}
