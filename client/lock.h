/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A segment's locks as one process has them, and what the modules of the lock API say to each other:
 *
 *	lock.c		the API: what is short when nobody is in the way
 *	lock_wait.c	waiting for a lock, and taking one over from an owner that is gone
 *	lock_threads.c	who ends while having locks: threads, detached segments, forked children
 *	lock_map.c	from the daemon's answer to mapped control memory
 *
 * A lock's word names the attachment, which all threads of the process share, and excludes them, too. Which of them has
 * it, this process knows by `holder`; the bell beside the word tells others no more than when that thread has died. So while
 * a process lives, a lock of a dead thread of its can be taken by others, and `holder` is nothing but this process's belief:
 * it names a thread by a number that is never another's, and nothing is reached through it.
 */
#ifndef CLIENT_LOCK_H
#define CLIENT_LOCK_H

#include <linux/futex.h>

#include "client/client.h"
#include "client/control.h"

struct segment_lock;

/* A thread. Static memory of the thread, since it is looked at in every section. */
struct lock_thread {
	bool is_registered;		/* its end will be noticed */
	uint32_t tid;			/* by its own pid namespace; 0: it cannot have a bell rung */
	uint64_t number;		/* what no other has had, with the tid in it; or LOCK_THREAD_NONE: it has no lock */
	struct robust_list_head *head;	/* what the kernel looks at when it ends; or lock_no_head */
	struct segment_lock *hidden;	/* while it forks: whose bell it would have rung; or NULL */
};
extern _Thread_local struct lock_thread lock_thread __attribute__((tls_model("initial-exec")));

#define LOCK_THREAD_NONE	UINT64_MAX
#define LOCK_TID_BITS		30	/* of a number, the lowest; as many as the kernel leaves to one in a bell */

/* Of threads for which the kernel knows none: never written, and never anybody's. */
extern struct robust_list_head lock_no_head;

/* A lock of a segment, in this process's own memory. An application's mutex is one, too, but nobody ever gets it here. */
struct segment_lock {
	_Alignas(64) struct control_place place;	/* not changed after attach */
	_Atomic uint64_t holder;	/* the thread's number, or 0; set and cleared by the thread that has it */
	_Atomic bool is_told;		/* the holder's: it knows that an owner died */
	uint32_t name_at;		/* in the segment's lock_names */
};

static inline const char *
lock_name(const struct segment *segment, uint32_t index)
{
	return segment->lock_names + segment->locks[index].name_at;
}

/* Where a mutex's entry points to: a word that nobody can take, and bytes that never come to rest. */
extern struct control_lock lock_none;

static inline bool
lock_is_mutex(const struct segment_lock *own)
{
	return own->place.lock == &lock_none;
}

/*
 * What a thread's list_op_pending is while the thread may have this lock's bell rung: the address from which the kernel gets
 * to the bell by the offset that the C library gave it. The kernel only ever compares and swaps what is there, and follows
 * nothing: what stands in shared memory leads it nowhere.
 */
static inline struct robust_list *
lock_entry(const struct segment_lock *own, const struct robust_list_head *head)
{
	return (struct robust_list *)((uintptr_t)control_bell_futex(own->place.lock) - (uintptr_t)head->futex_offset);
}

/*
 * Points the kernel at the bell of a lock that the calling thread has. The C library uses the same pointer, in its own calls
 * for robust mutexes, and so does the lock that the thread took first: then this bell is not rung.
 */
static inline void
lock_point(const struct segment_lock *own)
{
	struct robust_list_head *head = lock_thread.head;

	if (!__atomic_load_n(&head->list_op_pending, __ATOMIC_RELAXED))
		__atomic_store_n(&head->list_op_pending, lock_entry(own, head), __ATOMIC_RELAXED);
}

/*
 * The calling thread has taken the word. Only now the kernel is pointed at the bell: a moment earlier it could be somebody
 * else's, whose id in another pid namespace may be the same. What the thread before it was told is not cleared by that one,
 * if others took its lock from it.
 */
static inline void
lock_hold(struct segment_lock *own)
{
	atomic_store_explicit(&own->holder, lock_thread.number, memory_order_relaxed);
	atomic_store_explicit(&own->is_told, false, memory_order_relaxed);
	lock_point(own);
}

/*
 * It is about to give it back, and no more told: whoever has it next may be faster than what comes after. That is also why
 * the kernel is pointed away from the bell first. The word's release keeps this before it.
 */
static inline void
lock_let_go(struct segment_lock *own)
{
	struct robust_list_head *head = lock_thread.head;

	atomic_store_explicit(&own->holder, 0, memory_order_relaxed);
	if (__atomic_load_n(&head->list_op_pending, __ATOMIC_RELAXED) == lock_entry(own, head))
		__atomic_store_n(&head->list_op_pending, NULL, __ATOMIC_RELAXED);
}

static inline bool
lock_is_held(const struct segment_lock *own)
{
	return atomic_load_explicit(&own->holder, memory_order_relaxed) == lock_thread.number;
}

static inline void
lock_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield" ::: "memory");
#else
	atomic_signal_fence(memory_order_seq_cst);
#endif
}

/* How long to look again before sleeping; 0 where nobody else runs meanwhile. */
unsigned lock_spins(void);

/* lock_wait.c */

#define LOCK_NO_DEADLINE	UINT64_MAX

/*
 * Waits for the lock and takes it; deadline_ns by the monotonic clock. 0, -ETIMEDOUT, -ENOTRECOVERABLE, -EDEADLK, -EINVAL
 * with this thread's sentence set.
 */
int lock_wait(struct segment *segment, struct segment_lock *own, uint64_t deadline_ns);

/* Takes it without waiting: it is free, or its owner is known to be dead. 0, -EBUSY, or one of the above. */
int lock_try(struct segment *segment, struct segment_lock *own);

/* Why it cannot be had now, which a try has found: one of the above, or -EBUSY. */
int lock_refuse_try(const struct segment *segment, const struct segment_lock *own);

/* lock_threads.c */

/* Sees to it that the calling thread's end is noticed. 0 or a negative errno with this thread's sentence set. */
int lock_thread_register(void);

/* The process knows of the segment's locks, until it is detached. */
void lock_list_add(struct segment *segment);
void lock_list_remove(struct segment *segment);

/* Ends all sections that the process has open in a segment as the daemon does at its death. */
void lock_end_all(struct segment *segment);

/* For client.c's fork handlers. */
void lock_fork_prepare(void);
void lock_fork_parent(void);
void lock_fork_child(void);

/* lock_map.c */

/* What an answer brought for locks, before it is believed. */
struct lock_answer {
	const struct protocol_attached *attached;
	const void *rows;		/* what stood behind it */
	size_t rows_bytes;
	int fd;				/* of control memory, or -1 */
};

/* What is wrong with it, or NULL; its rows are not looked at. */
const char *lock_answer_fault(const struct lock_answer *answer);

/*
 * Maps control memory, as the data's mapping was to be, and makes the segment's table of locks, whose rows the daemon is
 * asked for if they did not come with the answer. The segment's data is mapped already. 0 or a negative errno with this
 * thread's sentence set; with -EPROTO *ret_fault is set instead where the rows cannot be right. After an error there is
 * something to free, too.
 */
int lock_table_new(struct segment_client *client, const char *name, const struct lock_answer *answer,
    const struct mapping *data_mapping, struct segment *segment, const char **ret_fault);

/* Frees the table, and unmaps control memory if it is mapped in this process. */
void lock_table_free(struct segment *segment, bool is_mapped);

#endif
