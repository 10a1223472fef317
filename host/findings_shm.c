/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about what bounds System V segments and POSIX objects. */
#include "config.h"

#include <signal.h>

#include "base/base.h"
#include "host/findings.h"

#define SIZE_TEXT	32
#define SHM_MOUNT_COMMAND	"`mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /dev/shm`"
#define SHMMNI_MOST	32768		/* that the kernel takes, without ipcmni_extend */

static void
findings_sysctl(char *buf, size_t size, const char *what, const char *name, unsigned long long value)
{
	(void)snprintf(buf, size, "%s (/proc/sys/kernel/%s). Remedy: `sysctl -w %s=%llu`, and %s = %llu in "
	    "/etc/sysctl.d/segmentd.conf for the next start", what, strchr(name, '.') + 1, name, value, name, value);
}

void
findings_sysv(char *buf, size_t size, enum shm_limit limit, uint64_t needed_bytes, uint64_t needed_count,
    const struct shm_limits *limits)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), sum = 0;
	char what[256], needed[SIZE_TEXT], most[SIZE_TEXT], used[SIZE_TEXT];

	(void)findings_size(needed, sizeof(needed), needed_bytes);
	switch (limit) {
	case SHM_LIMIT_MAX:
		(void)snprintf(what, sizeof(what), "a System V segment of %s is needed, but kernel.shmmax allows %s", needed,
		    findings_size(most, sizeof(most), limits->max_bytes));
		findings_sysctl(buf, size, what, "kernel.shmmax", needed_bytes);
		return;
	case SHM_LIMIT_ALL:
		(void)snprintf(what, sizeof(what), "%s more of System V segments are needed, but kernel.shmall allows %s in "
		    "all, of which %s are in use", needed, findings_size(most, sizeof(most), limits->all_bytes),
		    findings_size(used, sizeof(used), limits->used_bytes));
		if (!checked_add(needed_bytes, limits->used_bytes, &sum))
			sum = UINT64_MAX - page_bytes;
		findings_sysctl(buf, size, what, "kernel.shmall", round_up(sum, page_bytes) / page_bytes);
		return;
	case SHM_LIMIT_COUNT:
		(void)snprintf(what, sizeof(what), "%llu more System V segments are needed, but kernel.shmmni allows %llu, of "
		    "which %llu are there", (unsigned long long)needed_count, (unsigned long long)limits->max_count,
		    (unsigned long long)limits->used_count);
		findings_sysctl(buf, size, what, "kernel.shmmni",
		    min_u64(limits->used_count + needed_count, SHMMNI_MOST));
		return;
	case SHM_LIMIT_NONE:
		(void)snprintf(buf, size, "%s of System V segments fit", needed);
		return;
	}
}

void
findings_sysv_taken(char *buf, size_t size, const struct sysv_row *row, uint32_t uid)
{
	char bytes[SIZE_TEXT], creator[64] = "";

	if (row->creator_pid > 0)
		(void)snprintf(creator, sizeof(creator), " by process %d%s", (int)row->creator_pid,
		    kill(row->creator_pid, 0) && errno == ESRCH ? ", which is gone," : "");
	(void)snprintf(buf, size, "key 0x%08x is taken: a System V segment of %s has it, which belongs to uid %u, was made%s and is "
	    "attached by %llu. %s. Remedy: another key, or, if nobody needs what is in it, `ipcrm -M 0x%08x`",
	    (unsigned)row->key, findings_size(bytes, sizeof(bytes), row->size_bytes), (unsigned)row->uid, creator,
	    (unsigned long long)row->n_attached, row->uid == uid && row->n_attached == 0 ?
	    "It may have been left behind by a segmentd that was killed" :
	    "segmentd takes no segment over that it did not make", (unsigned)row->key);
}

