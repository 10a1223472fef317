/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `read` and `write`: a segment's bytes to standard output and from standard input. The kernel copies between the mapping
 * and the file; nothing in between holds a copy of its own.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segment.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"
#include "conf/units.h"

struct contents {
	const struct segmentctl *ctl;
	const char *name;
	struct segment_client *client;
	struct segment *segment;
	char *data;
	uint64_t size_bytes;
};

static int
parse_size(const struct segmentctl *ctl, const char *what, const char *text, uint64_t *ret_bytes)
{
	char why[UNITS_WHY_SIZE];

	if (units_parse_size(text, why, ret_bytes) == 0)
		return 0;
	return report_usage(ctl, "%s: %s", what, why);
}

static int
attach(struct contents *contents, unsigned flags)
{
	int r = segment_connect(&contents->client, contents->ctl->socket);

	if (r < 0)
		return report_failure(contents->ctl, report_connect_status(r), "%s", segment_error());
	r = segment_attach(contents->client, contents->name, NULL, flags, &contents->segment);
	if (r < 0)
		return report_failure(contents->ctl, report_request_status(r), "%s", segment_error());
	contents->data = segment_data(contents->segment);
	contents->size_bytes = segment_size(contents->segment);
	return 0;
}

static void
detach(struct contents *contents)
{
	(void)segment_detach(contents->segment);
	segment_disconnect(contents->client);
}

/* Whether offset and length lie in the segment; without a length it is all up to the end. */
static int
check_range(const struct contents *contents, uint64_t offset, bool has_length, uint64_t *length)
{
	char size[TEXT_SIZE];

	text_format_size(contents->size_bytes, size);
	if (offset > contents->size_bytes)
		return report_failure(contents->ctl, SEGMENTCTL_FAILED,
		    "offset %" PRIu64 " is beyond the end of '%s', which has %" PRIu64 " bytes (%s)",
		    offset, contents->name, contents->size_bytes, size);
	if (!has_length)
		*length = contents->size_bytes - offset;
	if (*length > contents->size_bytes - offset)
		return report_failure(contents->ctl, SEGMENTCTL_FAILED,
		    "%" PRIu64 " bytes from offset %" PRIu64 " end beyond '%s', which has %" PRIu64 " bytes (%s)",
		    *length, offset, contents->name, contents->size_bytes, size);
	return 0;
}

static int
put_range(const struct contents *contents, uint64_t offset, uint64_t length)
{
	while (length > 0) {
		ssize_t n = write(STDOUT_FILENO, contents->data + offset, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return report_output(contents->ctl, -errno);
		offset += (uint64_t)n;
		length -= (uint64_t)n;
	}
	return SEGMENTCTL_DONE;
}

int
contents_run_read(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct contents contents = { .ctl = ctl, .name = args[0] };
	uint64_t offset = 0, length = 0;
	int r;

	if (ctl->json)
		return report_usage(ctl, "'read' prints a segment's bytes as they are: it has no --json");
	r = ask_check_name(ctl, args[0]);
	if (r == 0 && n_args > 1)
		r = parse_size(ctl, "OFFSET", args[1], &offset);
	if (r == 0 && n_args > 2)
		r = parse_size(ctl, "LENGTH", args[2], &length);
	if (r == 0)
		r = attach(&contents, SEGMENT_READ);
	if (r == 0)
		r = check_range(&contents, offset, n_args > 2, &length);
	if (r == 0)
		r = put_range(&contents, offset, length);
	detach(&contents);
	return r;
}

/* Reads standard input, up to size bytes of it. The bytes read, or a negative errno; fewer than size: it ended. */
static int
get_input(char *to, uint64_t size, uint64_t *ret_bytes)
{
	uint64_t got = 0;

	while (got < size) {
		ssize_t n = read(STDIN_FILENO, to + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			*ret_bytes = got;
			return -errno;
		}
		if (n == 0)
			break;
		got += (uint64_t)n;
	}
	*ret_bytes = got;
	return 0;
}

static int
print_written(const struct contents *contents, uint64_t offset, uint64_t written)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_add_string(&json, "name", contents->name);
		json_add_number(&json, "offset", offset);
		json_add_number(&json, "written", written);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(contents->ctl, r);
}

static int
take_input(const struct contents *contents, uint64_t offset, uint64_t space)
{
	uint64_t written, beyond = 0;
	char byte;
	int r;

	r = get_input(contents->data + offset, space, &written);
	/* The segment is full: is that all there is? */
	if (r == 0 && written == space)
		r = get_input(&byte, 1, &beyond);
	if (r < 0)
		return report_failure(contents->ctl, SEGMENTCTL_FAILED,
		    "reading standard input failed after %" PRIu64 " bytes, which were written: %s", written, strerror(-r));
	if (beyond > 0)
		return report_failure(contents->ctl, SEGMENTCTL_FAILED,
		    "the input is longer than '%s': %" PRIu64 " byte%s written from offset %" PRIu64
		    " to its end, the rest was not", contents->name, written, written == 1 ? " was" : "s were", offset);
	return contents->ctl->json ? print_written(contents, offset, written) : SEGMENTCTL_DONE;
}

int
contents_run_write(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct contents contents = { .ctl = ctl, .name = args[0] };
	uint64_t offset = 0, space = 0;
	int r = ask_check_name(ctl, args[0]);

	if (r == 0 && n_args > 1)
		r = parse_size(ctl, "OFFSET", args[1], &offset);
	if (r == 0)
		r = attach(&contents, SEGMENT_WRITE);
	if (r == 0)
		r = check_range(&contents, offset, false, &space);
	if (r == 0)
		r = take_input(&contents, offset, space);
	detach(&contents);
	return r;
}
