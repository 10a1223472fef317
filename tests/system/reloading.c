/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Reloads of a real daemon, by signal and over the wire, and their lines. */
#include "config.h"

#include "tests/system/reloading.h"

const char *
reloading_hangup(struct harness_daemon *daemon, const char *daemon_keys, const char *body)
{
	size_t length = strlen(harness_daemon_log(daemon));

	harness_daemon_configure(daemon, daemon_keys, body);
	/* With room for what the reload tells: who was not told of its begin is not told of its end. */
	harness_daemon_hangup(daemon);
	/* It says that it is ready at other times, too; of a reload after what the log has of it. */
	while (!strstr(harness_daemon_log(daemon) + length, "reload, asked for by SIGHUP"))
		harness_daemon_await_ready(daemon);
	return harness_daemon_log(daemon) + length;
}

void
reloading_expect(const char *text, const char *expected)
{
	harness_assert(strstr(text, expected), "there is no '%s' in:\n%s", expected, text);
}

void
reloading_expect_not(const char *text, const char *unexpected)
{
	harness_assert(!strstr(text, unexpected), "there is '%s' in:\n%s", unexpected, text);
}
