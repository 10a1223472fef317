/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The kernel is asked at most once in ASK_NS: a start with thousands of segments judges them by one answer, from which
 * every promise is taken. Workers ask again before each piece; this is the judgement, theirs is the guard.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/budget.h"
#include "host/findings.h"
#include "host/limits.h"

#define ASK_NS	(10 * NS_PER_MS)

int
budget_init(struct budget *budget, uint64_t reserve_bytes)
{
	*budget = (struct budget) { .reserve_bytes = reserve_bytes };
	return memory_new(&budget->memory);
}

void
budget_set_reserve(struct budget *budget, uint64_t reserve_bytes)
{
	budget->reserve_bytes = reserve_bytes;
	budget->asked_ns = 0;
}

void
budget_deinit(struct budget *budget)
{
	budget->memory = memory_free(budget->memory);
}

static int
budget_ask(struct budget *budget)
{
	uint64_t now_ns = clock_monotonic_ns();
	int r;

	if (budget->asked_ns && now_ns - budget->asked_ns < ASK_NS)
		return 0;
	r = memory_headroom(budget->memory, budget->reserve_bytes, &budget->headroom);
	if (r)
		return r;
	budget->asked_ns = now_ns;
	budget->headroom.bytes -= min_u64(budget->headroom.bytes, MEMORY_SLACK_BYTES);
	budget->left_bytes = budget->headroom.bytes - min_u64(budget->headroom.bytes, budget->promised_bytes);
	return 0;
}

void
budget_ask_again(struct budget *budget)
{
	budget->asked_ns = 0;
}

int
budget_promise(struct budget *budget, uint64_t bytes, uint64_t lock_bytes, char *text, size_t text_size)
{
	uint64_t lock_left, with_promised;
	int r;

	if (!bytes)
		return 0;
	r = budget_ask(budget);
	if (r == 0 && bytes > budget->left_bytes) {
		/* Nothing is refused by an old answer. */
		budget_ask_again(budget);
		r = budget_ask(budget);
	}
	if (r)
		return r;
	if (bytes > budget->left_bytes) {
		struct memory_headroom left = budget->headroom;

		left.bytes = budget->left_bytes;
		findings_memory(text, text_size, bytes, &left);
		return BUDGET_E_MEMORY;
	}
	lock_left = limits_memlock_left_bytes();
	if (lock_bytes && lock_left != LIMITS_UNLIMITED &&
	    (!checked_add(lock_bytes, budget->promised_lock_bytes, &with_promised) || with_promised > lock_left)) {
		findings_memlock(text, text_size, lock_bytes,
		    lock_left - min_u64(lock_left, budget->promised_lock_bytes));
		return BUDGET_E_MEMLOCK;
	}
	budget->left_bytes -= bytes;
	budget->promised_bytes += bytes;
	budget->promised_lock_bytes += lock_bytes;
	return 0;
}

void
budget_kept(struct budget *budget, uint64_t bytes)
{
	budget->promised_bytes -= min_u64(bytes, budget->promised_bytes);
}

void
budget_lock_kept(struct budget *budget, uint64_t bytes)
{
	budget->promised_lock_bytes -= min_u64(bytes, budget->promised_lock_bytes);
}
