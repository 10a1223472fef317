/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Limited: of one start there may be thousands. Who had something is looked for among the rows, and asked of the connection. */
#include "config.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "daemon/log.h"
#include "daemon/survival_tell.h"
#include "host/findings.h"

#define NAMED_MAX	8		/* who had it, by their numbers */
#define WHO_SIZE	(NAMED_MAX * 40 + 64)

void
survival_tell(const char *format, ...)
{
	static struct log_limit limit = LOG_LIMIT(100);
	char text[FINDINGS_TEXT_SIZE + WHO_SIZE + 512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (log_allowed(&limit))
		log_write(MESSAGE_NOT_TAKEN_OVER, NULL, "%s", text);
}

/* The first attachment of that generation or a higher one. */
static size_t
find_attachment(const struct past *past, uint64_t generation)
{
	size_t from = 0, to = past->n_attachments;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (past->attachments[middle].row.generation < generation)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

/* Who had it, as far as rows say: a clause. Returns who. */
static const char *
describe_holders(const struct past *past, uint64_t generation, char who[WHO_SIZE])
{
	size_t first = find_attachment(past, generation), n = 0, at = 0;

	who[0] = '\0';
	for (size_t i = first; i < past->n_attachments && past->attachments[i].row.generation == generation; i++) {
		const struct ledger_attachment *row = &past->attachments[i].row;

		if (n++ < NAMED_MAX)
			at += (size_t)snprintf(who + at, WHO_SIZE - at, "%spid %" PRId32 " (uid %" PRIu32 ")", n > 1 ? ", " :
			    "its memory stays with who had it attached: ", row->pid, row->uid);
	}
	if (n > NAMED_MAX)
		(void)snprintf(who + at, WHO_SIZE - at, " and %zu more", n - NAMED_MAX);
	else if (n == 0)
		(void)snprintf(who, WHO_SIZE, "nobody is known to have had it attached");
	return who;
}

void
survival_tell_lost(const struct past *past, const struct past_segment *segment, const char *why)
{
	const struct ledger_segment *row = &segment->row;
	char who[WHO_SIZE], size[32], name[128] = "a segment";

	if (segment->definition)
		(void)snprintf(name, sizeof(name), "segment '%s'", segment->definition->name);
	survival_tell("%s of the segmentd before this one (generation %" PRIu64 ", %s) cannot be taken over with its contents: %s; %s",
	    name, row->generation, findings_size(size, sizeof(size), row->map_bytes), why,
	    describe_holders(past, row->generation, who));
}

static void
tell_memory(const struct past *past, const struct past_fd *past_fd)
{
	char who[WHO_SIZE], size[32] = "of unknown size";
	uint64_t generation = past_fd->label.id;
	struct stat st;

	if (past_find_segment(past, generation) || past_fd->label.kind == BOX_SEGMENT_MARK ||
	    (past_fd->label.kind == BOX_SEGMENT_CONTROL && past_find_fd(past, BOX_SEGMENT_DATA, generation)))
		return;
	if (fstat(past_fd->fd, &st) == 0)
		(void)findings_size(size, sizeof(size), (uint64_t)st.st_size);
	survival_tell("%s of generation %" PRIu64 " (%s) was kept in the box, but the ledger has no row that says of which segment: it is "
	    "let go; %s", past_fd->label.kind == BOX_SEGMENT_DATA ? "memory" : "control memory", generation, size,
	    describe_holders(past, generation, who));
}

/* Of one that the daemon before has hung up there is no row either. */
static void
tell_connection(const struct past *past, const struct past_fd *past_fd)
{
	struct pollfd poll_fd = { .fd = past_fd->fd };
	struct ucred peer = { .pid = 0 };
	socklen_t length = sizeof(peer);

	if (past_find_session(past, past_fd->label.id) || (poll(&poll_fd, 1, 0) == 1 && poll_fd.revents & POLLHUP))
		return;
	(void)getsockopt(past_fd->fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
	survival_tell("the connection of pid %d (uid %u) was kept in the box, but the ledger has no row of it: it is hung up, and its "
	    "process connects anew", (int)peer.pid, (unsigned)peer.uid);
}

void
survival_tell_unknown(const struct past *past)
{
	for (size_t i = 0; i < past->n_fds; i++) {
		const struct past_fd *past_fd = &past->fds[i];

		if (past_fd->fd < 0)
			continue;
		if (past_fd->label.kind == BOX_SESSION)
			tell_connection(past, past_fd);
		else
			tell_memory(past, past_fd);
	}
}
