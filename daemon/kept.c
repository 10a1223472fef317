/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/rowfile.h"
#include "host/rows.h"

#define NEW_FILE	KEPT_FILE ".new"
#define PIECE_BYTES	((size_t)128 << 10)

int
kept_begin(struct kept *kept, const char *state_dir)
{
	int r;

	*kept = (struct kept) KEPT_NULL;
	kept->dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = kept->dir_fd < 0 ? -errno : rowfile_create(kept->dir_fd, NEW_FILE, &kept->fd);
	if (r)
		close_fd(&kept->dir_fd);
	return r;
}

int
kept_copy(struct kept *kept, int fd)
{
	char piece[16384];

	for (size_t done = 0; done < PIECE_BYTES; ) {
		ssize_t n = rows_read(fd, piece, sizeof(piece), kept->offset);
		int r = n < 0 ? (int)n : n == 0 ? 0 : rowfile_write(kept->fd, piece, (size_t)n, kept->offset);

		if (r || n == 0)
			return r;
		kept->offset += (uint64_t)n;
		done += (size_t)n;
	}
	return KEPT_E_MORE;
}

int
kept_commit(struct kept *kept)
{
	int r = renameat(kept->dir_fd, NEW_FILE, kept->dir_fd, KEPT_FILE) ? -errno : 0;

	if (r == 0)
		close_fd(&kept->fd);
	kept_deinit(kept);
	return r;
}

void
kept_deinit(struct kept *kept)
{
	if (kept->fd >= 0)
		(void)unlinkat(kept->dir_fd, NEW_FILE, 0);
	close_fd(&kept->fd);
	close_fd(&kept->dir_fd);
}

int
kept_write(const char *state_dir, const struct conf *conf)
{
	const struct conf_report none = CONF_REPORT_NULL;
	struct kept kept;
	int r = kept_begin(&kept, state_dir);

	if (r)
		return r;
	r = pack_write(kept.fd, 0, conf, &none);
	if (r == 0)
		r = kept_commit(&kept);
	kept_deinit(&kept);
	return r;
}

void
kept_tell_failure(const char *state_dir, int r)
{
	log_write(MESSAGE_UNSAVED, NULL, "the configuration in effect cannot be kept in '%s/" KEPT_FILE "': %s. Should its files not be "
	    "valid at a restart, segmentd %s", state_dir, r == PACK_E_TOO_LARGE ? "it is too large" : strerror(-r),
	    "goes on with an earlier one, or with none. Remedy: make room where daemon.state_dir is, then reload");
}

int
kept_read(const char *state_dir, char *why, struct conf **ret_conf)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	int r = dir_fd < 0 ? -errno : rows_open(dir_fd, KEPT_FILE, geteuid(), &fd);

	if (r == ROWS_E_NONE)
		(void)snprintf(why, PACK_WHY_SIZE, "there is none");
	else if (r == ROWS_E_FOREIGN)
		(void)snprintf(why, PACK_WHY_SIZE, "it is no file of ours that only we can write");
	if (r > 0)
		return r;
	if (r == 0)
		r = pack_read_conf(fd, why, ret_conf);
	if (r < 0)
		(void)snprintf(why, PACK_WHY_SIZE, "%s", strerror(-r));
	return r;
}

void
kept_remove(const char *state_dir)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd >= 0)
		(void)unlinkat(dir_fd, KEPT_FILE, 0);
}
