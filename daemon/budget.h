/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The memory that may still be promised: what the host and its cgroups leave, less what was promised already and is not
 * in use yet. Judged before a byte is allocated, for everything that is being provisioned together.
 */
#ifndef DAEMON_BUDGET_H
#define DAEMON_BUDGET_H

#include "host/memory.h"

struct budget {
	struct memory *memory;
	uint64_t reserve_bytes;
	uint64_t promised_bytes;	/* and not resident yet */
	uint64_t promised_lock_bytes;	/* and not locked yet */
	struct memory_headroom headroom;	/* as of asked_ns */
	uint64_t left_bytes;		/* of it, after the promises */
	uint64_t asked_ns;
};

enum {
	BUDGET_E_MEMORY = 1,		/* text says which limit */
	BUDGET_E_MEMLOCK = 2,		/* likewise */
};

int budget_init(struct budget *budget, uint64_t reserve_bytes);
/* Another reserve from now on; what was promised stays so. */
void budget_set_reserve(struct budget *budget, uint64_t reserve_bytes);
void budget_deinit(struct budget *budget);

/*
 * Promises bytes, and lock_bytes of them to be locked. 0; BUDGET_E_* with the reason in text; or a negative errno. What was
 * promised is given back piece by piece: budget_kept when a piece is resident, or will not be after all.
 */
int budget_promise(struct budget *budget, uint64_t bytes, uint64_t lock_bytes, char *text, size_t text_size);
/* What was promised for a trial and given back at once is not gone: the next promise asks the kernel, and counts anew. */
void budget_ask_again(struct budget *budget);
void budget_kept(struct budget *budget, uint64_t bytes);
void budget_lock_kept(struct budget *budget, uint64_t bytes);

#endif
