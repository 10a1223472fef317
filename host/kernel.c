/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The kernel's version and settings. */
#include "config.h"

#include "base/base.h"
#include "host/file.h"
#include "host/kernel.h"

const struct kernel_feature kernel_features[] = {
	{ "MADV_POPULATE_WRITE", 5, 14, "memory is populated page by page, and what is not to be had kills a worker" },
	{ "MADV_COLLAPSE", 6, 1, "there are huge pages only where shmem_enabled lets them be" },
	{ "SO_PEERPIDFD", 6, 5, "a client's process is looked up by its pid, which needs a pid namespace that the daemon sees" },
	{ "PAGEMAP_SCAN", 6, 7, "huge pages are counted by reading /proc/self/smaps, which is slower" },
};
const size_t kernel_n_features = BASE_ARRAY_SIZE(kernel_features);

int
kernel_read_release(const char *root, char *buf, size_t size, unsigned *ret_major, unsigned *ret_minor)
{
	int r = file_read_text(root, "/proc/sys/kernel/osrelease", buf, size);

	if (r < 0)
		return r;
	buf[strcspn(buf, "\n")] = '\0';
	return sscanf(buf, "%u.%u", ret_major, ret_minor) == 2 ? 0 : -EPROTO;
}

bool
kernel_has(unsigned major, unsigned minor, const struct kernel_feature *feature)
{
	return major > feature->major || (major == feature->major && minor >= feature->minor);
}

/* Keys of /proc/meminfo, in KiB. */
static int
read_meminfo(const char *root, const char *const *keys, uint64_t *const *values, size_t n)
{
	char text[8192];
	int r = file_read_text(root, "/proc/meminfo", text, sizeof(text));

	for (size_t i = 0; i < n && r == 0; i++) {
		if (!file_find_number(text, keys[i], values[i]))
			r = -EPROTO;
		else
			*values[i] *= KIB;
	}
	return r;
}

int
kernel_read_overcommit(const char *root, struct kernel_overcommit *ret_overcommit)
{
	static const char *const keys[] = { "CommitLimit:", "Committed_AS:", "MemTotal:", "SwapTotal:" };
	struct kernel_overcommit overcommit = { 0 };
	uint64_t *const values[] = { &overcommit.limit_bytes, &overcommit.used_bytes, &overcommit.total_bytes,
		&overcommit.swap_bytes };
	int r = file_read_number(root, "/proc/sys/vm/overcommit_memory", &overcommit.mode);

	if (r == 0)
		r = read_meminfo(root, keys, values, BASE_ARRAY_SIZE(keys));
	if (r == 0)
		*ret_overcommit = overcommit;
	return r;
}

uint64_t
kernel_commit_left(const struct kernel_overcommit *overcommit)
{
	if (overcommit->mode == 2)
		return overcommit->limit_bytes - min_u64(overcommit->limit_bytes, overcommit->used_bytes);
	/* The kernel's guess is no more than that what could never be had is refused. */
	return overcommit->mode == 0 ? overcommit->total_bytes + overcommit->swap_bytes : UINT64_MAX;
}

int
kernel_read_swap(const char *root, uint64_t *ret_total_bytes, uint64_t *ret_free_bytes)
{
	static const char *const keys[] = { "SwapTotal:", "SwapFree:" };
	uint64_t *const values[] = { ret_total_bytes, ret_free_bytes };

	return read_meminfo(root, keys, values, BASE_ARRAY_SIZE(keys));
}

int
kernel_read_inotify(const char *root, struct kernel_inotify *ret_inotify)
{
	struct kernel_inotify inotify;
	int r = file_read_number(root, "/proc/sys/fs/inotify/max_user_watches", &inotify.watches);

	if (r == 0)
		r = file_read_number(root, "/proc/sys/fs/inotify/max_user_instances", &inotify.instances);
	if (r == 0)
		*ret_inotify = inotify;
	return r;
}

int
kernel_read_lsm(const char *root, char *buf, size_t size)
{
	int r = file_read_text(root, "/sys/kernel/security/lsm", buf, size);

	if (r == 0)
		buf[strcspn(buf, "\n")] = '\0';
	return r;
}

int
kernel_has_profile(const char *root, const char *name, bool *ret_has)
{
	cleanup_free char *line = NULL;
	cleanup_fclose FILE *f = NULL;
	size_t len = strlen(name), size = 0;
	int r = file_open_text(root, "/sys/kernel/security/apparmor/profiles", &f);

	if (r)
		return r;
	*ret_has = false;
	while (getline(&line, &size, f) > 0)
		if (strncmp(line, name, len) == 0 && line[len] == ' ')
			*ret_has = true;
	return 0;
}
