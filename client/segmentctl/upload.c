/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The daemon gets texts and no paths: it reads nothing for others. What is wrong with them it says with their own places. */
#include "config.h"

#include "client/segmentctl/upload.h"

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "conf/gather.h"

static int
send_piece(struct ask *ask, uint32_t flags, const char *bytes, size_t length)
{
	struct protocol_upload request = { .flags = flags, .length = (uint32_t)length };

	memcpy(request.bytes, bytes, length);
	return ask_look(ask, PROTOCOL_UPLOAD, &request.header, sizeof(request), sizeof(struct protocol_header));
}

static int
send_text(struct ask *ask, const struct conf_text *text, bool is_first)
{
	size_t length = strlen(text->name), cut = length > PROTOCOL_UPLOAD_BYTES ? length - PROTOCOL_UPLOAD_BYTES : 0;
	int r = send_piece(ask, PROTOCOL_UPLOAD_NAME | (is_first ? PROTOCOL_UPLOAD_BEGIN : 0), text->name + cut,
	    length - cut);

	for (size_t at = 0; at < text->length && r == 0; at += PROTOCOL_UPLOAD_BYTES)
		r = send_piece(ask, 0, text->bytes + at, min_u64(text->length - at, PROTOCOL_UPLOAD_BYTES));
	return r;
}

int
upload_file(struct ask *ask, const char *path, struct conf_report *report)
{
	struct gathered gathered = GATHERED_NULL;
	int r = conf_gather(path, report, &gathered);

	if (r)
		return r < 0 ? report_no_memory(ask->ctl) : 0;
	for (size_t i = 0; i < gathered.n_texts && r == 0; i++)
		r = send_text(ask, &gathered.texts[i], i == 0);
	gathered_deinit(&gathered);
	return r;
}
