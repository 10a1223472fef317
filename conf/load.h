/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reads a deployment's configuration: the main file, then segments.d/ *.conf beside it in name order. All problems of
 * all files are reported, not the first. Pure: it reads files and the user database, and touches no kernel object.
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "conf/definition.h"
#include "conf/origin.h"

/* The main file where none is named: segmentd/segmentd.conf below configure's sysconfdir. */
const char *conf_default_file(void);
#define CONF_DEFAULT_FILE	(conf_default_file())
#define CONF_FILE_MAX_BYTES	(16u << 20)	/* a larger file is refused */

/* Limits for each uid, and for all together. */
struct conf_limits {
	uint32_t clients;
	uint32_t attachments;
	uint32_t subscriptions;		/* to events */
	uint32_t segments;		/* that it created */
	uint64_t bytes;			/* of them */
	uint32_t total_clients;
	uint32_t total_attachments;
	uint32_t total_subscriptions;
	uint32_t total_segments;
	uint64_t total_bytes;		/* 0: half of the host's memory */
};

struct conf_daemon {
	char *socket;
	uint16_t socket_mode;
	char *state_dir;
	char *admin_group;		/* or NULL when it was set to "" */
	bool has_admin_gid;		/* false: there is no such group on this host, only root administers */
	uint32_t admin_gid;
	char *audit_socket;
	bool keep_sessions;
	uint64_t await_returns_ms;
	uint32_t workers;		/* 0: one a CPU */
	uint64_t memory_reserve_bytes;
	struct conf_limits limits;
};

/* An orphan rule; exactly one of posix and is_sysv. */
struct conf_orphan {
	char *file;			/* where it was read */
	unsigned line;
	char *posix;			/* glob, or NULL */
	bool is_sysv;
	bool has_user, has_key, has_mode;
	uint32_t user, key, mode;
	uint64_t after_ms;
	bool remove;			/* else report */
};

struct conf {
	struct conf_daemon daemon;
	struct definition **segments;
	size_t n_segments;
	struct definition **templates;
	size_t n_templates;
	struct conf_orphan *orphans;
	size_t n_orphans;
};

/* One thing that is wrong. */
struct conf_problem {
	char *file;
	unsigned line;			/* 0: the file as a whole */
	char *key;			/* path of the key, as in "segments[2].size"; or NULL */
	char *text;			/* what was found, what was expected, what to do */
};

struct conf_report {
	struct conf_problem *problems;
	size_t n_problems;
	size_t n_left_out;		/* past the bound on problems, counted only */
	struct origin *origin;		/* the caller's: gets to know what was read; or NULL */
};

#define CONF_REPORT_NULL	{ 0 }
#define CONF_REPORT_MAX		1000

/* Positive results. */
enum {
	CONF_E_INVALID = 1		/* the report says why */
};

/*
 * Loads path and the segments.d beside it. 0: *ret_conf is whole. CONF_E_INVALID: nothing is returned, *report names
 * everything that is wrong. Negative errno: memory ran short.
 */
int conf_load(const char *path, struct conf_report *report, struct conf **ret_conf);

/*
 * daemon.state_dir, the caller's, as far as the files can be read, valid or not; by default where they do not say. 0 or a negative
 * errno.
 */
int conf_load_state_dir(const char *path, char **ret_state_dir);

/* A configuration file's contents, as they are sent from elsewhere. */
struct conf_text {
	const char *name;		/* for problems: the file's name where it came from */
	const char *bytes;
	size_t length;
};

/*
 * The same from memory: the main file's text and those of segments.d, in their order. No file is read: @include is
 * refused with a sentence. A line that begins with #line NUMBER "FILE" says where the next one came from (conf/gather.h).
 */
int conf_load_texts(const struct conf_text *texts, size_t n_texts, struct conf_report *report,
    struct conf **ret_conf);

/* A configuration of defaults and nothing else, as from an empty file. */
int conf_new_default(struct conf **ret_conf);

struct conf *conf_free(struct conf *conf);

/* What a rule owns; and what a list of n of them does, with the list. */
void conf_orphan_deinit(struct conf_orphan *orphan);
void conf_orphans_free(struct conf_orphan *orphans, size_t n);

/* Gives segments and templates back: who needs them has taken references. */
void conf_drop_definitions(struct conf *conf);
void conf_report_deinit(struct conf_report *report);

/* One problem as a line: file:line: key: text. Returns what snprintf would. */
int conf_problem_format(const struct conf_problem *problem, char *buf, size_t size);

#endif
