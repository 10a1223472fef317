/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who ends while having locks, and whose process lives: a thread, and a segment that is detached. Their sections are ended
 * as a dead owner's are: put right as on_death says, and told to whoever comes next. A process that ends is the daemon's
 * business. A forked child has none of its parent's locks.
 *
 * A thread's end without any of this is the kernel's to tell: it rings the bell of the lock that the thread has
 * (client/control.h). For that, a thread's list_op_pending, which the C library has registered with the kernel for the sake of
 * robust mutexes, points at the bell while the thread has the word. It must do so at no other time, since the kernel knows the
 * thread by its id alone, and ids of two pid namespaces can be equal.
 *
 * All segments with locks are in a list, whose mutex is held while a thread's sections are ended: a segment is not
 * detached in the middle of that.
 */
#include "config.h"

#include <sys/syscall.h>

#include "client/lock.h"

_Thread_local struct lock_thread lock_thread __attribute__((tls_model("initial-exec"))) = { .number = LOCK_THREAD_NONE };

struct robust_list_head lock_no_head = { .list_op_pending = &lock_no_head.list };

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct segment *list_first;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

/* Ends a section whose owner will not, and whose word the calling thread has made its own. The kernel is pointed elsewhere. */
static void
end_section(struct segment *segment, struct segment_lock *own)
{
	struct control_lock *lock = own->place.lock;
	int r = control_repair(&own->place, control_copy);

	if (lock_is_held(own))
		lock_let_go(own);
	else
		atomic_store_explicit(&own->holder, 0, memory_order_relaxed);
	if (r)
		(void)control_poison(lock, segment->attachment);
	else
		control_unlock(lock);
}

/*
 * The calling thread's own section, which it leaves open. Its word is taken once more before anything is done, with the same
 * bell: what is somebody else's by now, by whatever mistake, is not touched.
 */
static void
end_own_section(struct segment *segment, struct segment_lock *own)
{
	if (control_take_over(own->place.lock, segment->attachment, segment->attachment, lock_thread.tid))
		lock_let_go(own);
	else
		end_section(segment, own);
}

/* The thread is over; what it locks after this, in another key's destructor, is looked after in the next round of them. */
static void
thread_end(void *arg)
{
	struct segment *segment;

	lock_thread.is_registered = false;
	(void)pthread_mutex_lock(&list_mutex);
	for (segment = list_first; segment; segment = segment->next)
		for (uint32_t i = 0; i < segment->n_lockable; i++)
			if (lock_is_held(&segment->locks[i]))
				end_own_section(segment, &segment->locks[i]);
	(void)pthread_mutex_unlock(&list_mutex);
}

static void
key_make(void)
{
	key_error = pthread_key_create(&key, thread_end);
}

/*
 * Looks for where the kernel looks when the thread ends. The C library knows, and does not tell; the kernel does, unless it
 * is kept from it.
 */
static void
thread_find_head(void)
{
	struct robust_list_head *head = NULL;
	size_t size = 0;

	lock_thread.tid = 0;
	if (syscall(SYS_get_robust_list, 0, &head, &size) < 0 || !head || size != sizeof(*head) ||
	    head->futex_offset % (long)sizeof(uint32_t))
		head = &lock_no_head;
	else
		lock_thread.tid = (uint32_t)syscall(SYS_gettid);
	lock_thread.head = head;
}

/*
 * Its address says nothing, since the C library gives a thread's memory to the next one. A thread that ended by itself, as far
 * as the C library goes, may have left locks which name it as their holder here, and which others have taken over long ago.
 */
static void
thread_find_number(void)
{
	static _Atomic uint64_t last;
	uint64_t n = atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;

	lock_thread.number = n << LOCK_TID_BITS | lock_thread.tid;
}

int
lock_thread_register(void)
{
	int r;

	if (lock_thread.is_registered)
		return 0;
	(void)pthread_once(&key_once, key_make);
	r = key_error ? key_error : pthread_setspecific(key, &lock_thread);
	if (r)
		return error_set(-r, "the thread's end could not be looked after, so it gets no lock: %s%s", strerrordesc_np(r),
		    r == EAGAIN ? " (the process has no pthread key left)" : "");
	thread_find_head();
	thread_find_number();
	lock_thread.is_registered = true;
	return 0;
}

void
lock_list_add(struct segment *segment)
{
	(void)pthread_mutex_lock(&list_mutex);
	segment->previous = NULL;
	segment->next = list_first;
	if (list_first)
		list_first->previous = segment;
	list_first = segment;
	(void)pthread_mutex_unlock(&list_mutex);
}

