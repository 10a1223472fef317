/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A deployment's configuration as a whole: which texts there are, in which order, and what holds where none says anything.
 */
#include "config.h"

#include "conf/load.h"

#include "base/base.h"
#include "conf/check.h"
#include "conf/files.h"
#include "conf/read.h"

#define SUN_PATH_MAX	107	/* bytes of a Unix socket's path, without the NUL */

const char *
conf_default_file(void)
{
	return CONF_SYSCONFDIR "/segmentd/segmentd.conf";
}

void
conf_drop_definitions(struct conf *conf)
{
	for (size_t i = 0; i < conf->n_segments; i++)
		definition_unref(conf->segments[i]);
	for (size_t i = 0; i < conf->n_templates; i++)
		definition_unref(conf->templates[i]);
	free(conf->segments);
	free(conf->templates);
	conf->segments = conf->templates = NULL;
	conf->n_segments = conf->n_templates = 0;
}

void
conf_orphan_deinit(struct conf_orphan *orphan)
{
	free(orphan->file);
	free(orphan->posix);
	*orphan = (struct conf_orphan){ 0 };
}

void
conf_orphans_free(struct conf_orphan *orphans, size_t n)
{
	for (size_t i = 0; i < n; i++)
		conf_orphan_deinit(&orphans[i]);
	free(orphans);
}

struct conf *
conf_free(struct conf *conf)
{
	if (!conf)
		return NULL;
	conf_drop_definitions(conf);
	conf_orphans_free(conf->orphans, conf->n_orphans);
	free(conf->daemon.socket);
	free(conf->daemon.state_dir);
	free(conf->daemon.admin_group);
	free(conf->daemon.audit_socket);
	free(conf);
	return NULL;
}

/* Replaces *path by the directory for the daemon of one that is not root, and name in it. */
static int
set_user_path(char **path, const char *name)
{
	const char *given = getenv("RUNTIME_DIRECTORY"), *runtime = getenv("XDG_RUNTIME_DIR");
	char *made;
	int r;

	/* What the service manager made for us; of several, none is the one. */
	if (given && given[0] == '/' && !strchr(given, ':'))
		r = asprintf(&made, "%s%s", given, name);
	else if (runtime && runtime[0] == '/')
		r = asprintf(&made, "%s/segmentd%s", runtime, name);
	else
		r = asprintf(&made, "/run/user/%lu/segmentd%s", (unsigned long)geteuid(), name);
	if (r < 0)
		return -ENOMEM;
	free(*path);
	*path = made;
	return 0;
}

/* /run/segmentd is root's: who starts a daemon without being root gets places of its own. */
static void
apply_user_defaults(struct reader *reader)
{
	struct conf_daemon *daemon = &reader->conf->daemon;

	if (geteuid() == 0)
		return;
	if (!reader->has_socket && set_user_path(&daemon->socket, "/segmentd.sock") < 0)
		reader->error = -ENOMEM;
	if (!reader->has_state_dir && set_user_path(&daemon->state_dir, "") < 0)
		reader->error = -ENOMEM;
}

/* A default that the environment made can be too long as well; what was written was checked where it stands. */
static void
check_default_socket(struct reader *reader, const char *file)
{
	const char *socket = reader->conf->daemon.socket;

	if (!reader->error && !reader->has_socket && strlen(socket) > SUN_PATH_MAX)
		read_problem_at(reader, file, 0,
		    "the default of daemon.socket, below $RUNTIME_DIRECTORY or $XDG_RUNTIME_DIR, has %zu bytes; expected %d at most: set "
		    "daemon.socket", strlen(socket), SUN_PATH_MAX);
}

static int
reader_init(struct reader *reader, struct conf_report *report)
{
	*reader = (struct reader){ .report = report };
	reader->conf = calloc(1, sizeof(*reader->conf));
	if (!reader->conf)
		return -ENOMEM;
	read_defaults(reader, KEYS_DAEMON, 0, &reader->conf->daemon);
	read_defaults(reader, KEYS_LIMITS, 0, &reader->conf->daemon.limits);
	return 0;
}

/* Ends a run: the configuration is the caller's if nothing was wrong in this run. */
static int
reader_finish(struct reader *reader, const char *file, size_t n_before, struct conf **ret_conf)
{
	struct conf *conf = reader->conf;
	int r;

	apply_user_defaults(reader);
	check_default_socket(reader, file);
	if (!reader->error)
		check_names(reader);
	free(reader->daemon_file);
	r = reader->error;
	if (r == 0 && reader->report->n_problems + reader->report->n_left_out > n_before)
		r = CONF_E_INVALID;
	if (r == 0)
		*ret_conf = conf;
	else
		conf_free(conf);
	return r;
}

static int
load_source(const struct source *source, void *arg)
{
	struct reader *reader = arg;

	read_source(reader, source);
	return reader->error;
}

static size_t
count_problems(const struct conf_report *report)
{
	return report->n_problems + report->n_left_out;
}

int
conf_load(const char *path, struct conf_report *report, struct conf **ret_conf)
{
	size_t n_before = count_problems(report);
	struct reader reader;

	if (reader_init(&reader, report) < 0)
		return -ENOMEM;
	if (!reader.error)
		reader.error = files_read(path, report, load_source, &reader);
	return reader_finish(&reader, path, n_before, ret_conf);
}

int
conf_load_state_dir(const char *path, char **ret_state_dir)
{
	struct conf_report report = CONF_REPORT_NULL;
	struct reader reader;
	int r = reader_init(&reader, &report);

	if (r == 0 && !reader.error)
		reader.error = files_read(path, &report, load_source, &reader);
	if (r == 0) {
		apply_user_defaults(&reader);
		free(reader.daemon_file);
		r = reader.error;
		if (r == 0)
			*ret_state_dir = take_ptr(reader.conf->daemon.state_dir);
		(void)conf_free(reader.conf);
	}
	conf_report_deinit(&report);
	return r;
}

int
conf_load_texts(const struct conf_text *texts, size_t n_texts, struct conf_report *report,
    struct conf **ret_conf)
{
	size_t n_before = count_problems(report);
	struct reader reader;

	if (reader_init(&reader, report) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < n_texts && !reader.error; i++) {
		struct source source = SOURCE_NULL;
		int r = source_read_text(&source, texts[i].name, texts[i].bytes, texts[i].length, report);

		if (r < 0)
			reader.error = r;
		else if (r == 0)
			read_source(&reader, &source);
		source_deinit(&source);
	}
	return reader_finish(&reader, n_texts ? texts[0].name : "configuration", n_before, ret_conf);
}

int
conf_new_default(struct conf **ret_conf)
{
	struct conf_report report = CONF_REPORT_NULL;
	int r = conf_load_texts(NULL, 0, &report, ret_conf);

	conf_report_deinit(&report);
	return r;
}
