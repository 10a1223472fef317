/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The System V segments of this IPC namespace. */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/base.h"
#include "host/findings.h"
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
	    " %" SCNu32 " %*u %*u %*u %*u %" SCNu64 " %" SCNu64, &key, &row.id, &row.mode, &row.size_bytes, &row.creator_pid,
	    &row.n_attached, &row.uid, &row.gid, &row.creator_uid, &row.resident_bytes, &row.swap_bytes) != 11)
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
sysv_read(struct sysv_table *table)
{
	cleanup_fclose FILE *f = fopen(TABLE_PATH, "re");
	struct sysv_row row;
	char line[512];
	int r = 0;

	table->n = 0;
	if (!f)
		return -errno;
	while (r == 0 && fgets(line, sizeof(line), f))
		if (sysv_parse_row(line, &row))
			r = sysv_add_row(table, &row);
	if (table->n)
		qsort(table->rows, table->n, sizeof(*table->rows), by_id);
	table->read_ns = clock_monotonic_ns();
	return r;
}

int
sysv_find_key(uint32_t key, struct sysv_row *ret_row)
{
	int r = sysv_read(&sysv_known);

	if (r)
		return r;
	for (size_t i = 0; i < sysv_known.n; i++)
		if (sysv_known.rows[i].key == key) {
			*ret_row = sysv_known.rows[i];
			return 0;
		}
	return -ENOENT;
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
	if (!row && sysv_read(&sysv_known) == 0)
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

void
sysv_tell_taken(char *buf, size_t size, const struct sysv_row *row, uint32_t uid)
{
	char bytes[32], creator[64] = "";

	if (row->creator_pid > 0)
		(void)snprintf(creator, sizeof(creator), " by process %" PRId32 "%s", row->creator_pid,
		    kill(row->creator_pid, 0) && errno == ESRCH ? ", which is gone," : "");
	(void)snprintf(buf, size, "key 0x%08" PRIx32 " is taken: a System V segment of %s has it, which belongs to uid %" PRIu32
	    ", was made%s and is attached by %" PRIu64 ". %s", row->key, findings_size(bytes, sizeof(bytes), row->size_bytes),
	    row->uid, creator, row->n_attached,
	    row->uid == uid && row->n_attached == 0 ? "It may have been left behind by a segmentd that was killed" :
	    "segmentd takes no segment over that it did not make");
	(void)snprintf(buf + strlen(buf), size - min_u64(size, strlen(buf)), ". Remedy: another key, or, if nobody needs what is "
	    "in it, `ipcrm -M 0x%08" PRIx32 "`", row->key);
}

void
sysv_tell_unlocked(char *buf, size_t size, uint64_t segment_bytes)
{
	char needed[32], limit[32] = "unlimited";
	struct rlimit rlimit;

	if (getrlimit(RLIMIT_MEMLOCK, &rlimit) == 0 && rlimit.rlim_cur != RLIM_INFINITY)
		(void)findings_size(limit, sizeof(limit), rlimit.rlim_cur);
	(void)snprintf(buf, size, "%s of System V memory are to be locked, and SHM_LOCK refuses: all that uid %u has locked like "
	    "that counts against RLIMIT_MEMLOCK, which is %s. Remedy: LimitMEMLOCK=infinity or "
	    "AmbientCapabilities=CAP_IPC_LOCK in the unit, `ulimit -l unlimited` in the shell that starts it, or mlock = false",
	    findings_size(needed, sizeof(needed), segment_bytes), (unsigned)geteuid(), limit);
}
