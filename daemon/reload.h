/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Plan and reload: the configuration is read anew, judged against what runs, definition by definition, and where it is a
 * reload each step is carried out right after its judgement. So the two are one code, and what was said is what is done. One
 * runs at a time; all of it in turns of the loop, which goes on serving. A configuration that is not valid changes nothing.
 */
#ifndef DAEMON_RELOAD_H
#define DAEMON_RELOAD_H

#include "conf/load.h"
#include "daemon/events.h"
#include "daemon/kept.h"
#include "daemon/orphans.h"
#include "daemon/parse.h"
#include "daemon/registry.h"
#include "daemon/reload_judge.h"
#include "daemon/reload_lines.h"

#define RELOAD_PROBLEM_SIZE	640

struct reload;
struct reload_request;

typedef void (*reload_done_fn)(struct reload_request *request);

/* What somebody asks for, and what came of it. */
struct reload_request {
	struct reload *reload;
	bool applies;			/* a reload; else a plan */
	bool is_hangup;			/* by SIGHUP: nobody is known who asks */
	int32_t pid;			/* who asks; 0: not known */
	uint32_t uid;			/* PROTOCOL_NOBODY: a signal */
	const struct parse_upload *upload;	/* what is to be judged, until that is done or given up; NULL: the daemon's own files */
	reload_done_fn done;		/* the request may be freed in it */
	bool (*may_begin)(const struct reload_request *request);	/* asked when its turn comes; NULL: it may */
	void *arg;
	bool has_begun;
	bool is_done;			/* without having begun: it might not */
	bool has_failed;		/* it could not be judged, why says for what reason, and there are no lines */
	char why[PARSE_TEXT_SIZE];
	struct reload_lines lines;
	TAILQ_ENTRY(reload_request) entry;
};

enum reload_phase {
	RELOAD_IDLE,
	RELOAD_READING,			/* a worker is at it */
	RELOAD_TAKING,			/* what it has read, a definition at a time */
	RELOAD_KEEPING,			/* for a successor, what is carried out */
	RELOAD_MARKING,			/* what the configuration has, so that what it has not is known */
	RELOAD_DAEMON,
	RELOAD_REMOVING,		/* first: it gives memory and names back */
	RELOAD_REMOVING_TEMPLATES,
	RELOAD_TEMPLATES,
	RELOAD_SEGMENTS,
	RELOAD_ORPHANS,
	RELOAD_FREEING,
	RELOAD_PHASE_N
};

/* What a reload works on, and calls. */
struct reload_host {
	struct event_base *base;
	struct registry *registry;
	struct parser *parser;
	struct events *events;
	struct orphans *orphans;
	const char *file;		/* the main file of the configuration */
	bool is_socket_inherited;
	void (*on_daemon)(const struct conf_daemon *keys, void *arg);	/* the daemon's keys are so from now on */
	void (*on_begin)(void *arg);	/* of a reload, not of a plan */
	void (*on_end)(void *arg);
	void *arg;
};

struct reload {
	struct reload_host host;
	struct conf_daemon daemon;	/* the keys in effect */
	struct event turn_event;
	TAILQ_HEAD(, reload_request) queue;
	struct reload_request *current;
	struct reload_request *hangup;	/* in the queue, by SIGHUP; or NULL */
	enum reload_phase phase;
	struct parse *parse;		/* while it reads, and what it has read is taken and kept */
	struct kept kept;		/* while it is written */
	struct conf *next;
	bool is_refused;		/* parse's report is being told */
	size_t at;			/* in what the phase goes through */
	uint32_t serial;		/* of the look; marks what it has seen */
	struct reload_judge judge;
	struct reload_lines garbage;	/* of requests that were given back: some is freed each turn */
	struct event garbage_event;
	char problem[RELOAD_PROBLEM_SIZE];	/* why the last reload changed nothing: its first problem; "": it was carried out */
	uint64_t n_reloads;		/* counters, for metrics */
	uint64_t n_invalid;		/* of them without a configuration that is valid, or could be read */
};

/* daemon: the keys in effect. 0 or a negative errno. */
int reload_init(struct reload *reload, const struct reload_host *host, const struct conf_daemon *daemon);
void reload_deinit(struct reload *reload);

/* Puts a request into the queue. done is called from the loop, later. */
void reload_submit(struct reload *reload, struct reload_request *request);
/* A reload, for nobody who waits; one that is in the queue already is enough. 0 or -ENOMEM. */
int reload_hangup(struct reload *reload);

struct reload_request *reload_request_new(bool applies, int32_t pid, uint32_t uid, reload_done_fn done, void *arg);
/* Nobody waits for it any more: one that has not begun is not done; a reload that has is carried out to its end. */
struct reload_request *reload_request_free(struct reload_request *request);

#endif
