/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whoever can write the file is the daemon's uid or root. It is read as if it were anybody: sizes are bounded, texts end, and a row
 * is only ever a reason to look.
 */
#include "config.h"

#include "host/record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <sys/shm.h>

#include "base/base.h"
#include "host/findings.h"
#include "host/mark.h"
#include "host/rows.h"
#include "host/sysv.h"

#define PAGE_BYTES	4096

static_assert(MARK_BOOT_SIZE == RECORD_BOOT_SIZE, "the same id");

struct reading {
	int fd;
	uid_t uid;
	record_tell_fn tell;
	void *arg;
	size_t n_damaged;
	struct record_found *found;
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
	struct record_row *rows = reading->found->rows;

	/* At 0, 1, 2, 4, 8, ... there is no room left. */
	if (!(reading->found->n_rows & (reading->found->n_rows - 1))) {
		rows = reallocarray(rows, reading->found->n_rows ? 2 * reading->found->n_rows : 1, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		reading->found->rows = rows;
	}
	rows[reading->found->n_rows++] = *row;
	return 0;
}

static int
read_rows(struct reading *reading)
{
	struct record_row row = { .sum = 0 };
	int r = 0;

	for (size_t i = 1; r == 0; i++) {
		ssize_t n = rows_read(reading->fd, &row, sizeof(row), i * RECORD_ROW_BYTES);

		if (n < 0)
			return (int)n;
		if (n == 0)
			break;
		if (i > RECORD_ROWS_MAX) {
			tell(reading, "row %zu and what follows cannot be read: there are too many", i);
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
	ssize_t n = rows_read(reading->fd, &header, sizeof(header), 0);

	/* What cannot be read now is not spoilt: whoever asks has to ask again. */
	if (n <= 0)
		return (int)n;
	reading->found->is_spoilt = true;
	if (n != sizeof(header) || memcmp(header.magic, RECORD_MAGIC, sizeof(header.magic)) != 0)
		tell(reading, "it is none that segmentd writes");
	else if (header.version > RECORD_VERSION || header.row_bytes > RECORD_ROW_BYTES)
		tell(reading, "it is of a newer segmentd (version %" PRIu32 " with rows of %" PRIu32 " bytes; this one knows version %d "
		    "with %d): what that one made is left alone. Remedy: start that one again, which takes it over, and stop it", header.version,
		    header.row_bytes, RECORD_VERSION, RECORD_ROW_BYTES);
	else if (header.sum != record_sum(&header) || header.version == 0 || header.row_bytes != RECORD_ROW_BYTES ||
	    !ends(header.boot, sizeof(header.boot)))
		tell(reading, "its first row is damaged");
	else if (!streq(header.boot, reading->found->boot))
		/* What it tells of went with the memory of that boot. */
		reading->found->is_spoilt = false;
	else {
		int r = read_rows(reading);

		reading->found->is_spoilt = reading->n_damaged > 0;
		return r;
	}
	return 0;
}

static int
reading_open(struct reading *reading, int dir_fd)
{
	int r = rows_open(dir_fd, RECORD_FILE, reading->uid, &reading->fd);

	if (r == ROWS_E_FOREIGN) {
		tell(reading, "it is no file of segmentd's user that nobody else can write");
		reading->found->is_spoilt = true;
	}
	if (r)
		return r > 0 ? 0 : r;
	return read_file(reading);
}

int
record_read(const char *root, int dir_fd, uid_t uid, record_tell_fn tell_, void *arg, struct record_found *ret_found)
{
	struct reading reading = { .fd = -1, .uid = uid, .tell = tell_, .arg = arg, .found = ret_found };
	int r;

	*ret_found = (struct record_found) { .rows = NULL };
	r = mark_read_boot(root, ret_found->boot);
	if (r == 0)
		r = reading_open(&reading, dir_fd);
	close_fd(&reading.fd);
	if (r)
		record_found_deinit(ret_found);
	return r;
}

void
record_found_deinit(struct record_found *found)
{
	free(take_ptr(found->rows));
	found->n_rows = 0;
}

/* Judging */

/* Names begin with a slash, and keys with a digit. */
bool
record_is_private(const struct record_row *row)
{
	return strncmp(row->object, RECORD_PRIVATE, strlen(RECORD_PRIVATE)) == 0;
}

bool
record_is_private_of(const struct record_row *row, const char *segment)
{
	size_t length = strlen(RECORD_PRIVATE);

	return record_is_private(row) && row->object[length] == ' ' && streq(row->object + length + 1, segment);
}

const char *
record_object(const struct record_row *row)
{
	return record_is_private(row) ? "(" RECORD_PRIVATE ")" : row->object;
}

int
record_born_ns(int dir_fd, const char *path, uint64_t *ret_born_ns)
{
	struct statx status;

	if (statx(dir_fd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BTIME, &status))
		return -errno;
	*ret_born_ns = status.stx_mask & STATX_BTIME ? (uint64_t)status.stx_btime.tv_sec * NS_PER_SEC + status.stx_btime.tv_nsec : 0;
	return 0;
}

enum record_proof
record_prove_file(const struct record_row *row, const struct stat *status, uint64_t born_ns, uid_t uid)
{
	return S_ISREG(status->st_mode) && status->st_dev == row->device && status->st_ino == row->inode && status->st_uid == uid &&
	    born_ns == row->born_ns ? RECORD_PROVED : RECORD_IS_OTHER;
}

enum record_proof
record_prove_sysv(const struct record_row *row, const struct sysv_row *shm, uid_t uid)
{
	/* Its key was taken away, by us before we were killed, or by others: it ends with its last holder. */
	if (shm->mode & SHM_DEST)
		return RECORD_IS_GONE;
	if (shm->key != row->key || shm->creator_pid != row->maker_pid || shm->creator_uid != uid || shm->size_bytes != row->map_bytes)
		return RECORD_IS_OTHER;
	/* Whatever was done to it since, that was not before it was made; the kernel's seconds began a moment earlier perhaps. */
	return row->state == RECORD_INTENT && shm->changed_s + 1 < row->made_ns / NS_PER_SEC ? RECORD_IS_OTHER : RECORD_PROVED;
}

const char *
record_misfit(const struct record_row *row, const struct definition *definition, bool has_locks, bool is_held,
    char *text, size_t text_size)
{
	uint64_t pool_bytes = definition_huge_bytes(definition), page_bytes = row->page_bytes ? pool_bytes : PAGE_BYTES;
	char was[32], is[32];

	if (row->page_bytes != pool_bytes && (row->page_bytes || definition->placement != DEFINITION_PREFER))
		return "its page_size was another one";
	if (!streq(row->segment, definition->name))
		(void)snprintf(text, text_size, "it was that of segment '%s'", row->segment);
	else if (row->map_bytes != round_up(definition->max_size_bytes, page_bytes))
		(void)snprintf(text, text_size, "it has %s, and max_size is %s now", findings_size(was, sizeof(was), row->map_bytes),
		    findings_size(is, sizeof(is), definition->max_size_bytes));
	else if (row->state != RECORD_READY)
		(void)snprintf(text, text_size, "it was not ready, or on its way out, when that segmentd was killed");
	else if (is_held && has_locks)
		(void)snprintf(text, text_size, "its locks ended with that segmentd");
	else if (!is_held && (definition->scrub || definition->lifetime == DEFINITION_ATTACHED))
		(void)snprintf(text, text_size, "what is in it ends with its last client");
	else
		return NULL;
	return text;
}
