/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Where the cgroups above this process are mounted.
 *
 * /proc/self/cgroup says where this process is, counted from the root of its cgroup namespace; /proc/self/mountinfo says
 * which part of the hierarchy a mount shows, counted from the same place. Both may begin with "/..", once for each step
 * that leads out of the namespace: then the names in between are unknown, and the cgroup is the one that lists our pid.
 */
#include "config.h"

#include <glob.h>

#include "base/base.h"
#include "host/cgroup.h"

/* What is asked for. */
struct query {
	const char *root;
	pid_t pid;			/* 0: this process */
	const char *controller;		/* of v1 */
};

/* A mount that shows the process's cgroup. */
struct place {
	char *mount;			/* mount point, with the root before it */
	char *dir;			/* our cgroup's directory, mount or below */
	size_t n_levels;		/* from dir up to mount */
};

static void
place_deinit(struct place *place)
{
	free(take_ptr(place->mount));
	free(take_ptr(place->dir));
}

/* Whether a list with commas has the word. */
static bool
list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p; p = strchr(p, ',')) {
		p += *p == ',';
		if (strncmp(p, word, len) == 0 && (p[len] == ',' || p[len] == '\0'))
			return true;
	}
	return false;
}

/* Takes the leading "/.." steps off a path; "/" becomes "". */
static size_t
path_skip_ups(const char **path)
{
	const char *p = *path;
	size_t n = 0;

	while (strncmp(p, "/..", 3) == 0 && (p[3] == '/' || p[3] == '\0')) {
		p += 3;
		n++;
	}
	*path = streq(p, "/") ? p + 1 : p;
	return n;
}

static size_t
path_count(const char *path)
{
	size_t n = 0;

	for (; *path; path++)
		n += *path == '/';
	return n;
}

/* mountinfo writes space, tab, newline and backslash as three octal digits. */
static void
mountinfo_unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else
			*to++ = *s;
	}
	*to = '\0';
}

static bool
procs_has(const char *file, pid_t wanted)
{
	cleanup_fclose FILE *f = fopen(file, "re");
	long pid;

	while (f && fscanf(f, "%ld", &pid) == 1)
		if (pid == (long)wanted)
			return true;
	return false;
}

static char *
glob_escape(char *to, const char *from)
{
	for (; *from; from++) {
		if (strchr("*?[]\\", *from))
			*to++ = '\\';
		*to++ = *from;
	}
	*to = '\0';
	return to;
}

/*
 * Our cgroup n_unknown names and then tail below mount: the one whose cgroup.procs has the pid. NULL: none, or memory is
 * short; the mount's own limits hold for us all the same.
 */
static char *
find_unknown(const char *mount, size_t n_unknown, const char *tail, pid_t pid)
{
	cleanup_free char *pattern = malloc(2 * (strlen(mount) + strlen(tail)) + 2 * n_unknown + 32);
	glob_t found;
	char *dir = NULL, *p;

	if (!pattern)
		return NULL;
	p = glob_escape(pattern, mount);
	for (size_t i = 0; i < n_unknown; i++)
		p = stpcpy(p, "/*");
	p = glob_escape(p, tail);
	(void)stpcpy(p, "/cgroup.procs");
	if (glob(pattern, GLOB_NOSORT, NULL, &found))
		return NULL;
	for (size_t i = 0; i < found.gl_pathc && !dir; i++)
		if (procs_has(found.gl_pathv[i], pid ? pid : getpid()))
			dir = strndup(found.gl_pathv[i],
			    strlen(found.gl_pathv[i]) - strlen("/cgroup.procs"));
	globfree(&found);
	return dir;
}

/*
 * Where own, a path of /proc/self/cgroup, is in a mount that shows the hierarchy from shown on. 0, or -ENOENT when it is
 * not in it, or -ENOMEM.
 */
static int
place_find(const char *own, const char *shown, const char *mount, pid_t pid, struct place *ret_place)
{
	size_t n_own = path_skip_ups(&own), n_shown = path_skip_ups(&shown), len = strlen(shown);
	struct place place = { 0 };

	if (n_own > n_shown || (n_own < n_shown && *shown))
		return -ENOENT;
	if (n_own == n_shown) {
		if (strncmp(own, shown, len) || (own[len] && own[len] != '/'))
			return -ENOENT;
		own += len;
		if (asprintf(&place.dir, "%s%s", mount, own) < 0)
			return -ENOMEM;
		place.n_levels = 1 + path_count(own);
	} else {
		place.dir = find_unknown(mount, n_shown - n_own, own, pid);
		place.n_levels = 1 + n_shown - n_own + path_count(own);
		if (!place.dir) {
			place.dir = strdup(mount);
			place.n_levels = 1;
		}
	}
	place.mount = strdup(mount);
	if (!place.dir || !place.mount) {
		place_deinit(&place);
		return -ENOMEM;
	}
	*ret_place = place;
	return 0;
}

