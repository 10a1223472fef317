/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A killed process's write is whole or not there: the kernel copies a row within a page. So the file needs no second copy, and
 * what is written is on no disk: it need not outlive the machine, whose restart ends the objects, too.
 *
 * Whoever can write the file is our own uid or root. It is read as if it were anybody: sizes are bounded, texts end, and a row
 * is only ever a reason to look.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/record.h"

#define MAGIC		"segmtrec"
#define NEW_FILE	RECORD_FILE ".new"
#define ROWS_MAX	((size_t)1 << 20)	/* half a GiB: more than any host has objects */
#define BOOT_ID_FILE	"/proc/sys/kernel/random/boot_id"
#define MODE_OTHERS	022

struct reading {
	int fd;
	struct record *record;
	record_take_fn take;
	record_tell_fn tell;
	void *arg;
	char boot[RECORD_BOOT_SIZE];
	struct record_row *rows;	/* that are good */
	size_t n_rows;
	size_t n_damaged;
	bool is_kept_aside;		/* it is not ours to write over */
};

/* FNV-1a: against accidents, not against anybody. */
uint64_t
record_sum(const void *row)
{
	const unsigned char *bytes = row;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = sizeof(sum); i < RECORD_ROW_BYTES; i++)
		sum = (sum ^ bytes[i]) * UINT64_C(0x100000001b3);
	return sum;
}

static int
read_boot(char boot[RECORD_BOOT_SIZE])
{
	cleanup_close int fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	memset(boot, 0, RECORD_BOOT_SIZE);
	n = read(fd, boot, RECORD_BOOT_SIZE - 1);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	memset(boot + strcspn(boot, "\n"), 0, RECORD_BOOT_SIZE - strcspn(boot, "\n"));
	return 0;
}

static int
write_row(int fd, size_t index, const void *row)
{
	ssize_t n;

	do
		n = pwrite(fd, row, RECORD_ROW_BYTES, (off_t)(index * RECORD_ROW_BYTES));
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n == RECORD_ROW_BYTES ? 0 : -ENOSPC;
}

