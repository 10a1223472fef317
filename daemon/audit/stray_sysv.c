/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * SHM_STAT_ANY tells everybody of every segment. It takes a place in the kernel's table, which an id holds in its lower bits, and
 * returns the id of what is there now.
 */
#include "config.h"

#include <sys/shm.h>

#include "daemon/audit/stray_sysv.h"
#include "host/sysv.h"

struct stray_sysv_resident {
	struct sysv_row *rows;		/* by id */
	size_t n;
};

struct stray_sysv_resident *
stray_sysv_resident_new(void)
{
	struct stray_sysv_resident *resident = calloc(1, sizeof(*resident));

	if (resident && sysv_read_rows("", &resident->rows, &resident->n) < 0)
		resident->n = 0;
	return resident;
}

struct stray_sysv_resident *
stray_sysv_resident_free(struct stray_sysv_resident *resident)
{
	if (resident)
		free(resident->rows);
	free(resident);
	return NULL;
}

static int
by_id(const void *key, const void *row)
{
	int32_t id = *(const int32_t *)key, other = ((const struct sysv_row *)row)->id;

	return id < other ? -1 : id > other;
}

static uint64_t
resident_bytes(const struct stray_sysv_resident *resident, int32_t id)
{
	const struct sysv_row *row = NULL;

	if (resident && resident->n)
		row = bsearch(&id, resident->rows, resident->n, sizeof(*resident->rows), by_id);
	return row ? row->resident_bytes + row->swap_bytes : 0;
}

static void
fill(const struct stray_sysv_resident *resident, int32_t id, const struct shmid_ds *segment, struct audit_stray *stray)
{
	*stray = (struct audit_stray) {
		.what = AUDIT_SYSV,
		.verdict = segment->shm_nattch ? AUDIT_HELD : AUDIT_UNHELD,
		.proof = AUDIT_BY_NATTCH,
		.shm_id = id,
		.key = (uint32_t)segment->shm_perm.__key,
		.size_bytes = segment->shm_segsz,
		.resident_bytes = resident_bytes(resident, id),
		.uid = segment->shm_perm.uid,
		.gid = segment->shm_perm.gid,
		.mode = segment->shm_perm.mode,
		.n_attached = segment->shm_nattch > UINT32_MAX ? UINT32_MAX : (uint32_t)segment->shm_nattch,
		.attached_s = segment->shm_atime,
		.detached_s = segment->shm_dtime,
		.changed_s = segment->shm_ctime,
		.creator = segment->shm_cpid,
		.last = segment->shm_lpid,
	};
}

/* What has the id; 0, -ENOENT, or another negative errno. */
static int
stat_id(int32_t id, struct shmid_ds *ret_segment)
{
	int found = shmctl(id, SHM_STAT_ANY, ret_segment);

	if (found < 0)
		return errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	return found == id ? 0 : -ENOENT;
}

void
stray_sysv_judge(const struct stray_sysv_resident *resident, int32_t id, struct audit_stray *ret_stray)
{
	struct shmid_ds segment;
	int r = stat_id(id, &segment);

	if (r == 0) {
		fill(resident, id, &segment, ret_stray);
		return;
	}
	*ret_stray = (struct audit_stray) {
		.what = AUDIT_SYSV,
		.shm_id = id,
		.verdict = r == -ENOENT ? AUDIT_GONE : AUDIT_UNKNOWN,
		.error = r == -ENOENT ? 0 : r,
	};
}

static bool
is_candidate(const struct audit_stray *stray, const struct audit_candidate *candidate)
{
	return stray->key == candidate->key && stray->attached_s == candidate->attached_s &&
	    stray->detached_s == candidate->detached_s && stray->changed_s == candidate->changed_s &&
	    (uint32_t)stray->creator == candidate->creator;
}

/* Its id cannot be another segment's afterwards: the kernel counts a place's tenants in it. */
static void
remove_segment(struct audit_stray *stray)
{
	struct shmid_ds segment;

	if (shmctl(stray->shm_id, IPC_RMID, NULL)) {
		stray->verdict = errno == EINVAL || errno == EIDRM ? AUDIT_GONE : AUDIT_KEPT;
		stray->error = stray->verdict == AUDIT_KEPT ? -errno : 0;
		return;
	}
	stray->verdict = AUDIT_REMOVED;
	if (stat_id(stray->shm_id, &segment) == 0) {
		stray->n_attached = (uint32_t)segment.shm_nattch;
		stray->error = -EBUSY;
	}
}

void
stray_sysv_serve(const struct stray_sysv_resident *resident, const struct audit_candidate *candidate, struct audit_stray *ret_stray)
{
	stray_sysv_judge(resident, candidate->shm_id, ret_stray);
	if (ret_stray->verdict != AUDIT_UNHELD && ret_stray->verdict != AUDIT_HELD)
		return;
	if (!is_candidate(ret_stray, candidate))
		ret_stray->verdict = AUDIT_CHANGED;
	if (ret_stray->verdict == AUDIT_UNHELD && candidate->flags & AUDIT_CANDIDATE_REMOVE)
		remove_segment(ret_stray);
}

int
stray_sysv_last(void)
{
	struct shm_info info;

	int last = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);

	return last < 0 ? -errno : last;
}

int
stray_sysv_at(const struct stray_sysv_resident *resident, int place, struct audit_stray *ret_stray)
{
	struct shmid_ds segment;
	int id = shmctl(place, SHM_STAT_ANY, &segment);

	if (id < 0)
		return errno == EINVAL || errno == EIDRM ? -ENOENT : -errno;
	fill(resident, id, &segment, ret_stray);
	return 0;
}
