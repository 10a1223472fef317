/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about what bounds System V segments and POSIX objects. */
#include "config.h"

#include "base/base.h"
#include "host/findings.h"

#define SIZE_TEXT	32
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
findings_shm(char *buf, size_t size, uint64_t needed_bytes, const struct shm_mount *mount)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], all[SIZE_TEXT];
	uint64_t used_bytes = mount->size_bytes - min_u64(mount->size_bytes, mount->free_bytes), sum;

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
