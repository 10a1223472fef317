/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who ends while having locks, and whose process lives: a thread, and a segment that is detached. Their sections are ended
 * as a dead owner's are: put right as on_death says, and told to whoever comes next. A process that ends is the daemon's
 * business. A forked child has none of its parent's locks.
 *
 * All segments with locks are in a list, whose mutex is held while a thread's sections are ended: a segment is not
 * detached in the middle of that.
 */
#include "config.h"

#include "client/lock.h"

_Thread_local struct lock_thread lock_thread __attribute__((tls_model("initial-exec")));

static pthread_mutex_t list_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct segment *list_first;
static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static int key_error;

/* Ends a section whose owner will not. The word is this process's attachment. */
static void
end_section(struct segment *segment, struct segment_lock *own)
{
	struct control_lock *lock = own->place.lock;
	int r = control_repair(&own->place, control_copy);

	own->is_told = false;
	lock_let_go(own);
	if (r)
		(void)control_poison(lock, segment->attachment);
	else
		control_unlock(lock);
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
				end_section(segment, &segment->locks[i]);
	(void)pthread_mutex_unlock(&list_mutex);
}

static void
key_make(void)
{
	key_error = pthread_key_create(&key, thread_end);
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

void
lock_end_all(struct segment *segment)
{
	for (uint32_t i = 0; i < segment->n_lockable; i++) {
		struct segment_lock *own = &segment->locks[i];
		uint32_t word = atomic_load_explicit(&own->place.lock->word, memory_order_relaxed);

		if ((word & CONTROL_ID_MASK) == segment->attachment)
			end_section(segment, own);
	}
}

void
lock_fork_prepare(void)
{
	(void)pthread_mutex_lock(&list_mutex);
}

void
lock_fork_parent(void)
{
	(void)pthread_mutex_unlock(&list_mutex);
}

/* The words name the parent's attachment: the child has none of the locks, and may not end sections either. */
void
lock_fork_child(void)
{
	struct segment *segment;

	for (segment = list_first; segment; segment = segment->next) {
		segment->n_lockable = 0;
		if (segment->dontfork)
			segment->n_readable = 0;
	}
	(void)pthread_mutex_unlock(&list_mutex);
}
