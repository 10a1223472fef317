/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/bench.h"
#include "bench/robust.h"

void *
robust_shared_new(size_t size_bytes)
{
	void *shared = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (shared == MAP_FAILED)
		bench_fail("%zu bytes of shared memory cannot be had: %s", size_bytes, strerror(errno));
	return shared;
}

void
robust_shared_free(void *shared, size_t size_bytes)
{
	(void)munmap(shared, size_bytes);
}

void
robust_init(pthread_mutex_t *mutex)
{
	pthread_mutexattr_t attributes;
	int r;

	(void)pthread_mutexattr_init(&attributes);
	(void)pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
	(void)pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
	r = pthread_mutex_init(mutex, &attributes);
	(void)pthread_mutexattr_destroy(&attributes);
	if (r)
		bench_fail("no robust mutex can be had: %s", strerror(r));
}

static void *
nothing(void *arg)
{
	return arg;
}

void
robust_be_threaded(void)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, nothing, NULL) == 0)
		(void)pthread_join(thread, NULL);
}
