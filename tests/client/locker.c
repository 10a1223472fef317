/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Programs that know nothing but pthread. */
#include "config.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "client/mutex.h"
#include "tests/client/locker.h"

const struct locker_kind locker_good = {
	PTHREAD_MUTEX_DEFAULT, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED, PTHREAD_PRIO_NONE
};

void
locker_need_plain_pthread(void)
{
#ifdef __SANITIZE_THREAD__
	harness_skip("ThreadSanitizer knows no mutexes that processes share");
#endif
}

void *
locker_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	harness_assert(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	return memory;
}

int
locker_init(pthread_mutex_t *mutex, const struct locker_kind *kind)
{
	pthread_mutexattr_t attributes;

	harness_assert(pthread_mutexattr_init(&attributes) == 0 &&
	    pthread_mutexattr_settype(&attributes, kind->type) == 0 &&
	    pthread_mutexattr_setrobust(&attributes, kind->robust) == 0 &&
	    pthread_mutexattr_setpshared(&attributes, kind->shared) == 0 &&
	    pthread_mutexattr_setprotocol(&attributes, kind->protocol) == 0, "attributes");
	memset(mutex, 0, sizeof(*mutex));
	return pthread_mutex_init(mutex, &attributes);
}

void
locker_make(pthread_mutex_t *mutex)
{
	harness_assert(locker_init(mutex, &locker_good) == 0, "pthread_mutex_init");
}

void
locker_hold(int control, void *arg)
{
	const struct locker_row *row = arg;

	for (unsigned i = 0; i < row->n; i++)
		for (unsigned k = 0; k < (row->depth ? row->depth : 1); k++)
			harness_assert(pthread_mutex_lock(&row->mutexes[i]) == 0, "locking mutex %u", i);
	harness_say(control, "held");
	harness_expect(control, "go");
}

void
locker_lock(int control, void *arg)
{
	const struct locker_row *row = arg;
	int r;

	harness_say(control, "asked");
	r = pthread_mutex_lock(&row->mutexes[0]);
	harness_say(control, r == 0 ? "locked" : r == EOWNERDEAD ? "died" : strerror(r));
	harness_expect(control, "go");
	if (r == EOWNERDEAD)
		harness_assert(pthread_mutex_consistent(&row->mutexes[0]) == 0, "consistent");
	harness_assert(pthread_mutex_unlock(&row->mutexes[0]) == 0, "unlock");
	_exit(r);
}

void
locker_start_holder(struct harness_child *child, const struct locker_row *row)
{
	harness_child_start(child, locker_hold, (void *)row);
	harness_expect(child->control, "held");
}

static char
state_of(pid_t pid)
{
	cleanup_close int fd = -1;
	char path[64], text[512];
	const char *end;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	harness_assert(fd >= 0, "%s: %s", path, strerror(errno));
	n = read(fd, text, sizeof(text) - 1);
	text[n > 0 ? n : 0] = 0;
	end = strrchr(text, ')');
	harness_assert(end && end[1] && end[2], "%s: '%s'", path, text);
	return end[2];
}

/* The kernel tells nobody when a process falls asleep: so these ask again, and let others run in between. */

void
locker_await_state(pid_t pid, char state)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while (state_of(pid) != state) {
		harness_assert(harness_clock_ns() < until_ns, "process %d is in state %c instead of %c", pid,
		    state_of(pid), state);
		(void)sched_yield();
	}
}

void
locker_await_bits(pthread_mutex_t *mutex, uint32_t bits)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;

	while ((mutex_word(mutex) & bits) != bits) {
		harness_assert(harness_clock_ns() < until_ns, "the word is %#x, without %#x", mutex_word(mutex), bits);
		(void)sched_yield();
	}
}

void
locker_stop(struct harness_child *child)
{
	harness_assert(kill(child->pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	locker_await_state(child->pid, 'T');
}
