/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The System V segments of this IPC namespace. */
#include "config.h"

#include <inttypes.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "base/base.h"
#include "host/file.h"
#include "host/sysv.h"

#define TABLE_PATH	"/proc/sysvipc/shm"
#define FRESH_NS	(5 * NS_PER_MS)

/* The table as it was last read, in the order of ids. */
struct sysv_table {
	struct sysv_row *rows;
	size_t n;
	size_t n_allocated;
	uint64_t read_ns;
};

static struct sysv_table sysv_known;

/* One line. False: it is the heading, or of a form that we do not know. */
static bool
sysv_parse_row(const char *line, struct sysv_row *ret_row)
{
	struct sysv_row row;
	int32_t key;

	if (sscanf(line, "%" SCNd32 " %" SCNd32 " %" SCNo32 " %" SCNu64 " %" SCNd32 " %*d %" SCNu64 " %" SCNu32 " %" SCNu32
	    " %" SCNu32 " %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNu64, &key, &row.id, &row.mode, &row.size_bytes, &row.creator_pid,
	    &row.n_attached, &row.uid, &row.gid, &row.creator_uid, &row.changed_s, &row.resident_bytes, &row.swap_bytes) != 12)
		return false;
	row.key = (uint32_t)key;
	*ret_row = row;
	return true;
}

static int
by_id(const void *a, const void *b)
{
	const struct sysv_row *x = a, *y = b;

	return (x->id > y->id) - (x->id < y->id);
}

static int
sysv_add_row(struct sysv_table *table, const struct sysv_row *row)
{
	size_t n = table->n_allocated ? 2 * table->n_allocated : 64;
	struct sysv_row *rows;

	if (table->n == table->n_allocated) {
		rows = reallocarray(table->rows, n, sizeof(*rows));
		if (!rows)
			return -ENOMEM;
		table->rows = rows;
		table->n_allocated = n;
	}
	table->rows[table->n++] = *row;
	return 0;
}

static int
sysv_read(const char *root, struct sysv_table *table)
{
	cleanup_fclose FILE *f = NULL;
	struct sysv_row row;
	char line[512];
	int r;

	table->n = 0;
	r = file_open_text(root, TABLE_PATH, &f);
	if (r)
		return r;
	while (r == 0 && fgets(line, sizeof(line), f))
		if (sysv_parse_row(line, &row))
			r = sysv_add_row(table, &row);
	if (table->n)
		qsort(table->rows, table->n, sizeof(*table->rows), by_id);
	table->read_ns = clock_monotonic_ns();
	return r;
}

/* What the kernel says of one to those who may read it. False: it says nothing. */
static bool
sysv_stat(int32_t id, struct sysv_row *ret_row)
{
	struct shmid_ds shm;

	if (shmctl(id, IPC_STAT, &shm) < 0)
		return false;
	*ret_row = (struct sysv_row) {
		.key = (uint32_t)shm.shm_perm.__key, .id = id, .mode = shm.shm_perm.mode, .size_bytes = shm.shm_segsz,
		.creator_pid = shm.shm_cpid, .n_attached = shm.shm_nattch, .uid = shm.shm_perm.uid, .gid = shm.shm_perm.gid,
		.creator_uid = shm.shm_perm.cuid, .changed_s = (uint64_t)shm.shm_ctime,
	};
	return true;
}

int
sysv_find_key(uint32_t key, struct sysv_row *ret_row)
{
	int id, r;

	/* The table may be long, and is gone through only for who may not ask. Where no right is asked for, nobody is refused. */
	id = shmget((key_t)key, 0, 0);
	if (id < 0 && errno == ENOENT)
		return -ENOENT;
	if (id >= 0 && sysv_stat(id, ret_row))
		return 0;
	r = sysv_read("", &sysv_known);
	if (r)
		return r;
	for (size_t i = 0; i < sysv_known.n; i++)
		if (sysv_known.rows[i].key == key) {
			*ret_row = sysv_known.rows[i];
			return 0;
		}
	return -ENOENT;
}

int
sysv_read_rows(const char *root, struct sysv_row **ret_rows, size_t *ret_n)
{
	struct sysv_table table = { 0 };
	int r = sysv_read(root, &table);

	if (r) {
		free(table.rows);
		return r;
	}
	*ret_rows = table.rows;
	*ret_n = table.n;
	return 0;
}

static const struct sysv_row *
sysv_find_id(int32_t id)
{
	struct sysv_row wanted = { .id = id };

	if (!sysv_known.n)
		return NULL;
	return bsearch(&wanted, sysv_known.rows, sysv_known.n, sizeof(wanted), by_id);
}

uint64_t
sysv_resident_bytes(int32_t id)
{
	const struct sysv_row *row = NULL;

	if (sysv_known.read_ns && clock_monotonic_ns() - sysv_known.read_ns < FRESH_NS)
		row = sysv_find_id(id);
	/* Of one that was made since, nothing is known yet. */
	if (!row && sysv_read("", &sysv_known) == 0)
		row = sysv_find_id(id);
	return row ? row->resident_bytes : 0;
}

uint64_t
sysv_namespace(void)
{
	static uint64_t inode;		/* nobody leaves it once it runs */
	struct stat status;

	if (!inode && stat("/proc/self/ns/ipc", &status) == 0)
		inode = status.st_ino;
	return inode;
}