/* A line of mountinfo: the mount's root and point, when it is of this version. Changes the line. */
static bool
mountinfo_parse(char *line, enum cgroup_version version, const char *controller, char **ret_shown, char **ret_mount)
{
	char *fields[5], *save = NULL, *type, *options, *rest = strstr(line, " - ");

	if (!rest)
		return false;
	*rest = '\0';
	for (size_t i = 0; i < BASE_ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!fields[i])
			return false;
	}
	type = strtok_r(rest + 3, " \n", &save);
	options = type && strtok_r(NULL, " \n", &save) ? strtok_r(NULL, " \n", &save) : NULL;
	if (!options || !streq(type, version == CGROUP_V2 ? "cgroup2" : "cgroup"))
		return false;
	if (version == CGROUP_V1 && !list_has(options, controller))
		return false;
	mountinfo_unescape(fields[3]);
	mountinfo_unescape(fields[4]);
	*ret_shown = fields[3];
	*ret_mount = fields[4];
	return true;
}

/* The mount that shows most of what is above own. 0, -ENOENT or -ENOMEM. */
static int
place_find_best(const struct query *query, const char *own, enum cgroup_version version, struct place *ret_place)
{
	cleanup_free char *file = NULL, *line = NULL;
	cleanup_fclose FILE *f = NULL;
	struct place best = { 0 };
	char *shown, *mount;
	size_t size = 0;

	if (asprintf(&file, "%s/proc/self/mountinfo", query->root) < 0)
		return -ENOMEM;
	f = fopen(file, "re");
	while (f && getline(&line, &size, f) > 0) {
		cleanup_free char *full = NULL;
		struct place place;
		int r;

		if (!mountinfo_parse(line, version, query->controller, &shown, &mount))
			continue;
		if (asprintf(&full, "%s%s", query->root, mount) < 0)
			r = -ENOMEM;
		else
			r = place_find(own, shown, full, query->pid, &place);
		if (r == -ENOENT)
			continue;
		if (r < 0) {
			place_deinit(&best);
			return r;
		}
		if (place.n_levels > best.n_levels) {
			place_deinit(&best);
			best = place;
		} else
			place_deinit(&place);
	}
	if (!best.dir)
		return -ENOENT;
	*ret_place = best;
	return 0;
}

/* Where the process is in the hierarchy of a version, by its file of /proc; NULL: in none. */
static char *
own_path(const struct query *query, enum cgroup_version version)
{
	cleanup_free char *file = NULL, *line = NULL;
	cleanup_fclose FILE *f = NULL;
	size_t size = 0;

	if ((query->pid ? asprintf(&file, "%s/proc/%d/cgroup", query->root, (int)query->pid) :
	    asprintf(&file, "%s/proc/self/cgroup", query->root)) < 0) {
		file = NULL;
		return NULL;
	}
	f = fopen(file, "re");
	while (f && getline(&line, &size, f) > 0) {
		char *controllers = strchr(line, ':'), *path;

		path = controllers ? strchr(++controllers, ':') : NULL;
		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		if (version == CGROUP_V2 ? *controllers == '\0' : list_has(controllers, query->controller))
			return strdup(path);
	}
	return NULL;
}

static int
walk_version(const struct query *query, enum cgroup_version version, cgroup_fn fn, void *arg)
{
	cleanup_free char *own = own_path(query, version);
	struct place place;
	size_t len;
	int r;

	if (!own)
		return 0;
	r = place_find_best(query, own, version, &place);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	len = strlen(place.mount);
	for (;;) {
		char *slash;

		r = fn(place.dir, version, arg);
		slash = strrchr(place.dir, '/');
		if (r || strlen(place.dir) <= len || !slash)
			break;
		*slash = '\0';
	}
	place_deinit(&place);
	return r;
}

int
cgroup_walk(const char *root, pid_t pid, const char *controller, cgroup_fn fn, void *arg)
{
	const struct query query = { .root = root, .pid = pid, .controller = controller };
	int r = walk_version(&query, CGROUP_V2, fn, arg);

	return r ? r : walk_version(&query, CGROUP_V1, fn, arg);
}
