/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Blocks are as large as what a message has room for; a line is never in two of them, so a page is a block's rest. */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <sys/mman.h>

#include "daemon/reload_lines.h"

#define BLOCK_BYTES	(PROTOCOL_MESSAGE_MAX - sizeof(struct protocol_listed))
#define CUT		" ..."

struct reload_block {
	TAILQ_ENTRY(reload_block) entry;
	uint64_t first;			/* the first line's cursor */
	uint32_t n;
	size_t size;
	_Alignas(8) char rows[BLOCK_BYTES];
};

static_assert(sizeof(struct protocol_plan_line) + RELOAD_TEXT_SIZE + 8 <= BLOCK_BYTES, "a line fits");
static_assert((int)PROTOCOL_PLAN_ACTION_N <= PROTOCOL_PLAN_COUNTS, "a count each");

void
reload_text_clear(struct reload_text *text)
{
	text->len = 0;
	text->bytes[0] = '\0';
}

void
reload_text_add(struct reload_text *text, const char *format, ...)
{
	size_t room = sizeof(text->bytes) - text->len;
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text->bytes + text->len, room, format, args);
	va_end(args);
	if (n >= 0 && (size_t)n < room) {
		text->len += (size_t)n;
		return;
	}
	text->len = sizeof(text->bytes) - 1;
	memcpy(text->bytes + sizeof(text->bytes) - sizeof(CUT), CUT, sizeof(CUT));
}

void
reload_lines_init(struct reload_lines *lines)
{
	*lines = (struct reload_lines) { 0 };
	TAILQ_INIT(&lines->blocks);
}

/*
 * From the kernel, and back to it one by one: of malloc's, the last that is freed may give many MiB back at once, and so may
 * whatever else is freed after them.
 */