/* As many bytes as there are, up to size. */
static ssize_t
read_at(int fd, void *bytes, size_t size, uint64_t offset)
{
	ssize_t n;

	do
		n = pread(fd, bytes, size, (off_t)offset);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static void BASE_PRINTF(2, 3)
tell(const struct reading *reading, const char *format, ...)
{
	char text[512];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	reading->tell(text, reading->arg);
}

/* Reading */

static bool
ends(const char *text, size_t size)
{
	return memchr(text, '\0', size) != NULL;
}

/* A row as one was written, whatever it says. */
static bool
is_sound(const struct record_row *row)
{
	return row->sum == record_sum(row) && row->state > RECORD_FREE && row->state < RECORD_STATE_N &&
	    ends(row->backend, sizeof(row->backend)) && ends(row->segment, sizeof(row->segment)) &&
	    ends(row->object, sizeof(row->object));
}

static bool
is_free(const struct record_row *row)
{
	static const struct record_row zeros;

	return memcmp(row, &zeros, sizeof(zeros)) == 0;
}

static int
reading_add(struct reading *reading, const struct record_row *row)
{
	struct record_row *rows = reading->rows;

	/* At 0, 1, 2, 4, 8, ... there is no room left. */
	if (!(reading->n_rows & (reading->n_rows - 1))) {
		rows = reallocarray(rows, reading->n_rows ? 2 * reading->n_rows : 1, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		reading->rows = rows;
	}
	rows[reading->n_rows++] = *row;
	return 0;
}

static int
read_rows(struct reading *reading)
{
	struct record_row row = { .sum = 0 };
	int r = 0;

	for (size_t i = 1; r == 0; i++) {
		ssize_t n = read_at(reading->fd, &row, sizeof(row), i * RECORD_ROW_BYTES);

		if (n == 0)
			break;
		if (n < 0 || i > ROWS_MAX) {
			tell(reading, "row %zu and what follows cannot be read: %s", i, n < 0 ? strerror((int)-n) : "there are too many");
			reading->n_damaged++;
			break;
		}
		if (n == sizeof(row) && is_free(&row))
			continue;
		if (n < (ssize_t)sizeof(row) || !is_sound(&row)) {
			tell(reading, "row %zu is damaged: what it was about is left alone", i);
			reading->n_damaged++;
			continue;
		}
		r = reading_add(reading, &row);
	}
	return r;
}

static int
read_file(struct reading *reading)
{
	struct record_header header = { .sum = 0 };
	ssize_t n = read_at(reading->fd, &header, sizeof(header), 0);

	if (n == 0)
		return 0;
	reading->is_kept_aside = true;
	if (n != sizeof(header) || memcmp(header.magic, MAGIC, sizeof(header.magic)) != 0)
		tell(reading, "it is none that segmentd writes");
	else if (header.version > RECORD_VERSION || header.row_bytes > RECORD_ROW_BYTES)
		tell(reading, "it is of a newer segmentd (version %" PRIu32 " with rows of %" PRIu32 " bytes; this one knows version %d "
		    "with %d): what that one made is left alone. Remedy: start that one again, which takes it over, and stop it", header.version,
		    header.row_bytes, RECORD_VERSION, RECORD_ROW_BYTES);
	else if (header.sum != record_sum(&header) || header.version == 0 || header.row_bytes != RECORD_ROW_BYTES ||
	    !ends(header.boot, sizeof(header.boot)))
		tell(reading, "its first row is damaged");
	else if (!streq(header.boot, reading->boot))
		/* What it tells of went with the memory of that boot. */
		reading->is_kept_aside = false;
	else {
		int r = read_rows(reading);

		reading->is_kept_aside = reading->n_damaged > 0;
		return r;
	}
	return 0;
}

/* Not opened before it was looked at: what stands there may be anything. */
static int
reading_open(struct reading *reading, int dir_fd)
{
	struct stat st, opened;

	if (fstatat(dir_fd, RECORD_FILE, &st, AT_SYMLINK_NOFOLLOW))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & MODE_OTHERS || st.st_nlink != 1) {
		tell(reading, "it is no file of ours that only we can write");
		reading->is_kept_aside = true;
		return 0;
	}
	reading->fd = openat(dir_fd, RECORD_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (reading->fd < 0 || fstat(reading->fd, &opened))
		return -errno;
	return opened.st_dev == st.st_dev && opened.st_ino == st.st_ino ? read_file(reading) : -EAGAIN;
}

/* Writing */

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
	if (index >= ROWS_MAX)
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
write_header(const struct reading *reading)
{
	struct record_header header = {
		.magic = MAGIC,
		.version = RECORD_VERSION,
		.row_bytes = RECORD_ROW_BYTES,
		.pid = (int32_t)getpid(),
	};

	memcpy(header.boot, reading->boot, sizeof(header.boot));
	header.sum = record_sum(&header);
	return write_row(reading->record->fd, 0, &header);
}

/* What cannot be read is not thrown away. */
static int
set_aside(const struct reading *reading)
{
	char name[64];

	(void)snprintf(name, sizeof(name), RECORD_FILE ".%" PRIu64, clock_realtime_ns() / 1000);
	if (renameat2(reading->record->dir_fd, RECORD_FILE, reading->record->dir_fd, name, RENAME_NOREPLACE))
		return -errno;
	tell(reading, "it is kept as '%s', to be looked over and removed", name);
	return 0;
}

/* The rows that were read are this daemon's now: in a file that is whole when it gets its name. */
static int
record_begin(struct reading *reading)
{
	struct record *record = reading->record;
	struct record_entry entry;
	int r;

	(void)unlinkat(record->dir_fd, NEW_FILE, 0);
	record->fd = openat(record->dir_fd, NEW_FILE, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (record->fd < 0)
		return -errno;
	r = write_header(reading);
	for (size_t i = 0; r == 0 && i < reading->n_rows; i++) {
		r = record_add(record, &reading->rows[i], &entry);
		if (r == 0)
			r = reading->take(&entry, reading->arg);
	}
	if (r == 0 && reading->is_kept_aside)
		r = set_aside(reading);
	if (r == 0 && renameat(record->dir_fd, NEW_FILE, record->dir_fd, RECORD_FILE))
		r = -errno;
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
record_open(struct record *record, const char *state_dir, record_take_fn take, record_tell_fn tell_, void *arg, char *text,
    size_t text_size)
{
	struct reading reading = { .fd = -1, .record = record, .take = take, .tell = tell_, .arg = arg };
	int r;

	*record = (struct record) RECORD_NULL;
	record->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = record->dir_fd < 0 ? -errno : read_boot(reading.boot);
	if (r == 0)
		r = reading_open(&reading, record->dir_fd);
	if (r == 0)
		r = record_begin(&reading);
	close_fd(&reading.fd);
	free(reading.rows);
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
