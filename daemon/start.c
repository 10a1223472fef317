/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * First what the service manager hands down, by which the state_dir of the daemon before is known; then the configuration that it kept,
 * where the files have not changed since; and else what was read of them, or, where that is not valid, what it kept.
 */
#include "config.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "daemon/kept.h"
#include "daemon/ledger.h"
#include "daemon/log.h"
#include "daemon/start.h"

static int
start_inherit(struct start *start)
{
	int r = inherited_init(&start->inherited);

	if (r)
		log_write(MESSAGE_SOCKET, &(struct log_about) { .error = r },
		    "the socket that the service manager handed down is not a listening SOCK_SEQPACKET socket: "
		    "the socket unit needs ListenSequentialPacket=");
	return r;
}

/* NULL: it is none any more, or memory is short. */
static char *
dir_path(int fd)
{
	char link[64], path[PATH_MAX];
	struct stat st, at;
	ssize_t n;

	(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0)
		return NULL;
	path[n] = '\0';
	if (fstat(fd, &st) || stat(path, &at) || !S_ISDIR(at.st_mode) || st.st_dev != at.st_dev || st.st_ino != at.st_ino)
		return NULL;
	return strdup(path);
}

/* The directory of the daemon before, as the service manager has kept it; NULL: it has none. Of several the first counts. */
static char *
start_known_dir(struct start *start)
{
	char *path = NULL;
	int fd;

	while ((fd = inherited_take(&start->inherited, START_STATE_NAME)) >= 0) {
		if (!path)
			path = dir_path(fd);
		(void)close(fd);
	}
	return path;
}

static bool
is_same_dir(const char *path, const char *other)
{
	struct stat st, at;

	return stat(path, &st) == 0 && stat(other, &at) == 0 && st.st_dev == at.st_dev && st.st_ino == at.st_ino;
}

/* A restart does not carry state from one directory to another. */
static void
start_stay_in(struct start *start, char *dir)
{
	struct conf_daemon *daemon = &start->conf->daemon;

	if (is_same_dir(dir, daemon->state_dir) || !ledger_has_segments(dir)) {
		free(dir);
		return;
	}
	log_write(MESSAGE_RELOAD_REFUSED, NULL, "daemon.state_dir: \"%s\" -> \"%s\": not done, since the segmentd before this one has segments in "
	    "use, of which the former tells. Remedy: stop segmentd by SIGTERM, so that they are given back", dir, daemon->state_dir);
	free(daemon->state_dir);
	daemon->state_dir = dir;
	/* Not what the files say: the next start says so again. */
	start->origin.is_vague = true;
}

static void
start_note_problem(struct start *start, const struct conf_report *report)
{
	size_t n = report->n_problems + report->n_left_out, at = 0;

	if (n > 1)
		at = (size_t)snprintf(start->problem, sizeof(start->problem), "%zu problems, the first: ", n);
	if (report->n_problems)
		(void)conf_problem_format(&report->problems[0], start->problem + at, sizeof(start->problem) - at);
	if (!*start->problem)
		(void)snprintf(start->problem, sizeof(start->problem), "it cannot be read");
}

/* Consumes dir. */
static int
start_keep_on(struct start *start, char *dir, const struct conf_report *report)
{
	cleanup_free char *state_dir = dir;
	char why[PACK_WHY_SIZE];
	int r;

	if (!state_dir && conf_load_state_dir(start->file, &state_dir))
		return CONF_E_INVALID;
	if (!ledger_has_segments(state_dir))
		return CONF_E_INVALID;
	r = kept_read(state_dir, why, &start->conf);
	if (r) {
		log_write(MESSAGE_CONFIG_REFUSED, NULL, "the segments of the segmentd before this one are in use, but what it has kept of its "
		    "configuration, '%s/" KEPT_FILE "', cannot be gone on with: %s. They stay as they are until the files are valid "
		    "and segmentd is started", state_dir, why);
		return r;
	}
	free(start->conf->daemon.state_dir);
	start->conf->daemon.state_dir = take_ptr(state_dir);
	start->is_kept = true;
	start_note_problem(start, report);
	log_write(MESSAGE_CONFIG_KEPT, NULL, "the files of the configuration are not valid, for the reasons above: since segments are in use, "
	    "segmentd goes on with what was in effect before, '%s/" KEPT_FILE "'. Remedy: mend them, then reload",
	    start->conf->daemon.state_dir);
	return 0;
}

/* Thousands of definitions take longer to read than all else that a successor does before it serves. */
static void
start_take_unchanged(struct start *start)
{
	struct conf *conf = NULL;

	if (!ledger_has_segments(start->dir) || kept_read_unchanged(start->dir, start->file, &conf, &start->known))
		return;
	if (is_same_dir(start->dir, conf->daemon.state_dir)) {
		start->conf = conf;
		start->is_unchanged = true;
		return;
	}
	start->known = pack_known_free(start->known);
	(void)conf_free(conf);
}

int
start_begin(struct start *start, const char *file)
{
	int r;

	*start = (struct start) START_NULL;
	start->file = start->origin.file = file;
	/* Before anything is read: what changes meanwhile is not what was noted. */
	origin_note_reader(&start->origin);
	r = start_inherit(start);
	if (r)
		return r;
	start->dir = start_known_dir(start);
	if (start->dir)
		start_take_unchanged(start);
	return 0;
}

int
start_init(struct start *start, struct conf *conf, const struct conf_report *report)
{
	char *dir = take_ptr(start->dir);

	start->conf = conf;
	if (!conf)
		return start_keep_on(start, dir, report);
	if (dir)
		start_stay_in(start, dir);
	return 0;
}

void
start_deinit(struct start *start)
{
	inherited_deinit(&start->inherited);
	origin_deinit(&start->origin);
	start->known = pack_known_free(start->known);
	free(start->dir);
	start->conf = conf_free(start->conf);
}
