/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * System V memory: made exclusively, with a key that programs find it by which know nothing of us, or private. The kernel
 * judges whoever attaches, by group and mode, and its nattch is the count.
 *
 * It is there, and has its key, at once: so its row is an intent first, and the kernel's word for who made what a key names, and
 * when, is the proof of who is killed before its id is in the row. By nothing but a key it could be found again then. So a private
 * one has a key, too: a random one, which is told nobody. Who may attach it is the mode's matter, as with any: the kernel's table
 * shows all ids.
 *
 * It has no descriptor. What marks, watches and leases are asked of is a page that stands in for it: who attaches through us
 * maps that as well, for as long.
 *
 * We keep it attached from its making on. So no removal destroys it before its pages were given back by a worker, and
 * kernel.shm_rmid_forced, which destroys what nobody has attached, finds somebody, as long as we live.
 */
#include "config.h"

#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/shm.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "host/findings.h"
#include "host/kernel.h"
#include "host/shm.h"
#include "host/sysv.h"

#define SYSV_PAGE_BYTES	4096
#define SYSV_SMALL	MIB		/* one of so many bytes is asked about by its pages */
#define SYSV_ACCESS	0777
#define SYSV_KEYS_MAX	100		/* that are tried before none is free */
#define SYSV_CLOSED	0600		/* its mode until it is ready, and while its pages are changed for new ones */

/* What is known of one beside its id, and what it was made by us since: others of our uid, and root, may change that. */
struct sysv {
	struct record_entry entry;	/* its row, as long as it has a key */
	void *map;			/* ours */
	uint32_t key;			/* 0: it has none any more, by our doing */
	bool is_private;
	uint32_t gid, mode;
	bool is_open;			/* to whom the definition names */
	bool is_unadmitted;		/* it could not be made so for whom it was to be, the last time */
	bool is_locked;
};

static int
sysv_flags(uint64_t pool_bytes)
{
	/* Memory is judged when its pages are made, up to size; by max_size the kernel would judge what is only room to grow. */
	if (!pool_bytes)
		return SHM_NORESERVE;
	return SHM_HUGETLB | (pool_bytes == GIB ? MAP_HUGE_1GB : MAP_HUGE_2MB);
}

static int
sysv_refuse_taken(uint32_t key, char *text, size_t text_size)
{
	struct sysv_row row;

	if (sysv_find_key(key, &row))
		(void)snprintf(text, text_size, "key 0x%08x is taken by another System V segment", key);
	else
		findings_sysv_taken(text, text_size, &row, (uint32_t)geteuid());
	return -EEXIST;
}

static bool
sysv_inquire(const struct definition *definition, struct audit_object *ret_object)
{
	struct sysv_row row;

	if (!definition->has_key || sysv_find_key(definition->key, &row) || !row.n_attached)
		return false;
	*ret_object = (struct audit_object) { .shm_id = row.id };
	return true;
}

static void
sysv_inquired(const struct definition *definition, const char *found, char *text, size_t text_size)
{
	size_t length = strlen(text);

	(void)snprintf(text + length, text_size - length, ". Now %s", found);
}

static int
sysv_probe(const struct definition *definition, char *text, size_t text_size)
{
	uint64_t bytes = round_up(definition->max_size_bytes, SYSV_PAGE_BYTES);
	struct shm_limits limits;
	enum shm_limit limit;
	struct sysv_row row;

	if (definition->has_key && sysv_find_key(definition->key, &row) == 0) {
		findings_sysv_taken(text, text_size, &row, (uint32_t)geteuid());
		return -EEXIST;
	}
	/* Where they cannot be read, the kernel's refusal has to do. */
	if (shm_limits_read(&limits))
		return 0;
	limit = shm_limits_judge(&limits, bytes, bytes, 1);
	if (limit == SHM_LIMIT_NONE)
		return 0;
	findings_sysv(text, text_size, limit, bytes, 1, &limits);
	return -ENOSPC;
}

