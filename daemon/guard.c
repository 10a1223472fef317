/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A jump out of the handler: the kernel's own copying (process_vm_writev) costs a system call for each entry of a log,
 * this costs nothing that can be measured. SA_NODEFER, since the jump does not restore the mask.
 */
#include "config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/guard.h"

#define PAGE_BYTES	4096
#define PIECE_PAGES	1024

static sigjmp_buf guard_return;
static volatile sig_atomic_t guard_is_armed;
static struct sigaction guard_before;	/* what a crash comes to */

static void
guard_on_sigbus(int sig)
{
	if (guard_is_armed)
		siglongjmp(guard_return, 1);
	(void)sigaction(sig, &guard_before, NULL);
	(void)raise(sig);
}

int
guard_init(void)
{
	struct sigaction action = { .sa_handler = guard_on_sigbus, .sa_flags = SA_NODEFER }, before;

	(void)sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &before))
		return -errno;
	if (before.sa_handler != guard_on_sigbus)
		guard_before = before;
	return 0;
}

int
guard_call(guard_fn fn, void *arg)
{
	if (guard_is_armed) {
		fn(arg);
		return 0;
	}
	if (sigsetjmp(guard_return, 0)) {
		guard_is_armed = 0;
		return -EFAULT;
	}
	guard_is_armed = 1;
	atomic_signal_fence(memory_order_seq_cst);
	fn(arg);
	atomic_signal_fence(memory_order_seq_cst);
	guard_is_armed = 0;
	return 0;
}

/*
 * A writer may be giving pages of the object back meanwhile (a hole, MADV_REMOVE), and of a large one that takes long. For all of that
 * time a store to what is not mapped waits in the kernel, also where its page is still there. A load of a page that is there does
 * not, and maps it for the store that comes right behind it. Not inline: what a jump leaves may change in no other way.
 */
static __attribute__((noinline)) void
guard_move(unsigned char *to, const unsigned char *from, size_t length)
{
	while (length) {
		size_t piece = min_u64(length, PAGE_BYTES - ((uintptr_t)to & (PAGE_BYTES - 1)));

		(void)*(volatile unsigned char *)to;
		memcpy(to, from, piece);
		to += piece;
		from += piece;
		length -= piece;
	}
}

int
guard_copy(void *to, const void *from, size_t length)
{
	/* Within a guarded call, that one ends. */
	if (guard_is_armed) {
		guard_move(to, from, length);
		return 0;
	}
	if (sigsetjmp(guard_return, 0)) {
		guard_is_armed = 0;
		return -EFAULT;
	}
	guard_is_armed = 1;
	atomic_signal_fence(memory_order_seq_cst);
	guard_move(to, from, length);
	atomic_signal_fence(memory_order_seq_cst);
	guard_is_armed = 0;
	return 0;
}

bool
guard_is_resident(const void *address, size_t length)
{
	unsigned char pages[PIECE_PAGES];
	uintptr_t begin = (uintptr_t)address & ~(uintptr_t)(PAGE_BYTES - 1);
	uintptr_t end = round_up((uintptr_t)address + length, PAGE_BYTES);

	while (length && begin < end) {
		size_t piece = min_u64(end - begin, (uint64_t)PIECE_PAGES * PAGE_BYTES);

		if (mincore((void *)begin, piece, pages))
			return false;
		for (size_t i = 0; i < piece / PAGE_BYTES; i++)
			if (!(pages[i] & 1))
				return false;
		begin += piece;
	}
	return true;
}
