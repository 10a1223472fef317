/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Entries with fields for the journal, by its native protocol, in which no byte of a value can begin another field. */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

/* The place in this file says nothing about who logged. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "base/base.h"
#include "systemd/journal.h"

#define FIELDS_MAX		16
#define FIELD_BYTES		320	/* a name and its value; an object's name has at most 255 */
#define MESSAGE_BYTES		4096	/* longer texts are cut: they hold what clients and files gave us */

struct entry {
	struct iovec fields[FIELDS_MAX];
	int n_fields;
	char small[FIELDS_MAX][FIELD_BYTES];
	char message[MESSAGE_BYTES];
};

bool
journal_is_stderr(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;
	int end = -1;

	if (!stream || sscanf(stream, "%llu:%llu%n", &device, &inode, &end) != 2)
		return false;
	if (end < 0 || stream[end] != '\0' || fstat(STDERR_FILENO, &st) < 0)
		return false;
	/* Whoever redirected our standard error wants the text there: then it is another file, and the variable is stale. */
	return device == (unsigned long long)st.st_dev && inode == (unsigned long long)st.st_ino;
}

/* Takes over what snprintf left in buf: as much of it as fits. */
static void
entry_add(struct entry *entry, char *buf, size_t size, int len)
{
	struct iovec *field = &entry->fields[entry->n_fields];

	if (len < 0)
		return;
	field->iov_base = buf;
	field->iov_len = min_u64((uint64_t)len, size - 1);
	entry->n_fields++;
}

static char *
entry_buffer(struct entry *entry)
{
	return entry->small[entry->n_fields];
}

static void
entry_add_number(struct entry *entry, const char *name, uint64_t value)
{
	char *buf = entry_buffer(entry);

	entry_add(entry, buf, FIELD_BYTES, snprintf(buf, FIELD_BYTES, "%s=%" PRIu64, name, value));
}

static void
entry_add_string(struct entry *entry, const char *name, const char *value)
{
	char *buf = entry_buffer(entry);

	entry_add(entry, buf, FIELD_BYTES, snprintf(buf, FIELD_BYTES, "%s=%s", name, value));
}

static void
entry_add_object(struct entry *entry, const struct journal_object *object)
{
	entry_add_string(entry, "OBJECT", object->name);
	if (object->inode)
		entry_add_number(entry, "OBJECT_INODE", object->inode);
	if (object->has_id)
		entry_add_number(entry, "OBJECT_ID", (uint64_t)object->id);
	entry_add_number(entry, "OBJECT_UID", object->uid);
	entry_add_number(entry, "OBJECT_BYTES", object->bytes);
	entry_add_number(entry, "OBJECT_RESIDENT", object->resident_bytes);
	if (object->proof)
		entry_add_string(entry, "OBJECT_PROOF", object->proof);
	if (object->rule)
		entry_add_string(entry, "OBJECT_RULE", object->rule);
}

int
journal_send(int priority, const struct journal_fields *fields, const char *text)
{
	struct entry entry;

	entry.n_fields = 0;
	entry_add(&entry, entry.message, sizeof(entry.message),
	    snprintf(entry.message, sizeof(entry.message), "MESSAGE=%s", text));
	entry_add_number(&entry, "PRIORITY", (uint64_t)priority);
	if (fields && fields->message_id)
		entry_add_string(&entry, "MESSAGE_ID", fields->message_id);
	if (fields && fields->segment)
		entry_add_string(&entry, "SEGMENT", fields->segment);
	if (fields && fields->lock)
		entry_add_string(&entry, "LOCK", fields->lock);
	if (fields && fields->object)
		entry_add_object(&entry, fields->object);
	if (fields && fields->client_pid > 0)
		entry_add_number(&entry, "CLIENT_PID", (uint64_t)fields->client_pid);
	if (fields && fields->has_client_uid)
		entry_add_number(&entry, "CLIENT_UID", fields->client_uid);
	if (fields && fields->error > 0)
		entry_add_number(&entry, "ERRNO", (uint64_t)fields->error);
	return sd_journal_sendv(entry.fields, entry.n_fields);
}