void
findings_shm(char *buf, size_t size, uint64_t needed_bytes, const struct shm_mount *mount)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], all[SIZE_TEXT];
	uint64_t used_bytes = mount->size_bytes - min_u64(mount->size_bytes, mount->free_bytes), sum;

	if (!mount->is_tmpfs) {
		(void)snprintf(buf, size, "/dev/shm is no tmpfs: what is made there is no memory, but files on a disk. Remedy: "
		    SHM_MOUNT_COMMAND);
		return;
	}
	if (mount->is_read_only) {
		(void)snprintf(buf, size, "/dev/shm is mounted read-only (%s), so that no POSIX object can be made. Remedy: "
		    "`mount -o remount,rw /dev/shm`", mount->options);
		return;
	}
	if (mount->n_free_inodes == 0) {
		(void)snprintf(buf, size, "/dev/shm has no inode left of %llu. Remedy: `mount -o remount,nr_inodes=%llu "
		    "/dev/shm`, or remove what nobody uses there", (unsigned long long)mount->n_inodes,
		    (unsigned long long)mount->n_inodes * 2);
		return;
	}
	if (!checked_add(used_bytes, needed_bytes, &sum) || !checked_add(sum, MIB, &sum))
		sum = UINT64_MAX;
	(void)snprintf(buf, size, "%s are needed in /dev/shm, but %s of its %s are free. Remedy: `mount -o "
	    "remount,size=%lluM /dev/shm`, and size=%lluM in its line of /etc/fstab for the next start; or remove what "
	    "nobody uses there", findings_size(needed, sizeof(needed), needed_bytes),
	    findings_size(left, sizeof(left), mount->free_bytes), findings_size(all, sizeof(all), mount->size_bytes),
	    (unsigned long long)(sum / MIB), (unsigned long long)(sum / MIB));
}

void
findings_shm_unreachable(char *buf, size_t size, int r)
{
	(void)snprintf(buf, size, "/dev/shm cannot be reached: %s; it is where POSIX objects are. Remedy: " SHM_MOUNT_COMMAND,
	    strerror(-r));
}

void
findings_posix_taken(char *buf, size_t size, const char *object, const struct stat *st, uint32_t uid, const char *who)
{
	bool is_of_uid = st->st_uid == uid;
	char bytes[SIZE_TEXT];

	if (!S_ISREG(st->st_mode)) {
		(void)snprintf(buf, size, "/dev/shm%s is %s of uid %u, and no object of ours. Remedy: remove it, or another name for "
		    "object", object, findings_kind(st->st_mode), (unsigned)st->st_uid);
		return;
	}
	(void)findings_size(bytes, sizeof(bytes), (uint64_t)st->st_size);
	if (!who)
		(void)snprintf(buf, size, "an object %s is there already: %s, of our own uid %u, and nobody has it open or mapped, as a "
		    "daemon leaves it that was killed. Remedy: `rm /dev/shm%s`, once nobody needs its contents", object, bytes,
		    (unsigned)st->st_uid, object);
	else
		(void)snprintf(buf, size, "an object %s is there already%s: %s, of uid %u, mode %04o; %s%s. Remedy: end the "
		    "programs that use it and `rm /dev/shm%s`, or another name for object", object, is_of_uid ? "" : ", and not ours",
		    bytes, (unsigned)st->st_uid, (unsigned)st->st_mode & 07777, who,
		    is_of_uid ? ". It may have been left behind by a segmentd that was killed" : "", object);
}

void
findings_page_size_of_mount(char *buf, size_t size, uint64_t size_bytes, uint64_t huge_bytes)
{
	char asked[SIZE_TEXT], had[SIZE_TEXT], option[SIZE_TEXT] = "";
	struct shm_mount mount;
	const char *at;

	if (shm_mount_read(&mount) == 0 && (at = strstr(mount.options, "huge=")))
		(void)snprintf(option, sizeof(option), "%.*s", (int)strcspn(at, ","), at);
	(void)snprintf(buf, size, "page_size = \"transparent\" was asked for, but %s of %s are on huge pages: /dev/shm is mounted "
	    "with %s. Remedy: `mount -o remount,huge=advise /dev/shm`, if it is not; else memory is too fragmented for more: "
	    "`echo 1 > /proc/sys/vm/compact_memory`; then try again, or placement = \"prefer\"",
	    findings_size(had, sizeof(had), huge_bytes), findings_size(asked, sizeof(asked), size_bytes),
	    *option ? option : "no huge= option, which is huge=never");
}
