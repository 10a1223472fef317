/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Which rows are in use, and the file that they are in. */
#include "config.h"

#include <fcntl.h>

#include "base/base.h"
#include "daemon/record.h"
#include "daemon/rowfile.h"

#define NEW_FILE	RECORD_FILE ".new"

/* A record of ours, of what was found. */
struct beginning {
	struct record *record;
	struct record_found found;
	record_take_fn take;
	record_tell_fn tell;
	void *arg;
};

static int
write_row(int fd, size_t index, const void *row)
{
	return rowfile_write(fd, row, RECORD_ROW_BYTES, index * RECORD_ROW_BYTES);
}

static bool
record_has_room(struct record *record, size_t index)
{
	size_t n = record->n_allocated ? 2 * record->n_allocated : 64;
	bool *taken;

	if (index < record->n_allocated)
		return true;
	taken = reallocarray(record->taken, n, sizeof(*taken));
	if (!taken)
		return false;
	memset(taken + record->n_allocated, 0, (n - record->n_allocated) * sizeof(*taken));
	record->taken = taken;
	record->n_allocated = n;
	return true;
}

int
record_add(struct record *record, const struct record_row *row, struct record_entry *ret_entry)
{
	size_t index;
	int r;

	*ret_entry = (struct record_entry) { .record = NULL };
	if (!record)
		return 0;
	for (index = record->first_free; index < record->n_allocated && record->taken[index]; index++)
		;
	record->first_free = index;
	if (index >= RECORD_ROWS_MAX)
		return -ENOSPC;
	if (!record_has_room(record, index))
		return -ENOMEM;
	ret_entry->row = *row;
	ret_entry->row.sum = record_sum(&ret_entry->row);
	/* Behind the header. */
	r = write_row(record->fd, index + 1, &ret_entry->row);
	if (r)
		return r;
	record->taken[index] = true;
	record->n_taken++;
	record->first_free = index + 1;
	ret_entry->record = record;
	ret_entry->index = index;
	return 0;
}

int
record_replace(struct record *record, struct record_entry *old, const struct record_row *row, struct record_entry *ret_entry)
{
	struct record_entry entry;
	int r;

	if (!old || !old->record)
		return record_add(record, row, ret_entry);
	entry = (struct record_entry) { .record = old->record, .index = old->index, .row = *row };
	r = record_write(&entry);
	if (r)
		return r;
	old->record = NULL;
	*ret_entry = entry;
	return 0;
}

int
record_write(struct record_entry *entry)
{
	if (!entry->record)
		return 0;
	entry->row.sum = record_sum(&entry->row);
	return write_row(entry->record->fd, entry->index + 1, &entry->row);
}

int
record_set_state(struct record_entry *entry, enum record_state state)
{
	uint32_t was = entry->row.state;
	int r;

	if (was == (uint32_t)state)
		return 0;
	entry->row.state = (uint32_t)state;
	r = record_write(entry);
	if (r)
		entry->row.state = was;
	return r;
}

void
record_remove(struct record_entry *entry)
{
	static const struct record_row zeros;
	struct record *record = take_ptr(entry->record);

	if (!record)
		return;
	/* Of what stays for an error the next start finds that the object is gone. */
	(void)write_row(record->fd, entry->index + 1, &zeros);
	record->taken[entry->index] = false;
	record->n_taken--;
	if (entry->index < record->first_free)
		record->first_free = entry->index;
}

static int
write_header(const struct beginning *beginning)
{
	struct record_header header = {
		.magic = RECORD_MAGIC,
		.version = RECORD_VERSION,
		.row_bytes = RECORD_ROW_BYTES,
		.pid = (int32_t)getpid(),
	};

	memcpy(header.boot, beginning->found.boot, sizeof(header.boot));
	header.sum = record_sum(&header);
	return write_row(beginning->record->fd, 0, &header);
}

/* What cannot be read is not thrown away. */
static int
record_take_place(const struct beginning *beginning)
{
	enum rowfile_old old = ROWFILE_REPLACED;
	char aside[64], text[128];
	int r;

	if (beginning->found.is_spoilt)
		old = beginning->found.n_rows ? ROWFILE_DAMAGED : ROWFILE_FOREIGN;
	r = rowfile_take_place(beginning->record->dir_fd, NEW_FILE, RECORD_FILE, old, aside, sizeof(aside));
	if (r || !*aside)
		return r;
	(void)snprintf(text, sizeof(text), "it is kept as '%s', to be looked over and removed", aside);
	beginning->tell(text, beginning->arg);
	return 0;
}

/* The rows that were read are this daemon's now: in a file that is whole when it gets its name. */
static int
record_begin(struct beginning *beginning)
{
	struct record *record = beginning->record;
	struct record_entry entry;
	int r;

	r = rowfile_create(record->dir_fd, NEW_FILE, &record->fd);
	if (r)
		return r;
	r = write_header(beginning);
	for (size_t i = 0; r == 0 && i < beginning->found.n_rows; i++) {
		r = record_add(record, &beginning->found.rows[i], &entry);
		if (r == 0)
			r = beginning->take(&entry, beginning->arg);
	}
	if (r == 0)
		r = record_take_place(beginning);
	if (r)
		(void)unlinkat(record->dir_fd, NEW_FILE, 0);
	return r;
}

static void
record_deinit(struct record *record)
{
	free(record->taken);
	close_fd(&record->fd);
	close_fd(&record->dir_fd);
	*record = (struct record) RECORD_NULL;
}

int
record_open(struct record *record, const char *state_dir, record_take_fn take, record_tell_fn tell, void *arg, char *text,
    size_t text_size)
{
	struct beginning beginning = { .record = record, .take = take, .tell = tell, .arg = arg };
	int r;

	*record = (struct record) RECORD_NULL;
	record->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = record->dir_fd < 0 ? -errno : record_read("", record->dir_fd, geteuid(), tell, arg, &beginning.found);
	if (r == 0)
		r = record_begin(&beginning);
	record_found_deinit(&beginning.found);
	if (r == 0)
		return 0;
	(void)snprintf(text, text_size, "the record '%s/" RECORD_FILE "' of what outlives a daemon cannot be begun: %s", state_dir,
	    strerror(-r));
	record_deinit(record);
	return r;
}

void
record_close(struct record *record)
{
	if (record->fd >= 0 && !record->n_taken)
		(void)unlinkat(record->dir_fd, RECORD_FILE, 0);
	record_deinit(record);
}
