/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The parts of segmentd-audit: see auditor_fake.h. */
#include "config.h"

#include <assert.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/base.h"
#include "host/audit.h"
#include "tests/daemon/auditor_fake.h"

struct fake {
	struct audit_question question;
	struct {
		struct audit_answer header;
		struct audit_holder rows[AUDITOR_FAKE_ROWS];
	} answer;
	size_t size;
};

static void
fake_send(const struct fake *fake)
{
	if (send(STDIN_FILENO, &fake->answer, fake->size, MSG_NOSIGNAL) < 0)
		_exit(1);
}

/* Rows from `from` on: each object is held by a process whose pid is its number + 1. */
static void
fake_fill(struct fake *fake, uint32_t from)
{
	uint32_t n = (uint32_t)min_u64(fake->question.n_rows - from, AUDITOR_FAKE_ROWS);

	fake->answer.header = (struct audit_answer) {
		.version = AUDIT_VERSION, .kind = fake->question.kind, .serial = fake->question.serial, .n_rows = n,
		.row_size = sizeof(struct audit_holder), .n_seen = 7, .n_hidden = 2, .text = "more rights",
		.flags = from + n < fake->question.n_rows ? AUDIT_MORE : 0,
	};
	for (uint32_t i = 0; i < n; i++)
		fake->answer.rows[i] = (struct audit_holder) {
			.object = from + i, .pid = (int32_t)(from + i + 1), .how = AUDIT_MAPS_READ, .n_maps = 1, .command = "fake",
		};
	fake->size = sizeof(fake->answer.header) + n * sizeof(struct audit_holder);
}

static void
fake_answer(struct fake *fake)
{
	for (uint32_t from = 0; from == 0 || from < fake->question.n_rows; from += AUDITOR_FAKE_ROWS) {
		fake_fill(fake, from);
		fake_send(fake);
	}
}

static void
lie_version(struct fake *fake)
{
	fake->answer.header.version++;
}

static void
lie_kind(struct fake *fake)
{
	fake->answer.header.kind = AUDIT_LIST;
}

static void
lie_serial(struct fake *fake)
{
	fake->answer.header.serial--;
}

static void
lie_result(struct fake *fake)
{
	fake->answer.header.result = 5;
}

static void
lie_text(struct fake *fake)
{
	memset(fake->answer.header.text, 'x', sizeof(fake->answer.header.text));
}

static void
lie_count(struct fake *fake)
{
	fake->answer.header.n_rows = UINT32_MAX;
}

static void
lie_row_size(struct fake *fake)
{
	fake->answer.header.row_size = 8;
}

static void
lie_short(struct fake *fake)
{
	fake->size = sizeof(fake->answer.header) - 1;
}

static void
lie_object(struct fake *fake)
{
	fake->answer.rows[0].object = fake->question.n_rows;
}

static void
lie_command(struct fake *fake)
{
	memset(fake->answer.rows[0].command, 'x', sizeof(fake->answer.rows[0].command));
}

/* No rows, and more to come: that could go on for ever. */
static void
lie_more(struct fake *fake)
{
	fake->answer.header.flags = AUDIT_MORE;
	fake->answer.header.n_rows = 0;
	fake->size = sizeof(fake->answer.header);
}

static const struct {
	const char *part;
	void (*lie)(struct fake *fake);
} lies[] = {
	{ "version", lie_version }, { "kind", lie_kind }, { "serial", lie_serial }, { "result", lie_result },
	{ "text", lie_text }, { "count", lie_count }, { "row size", lie_row_size }, { "short", lie_short },
	{ "object", lie_object }, { "command", lie_command }, { "more", lie_more },
};
static_assert(BASE_ARRAY_SIZE(lies) == AUDITOR_FAKE_LIES, "lies");

const char *
auditor_fake_lie(unsigned i)
{
	return lies[i].part;
}

static void
fake_lie(struct fake *fake, const char *part)
{
	for (size_t i = 0; i < BASE_ARRAY_SIZE(lies); i++)
		if (streq(part, lies[i].part)) {
			fake_fill(fake, 0);
			lies[i].lie(fake);
			fake_send(fake);
			return;
		}
	_exit(2);
}

/* Rows and rows, of which none is the last. */
static void
fake_pour(struct fake *fake)
{
	for (;;) {
		fake_fill(fake, 0);
		fake->answer.header.flags = AUDIT_MORE;
		fake_send(fake);
	}
}

/* The sender of too long a message. */
static void
fake_burst(const struct fake *fake)
{
	static char bytes[AUDIT_MESSAGE_BYTES + 8];

	memcpy(bytes, &fake->answer, sizeof(fake->answer.header));
	(void)send(STDIN_FILENO, bytes, sizeof(bytes), MSG_NOSIGNAL);
}

static void
fake_fail(struct fake *fake)
{
	fake_fill(fake, fake->question.n_rows);
	fake->answer.header.result = -EACCES;
	(void)snprintf(fake->answer.header.text, sizeof(fake->answer.header.text), "nobody lets us");
	fake_send(fake);
}

/* Who is to remove something ends over it; who is asked about nothing has settled all, or not. */
static void
fake_judge(struct fake *fake, uint32_t flags)
{
	if (fake->question.n_rows)
		_exit(3);
	fake_fill(fake, 0);
	fake->answer.header.flags = flags;
	fake_send(fake);
}

static void
fake_play(struct fake *fake, const char *part)
{
	if (streq(part, "good") || streq(part, "once"))
		fake_answer(fake);
	else if (streq(part, "silent"))
		(void)pause();
	else if (streq(part, "halfway")) {
		fake_fill(fake, 0);
		fake->answer.header.flags = AUDIT_MORE;
		fake_send(fake);
		_exit(3);
	} else if (streq(part, "pour"))
		fake_pour(fake);
	else if (streq(part, "long"))
		fake_burst(fake);
	else if (streq(part, "fail"))
		fake_fail(fake);
	else if (streq(part, "dying"))
		_exit(3);
	else if (streq(part, "torn"))
		fake_judge(fake, 0);
	else if (streq(part, "unsettled")) {
		fake_judge(fake, AUDIT_UNSETTLED);
		_exit(0);
	} else
		fake_lie(fake, part);
	if (streq(part, "once"))
		_exit(0);
}

int
auditor_fake_main(void)
{
	static struct {
		struct fake fake;
		char rest[AUDIT_MESSAGE_BYTES];
	} all;
	const char *part = getenv(AUDITOR_FAKE_PART);
	struct iovec io[] = {
		{ .iov_base = &all.fake.question, .iov_len = sizeof(all.fake.question) },
		{ .iov_base = all.rest, .iov_len = sizeof(all.rest) },
	};

	/* Nobody has asked yet. */
	if (streq(part, "early")) {
		fake_fill(&all.fake, 0);
		fake_send(&all.fake);
	}
	while (readv(STDIN_FILENO, io, BASE_ARRAY_SIZE(io)) > 0)
		fake_play(&all.fake, part);
	return 0;
}
