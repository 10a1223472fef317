/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The ledger's file, byte by byte: between its own files, and for who reads it in tests. */
#ifndef DAEMON_LEDGER_ROWS_H
#define DAEMON_LEDGER_ROWS_H

#include "base/base.h"
#include "daemon/ledger.h"

#define LEDGER_MAGIC		"segmtled"
#define LEDGER_NEW_FILE		LEDGER_FILE ".new"
#define LEDGER_ROWS_MAX		((uint32_t)1 << 22)	/* a GiB */
#define LEDGER_TEXT_BYTES	216		/* in one row */
#define LEDGER_TEXTS_MAX	(4u << 20)	/* of one segment: a definition has half of that at most */
#define LEDGER_NODES_MAX	1024

struct ledger_text {
	uint64_t number;		/* of its chain */
	uint32_t next;			/* row of the chain; 0: it is the last */
	uint32_t ordinal;		/* from 0 */
	uint32_t n_bytes;
	uint32_t zero;
	unsigned char bytes[LEDGER_TEXT_BYTES];
};
static_assert(sizeof(struct ledger_text) == LEDGER_BODY_BYTES, "ledger_text");

struct ledger_row {
	uint64_t sum;			/* of what follows */
	uint32_t kind;			/* enum ledger_kind */
	uint32_t index;			/* where it is */
	union {
		struct ledger_segment segment;
		struct ledger_lock lock;
		struct ledger_session session;
		struct ledger_attachment attachment;
		struct ledger_text text;
		unsigned char bytes[LEDGER_BODY_BYTES];
	} body;
};
static_assert(sizeof(struct ledger_row) == LEDGER_ROW_BYTES, "ledger_row");

/* The file's first row. */
struct ledger_header {
	uint64_t sum;
	char magic[8];
	uint32_t version;
	uint32_t row_bytes;
	int32_t pid;			/* who wrote it */
	uint32_t zero;
	char boot[LEDGER_BOOT_SIZE];
	char rest[LEDGER_ROW_BYTES - 72];
};
static_assert(sizeof(struct ledger_header) == LEDGER_ROW_BYTES, "ledger_header");

/* What a chain holds: this, and then so many bytes of each in this order. Texts end with a NUL, which counts; 0: there is none. */
struct ledger_texts_header {
	uint32_t n_nodes;		/* 8 bytes each */
	uint32_t n_definition;
	uint32_t n_template;
	uint32_t n_reason;
	uint32_t n_growth_reason;
	uint32_t n_note;
};

/*
 * What a row or a header has to have as its sum: against accidents, not against anybody. By words, since a row is written for
 * each attach; each step is one to one, so that no change of one word goes unseen.
 */
static inline uint64_t
ledger_sum(const void *row)
{
	const uint64_t *words = row;
	uint64_t sum = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 1; i < LEDGER_ROW_BYTES / sizeof(*words); i++) {
		sum = (sum ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	return sum;
}

/* Reads what stands in the ledger's place, and gives it to take(). 0 or a negative errno. */
int ledger_read(struct ledger *ledger, const char *boot, const struct pack_known *known, ledger_take_fn take, void *arg);

void ledger_tell(const struct ledger *ledger, const char *format, ...) BASE_PRINTF(2, 3);

#endif
