/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Failures for people and for programs, in one place, so that every command fails alike. */
#include "config.h"

#include "client/segmentctl/report.h"

#include <stdarg.h>

#include "client/segmentctl/json.h"
#include "client/segmentctl/text.h"

static int
report(const struct segmentctl *ctl, enum segmentctl_status status, const char *text)
{
	bool is_line = ctl->command && ctl->command->options & SEGMENTCTL_JSON_LINES;
	struct json json = JSON_NULL;

	if (ctl->failure) {
		(void)snprintf(ctl->failure, ctl->failure_size, "%s", text);
		return status;
	}
	(void)fflush(stdout);
	fputs("segmentctl: ", stderr);
	text_put_escaped(stderr, text);
	putc('\n', stderr);
	if (ctl->json && (is_line ? json_init_line(&json) : json_init(&json)) == 0) {
		json_open_object(&json, "error");
		json_add_number(&json, "status", status);
		json_add_string(&json, "text", text);
		json_close_object(&json);
		(void)json_print(&json);	/* nothing is left to say it to */
		json_deinit(&json);
	}
	return status;
}

static int
report_va(const struct segmentctl *ctl, enum segmentctl_status status, const char *format, va_list args)
{
	cleanup_free char *text = NULL;

	if (vasprintf(&text, format, args) < 0) {
		text = NULL;
		return report(ctl, status, "memory is short");
	}
	return report(ctl, status, text);
}

int
report_failure(const struct segmentctl *ctl, enum segmentctl_status status, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = report_va(ctl, status, format, args);
	va_end(args);
	return r;
}

int
report_usage(const struct segmentctl *ctl, const char *format, ...)
{
	const struct segmentctl_command *command = ctl->command;
	va_list args;
	int r;

	va_start(args, format);
	r = report_va(ctl, SEGMENTCTL_USAGE, format, args);
	va_end(args);
	if (command)
		fprintf(stderr, "usage: segmentctl [--socket PATH] [--json] %s%s%s\n", command->name,
		    *command->arguments ? " " : "", command->arguments);
	else
		fputs("`segmentctl --help` lists the commands\n", stderr);
	return r;
}

int
report_no_memory(const struct segmentctl *ctl)
{
	return report(ctl, SEGMENTCTL_FAILED, "memory is short");
}

int
report_protocol(const struct segmentctl *ctl, const char *what)
{
	return report_failure(ctl, SEGMENTCTL_FAILED,
	    "the daemon broke the protocol: %s (are segmentd and segmentctl of the same release?)", what);
}

enum segmentctl_status
report_connect_status(int r)
{
	switch (r) {
	case -ENOENT:
	case -ENOTDIR:
	case -ECONNREFUSED:
	case -ENOTCONN:
		return SEGMENTCTL_NO_DAEMON;
	case -EACCES:
	case -EPERM:
		return SEGMENTCTL_NOT_PERMITTED;
	default:
		return SEGMENTCTL_FAILED;
	}
}

enum segmentctl_status
report_request_status(int r)
{
	switch (r) {
	case -ENOENT:
		return SEGMENTCTL_NO_SEGMENT;
	case -ENOTCONN:
	case -ECONNREFUSED:
		return SEGMENTCTL_NO_DAEMON;
	case -EACCES:
	case -EPERM:
		return SEGMENTCTL_NOT_PERMITTED;
	default:
		return SEGMENTCTL_FAILED;
	}
}

int
report_output(const struct segmentctl *ctl, int r)
{
	if (r == 0 && fflush(stdout) != 0)
		r = -errno;
	if (r == 0)
		return SEGMENTCTL_DONE;
	/* Whoever read our output has had enough: they know. */
	if (r == -EPIPE)
		return SEGMENTCTL_FAILED;
	fprintf(stderr, "segmentctl: writing to standard output failed: %s\n", strerror(-r));
	return SEGMENTCTL_FAILED;
}
