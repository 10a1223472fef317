/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Entries with fields for the journal, by its native protocol, in which no byte of a value can begin another field. Not by
 * sd_journal_sendv(), which waits as long as the journal takes nothing more: anybody may fill its queue, and its disk may hang.
 * What it does not take now is kept, and sent when it does.
 */
#include "config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "base/base.h"
#include "systemd/journal.h"

#define JOURNAL_SOCKET		"/run/systemd/journal/socket"
#define KEPT_MAX_BYTES		(1 * MIB)
#define END_NS			NS_PER_SEC	/* for what is kept at the end */
#define FIELDS_MAX		17
#define FIELD_BYTES		320	/* a name and its value; an object's name has at most 255 */
#define MESSAGE_BYTES		4096	/* longer texts are cut: they hold what clients and files gave us */
#define LENGTH_BYTES		8	/* of a value's length, where that is told */
#define ENTRY_MAX_BYTES		(MESSAGE_BYTES + FIELDS_MAX * (FIELD_BYTES + LENGTH_BYTES + 2))

struct entry {
	struct iovec fields[FIELDS_MAX];
	int n_fields;
	char small[FIELDS_MAX][FIELD_BYTES];
	char message[MESSAGE_BYTES];
};

/* An entry that the journal had no room for. */
struct kept {
	STAILQ_ENTRY(kept) entry;
	size_t size;
	unsigned char bytes[];
};

static STAILQ_HEAD(, kept) kept_entries = STAILQ_HEAD_INITIALIZER(kept_entries);
static size_t kept_bytes;
static unsigned n_left_out;
static int journal_fd = -1;

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

/* A value of one line stands behind its name; of another one the length is told. Returns the size. */
static size_t
entry_write(const struct entry *entry, unsigned char *to)
{
	unsigned char *begin = to;

	for (int i = 0; i < entry->n_fields; i++) {
		const char *field = entry->fields[i].iov_base, *value = strchr(field, '=') + 1;
		size_t size = entry->fields[i].iov_len, name_size = (size_t)(value - field) - 1;

		if (!memchr(field, '\n', size)) {
			memcpy(to, field, size);
			to += size;
		} else {
			uint64_t length = htole64(size - name_size - 1);

			memcpy(to, field, name_size);
			to += name_size;
			*to++ = '\n';
			memcpy(to, &length, LENGTH_BYTES);
			memcpy(to + LENGTH_BYTES, value, size - name_size - 1);
			to += LENGTH_BYTES + size - name_size - 1;
		}
		*to++ = '\n';
	}
	return (size_t)(to - begin);
}

static bool
journal_open(void)
{
	if (journal_fd < 0)
		journal_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return journal_fd >= 0;
}

/* 0: it was taken, or there is no journal; -EAGAIN: it cannot be taken now; another negative errno. */
static int
journal_post(const void *bytes, size_t size, int flags)
{
	static const struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET };

	if (journal_open() && sendto(journal_fd, bytes, size, flags | MSG_NOSIGNAL, (const struct sockaddr *)&address,
	    sizeof(address)) >= 0)
		return 0;
	switch (errno) {
	case ENOENT:
		return 0;
	case EAGAIN:
	case EINTR:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		return -EAGAIN;
	default:
		return -errno;
	}
}

static void
journal_keep(const void *bytes, size_t size)
{
	struct kept *kept = kept_bytes + size <= KEPT_MAX_BYTES ? malloc(sizeof(*kept) + size) : NULL;

	if (!kept) {
		n_left_out++;
		return;
	}
	kept->size = size;
	memcpy(kept->bytes, bytes, size);
	kept_bytes += size;
	STAILQ_INSERT_TAIL(&kept_entries, kept, entry);
}

/* The oldest one that is kept. 0 or a negative errno, as journal_post(). */
static int
journal_post_kept(int flags)
{
	struct kept *kept = STAILQ_FIRST(&kept_entries);
	int r = journal_post(kept->bytes, kept->size, flags);

	if (r == -EAGAIN)
		return r;
	/* What is refused for another reason would be so for ever. */
	n_left_out += r != 0;
	STAILQ_REMOVE_HEAD(&kept_entries, entry);
	kept_bytes -= kept->size;
	free(kept);
	return r;
}

bool
journal_flush(void)
{
	while (!STAILQ_EMPTY(&kept_entries))
		if (journal_post_kept(MSG_DONTWAIT) == -EAGAIN)
			return false;
	return true;
}

bool
journal_keeps_some(void)
{
	return !STAILQ_EMPTY(&kept_entries);
}

unsigned
journal_left_out(void)
{
	unsigned n = n_left_out;

	n_left_out = 0;
	return n;
}

void
journal_end(void)
{
	const struct timeval limit = { .tv_sec = 1 };
	uint64_t until_ns = clock_monotonic_ns() + END_NS;

	/* There may have been no socket to be had before. */
	if (STAILQ_EMPTY(&kept_entries) || !journal_open() || setsockopt(journal_fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)))
		return;
	while (!STAILQ_EMPTY(&kept_entries) && clock_monotonic_ns() < until_ns)
		if (journal_post_kept(0) == -EAGAIN)
			return;
}

int
journal_send(int priority, const struct journal_fields *fields, const char *text)
{
	static unsigned char bytes[ENTRY_MAX_BYTES];
	struct entry entry;
	size_t size;
	int r = -EAGAIN;

	entry.n_fields = 0;
	entry_add(&entry, entry.message, sizeof(entry.message),
	    snprintf(entry.message, sizeof(entry.message), "MESSAGE=%s", text));
	entry_add_number(&entry, "PRIORITY", (uint64_t)priority);
	entry_add_string(&entry, "SYSLOG_IDENTIFIER", program_invocation_short_name);
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
	size = entry_write(&entry, bytes);
	/* One after the other. */
	if (journal_flush())
		r = journal_post(bytes, size, MSG_DONTWAIT);
	if (r != -EAGAIN)
		return r;
	journal_keep(bytes, size);
	return 0;
}
