/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon gets texts and no paths: it reads nothing for others. @include is carried out here, and then lines have no way
 * back to their files; so the files are checked first, as `check` does.
 */
#include "config.h"

#include "client/segmentctl/upload.h"

#include "base/base.h"
#include "client/segmentctl/problems.h"
#include "client/segmentctl/report.h"
#include "conf/file.h"
#include "conf/load.h"
#include "conf/source.h"

static int
send_piece(struct ask *ask, uint32_t flags, const char *bytes, size_t length)
{
	struct protocol_upload request = { .flags = flags, .length = (uint32_t)length };

	memcpy(request.bytes, bytes, length);
	return ask_request(ask, PROTOCOL_UPLOAD, &request.header, sizeof(request), sizeof(struct protocol_header));
}

static int
send_text(struct ask *ask, const struct source *source, const char *path, bool is_first)
{
	size_t length = strlen(path), cut = length > PROTOCOL_UPLOAD_BYTES ? length - PROTOCOL_UPLOAD_BYTES : 0;
	int r = send_piece(ask, PROTOCOL_UPLOAD_NAME | (is_first ? PROTOCOL_UPLOAD_BEGIN : 0), path + cut, length - cut);

	for (size_t at = 0; at < source->length && r == 0; at += PROTOCOL_UPLOAD_BYTES)
		r = send_piece(ask, 0, source->text + at, min_u64(source->length - at, PROTOCOL_UPLOAD_BYTES));
	return r;
}

/* One file of those that were found valid a moment ago. */
static int
send_file(struct ask *ask, const char *path, bool is_first)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct source source = SOURCE_NULL;
	int r = source_read_file(&source, path, &report);

	if (r == 0)
		r = send_text(ask, &source, path, is_first);
	else if (r == SOURCE_E_GONE && !is_first)
		r = 0;
	else if (r < 0)
		r = report_failure(ask->ctl, SEGMENTCTL_FAILED, "reading '%s' failed: %s", path, strerror(-r));
	else
		r = report_failure(ask->ctl, SEGMENTCTL_FAILED, "'%s' has changed while it was being read", path);
	source_deinit(&source);
	conf_report_deinit(&report);
	return r;
}

static int
send_directory(struct ask *ask, const char *path)
{
	cleanup_free char *dir = file_beside(path, "segments.d");
	char why[FILE_WHY_SIZE];
	char **paths = NULL;
	size_t n = 0;
	int r;

	if (!dir)
		return report_no_memory(ask->ctl);
	r = file_list(dir, why, &paths, &n);
	if (r < 0)
		r = report_no_memory(ask->ctl);
	else if (r > 0)
		r = report_failure(ask->ctl, SEGMENTCTL_FAILED, "%s: %s", dir, why);
	for (size_t i = 0; i < n; i++) {
		if (r == 0)
			r = send_file(ask, paths[i], false);
		free(paths[i]);
	}
	free(paths);
	return r;
}

/* An exit status; what is wrong is told. */
static int
check_file(const struct segmentctl *ctl, const char *path)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct conf *conf = NULL;
	int r = conf_load(path, &report, &conf);

	if (r < 0)
		r = report_failure(ctl, SEGMENTCTL_FAILED, "reading '%s' failed: %s", path, strerror(-r));
	else if (r > 0)
		r = problems_tell(ctl, path, &report);
	conf_report_deinit(&report);
	(void)conf_free(conf);
	return r;
}

int
upload_file(struct ask *ask, const char *path)
{
	int r = check_file(ask->ctl, path);

	if (r == 0)
		r = send_file(ask, path, true);
	return r ? r : send_directory(ask, path);
}
