/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Written beside the one that is there, in pieces that hold up nobody, and renamed over it when it is whole. */
#include "config.h"

#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/rowfile.h"
#include "host/rows.h"

#define NEW_FILE	KEPT_FILE ".new"
#define PIECE_BYTES	((size_t)128 << 10)
#define ORIGIN_MAX_BYTES	(4 << 20)

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

/*
 * The first line of an origin: of which file of ours it tells, and by which name the configuration was read. Each one that is kept is
 * another file, so that an origin holds for the very one that it was written for. *ret_line is the caller's. 0 or a negative errno.
 */
static int
describe_kept(int dir_fd, const char *file, char **ret_line)
{
	struct stat st;

	if (strchr(file, '\n'))
		return -EINVAL;
	if (fstatat(dir_fd, KEPT_FILE, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	return asprintf(ret_line, "kept %ju.%ju.%jd.%jd.%09ld %s\n", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino, (intmax_t)st.st_size,
	    (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec, file) < 0 ? -ENOMEM : 0;
}

/* Without it the next start reads the files, as without anything kept. */
static void
write_origin(const char *state_dir, const struct origin *origin)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	cleanup_free char *line = NULL;
	size_t length;

	if (dir_fd < 0)
		return;
	(void)unlinkat(dir_fd, KEPT_ORIGIN_FILE, 0);
	if (!origin->text || origin->is_vague || !origin->file || describe_kept(dir_fd, origin->file, &line) ||
	    rowfile_create(dir_fd, KEPT_ORIGIN_FILE, &fd))
		return;
	length = strlen(line);
	/* The first line last: whoever is killed in between leaves no origin of anything. */
	if (rowfile_write(fd, origin->text, origin->length, length) || rowfile_write(fd, line, length, 0))
		(void)unlinkat(dir_fd, KEPT_ORIGIN_FILE, 0);
}

int
kept_write(const char *state_dir, const struct conf *conf, const struct origin *origin)
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
	if (r == 0)
		write_origin(state_dir, origin);
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
		r = pack_read_conf(fd, why, ret_conf, NULL);
	if (r < 0)
		(void)snprintf(why, PACK_WHY_SIZE, "%s", strerror(-r));
	return r;
}

/* The whole of a small file of ours, as a text. NULL: there is none. */
static char *
read_text(int dir_fd, const char *name)
{
	cleanup_close int fd = -1;
	cleanup_free char *text = NULL;
	struct stat st;

	if (rows_open(dir_fd, name, geteuid(), &fd) || fstat(fd, &st) || st.st_size <= 0 || st.st_size > ORIGIN_MAX_BYTES)
		return NULL;
	text = malloc((size_t)st.st_size + 1);
	if (!text || rows_read(fd, text, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
		return NULL;
	text[st.st_size] = '\0';
	return strlen(text) == (size_t)st.st_size ? take_ptr(text) : NULL;
}

int
kept_read_unchanged(const char *state_dir, const char *file, struct conf **ret_conf, struct pack_known **ret_known)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	cleanup_free char *text = NULL, *line = NULL;
	char why[PACK_WHY_SIZE];
	int r;

	if (dir_fd < 0)
		return -errno;
	text = read_text(dir_fd, KEPT_ORIGIN_FILE);
	if (!text || describe_kept(dir_fd, file, &line) || strncmp(text, line, strlen(line)) != 0 || !origin_holds(text + strlen(line)))
		return KEPT_E_CHANGED;
	r = rows_open(dir_fd, KEPT_FILE, geteuid(), &fd);
	return r ? r : pack_read_conf(fd, why, ret_conf, ret_known);
}

void
kept_remove(const char *state_dir)
{
	cleanup_close int dir_fd = open(state_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir_fd >= 0) {
		(void)unlinkat(dir_fd, KEPT_ORIGIN_FILE, 0);
		(void)unlinkat(dir_fd, KEPT_FILE, 0);
	}
}