static struct reload_block *
block_new(struct charge *charge)
{
	void *block;

	if (charge->account && charge_resize(charge, charge->amount + sizeof(struct reload_block))) {
		accounts_left_out(charge->accounts, charge->kind);
		return NULL;
	}
	block = mmap(NULL, sizeof(struct reload_block), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (block != MAP_FAILED)
		return block;
	if (charge->account)
		(void)charge_resize(charge, charge->amount - sizeof(struct reload_block));
	return NULL;
}

bool
reload_lines_free_some(struct reload_lines *lines, uint64_t until_ns)
{
	struct reload_block *block;

	while ((block = TAILQ_FIRST(&lines->blocks))) {
		TAILQ_REMOVE(&lines->blocks, block, entry);
		(void)munmap(block, sizeof(*block));
		if (clock_monotonic_ns() >= until_ns)
			break;
	}
	return TAILQ_EMPTY(&lines->blocks);
}

void
reload_lines_move(struct reload_lines *lines, struct reload_lines *to)
{
	TAILQ_CONCAT(&to->blocks, &lines->blocks, entry);
	charge_deinit(&lines->charge);
	lines->n = 0;
}

void
reload_lines_deinit(struct reload_lines *lines)
{
	(void)reload_lines_free_some(lines, UINT64_MAX);
	charge_deinit(&lines->charge);
}

/* Room for a row of size, in the last block or a new one. */
static char *
lines_take(struct reload_lines *lines, size_t size)
{
	struct reload_block *block = TAILQ_LAST(&lines->blocks, reload_blocks);
	char *row;

	if (!block || size > sizeof(block->rows) - block->size) {
		block = block_new(&lines->charge);
		if (!block)
			return NULL;
		block->first = lines->n + 1;
		block->n = 0;
		block->size = 0;
		TAILQ_INSERT_TAIL(&lines->blocks, block, entry);
	}
	row = block->rows + block->size;
	block->size += size;
	block->n++;
	return row;
}

int
reload_lines_add(struct reload_lines *lines, enum protocol_plan_subject subject, const char *name,
    const struct reload_step *step)
{
	struct protocol_plan_line line = {
		.cursor = lines->n + 1,
		.action = (uint8_t)step->action,
		.subject = (uint8_t)subject,
		.n_pids = (uint8_t)step->n_pids,
		.n_waiting = step->n_waiting,
		.text_len = (uint32_t)step->text.len + 1,
	};
	char *row;

	line.size = (uint32_t)round_up(sizeof(line) + line.text_len, 8);
	(void)snprintf(line.name, sizeof(line.name), "%s", name);
	memcpy(line.pids, step->pids, step->n_pids * sizeof(line.pids[0]));
	row = lines_take(lines, line.size);
	if (!row)
		return -ENOMEM;
	memset(row + line.size - 8, 0, 8);
	memcpy(row, &line, sizeof(line));
	memcpy(row + sizeof(line), step->text.bytes, line.text_len);
	lines->n++;
	lines->counts[step->action]++;
	return 0;
}

static uint32_t
row_size(const char *row)
{
	return ((const struct protocol_plan_line *)(const void *)row)->size;
}

bool
reload_lines_page(const struct reload_lines *lines, uint64_t cursor, const char **ret_rows, size_t *ret_size,
    uint32_t *ret_n, bool *ret_has_more)
{
	const struct reload_block *block;
	size_t at = 0;

	TAILQ_FOREACH(block, &lines->blocks, entry)
		if (cursor < block->first + block->n - 1)
			break;
	if (!block)
		return false;
	for (uint64_t i = block->first; i <= cursor; i++)
		at += row_size(block->rows + at);
	*ret_rows = block->rows + at;
	*ret_size = block->size - at;
	*ret_n = block->n - (cursor < block->first ? 0 : (uint32_t)(cursor - block->first + 1));
	*ret_has_more = TAILQ_NEXT(block, entry) != NULL;
	return true;
}

void
reload_lines_walk(const struct reload_lines *lines, uint32_t n, reload_line_fn fn, void *arg)
{
	const struct reload_block *block;

	TAILQ_FOREACH(block, &lines->blocks, entry) {
		size_t at = 0;

		for (uint32_t i = 0; i < block->n && n; i++, n--) {
			fn((const void *)(block->rows + at), block->rows + at + sizeof(struct protocol_plan_line), arg);
			at += row_size(block->rows + at);
		}
	}
}

const char *
reload_action_name(enum protocol_plan_action action)
{
	static const char *const names[PROTOCOL_PLAN_ACTION_N] = {
		[PROTOCOL_PLAN_PROBLEM] = "problem",
		[PROTOCOL_PLAN_ADDED] = "added",
		[PROTOCOL_PLAN_KEPT] = "kept",
		[PROTOCOL_PLAN_CHANGED] = "changed",
		[PROTOCOL_PLAN_GROWN] = "grown",
		[PROTOCOL_PLAN_REPLACED] = "replaced",
		[PROTOCOL_PLAN_WAITS] = "waits",
		[PROTOCOL_PLAN_REMOVED] = "removed",
		[PROTOCOL_PLAN_REFUSED] = "refused",
	};

	return names[action];
}

const char *
reload_lines_sum(const struct reload_lines *lines, char *buf, size_t size)
{
	size_t len = 0;

	if (lines->counts[PROTOCOL_PLAN_PROBLEM]) {
		(void)snprintf(buf, size, "%" PRIu32 " problem%s in the configuration: nothing is changed",
		    lines->counts[PROTOCOL_PLAN_PROBLEM], lines->counts[PROTOCOL_PLAN_PROBLEM] == 1 ? "" : "s");
		return buf;
	}
	(void)snprintf(buf, size, "nothing is configured");
	for (unsigned i = 0; i < PROTOCOL_PLAN_ACTION_N; i++) {
		int n;

		if (!lines->counts[i])
			continue;
		n = snprintf(buf + len, size - len, "%s%" PRIu32 " %s", len ? ", " : "", lines->counts[i],
		    reload_action_name(i));
		len += n < 0 ? 0 : min_u64((uint64_t)n, size - len - 1);
	}
	return buf;
}