static int
sysv_refuse(const struct definition *definition, uint64_t bytes, int r, char *text, size_t text_size)
{
	uint64_t pool_bytes = definition_huge_bytes(definition);
	struct kernel_overcommit overcommit;
	struct pools_room room;

	if (r == -EEXIST)
		return sysv_refuse_taken(definition->key, text, text_size);
	/* The limits are asked again: another program's segments may have come in between. */
	if ((r == -ENOSPC || r == -EINVAL) && sysv_probe(definition, text, text_size))
		return r;
	if (r == -ENOMEM && pool_bytes && pools_room(pool_bytes, 0, &room) == 0 && room.bytes < bytes)
		findings_pool(text, text_size, bytes, &room);
	else if (r == -ENOMEM && !pool_bytes && kernel_read_overcommit("", &overcommit) == 0 &&
	    (overcommit.mode == 2 || bytes > kernel_commit_left(&overcommit)))
		findings_overcommit(text, text_size, bytes, &overcommit);
	else if (r == -EPERM && pool_bytes)
		findings_pool_group(text, text_size, (uint32_t)getegid());
	else if (r == -ENOSYS)
		(void)snprintf(text, text_size, "this kernel has no System V memory (CONFIG_SYSVIPC), or a filter keeps the "
		    "daemon from it");
	else
		(void)snprintf(text, text_size, "shmget failed: %s", strerror(-r));
	return r;
}

/* Attached by us, for as long as there is the object; never touched. */
static int
sysv_keep(struct backend_object *object)
{
	struct sysv *sysv = object->own;

	sysv->map = shmat(object->shm_id, NULL, 0);
	if (sysv->map == (void *)-1) {
		sysv->map = NULL;
		return -errno;
	}
	(void)madvise(sysv->map, object->map_bytes, MADV_DONTFORK);
	(void)madvise(sysv->map, object->map_bytes, MADV_DONTDUMP);
	return 0;
}

static void
sysv_unname(struct backend_object *object)
{
	struct shmid_ds closed = { .shm_perm = { .uid = geteuid(), .gid = getegid(), .mode = SYSV_CLOSED } };
	struct sysv *sysv = object->own;

	sysv->key = 0;
	/* Its number can be attached for as long as somebody has it: by nobody who only kept that. */
	if (object->shm_id >= 0) {
		(void)shmctl(object->shm_id, IPC_SET, &closed);
		/* Root has made it another's, perhaps: the next start sees what it is then. */
		if (shmctl(object->shm_id, IPC_RMID, NULL) && errno == EPERM)
			return;
	}
	record_remove(&sysv->entry);
}

static void
sysv_close(struct backend_object *object)
{
	struct sysv *sysv = take_ptr(object->own);

	if (sysv && sysv->map)
		(void)shmdt(sysv->map);
	free(sysv);
}

/* What a template is made for has an owner, which a declared one never has: no start wants it, since nobody says that it is the same. */
static void
sysv_name_of(const struct definition *definition, char *name, size_t name_size)
{
	name[0] = '\0';
	if (definition->has_key)
		(void)snprintf(name, name_size, "0x%08x", definition->key);
	else if (!definition->has_owner)
		(void)snprintf(name, name_size, RECORD_PRIVATE " %s", definition->name);
}

static int
sysv_fail_record(int r, char *text, size_t text_size)
{
	(void)snprintf(text, text_size, "it cannot be entered in the record in state_dir: %s", strerror(-r));
	return r;
}

/* Makes it. Of the pool of its pages it takes all at once: see POOLS_TRIES. */
static int
sysv_get(uint32_t key, const struct backend_object *object, int *ret_id)
{
	struct pools_room room = { .bytes = object->map_bytes };
	int id = -1;

	for (unsigned i = 0; id < 0 && i < POOLS_TRIES && room.bytes >= object->map_bytes; i++) {
		id = shmget((key_t)key, object->map_bytes, IPC_CREAT | IPC_EXCL | SYSV_CLOSED | sysv_flags(object->page_bytes));
		if (id < 0 && (errno != ENOMEM || !object->page_bytes))
			return -errno;
		if (id < 0 && pools_room(object->page_bytes, 0, &room))
			break;
	}
	if (id < 0)
		return -ENOMEM;
	*ret_id = id;
	return 0;
}

