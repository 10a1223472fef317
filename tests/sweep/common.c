/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "tests/sweep/common.h"
#include "tests/sweep/judge.h"
#include "tests/sweep/library.h"

#define BAD_SHOWN		5
#define STACK_PAGE_BYTES	4096

struct common *common;
struct field common_pristine;
uint64_t common_steps;

void
common_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	(void)vfprintf(stderr, format, args);
	va_end(args);
	(void)fputc('\n', stderr);
	exit(1);
}

void
common_check(int r, const char *what)
{
	if (r < 0)
		common_die("%s: %s", what, strerror(-r));
}

bool
common_is_full(void)
{
	const char *text = getenv("CHECK_FULL");

	return text && text[0];
}

double
common_now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

void
common_bad(struct count *count, const struct field *left, const char *wrong, const char *format, ...)
{
	va_list args;

	if (count->bad++ >= BAD_SHOWN || count->is_quiet)
		return;
	(void)printf("BAD: ");
	va_start(args, format);
	(void)vprintf(format, args);
	va_end(args);
	(void)printf(": %s\n", wrong);
	for (int i = FIELD_A; i <= FIELD_B; i++)
		(void)printf("     lock %c: state %016llx sequence %u used_bytes %u marks %u\n", 'A' + i,
		    (unsigned long long)left->locks[i].state, left->locks[i].sequence, left->locks[i].used_bytes, left->locks[i].marks);
}

static void *
map_shared(void)
{
	void *memory = mmap(NULL, COMMON_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		common_die("shared memory: %s", strerror(errno));
	return memory;
}

void
common_init(void)
{
	static_assert(sizeof(struct field) <= COMMON_PAGE_BYTES && sizeof(struct common) <= COMMON_PAGE_BYTES, "a page each");
	common = map_shared();
	common->field = map_shared();
	piece_is_inside = &common->is_inside;
	common_check(library_init(), "the library");
	field_init(&common_pristine);
}

static __attribute__((noinline)) void
run(void)
{
	struct control_place places[FIELD_LOCKS];

	common->is_running = 1;
	if (common->piece >= PIECE_LIBRARY_FIRST) {
		library_run(common->piece, common->field);
	} else {
		field_places(common->field, common->on_death, places);
		piece_run(common->piece, places);
	}
	common->is_running = 0;
}

/*
 * What is copied to the stack is copied in two pieces where a page ends in it (guard_copy), which are more instructions than one: so
 * that everybody does the same ones, the stack begins at the same place of a page, in whatever process and however deep.
 */
void
common_run(void *arg)
{
	volatile char *gap = __builtin_alloca(((uintptr_t)__builtin_frame_address(0) & (STACK_PAGE_BYTES - 1)) + 1);

	(void)arg;
	gap[0] = 0;
	run();
	gap[0] = 0;		/* it is there until here */
}

void
common_run_child(void *arg)
{
	library_child();
	common_run(arg);
}

void
common_prepare(enum piece piece, enum control_on_death on_death, const struct field *field)
{
	memcpy(common->field, field, sizeof(*field));
	common->is_running = common->is_inside = 0;
	common->piece = piece;
	common->on_death = on_death;
	library_prepare(common->field, on_death);
}

const char *
common_recover(const struct field *left, enum control_on_death on_death, struct field *ret_end)
{
	struct control_place places[FIELD_LOCKS];
	const char *wrong = NULL;

	memcpy(ret_end, left, sizeof(*left));
	field_places(ret_end, on_death, places);
	piece_run(PIECE_DAEMON, places);
	if (on_death == CONTROL_POISON) {
		wrong = judge_poisoned(left, ret_end);
		piece_run(PIECE_HAND, places);
	}
	if (!wrong)
		wrong = judge_end(left, ret_end, on_death, &common_pristine);
	return wrong ? wrong : judge_fresh(ret_end, on_death);
}
