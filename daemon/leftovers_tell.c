/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is said of what an earlier life left behind: what it is, who has it, and of what is removed all that will be known of it,
 * as of others' orphans (daemon/orphans_tell.c). A row's words were ours: they are quoted as they are.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/log.h"
#include "daemon/registry.h"
#include "host/findings.h"

/* "posix /desk of segment 'desk' (4 MiB, inode 7), made by segmentd 123 that was killed" */
static const char *
leftover_describe(const struct leftover *leftover, char *text, size_t text_size)
{
	const struct record_row *row = &leftover->entry.row;
	char size[32], number[48];

	number[0] = '\0';
	if (row->inode)
		(void)snprintf(number, sizeof(number), ", inode %" PRIu64, row->inode);
	else if (row->shm_id >= 0)
		(void)snprintf(number, sizeof(number), ", id %" PRId32, row->shm_id);
	(void)snprintf(text, text_size, "%s %s of segment '%s' (%s%s), left by segmentd %" PRId32 " which was killed", row->backend,
	    record_object(row), row->segment, findings_size(size, sizeof(size), row->map_bytes), number, row->maker_pid);
	return text;
}

void
leftover_log(const struct leftover *leftover, int message, const char *format, ...)
{
	const struct log_about about = { .segment = leftover->entry.row.segment };
	static struct log_limit limit = LOG_LIMIT(200);
	char what[640], text[1024];
	va_list args;

	/* Of System V segments that clients created there may be thousands, and all are come upon at a start. */
	if (!log_allowed(&limit))
		return;
	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_write(message, &about, "%s: %s", leftover_describe(leftover, what, sizeof(what)), text);
}

void
leftover_post(const struct leftover *leftover, enum protocol_orphan what)
{
	const struct registry *registry = leftover->leftovers->registry;
	const struct record_row *row = &leftover->entry.row;
	const struct holding *holding = &leftover->holding;

	if (registry && registry->host.events)
		events_post_orphan(registry->host.events, &(struct events_orphan) {
			.kind = PROTOCOL_EVENT_LEFTOVER,
			.what = what,
			.name = record_object(row),
			.segment = row->segment,
			.inode = row->inode,
			.shm_id = row->shm_id,
			.creator_pid = row->maker_pid,
			.uid = geteuid(),
			.resident_bytes = what == PROTOCOL_ORPHAN_REMOVED ? leftover->resident_bytes :
			    holding->backend->resident_bytes(&holding->object),
			.size_bytes = row->map_bytes,
		});
}

static const char *
leftover_kept_how(const struct leftover *leftover)
{
	return leftover->holding.backend->features & BACKEND_DURABLE ? "its mark stays until they are gone" :
	    "it is kept, and removed when they are gone";
}

static void
leftover_found(struct inquiry *inquiry, const char *found)
{
	struct leftover *leftover = BASE_CONTAINER_OF(inquiry, struct leftover, inquiry);

	/* By the time of the answer they may be gone, and it on its way out. */
	if (leftover->holding.backend)
		leftover_log(leftover, MESSAGE_LEFT_PROBLEM, "the configuration has it no more, but somebody has it, and %s: %s",
		    leftover_kept_how(leftover), found);
}

/* Without asking a disk. */
static bool
leftover_object(const struct leftover *leftover, struct audit_object *ret_object)
{
	const struct backend_object *object = &leftover->holding.object;
	struct statx status;

	*ret_object = (struct audit_object) { .shm_id = object->shm_id };
	if (object->shm_id >= 0)
		return true;
	if (statx(object->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &status))
		return false;
	ret_object->device = makedev(status.stx_dev_major, status.stx_dev_minor);
	ret_object->inode = status.stx_ino;
	return true;
}

void
leftover_tell_kept(struct leftover *leftover)
{
	struct auditor *auditor = leftover->leftovers->auditor;
	struct audit_object object;

	leftover_post(leftover, PROTOCOL_ORPHAN_KEPT);
	if (auditor && leftover_object(leftover, &object))
		inquiry_begin(&leftover->inquiry, auditor, &object, leftover_found);
	else
		leftover_log(leftover, MESSAGE_LEFT_PROBLEM, "the configuration has it no more, but somebody has it, and %s",
		    leftover_kept_how(leftover));
}

void
leftover_tell_removed(const struct leftover *leftover)
{
	const struct record_row *row = &leftover->entry.row;
	const struct backend *backend = backend_of_row(row);
	const struct journal_object object = {
		.name = record_object(row),
		.inode = row->inode,
		.has_id = row->shm_id >= 0,
		.id = row->shm_id,
		.uid = geteuid(),
		.bytes = row->map_bytes,
		.resident_bytes = leftover->resident_bytes,
		.proof = backend->features & BACKEND_COUNTED ? "the kernel counts no attachment of it but ours (nattch)" :
		    "the kernel granted a write lease, so no process has it open or maps it",
	};
	const struct log_about about = { .segment = row->segment, .object = &object };
	static struct log_limit limit = LOG_LIMIT(1000);
	char what[640], resident[32], seen[64] = "nobody was seen to have it since this start";

	if (leftover->held_ns)
		(void)snprintf(seen, sizeof(seen), "somebody was last seen to have it %" PRIu64 " s ago",
		    (clock_monotonic_ns() - leftover->held_ns) / NS_PER_SEC);
	leftover_post(leftover, PROTOCOL_ORPHAN_REMOVED);
	if (!log_allowed(&limit))
		return;
	log_write(MESSAGE_LEFT_REMOVED, &about, "%s: %s, and %s: %s; %s; of uid %u, of which %s are in memory",
	    leftover_describe(leftover, what, sizeof(what)), leftover->why,
	    backend->features & BACKEND_DURABLE ? "it is written back, and its mark goes" : "it is removed", object.proof, seen,
	    (unsigned)object.uid, findings_size(resident, sizeof(resident), leftover->resident_bytes));
}
