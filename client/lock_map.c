/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * From the daemon's answer to a table of locks and mapped control memory. What the answer says is held against the objects
 * themselves first: an offset that is believed here is written to in every section. Of control memory itself nothing is
 * believed, here or later: its writers are others, too.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "client/lock.h"

#define LOCKS_MAX	65536	/* no definition comes near it */

struct control_lock lock_none = { .state = CONTROL_STATE(CONTROL_ID_POISON, 0), .sequence = 1 };

const char *
lock_answer_fault(const struct lock_answer *answer)
{
	const struct protocol_attached *attached = answer->attached;
	bool more = attached->header.flags & PROTOCOL_MORE;
	struct stat st;

	if (attached->n_locks == 0)
		return answer->fd >= 0 || answer->rows_bytes || attached->control_bytes || more ?
		    "it has no locks, and brings something for them (fds, rows or control memory)" : NULL;
	if (attached->n_locks > LOCKS_MAX)
		return "it has more locks than a definition can have";
	if (answer->rows_bytes != (more ? 0 : attached->n_locks * sizeof(struct protocol_lock)))
		return "its rows of locks are fewer or more than it says";
	if (answer->fd < 0)
		return "it has locks, and no fd of control memory came with it";
	if (attached->attachment == 0 || attached->attachment > CONTROL_ID_MAX)
		return "its attachment's id does not fit into a lock's word";
	if (fstat(answer->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return "its fd of control memory is no memory object";
	if ((uint64_t)st.st_size < attached->control_bytes)
		return "its control memory is smaller than what is to be mapped of it";
	if (attached->control_bytes / CONTROL_RECORD_BYTES < attached->n_locks)
		return "its control memory has no room for its locks";
	return NULL;
}

/* Whether [from, from + length) is within `size` bytes. */
static bool
is_within(uint64_t from, uint64_t length, uint64_t size)
{
	return from <= size && length <= size - from;
}

static const char *
row_fault(const struct protocol_lock *row, uint32_t index, const struct protocol_attached *attached)
{
	if (row->cursor != (uint64_t)index + 1)
		return "its rows of locks are out of order";
	if (row->name[0] == '\0' || !memchr(row->name, '\0', sizeof(row->name)))
		return "a lock has no name";
	if (row->kind >= PROTOCOL_LOCK_KIND_N || row->on_death >= CONTROL_ON_DEATH_N)
		return "a lock is of an unknown kind";
	if (!is_within(row->offset_bytes, row->length_bytes, attached->size_bytes))
		return "a lock protects bytes that are not the segment's";
	if (row->kind == PROTOCOL_LOCK_MUTEX)
		return is_within(row->at_bytes, sizeof(pthread_mutex_t), attached->size_bytes) ? NULL :
		    "a mutex is outside the segment";
	if (row->at_bytes % CONTROL_ENTRY_UNIT || row->log_bytes % CONTROL_ENTRY_UNIT ||
	    row->at_bytes < (uint64_t)attached->n_locks * CONTROL_RECORD_BYTES ||
	    !is_within(row->at_bytes, row->log_bytes, attached->control_bytes))
		return "a lock's log is not in control memory, or not where a log may be";
	return NULL;
}

static void
take_row(struct segment *segment, uint32_t index, const struct protocol_lock *row)
{
	struct segment_lock *own = &segment->locks[index];

	own->name_at = (uint32_t)segment->lock_names_bytes;
	segment->lock_names_bytes += strlen(row->name) + 1;
	memcpy(segment->lock_names + own->name_at, row->name, segment->lock_names_bytes - own->name_at);
	if (row->kind == PROTOCOL_LOCK_MUTEX) {
		own->place.lock = &lock_none;
		return;
	}
	own->place = (struct control_place){
		.lock = (struct control_lock *)segment->control + index,
		.log = (unsigned char *)segment->control + row->at_bytes,
		.data = segment->data,
		.offset_bytes = row->offset_bytes, .length_bytes = row->length_bytes,
		.log_bytes = row->log_bytes, .on_death = row->on_death,
	};
}

/* Takes n rows, each row_size bytes large, as those from `first` on. NULL, or what is wrong with one. */
static const char *
take_rows(struct segment *segment, const struct protocol_attached *attached, uint32_t first, const char *rows,
    uint32_t n, size_t row_size)
{
	for (uint32_t i = 0; i < n; i++) {
		struct protocol_lock row;
		const char *fault;

		memcpy(&row, rows + i * row_size, sizeof(row));
		fault = row_fault(&row, first + i, attached);
		if (fault)
			return fault;
		take_row(segment, first + i, &row);
	}
	return NULL;
}

static const char *
listed_fault(const struct protocol_listed *listed, size_t reply_size, uint32_t n_wanted)
{
	if (reply_size < sizeof(*listed) || listed->row_size < sizeof(struct protocol_lock) ||
	    listed->row_size > PROTOCOL_MESSAGE_MAX ||
	    reply_size - sizeof(*listed) != (uint64_t)listed->n_rows * listed->row_size)
		return "its list of locks is no list";
	if (listed->n_rows == 0 || listed->n_rows > n_wanted)
		return "its list has fewer or more locks than it says";
	return NULL;
}

/* Asks for the rows that did not fit into the answer, a message full of them at a time; reply has room for one. */
static int
ask_rows_into(char *reply, struct segment_client *client, const char *name, const struct protocol_attached *attached,
    struct segment *segment, const char **ret_fault)
{
	struct protocol_listed listed = { 0 };
	int r;

	for (uint32_t n = 0; n < attached->n_locks; n += listed.n_rows) {
		struct protocol_locks request = { .cursor = n, .generation = attached->generation };
		struct client_call call = {
			.type = PROTOCOL_LOCKS, .request = &request.header, .request_size = sizeof(request),
			.reply = reply, .reply_size = PROTOCOL_MESSAGE_MAX,
		};

		memcpy(request.name, name, strlen(name));
		r = client_call(client, &call);
		if (r < 0)
			return r;
		memcpy(&listed, reply, min_u64(sizeof(listed), call.reply_size));
		*ret_fault = listed_fault(&listed, call.reply_size, attached->n_locks - n);
		if (!*ret_fault)
			*ret_fault = take_rows(segment, attached, n, reply + sizeof(listed), listed.n_rows, listed.row_size);
		if (*ret_fault)
			return -EPROTO;
	}
	return 0;
}

/* With memory that goes back to the kernel at once: malloc would keep what a full message has touched. */
static int
ask_rows(struct segment_client *client, const char *name, const struct protocol_attached *attached,
    struct segment *segment, const char **ret_fault)
{
	char *reply = mmap(NULL, PROTOCOL_MESSAGE_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int r;

	if (reply == MAP_FAILED)
		return error_set(-ENOMEM, "memory ran out");
	r = ask_rows_into(reply, client, name, attached, segment, ret_fault);
	(void)munmap(reply, PROTOCOL_MESSAGE_MAX);
	return r;
}

static int
table_new(struct segment *segment, uint32_t n_locks)
{
	size_t size = n_locks * sizeof(*segment->locks);

	segment->locks = aligned_alloc(_Alignof(struct segment_lock), size);
	/* Room for the longest; what is not used of it is never touched, and given back when all have come. */
	segment->lock_names = malloc((size_t)n_locks * PROTOCOL_NAME_SIZE);
	if (!segment->locks || !segment->lock_names)
		return error_set(-ENOMEM, "memory ran out");
	memset(segment->locks, 0, size);
	return 0;
}

static void
names_trim(struct segment *segment)
{
	char *names = realloc(segment->lock_names, segment->lock_names_bytes);

	if (names)
		segment->lock_names = names;
}

/*
 * Sees to it that the attachment has its mark, without which others would take it for gone and its locks from it: somebody
 * may have kept the daemon from marking it. A mark that is there stays as it is.
 */
static bool
have_mark(const struct segment *segment)
{
	struct flock mark = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE + (off_t)segment->attachment,
		.l_len = 1,
	};

	return fcntl(segment->fd, F_OFD_SETLK, &mark) == 0;
}

int
lock_table_new(struct segment_client *client, const char *name, const struct lock_answer *answer,
    const struct mapping *data_mapping, struct segment *segment, const char **ret_fault)
{
	const struct protocol_attached *attached = answer->attached;
	struct mapping mapping = {
		.fd = answer->fd, .map_bytes = attached->control_bytes, .alignment_bytes = 1,
		.populate_bytes = data_mapping->populate_bytes ? attached->control_bytes : 0,
		.write = data_mapping->write, .dontfork = data_mapping->dontfork, .dontdump = data_mapping->dontdump,
	};
	int r;

	if (attached->n_locks == 0)
		return 0;
	r = table_new(segment, attached->n_locks);
	if (r < 0)
		return r;
	r = mapping_new(&mapping, &segment->control);
	if (r < 0)
		return r;
	segment->control_bytes = attached->control_bytes;
	if (attached->header.flags & PROTOCOL_MORE)
		r = ask_rows(client, name, attached, segment, ret_fault);
	else if ((*ret_fault = take_rows(segment, attached, 0, answer->rows, attached->n_locks, sizeof(struct protocol_lock))))
		r = -EPROTO;
	if (r < 0)
		return r;
	names_trim(segment);
	segment->n_locks = attached->n_locks;
	segment->n_readable = attached->n_locks;
	segment->is_writer = mapping.write;
	segment->n_lockable = mapping.write && have_mark(segment) ? attached->n_locks : 0;
	return 0;
}

void
lock_table_free(struct segment *segment, bool is_mapped)
{
	if (segment->control && is_mapped)
		(void)munmap(segment->control, segment->control_bytes);
	free(segment->locks);
	free(segment->lock_names);
}
