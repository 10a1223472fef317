/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The bounds of System V segments and of /dev/shm. */
#include "config.h"

#include <inttypes.h>
#include <linux/magic.h>
#include <sys/shm.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "base/base.h"
#include "host/file.h"
#include "host/shm.h"

#define SHM_DIR	"/dev/shm"

/* What all segments take of shmall: each its whole pages. The first line is the heading. */
static int
shm_count_used(const char *root, uint64_t page_bytes, struct shm_limits *limits)
{
	cleanup_free char *line = NULL;
	cleanup_fclose FILE *f = NULL;
	size_t size = 0;
	uint64_t bytes;
	int r = file_open_text(root, "/proc/sysvipc/shm", &f);

	if (r)
		return r;
	while (getline(&line, &size, f) > 0)
		if (sscanf(line, "%*s %*s %*s %" SCNu64, &bytes) == 1) {
			limits->used_bytes += round_up(bytes, page_bytes);
			limits->used_count++;
		}
	return 0;
}

int
shm_limits_read_at(const char *root, struct shm_limits *ret_limits)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE), n_pages;
	struct shm_limits limits = { 0 };
	int r;

	r = file_read_number(root, "/proc/sys/kernel/shmmax", &limits.max_bytes);
	if (r == 0)
		r = file_read_number(root, "/proc/sys/kernel/shmall", &n_pages);
	if (r == 0)
		r = file_read_number(root, "/proc/sys/kernel/shmmni", &limits.max_count);
	if (r == 0)
		r = shm_count_used(root, page_bytes, &limits);
	if (r < 0)
		return r;
	if (!checked_mul(n_pages, page_bytes, &limits.all_bytes))
		limits.all_bytes = UINT64_MAX;
	*ret_limits = limits;
	return 0;
}

/* By two system calls: the files list every segment, and of thousands each would be judged by going through all. */
int
shm_limits_read(struct shm_limits *ret_limits)
{
	uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	struct shm_limits limits = { 0 };
	struct shm_info used;
	struct shminfo most;

	if (shmctl(0, IPC_INFO, (struct shmid_ds *)(void *)&most) < 0 || shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&used) < 0)
		return -errno;
	limits.max_bytes = most.shmmax;
	limits.max_count = most.shmmni;
	limits.used_count = (uint64_t)used.used_ids;
	limits.used_bytes = used.shm_tot * page_bytes;
	if (!checked_mul(most.shmall, page_bytes, &limits.all_bytes))
		limits.all_bytes = UINT64_MAX;
	*ret_limits = limits;
	return 0;
}

enum shm_limit
shm_limits_judge(const struct shm_limits *limits, uint64_t largest_bytes, uint64_t total_bytes, uint64_t count)
{
	if (largest_bytes > limits->max_bytes)
		return SHM_LIMIT_MAX;
	if (total_bytes > limits->all_bytes - min_u64(limits->all_bytes, limits->used_bytes))
		return SHM_LIMIT_ALL;
	if (count > limits->max_count - min_u64(limits->max_count, limits->used_count))
		return SHM_LIMIT_COUNT;
	return SHM_LIMIT_NONE;
}

/* A line of mountinfo: "ID PARENT DEV ROOT POINT OPTIONS ... - TYPE SOURCE SUPER". The last one of a point is what is seen. */
static void
shm_take_line(char *line, struct shm_mount *mount)
{
	char *rest = strstr(line, " - "), point[64], options[128], type[32], super[128];

	if (!rest || sscanf(line, "%*s %*s %*s %*s %63s %127s", point, options) != 2 || !streq(point, SHM_DIR))
		return;
	if (sscanf(rest + 3, "%31s %*s %127s", type, super) != 2)
		type[0] = super[0] = '\0';
	mount->is_mounted = true;
	mount->is_tmpfs = streq(type, "tmpfs");
	(void)snprintf(mount->options, sizeof(mount->options), "%s%s%s", options, *super ? "," : "", super);
	mount->is_swapped = !strstr(mount->options, "noswap");
}

static int
shm_read_options(const char *root, struct shm_mount *mount)
{
	cleanup_free char *line = NULL;
	cleanup_fclose FILE *f = NULL;
	size_t size = 0;
	int r = file_open_text(root, "/proc/self/mountinfo", &f);

	if (r)
		return r;
	while (getline(&line, &size, f) > 0)
		shm_take_line(line, mount);
	return 0;
}

int
shm_mount_read_at(const char *root, struct shm_mount *ret_mount)
{
	struct shm_mount mount = { .is_swapped = true };
	cleanup_free char *path = NULL;
	struct statvfs fs;
	struct statfs type;
	int r;

	if (asprintf(&path, "%s%s", root, SHM_DIR) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	if (statvfs(path, &fs) < 0 || statfs(path, &type) < 0)
		return -errno;
	/* Its line of mountinfo, where it has one, knows better: tests have no file system of their own. */
	mount.is_tmpfs = (unsigned long)type.f_type == TMPFS_MAGIC;
	/* A tmpfs without a limit shows none of its blocks, and likewise inodes. */
	mount.size_bytes = fs.f_blocks ? (uint64_t)fs.f_blocks * fs.f_frsize : UINT64_MAX;
	mount.free_bytes = fs.f_blocks ? (uint64_t)fs.f_bavail * fs.f_frsize : UINT64_MAX;
	mount.n_inodes = fs.f_files ? fs.f_files : UINT64_MAX;
	mount.n_free_inodes = fs.f_files ? fs.f_favail : UINT64_MAX;
	mount.is_read_only = fs.f_flag & ST_RDONLY;
	r = shm_read_options(root, &mount);
	if (r < 0)
		return r;
	*ret_mount = mount;
	return 0;
}

bool
shm_mount_has(const struct shm_mount *mount, uint64_t needed_bytes)
{
	return mount->is_tmpfs && !mount->is_read_only && mount->n_free_inodes && needed_bytes <= mount->free_bytes;
}

int
shm_mount_read(struct shm_mount *ret_mount)
{
	return shm_mount_read_at("", ret_mount);
}
