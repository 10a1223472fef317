/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every folder may use: cleanup attributes, handing ownership over, checked arithmetic, the clock.
 * Header only and about the language alone: it knows nothing of segments, sockets or configuration.
 */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BASE_ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define BASE_PRINTF(fmt, first)	__attribute__((format(printf, fmt, first)))
#define BASE_UNUSED		__attribute__((unused))
/*
 * A buffer that is written before it is read, where thousands of calls follow each other: -ftrivial-auto-var-init would have all
 * of it zeroed in each.
 */
#if defined(__has_attribute)
#if __has_attribute(uninitialized)
#define BASE_UNINITIALIZED	__attribute__((uninitialized))
#endif
#endif
#ifndef BASE_UNINITIALIZED
#define BASE_UNINITIALIZED
#endif
#define BASE_CONTAINER_OF(ptr, type, member) \
	((type *)(void *)((char *)(ptr) - offsetof(type, member)))

#define KIB	((uint64_t)1 << 10)
#define MIB	((uint64_t)1 << 20)
#define GIB	((uint64_t)1 << 30)
#define TIB	((uint64_t)1 << 40)

#define NS_PER_SEC	((uint64_t)1000000000)
#define NS_PER_MS	((uint64_t)1000000)

/* Cleanup attributes: a local that owns something gives it back at the end of its scope. */

static inline void
base_cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;

		(void)close(*fd);	/* Linux closes the fd whatever it returns */
		errno = saved;
	}
}

static inline void
base_cleanup_free(void *p)
{
	void *owned;

	memcpy(&owned, p, sizeof(owned));	/* a pointer of any type */
	free(owned);
}

static inline void
base_cleanup_fclose(FILE **f)
{
	if (*f)
		(void)fclose(*f);
}

#define cleanup_close	__attribute__((cleanup(base_cleanup_close)))
#define cleanup_free	__attribute__((cleanup(base_cleanup_free)))
#define cleanup_fclose	__attribute__((cleanup(base_cleanup_fclose)))

/* Takes the fd out of *fd, which owns nothing afterwards. */
static inline int
take_fd(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

/* Takes the pointer out of p, which owns nothing afterwards. */
#define take_ptr(p)							\
	({								\
		__typeof__(p) *take_at = &(p);				\
		__typeof__(p) taken = *take_at;				\
		*take_at = NULL;					\
		taken;							\
	})

/* Closes *fd if it is one, and leaves -1. */
static inline void
close_fd(int *fd)
{
	base_cleanup_close(fd);
	*fd = -1;
}

/* Memory, descriptors or time ran short, and nothing was refused: asked again, the kernel may do it. An errno, positive. */
static inline bool
error_is_passing(int error)
{
	return error == ENOMEM || error == EMFILE || error == ENFILE || error == ENOBUFS || error == EAGAIN || error == EINTR;
}

/* Sums and products that say when they do not fit. True: it fits, and *ret holds it. */
static inline bool
checked_add(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_add_overflow(a, b, ret);
}

static inline bool
checked_mul(uint64_t a, uint64_t b, uint64_t *ret)
{
	return !__builtin_mul_overflow(a, b, ret);
}

/* Rounds up to a multiple of unit, a power of two; the caller knows that it fits. */
static inline uint64_t
round_up(uint64_t value, uint64_t unit)
{
	return (value + unit - 1) & ~(unit - 1);
}

static inline uint64_t
min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t
max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline bool
streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}

/* Nanoseconds of the monotonic clock: for intervals. */
static inline uint64_t
clock_monotonic_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

/* Nanoseconds since 1970: for people. */
static inline uint64_t
clock_realtime_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

#endif