/* The intent, and then the deed, with this key. -EEXIST: it is taken. */
static int
sysv_make(struct backend_object *object, struct record_row *row, const struct backend_birth *birth, char *text, size_t text_size)
{
	struct sysv *sysv = object->own;
	int r;

	r = record_add(birth->record, row, &sysv->entry);
	if (r)
		return sysv_fail_record(r, text, text_size);
	r = sysv_get(row->key, object, &object->shm_id);
	if (r) {
		record_remove(&sysv->entry);
		return r;
	}
	sysv->entry.row.shm_id = object->shm_id;
	sysv->entry.row.state = RECORD_MADE;
	r = record_write(&sysv->entry);
	return r ? sysv_fail_record(r, text, text_size) : 0;
}

static int
sysv_make_private(struct backend_object *object, struct record_row *row, const struct backend_birth *birth, char *text,
    size_t text_size)
{
	int r = -EEXIST;

	((struct sysv *)object->own)->is_private = true;
	if (!row->object[0])
		(void)snprintf(row->object, sizeof(row->object), RECORD_PRIVATE);
	for (unsigned i = 0; r == -EEXIST && i < SYSV_KEYS_MAX; i++) {
		if (getrandom(&row->key, sizeof(row->key), GRND_NONBLOCK) != sizeof(row->key))
			row->key = (uint32_t)(clock_realtime_ns() + i);
		row->key |= row->key == IPC_PRIVATE;
		r = sysv_make(object, row, birth, text, text_size);
	}
	return r;
}

/* The stand-in, and what is known of it. */
static int
sysv_begin(const char *name, uint64_t bytes, uint64_t pool_bytes, struct backend_object *ret_object, char *text, size_t text_size)
{
	struct sysv *sysv = calloc(1, sizeof(*sysv));
	int r = -ENOMEM;

	if (sysv)
		r = memfd_object_new(name, SYSV_PAGE_BYTES, ret_object, text, text_size);
	else
		(void)snprintf(text, text_size, "the daemon is out of memory");
	if (r) {
		free(sysv);
		return r;
	}
	sysv->gid = (uint32_t)getegid();
	sysv->mode = SYSV_CLOSED;
	ret_object->map_bytes = bytes;
	ret_object->page_bytes = pool_bytes;
	ret_object->own = sysv;
	ret_object->entry = &sysv->entry;
	return 0;
}

/* Nothing is left behind of what could not be made. */
static void
sysv_undo(struct backend_object *object)
{
	sysv_unname(object);
	sysv_close(object);
	close_fd(&object->fd);
}

/*
 * What every row has, and what proves it is of the same: 0 where /proc does not tell. Where it cannot now, that is no proof that it is
 * another: 0 or a negative errno with a sentence.
 */
static int
sysv_find_namespace(uint64_t *ret_namespace, char *text, size_t text_size)
{
	int error;

	errno = 0;
	*ret_namespace = sysv_namespace();
	error = errno;
	if (*ret_namespace || !error_is_passing(error))
		return 0;
	(void)snprintf(text, text_size, "looking at /proc/self/ns/ipc failed: %s", strerror(error));
	return -error;
}

static int
sysv_create(const struct definition *definition, const struct backend_birth *birth, struct backend_object *ret_object, char *text,
    size_t text_size)
{
	uint64_t pool_bytes = definition_huge_bytes(definition);
	uint64_t bytes = round_up(definition->max_size_bytes, pool_bytes ? pool_bytes : SYSV_PAGE_BYTES);
	struct backend_object object = BACKEND_OBJECT_NULL;
	char why[FINDINGS_TEXT_SIZE] = "";	/* text says already what it does without, and stays if this succeeds */
	struct record_row row;
	int r;

	r = sysv_begin(definition->name, bytes, pool_bytes, &object, text, text_size);
	if (r)
		return r;
	backend_describe(&backend_sysv, definition, birth, &row);
	row.key = definition->key;
	row.map_bytes = bytes;
	row.page_bytes = pool_bytes;
	r = sysv_find_namespace(&row.ipc_namespace, why, sizeof(why));
	if (r == 0)
		r = definition->has_key ? sysv_make(&object, &row, birth, why, sizeof(why)) :
		    sysv_make_private(&object, &row, birth, why, sizeof(why));
	if (r && *why)
		(void)snprintf(text, text_size, "%s", why);
	else if (r)
		r = sysv_refuse(definition, bytes, r, text, text_size);
	else if (r == 0 && (r = sysv_keep(&object)))
		(void)snprintf(text, text_size, "shmat failed: %s", strerror(-r));
	if (r) {
		sysv_undo(&object);
		return r;
	}
	((struct sysv *)object.own)->key = row.key;
	*ret_object = object;
	return 0;
}

