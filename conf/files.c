/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which files a configuration is: the main one, then segments.d/ *.conf beside it in the order of their names. */
#include "config.h"

#include "conf/files.h"

#include <sys/stat.h>

#include "base/base.h"
#include "conf/file.h"
#include "conf/report.h"

/* A run over all of them. */
struct files {
	struct conf_report *report;
	files_fn fn;
	void *arg;
};

/* The main file has to be there. One of segments.d may vanish between listing and reading; a dangling link may not. */
static int
report_gone(struct files *files, const char *path, bool is_main)
{
	struct stat st;

	if (is_main)
		return report_add(files->report, path, 0, NULL, "cannot be read: %s; expected a configuration file",
		    strerror(ENOENT));
	if (lstat(path, &st) == 0)
		return report_add(files->report, path, 0, NULL, "is a link to nothing; remove it, or restore what it named");
	return 0;
}

static int
read_one(struct files *files, const char *path, bool is_main)
{
	struct source source = SOURCE_NULL;
	int r = source_read_file(&source, path, files->report);

	if (r == SOURCE_E_GONE)
		r = report_gone(files, path, is_main);
	else if (r == 0)
		r = files->fn(&source, files->arg);
	source_deinit(&source);
	return r < 0 ? r : 0;	/* what was refused is in the report */
}

static int
read_directory(struct files *files, const char *dir)
{
	char why[FILE_WHY_SIZE];
	char **paths = NULL;
	size_t n = 0;
	int r = file_list(dir, files->report->origin, why, &paths, &n);

	if (r > 0)
		r = report_add(files->report, dir, 0, NULL, "%s", why);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = read_one(files, paths[i], false);
		free(paths[i]);
	}
	free(paths);
	return r;
}

int
files_read(const char *path, struct conf_report *report, files_fn fn, void *arg)
{
	struct files files = { .report = report, .fn = fn, .arg = arg };
	cleanup_free char *dir = file_beside(path, "segments.d");
	int r;

	if (!dir)
		return -ENOMEM;
	r = read_one(&files, path, true);
	return r ? r : read_directory(&files, dir);
}
