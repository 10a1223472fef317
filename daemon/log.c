/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Entries to the journal or lines on standard error; never both, and never a failure of the caller. */
#include "config.h"

#include <stdarg.h>

#include "daemon/log.h"

static bool log_to_journal;
static void (*log_on_kept)(void *arg);	/* or NULL */
static void *log_on_kept_arg;
static bool log_verbose;		/* $SEGMENTD_DEBUG: what clients do at will, too */

static const char *
log_priority_name(int priority)
{
	switch (priority) {
	case LOG_ERR:
		return "error";
	case LOG_WARNING:
		return "warning";
	case LOG_NOTICE:
		return "notice";
	case LOG_DEBUG:
		return "debug";
	default:
		return "info";
	}
}

void
log_open(void)
{
	log_to_journal = journal_is_stderr();
	log_verbose = getenv("SEGMENTD_DEBUG") != NULL;
}

void
log_set_on_kept(void (*on_kept)(void *arg), void *arg)
{
	log_on_kept = on_kept;
	log_on_kept_arg = arg;
}

bool
log_flush(void)
{
	unsigned n;

	if (!journal_flush())
		return false;
	n = journal_left_out();
	if (n)
		log_write(MESSAGE_LEFT_OUT, NULL, "%u entries were left out: the journal took none for a while", n);
	return !journal_keeps_some();
}

void
log_close(void)
{
	log_on_kept = NULL;
	journal_end();
}

void
log_write(int message, const struct log_about *about, const char *format, ...)
{
	static const struct log_about nothing;
	int priority = MESSAGE_PRIORITY(message);
	char text[2048];
	va_list args;

	if (!about)
		about = &nothing;
	if (priority == LOG_DEBUG && !log_verbose)
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	if (log_to_journal) {
		struct journal_fields fields = {
			.message_id = message_id(message),
			.segment = about->segment,
			.lock = about->lock,
			.object = about->object,
			.client_pid = about->client_pid,
			.has_client_uid = about->has_client_uid,
			.client_uid = about->client_uid,
			.error = -about->error,
		};

		if (journal_send(priority, &fields, text) == 0) {
			if (journal_keeps_some() && log_on_kept)
				log_on_kept(log_on_kept_arg);
			return;
		}
	}
	if (about->error)
		(void)fprintf(stderr, "segmentd: %s: %s: %s\n", log_priority_name(priority), text,
		    strerror(-about->error));
	else
		(void)fprintf(stderr, "segmentd: %s: %s\n", log_priority_name(priority), text);
}

bool
log_allowed(struct log_limit *limit)
{
	uint64_t now_ns = clock_monotonic_ns();

	if (now_ns - limit->begun_ns >= limit->interval_ns) {
		if (limit->n_dropped)
			log_write(MESSAGE_LEFT_OUT, NULL, "%u more entries like the following were left out",
			    limit->n_dropped);
		limit->begun_ns = now_ns;
		limit->n_logged = 0;
		limit->n_dropped = 0;
	}
	if (limit->n_logged >= limit->burst) {
		limit->n_dropped++;
		return false;
	}
	limit->n_logged++;
	return true;
}

const char *
log_quote(char *buf, size_t size, const char *text)
{
	size_t n = 0;

	buf[n++] = '"';
	for (; *text && n + 6 < size; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
			buf[n++] = (char)c;
		else
			n += (size_t)snprintf(buf + n, 5, "\\x%02x", c);
	}
	buf[n++] = '"';
	buf[n] = '\0';
	return buf;
}