void
lock_list_remove(struct segment *segment)
{
	(void)pthread_mutex_lock(&list_mutex);
	if (segment->next)
		segment->next->previous = segment->previous;
	if (segment->previous)
		segment->previous->next = segment->next;
	else
		list_first = segment->next;
	(void)pthread_mutex_unlock(&list_mutex);
}

/*
 * Points the kernel elsewhere than at a lock that another thread has, or had: of that thread nothing may be left, neither its
 * memory nor its id, so it is found by its id, as one of this process's, and the kernel is asked where it looks for it. If the
 * id is another thread's by now, that one does not point at this lock.
 */
static void
unpoint(const struct segment_lock *own, pid_t tid)
{
	struct robust_list_head *head = NULL;
	struct robust_list *entry;
	size_t size = 0;

	if (!tid || syscall(SYS_tgkill, getpid(), tid, 0) < 0 || syscall(SYS_get_robust_list, tid, &head, &size) < 0 || !head)
		return;
	entry = lock_entry(own, head);
	(void)__atomic_compare_exchange_n(&head->list_op_pending, &entry, NULL, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/*
 * Takes a lock of this process from the thread that has it, which is then not looked at any more, whatever it does: its end
 * must not ring a bell that is another's by then, nor anything that is mapped there later. False: somebody else took it, since
 * the thread has died.
 */
static bool
take_from_thread(const struct segment *segment, struct segment_lock *own)
{
	uint64_t holder = atomic_load_explicit(&own->holder, memory_order_relaxed);

	if (control_claim(own->place.lock, segment->attachment, segment->attachment))
		return false;
	unpoint(own, (pid_t)(holder & ((UINT64_C(1) << LOCK_TID_BITS) - 1)));
	return true;
}

void
lock_end_all(struct segment *segment)
{
	/* A thread that has one of the locks is there as long as thread_end() waits for this. */
	(void)pthread_mutex_lock(&list_mutex);
	for (uint32_t i = 0; i < segment->n_lockable; i++)
		if (take_from_thread(segment, &segment->locks[i]))
			end_section(segment, &segment->locks[i]);
	(void)pthread_mutex_unlock(&list_mutex);
}

/* The lock whose bell the calling thread would ring; or NULL. */
static struct segment_lock *
find_rung(const struct robust_list_head *head)
{
	uintptr_t bell = (uintptr_t)__atomic_load_n(&head->list_op_pending, __ATOMIC_RELAXED) + (uintptr_t)head->futex_offset;

	for (const struct segment *segment = list_first; segment; segment = segment->next) {
		uintptr_t i = (bell - (uintptr_t)segment->control) / CONTROL_RECORD_BYTES;

		if (i < segment->n_lockable && bell == (uintptr_t)control_bell_futex(segment->locks[i].place.lock))
			return &segment->locks[i];
	}
	return NULL;
}

/*
 * A child gets a copy of the thread's list_op_pending, and of the mapping. Its id is another one than its parent's, unless it
 * is of another pid namespace; and then it would ring for its parent. So there is none to copy while the fork lasts.
 */
static void
hide_pending(void)
{
	struct robust_list_head *head = lock_thread.head;

	lock_thread.hidden = head ? find_rung(head) : NULL;
	if (lock_thread.hidden)
		__atomic_store_n(&head->list_op_pending, NULL, __ATOMIC_RELAXED);
}

void
lock_fork_prepare(void)
{
	(void)pthread_mutex_lock(&list_mutex);
	hide_pending();
}

void
lock_fork_parent(void)
{
	/* Others' handlers may have given it back meanwhile. */
	if (lock_thread.hidden && lock_is_held(lock_thread.hidden))
		lock_point(lock_thread.hidden);
	(void)pthread_mutex_unlock(&list_mutex);
}

/* The words name the parent's attachment: the child has none of the locks, and may not end sections either. */
void
lock_fork_child(void)
{
	struct segment *segment;

	/* Others' handlers may have locked, after ours. And to the kernel this is another thread: its next lock finds out which. */
	hide_pending();
	lock_thread.is_registered = false;
	for (segment = list_first; segment; segment = segment->next) {
		segment->n_lockable = 0;
		if (segment->dontfork)
			segment->n_readable = 0;
	}
	(void)pthread_mutex_unlock(&list_mutex);
}