/* Whether the kernel says that the segment is the one of the row. */
static int
sysv_judge(const struct record_row *row, const struct shmid_ds *shm)
{
	const struct sysv_row now = {
		.key = (uint32_t)shm->shm_perm.__key,
		.mode = shm->shm_perm.mode,
		.size_bytes = shm->shm_segsz,
		.creator_pid = shm->shm_cpid,
		.creator_uid = shm->shm_perm.cuid,
		.changed_s = (uint64_t)shm->shm_ctime,
	};
	enum record_proof proof = record_prove_sysv(row, &now, geteuid());

	return proof == RECORD_PROVED ? 0 : proof == RECORD_IS_GONE ? BACKEND_E_GONE : BACKEND_E_OTHER;
}

/* Who may not look at it is not who made it. */
static int
sysv_judge_error(int error)
{
	return error == EINVAL || error == EIDRM ? BACKEND_E_GONE : BACKEND_E_OTHER;
}

static int
sysv_find_proved(const struct record_row *row, int *ret_id, struct shmid_ds *ret_shm, char *text, size_t text_size)
{
	uint64_t namespace;
	int id, r = sysv_find_namespace(&namespace, text, text_size);

	if (r)
		return r;
	id = row->state == RECORD_INTENT ? shmget((key_t)row->key, 0, 0) : row->shm_id;
	if (row->ipc_namespace != namespace || row->key == IPC_PRIVATE || (id < 0 && errno != ENOENT))
		return BACKEND_E_OTHER;
	if (id < 0)
		return BACKEND_E_GONE;
	if (shmctl(id, IPC_STAT, ret_shm))
		return sysv_judge_error(errno);
	*ret_id = id;
	return sysv_judge(row, ret_shm);
}

static int
sysv_prove(const struct record_entry *entry, struct backend_object *ret_object, char *text, size_t text_size)
{
	const struct record_row *row = &entry->row;
	struct shmid_ds shm, again;
	struct sysv *sysv;
	int id, r = sysv_find_proved(row, &id, &shm, text, text_size);

	if (r == 0)
		r = sysv_begin(row->segment, row->map_bytes, row->page_bytes, ret_object, text, text_size);
	if (r)
		return r;
	sysv = ret_object->own;
	ret_object->shm_id = id;
	r = sysv_keep(ret_object);
	if (r)
		(void)snprintf(text, text_size, "shmat failed: %s", strerror(-r));
	/* It cannot end any more, and its id names no other: that it is what was judged is certain from here on. */
	else if (shmctl(id, IPC_STAT, &again))
		r = sysv_judge_error(errno);
	else
		r = sysv_judge(row, &again);
	if (r) {
		ret_object->shm_id = -1;
		sysv_undo(ret_object);
		*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
		return r;
	}
	sysv->entry = *entry;
	sysv->entry.row.shm_id = id;
	sysv->key = row->key;
	sysv->is_private = record_is_private(row);
	sysv->gid = again.shm_perm.gid;
	sysv->mode = again.shm_perm.mode & SYSV_ACCESS;
	ret_object->has_contents = true;
	return 0;
}

static int
sysv_map(const struct backend_object *object, void *at)
{
	return shmat(object->shm_id, at, SHM_REMAP) == (void *)-1 ? -errno : 0;
}

static uint64_t
sysv_small_resident(const struct backend_object *object)
{
	const struct sysv *sysv = object->own;
	unsigned char is_in[SYSV_SMALL / SYSV_PAGE_BYTES];
	uint64_t bytes = 0;

	if (mincore(sysv->map, object->map_bytes, is_in))
		return 0;
	for (uint64_t i = 0; i < object->map_bytes / SYSV_PAGE_BYTES; i++)
		bytes += is_in[i] & 1 ? SYSV_PAGE_BYTES : 0;
	return bytes;
}

