/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration as bytes, from one process to another and from one version to the next: keys by their names and values by
 * the types of the table's rows. Who unpacks believes nothing: what comes out is as good as if a file had been read, or it
 * is refused with a sentence.
 */
#ifndef CONF_PACK_H
#define CONF_PACK_H

#include "conf/load.h"

#define PACK_VERSION		1u
#define PACK_ITEM_MAX_BYTES	(2u << 20)	/* of one definition; a larger one cannot be packed */
#define PACK_MAX_BYTES		((uint64_t)128 << 20)	/* of all */
#define PACK_WHY_SIZE		1024

/* Positive results. */
enum {
	PACK_E_INVALID = 1,		/* these bytes are none of ours; why says what is wrong with them */
	PACK_E_TOO_LARGE = 2		/* a definition, or all together, past the bound */
};

/* Bytes that are being packed; they grow. */
struct pack {
	unsigned char *bytes;
	size_t length;
	size_t room;
	int error;			/* 0, or -ENOMEM: everything after it was in vain */
};

#define PACK_NULL	{ 0 }

void pack_deinit(struct pack *pack);

/* Appends a definition. 0, PACK_E_TOO_LARGE or -ENOMEM. */
int pack_definition(struct pack *pack, const struct definition *definition);

/*
 * The definition that these bytes are, all of them, with one reference. A key that they do not have holds its default: they
 * may come from an older version. PACK_E_INVALID: why, of PACK_WHY_SIZE bytes, says what is wrong. Also -ENOMEM.
 */
int pack_read_definition(const void *bytes, size_t length, char *why, struct definition **ret_definition);

/* How loading ended, as a header says it before anything else. */
struct pack_summary {
	int result;			/* of conf_load: 0, CONF_E_INVALID or a negative errno */
	uint32_t n_problems;
	uint32_t n_left_out;		/* of the report */
	uint32_t n_segments;
	uint32_t n_templates;
	uint32_t n_orphans;
};

/*
 * Writes what conf_load returned to a file, from its beginning: conf is NULL unless result is 0. 0, PACK_E_TOO_LARGE, or a
 * negative errno.
 */
int pack_write(int fd, int result, const struct conf *conf, const struct conf_report *report);

enum pack_kind {
	PACK_PROBLEM,			/* all of these first, */
	PACK_DAEMON,			/* then, of a configuration that is whole, one of these, */
	PACK_SEGMENT,			/* and the others in the order of the configuration */
	PACK_TEMPLATE,
	PACK_ORPHAN,
	PACK_END
};

/* One of what a file holds; the caller's, to be given back with pack_item_deinit. */
struct pack_item {
	enum pack_kind kind;
	struct conf_problem problem;
	struct conf_daemon daemon;
	struct definition *definition;	/* of PACK_SEGMENT and PACK_TEMPLATE */
	struct conf_orphan orphan;
	const unsigned char *bytes;	/* what it was unpacked from: in the window, until the next item */
	size_t length;
};

#define PACK_ITEM_NULL	{ .kind = PACK_END }

void pack_item_deinit(struct pack_item *item);

/* Reads a file an item at a time, with bounded memory: a window of it, and one item. */
struct pack_reader {
	int fd;				/* the caller's; nobody may change what is in it meanwhile */
	uint64_t length;
	uint64_t offset;		/* of the window's end */
	unsigned char *window;
	size_t room;
	size_t at;			/* in the window */
	size_t filled;
	bool is_whole;			/* the window has all of the file, and stays where it is */
	struct pack_summary summary;
	uint32_t n_read[PACK_END];
	char why[PACK_WHY_SIZE];	/* after PACK_E_INVALID */
};

#define PACK_READER_NULL	{ .fd = -1 }

/* Reads the header: reader->summary holds. 0, PACK_E_INVALID or a negative errno; deinit in any case. */
int pack_reader_init(struct pack_reader *reader, int fd, uint64_t length);
/* The next item; PACK_END after the last. A result that is not 0 ends it. 0, PACK_E_INVALID or a negative errno. */
int pack_reader_next(struct pack_reader *reader, struct pack_item *ret_item);
/* Likewise, with the whole file in the window from the beginning. */
int pack_reader_init_whole(struct pack_reader *reader, int fd, uint64_t length);
void pack_reader_deinit(struct pack_reader *reader);

/*
 * Items put together, a step at a time: room for what the header announces, then each of them, which is the configuration's or
 * the report's from then on. Both are given back by the caller, whatever came of it. 0 or -ENOMEM.
 */
int pack_whole_begin(const struct pack_summary *summary, struct conf **ret_conf, struct conf_report *report);
void pack_whole_take(struct pack_item *item, struct conf *conf, struct conf_report *report);

/*
 * The whole of a file of one that was valid. 0, PACK_E_INVALID with why, of PACK_WHY_SIZE bytes, or a negative errno. *ret_known, the
 * caller's, finds its definitions by their bytes as long as the configuration has them; ret_known may be NULL.
 */
struct pack_known;
int pack_read_conf(int fd, char *why, struct conf **ret_conf, struct pack_known **ret_known);

/*
 * The definition that was unpacked from these very bytes, the configuration's, with the bytes as *ret_bytes, known's; or NULL. known
 * may be NULL.
 */
struct definition *pack_known_find(const struct pack_known *known, const void *bytes, size_t length, const void **ret_bytes);
/* Accepts NULL; returns NULL. */
struct pack_known *pack_known_free(struct pack_known *known);

#endif
