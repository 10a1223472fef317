/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration that is read while the loop goes on: a worker process parses, and what it made of it is taken a piece at a
 * time, in slices of the caller's. The worker is not believed, and may die or hang: that is a sentence and nothing else.
 */
#ifndef DAEMON_PARSE_H
#define DAEMON_PARSE_H

#include <sys/queue.h>

#include "conf/pack.h"
#include "daemon/accounts.h"
#include "daemon/workers.h"

#define PARSE_TEXT_SIZE		1280	/* of a failure's sentence */
#define PARSE_NAME_MAX		4096	/* bytes of a text's name */
#define PARSE_TEXTS_MAX		10000	/* of one upload */

/* Positive results. */
enum {
	PARSE_E_FAILED = 1,		/* parse->text says why */
	PARSE_E_TOO_LARGE = 2,		/* CONF_FILE_MAX_BYTES in all, or PARSE_TEXTS_MAX or PARSE_NAME_MAX, would be passed */
	PARSE_E_INVALID = 3,		/* bytes of no text, or a name that is none */
	PARSE_E_MORE = 4,		/* not all was taken yet */
	PARSE_E_REFUSED = 5,		/* the configuration is not valid: parse->report names all that is wrong */
	PARSE_E_LIMIT = 6		/* who is charged for an upload may have no more */
};

struct parse;

/* Who starts parsers, and whose they are when the daemon ends. */
struct parser {
	struct workers *workers;
	unsigned patience_seconds;	/* until a worker that reads counts as stuck */
	LIST_HEAD(, parse) parses;
	LIST_HEAD(, parse_release) releases;
};

void parser_init(struct parser *parser, struct workers *workers);
/* After the workers have ended; parses that are left are freed, uploads are their owners'. */
void parser_deinit(struct parser *parser);

/* Texts that somebody sends bit by bit. They are kept in a memfd, out of the daemon's own memory. */
struct parse_upload {
	int fd;				/* -1: none was begun */
	uint64_t length_bytes;		/* of what was written */
	uint64_t text_bytes;		/* of it bytes of texts */
	unsigned n_texts;
	struct charge charge;		/* for length_bytes; of no account: nobody is charged */
};

#define PARSE_UPLOAD_NULL	{ .fd = -1 }

/* The name of the next text, of length bytes: the main file's first, then those of segments.d in their order. */
int parse_upload_begin(struct parse_upload *upload, const char *name, size_t length);
/* More bytes of it. Both: 0, PARSE_E_TOO_LARGE, PARSE_E_INVALID, PARSE_E_LIMIT or a negative errno. */
int parse_upload_append(struct parse_upload *upload, const void *bytes, size_t length);
/* Gives it back; there is none then. */
void parse_upload_deinit(struct parse_upload *upload, struct parser *parser);

/* Called once, from the loop: parse_next may be called from then on. The parse may be freed in it. */
typedef void (*parse_done_fn)(struct parse *parse, void *arg);

/* A run of the loader in a worker process. */
struct parse {
	struct parser *parser;
	struct workers_job job;
	parse_done_fn done;		/* NULL: nobody waits for it any more */
	void *arg;
	bool is_done;
	bool has_failed;		/* no outcome could be had, and text says why */
	char text[PARSE_TEXT_SIZE];
	struct pack_reader reader;	/* its summary holds once it is done and has not failed */
	struct conf_report report;	/* what parse_collect took */
	struct conf *conf;
	LIST_ENTRY(parse) entry;
};

/*
 * Starts to read the daemon's own files: path, and segments.d beside it. Or an upload, which has to stay until done was called
 * or the parse was freed, and may be parsed again later. 0 or a negative errno.
 */
int parse_start(struct parser *parser, const char *path, parse_done_fn done, void *arg, struct parse **ret_parse);
int parse_start_upload(struct parser *parser, const struct parse_upload *upload, parse_done_fn done, void *arg,
    struct parse **ret_parse);

/*
 * The next item of what was read: problems first, then, of a configuration that is whole, the daemon's keys, segments and
 * templates; PACK_END after the last. Takes microseconds. 0, PARSE_E_FAILED (also where the worker gave us no configuration
 * at all) or a negative errno.
 */
int parse_next(struct parse *parse, struct pack_item *ret_item);

/*
 * Takes items until until_ns of the monotonic clock, at least one, and puts them together. PARSE_E_MORE: it is to be called
 * again. 0: *ret_conf is the whole configuration, the caller's. PARSE_E_REFUSED, PARSE_E_FAILED, or -ENOMEM. In the place of
 * parse_next.
 */
int parse_collect(struct parse *parse, uint64_t until_ns, struct conf **ret_conf);

/* Accepts NULL, and one that is not done: done will not be called. Returns NULL. */
struct parse *parse_free(struct parse *parse);

#endif