static uint64_t
sysv_resident(const struct backend_object *object)
{
	static bool counts_base_pages;
	uint64_t bytes;

	/* Of thousands most are small, and the kernel's table would be gone through for each. */
	if (object->map_bytes <= SYSV_SMALL && !object->page_bytes)
		return sysv_small_resident(object);
	bytes = sysv_resident_bytes(object->shm_id);
	/*
	 * COMPAT(linux 6.7): since then the kernel holds base pages in the pool's memory, and still multiplies their count by a
	 * huge page's. A segment that has more than all of it shows that.
	 */
	if (!object->page_bytes)
		return bytes;
	counts_base_pages |= bytes > object->map_bytes;
	return counts_base_pages ? bytes / (object->page_bytes / SYSV_PAGE_BYTES) : bytes;
}

static uint64_t
sysv_others(const struct backend_object *object, unsigned n_maps)
{
	const struct sysv *sysv = object->own;
	uint64_t ours = (uint64_t)n_maps + (sysv && sysv->map ? 1 : 0);
	struct shmid_ds shm;

	/* It is there as long as we have it attached. */
	if (shmctl(object->shm_id, IPC_STAT, &shm))
		return 0;
	return shm.shm_nattch - min_u64(shm.shm_nattch, ours);
}

static int
sysv_lock(const struct backend_object *object)
{
	struct sysv *sysv = object->own;
	struct shmid_ds shm;

	if (shmctl(object->shm_id, SHM_LOCK, NULL))
		return -errno;
	/* Pages of a pool are never swapped, and not marked as locked. */
	if (object->page_bytes)
		return 0;
	if (shmctl(object->shm_id, IPC_STAT, &shm) || !(shm.shm_perm.mode & SHM_LOCKED))
		return -EIO;
	sysv->is_locked = true;
	return 0;
}

/* The owner is always us: an owner could remove it, and would have it removed by logind when they log out. */
static int
sysv_admit(const struct backend_object *object, const struct definition *definition, char *text, size_t text_size)
{
	struct sysv *sysv = object->own;
	struct shmid_ds shm = { .shm_perm = { .uid = geteuid(), .gid = getegid(), .mode = SYSV_CLOSED } };
	/* Before others come, and before what is in it goes: a killed daemon's successor takes over only what is whole. */
	int r = record_set_state(&sysv->entry, definition ? RECORD_READY : RECORD_MADE);

	sysv->is_unadmitted = true;
	if (r)
		return sysv_fail_record(r, text, text_size);
	if (definition) {
		shm.shm_perm.gid = definition->has_group ? definition->group : getegid();
		/* Our own right stays whatever the mode leaves us: workers need it. */
		shm.shm_perm.mode = (definition->mode & 0066) | SYSV_CLOSED;
	}
	if (shmctl(object->shm_id, IPC_SET, &shm)) {
		r = -errno;
		(void)snprintf(text, text_size, "the group and mode of System V segment %d cannot be set: %s", object->shm_id,
		    strerror(-r));
		return r;
	}
	sysv->gid = shm.shm_perm.gid;
	sysv->mode = shm.shm_perm.mode;
	sysv->is_open = definition != NULL;
	sysv->is_unadmitted = false;
	return 0;
}

static bool
sysv_is_admitted(const struct backend_object *object)
{
	const struct sysv *sysv = object->own;

	return !sysv->is_unadmitted;
}

/* What root, and who runs as our uid, can do. None of it takes the memory from anybody, as long as we have it attached. */
static int
sysv_check(const struct backend_object *object, char *text, size_t text_size)
{
	const struct sysv *sysv = object->own;
	struct shmid_ds shm;

	if (shmctl(object->shm_id, IPC_STAT, &shm))
		return 0;
	if (sysv->key && shm.shm_perm.mode & SHM_DEST && sysv->is_private)
		(void)snprintf(text, text_size, "somebody has removed System V segment %d: who has the memory keeps it, but it will not "
		    "outlive segmentd. Remedy: remove the segment and have it made anew", object->shm_id);
	else if (sysv->key && shm.shm_perm.mode & SHM_DEST)
		(void)snprintf(text, text_size, "somebody has removed key 0x%08x: who has the memory keeps it, segmentd's clients "
		    "find it by its name, and other programs do not find it any more. Remedy: remove the segment and have it "
		    "made anew", sysv->key);
	else if (sysv->is_open && (shm.shm_perm.gid != sysv->gid || shm.shm_perm.uid != geteuid() ||
	    (shm.shm_perm.mode & SYSV_ACCESS) != sysv->mode))
		(void)snprintf(text, text_size, "somebody has changed who may attach System V segment %d: it is uid %u's and group "
		    "%u's with mode %04o, and should be uid %u's and group %u's with mode %04o. Remedy: a reload that changes its "
		    "group or mode, or remove the segment and have it made anew", object->shm_id, (unsigned)shm.shm_perm.uid,
		    (unsigned)shm.shm_perm.gid, (unsigned)shm.shm_perm.mode & SYSV_ACCESS, (unsigned)geteuid(),
		    (unsigned)sysv->gid, (unsigned)sysv->mode);
	else if (sysv->is_locked && !(shm.shm_perm.mode & SHM_LOCKED))
		(void)snprintf(text, text_size, "somebody has unlocked System V segment %d: it can be swapped out. Remedy: remove "
		    "the segment and have it made anew", object->shm_id);
	else
		return 0;
	return BACKEND_E_CHANGED;
}

/* Its name is gone, and its row: it is found by its id, as long as anybody has it attached. */
static int
sysv_revive_unnamed(const struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size)
{
	struct shmid_ds shm;
	int r;

	if (remains->shm_id < 0 || shmctl(remains->shm_id, IPC_STAT, &shm))
		return BACKEND_E_GONE;
	if (shm.shm_perm.cuid != geteuid() || shm.shm_segsz != remains->map_bytes)
		return BACKEND_E_OTHER;
	r = sysv_begin(remains->definition->name, remains->map_bytes, remains->page_bytes, ret_object, text, text_size);
	if (r)
		return r;
	ret_object->shm_id = remains->shm_id;
	r = sysv_keep(ret_object);
	if (r == 0) {
		ret_object->has_contents = true;
		return 0;
	}
	ret_object->shm_id = -1;
	sysv_undo(ret_object);
	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	return r == -EINVAL || r == -EIDRM ? BACKEND_E_GONE : r;
}

/* Marks are on descriptions of the page that stood in for it: where that is lost, nattch alone says who has it. */
static int
sysv_revive(struct backend_remains *remains, struct backend_object *ret_object, char *text, size_t text_size)
{
	int r;

	if (remains->fds[0] < 0)
		return BACKEND_E_GONE;
	r = remains->entry ? sysv_prove(remains->entry, ret_object, text, text_size) :
	    sysv_revive_unnamed(remains, ret_object, text, text_size);
	if (r)
		return r;
	(void)close(ret_object->fd);
	ret_object->fd = take_fd(&remains->fds[0]);
	ret_object->is_born = false;
	return 0;
}

const struct backend backend_sysv = {
	.name = "sysv",
	.features = BACKEND_COUNTED | BACKEND_NAMED | BACKEND_JUDGED | BACKEND_SEALED | BACKEND_HUGE | BACKEND_HUGETLB |
	    BACKEND_WHOLE,
	.probe = sysv_probe,
	.create = sysv_create,
	.name_of = sysv_name_of,
	.prove = sysv_prove,
	.revive = sysv_revive,
	.kept = backend_kept_fd,
	.inquire = sysv_inquire,
	.inquired = sysv_inquired,
	.open = backend_open_fd,
	.map = sysv_map,
	.resident_bytes = sysv_resident,
	.others = sysv_others,
	.lock = sysv_lock,
	.admit = sysv_admit,
	.is_admitted = sysv_is_admitted,
	.check = sysv_check,
	.unname = sysv_unname,
	.close = sysv_close,
};
