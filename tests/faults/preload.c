/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Loaded before the C library into the daemon, its workers or a client: one allocation, by its number, fails as if there were no
 * memory. All others are the C library's, or the sanitizer's. What the C library allocates for itself counts as well.
 *
 * What libconfig 1.5 allocates for itself it does not look at before it uses it, and later ones abort: nobody can go on then. It
 * counts in a worker, which may die at any time.
 */
#include "config.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <errno.h>
#include <unistd.h>

#include "tests/faults/page.h"

#define FRAMES		14
#define EARLY_BYTES	16384

static struct faults_page *page;
static enum faults_target self = FAULTS_CLIENT;

static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void *(*next_aligned_alloc)(size_t, size_t);

/* What dlsym(3) itself allocates, before there is anybody to ask; never given back. */
static _Alignas(16) char early[EARLY_BYTES];
static size_t n_early;

static __thread unsigned busy __attribute__((tls_model("initial-exec")));

static void *
early_take(size_t size)
{
	size_t at = n_early;

	n_early += (size + 15) & ~(size_t)15;
	if (n_early > sizeof(early))
		abort();
	return early + at;
}

static bool
is_early(const void *p)
{
	return (const char *)p >= early && (const char *)p < early + sizeof(early);
}

static void
find_next(void)
{
	busy++;
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	*(void **)&next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
	*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	busy--;
}

void
faults_set_page(struct faults_page *shared)
{
	page = shared;
}

__attribute__((constructor)) static void
begin(int argc, char **argv)
{
	const char *path = getenv(FAULTS_ENVIRONMENT);
	void *frame;
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

	/* It loads what it needs when it is called first. */
	(void)backtrace(&frame, 1);
	if (fd < 0)
		return;
	if (argc > 0 && strcmp(argv[0], "segmentd-worker") == 0)
		self = FAULTS_WORKER;
	else if (argc > 0 && strcmp(argv[0], "segmentd") == 0)
		self = FAULTS_DAEMON;
	frame = mmap(NULL, FAULTS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (frame != MAP_FAILED)
		page = frame;
}

static void
describe(const char *function)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	size_t at = (size_t)snprintf(page->what, sizeof(page->what), "%s", function);

	for (int i = 3; i < n && at < sizeof(page->what); i++) {
		Dl_info info;
		const char *name;

		if (!dladdr(frames[i], &info) || !info.dli_fname)
			continue;
		name = strrchr(info.dli_fname, '/');
		at += (size_t)snprintf(page->what + at, sizeof(page->what) - at, " %s+%#lx", name ? name + 1 : info.dli_fname,
		    (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
	}
}

/* Not to be lived through, see above. */
static bool
is_of_libconfig(const void *caller)
{
	Dl_info info;

	return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "/libconfig");
}

static bool
is_to_fail(const char *function, const void *caller)
{
	bool is_libconfig, fails;

	if (!page || busy || !atomic_load(&page->is_armed) || page->kind != FAULTS_ALLOCATIONS || page->target != self ||
	    (page->pid && page->pid != getpid()))
		return false;
	busy++;
	is_libconfig = is_of_libconfig(caller);
	fails = (!is_libconfig || self == FAULTS_WORKER) && atomic_fetch_add(&page->n_seen, 1) == page->at;
	if (fails) {
		atomic_store(&page->is_foreign, is_libconfig);
		describe(function);
		atomic_fetch_add(&page->n_failed, 1);
		errno = ENOMEM;
	}
	busy--;
	return fails;
}

void *
malloc(size_t size)
{
	if (!next_malloc) {
		if (busy)
			return early_take(size);
		find_next();
	}
	return is_to_fail("malloc", __builtin_return_address(0)) ? NULL : next_malloc(size);
}

void *
calloc(size_t n, size_t size)
{
	if (!next_calloc) {
		if (busy)
			return early_take(n * size);
		find_next();
	}
	return is_to_fail("calloc", __builtin_return_address(0)) ? NULL : next_calloc(n, size);
}

void *
realloc(void *p, size_t size)
{
	if (!next_realloc)
		find_next();
	return is_to_fail("realloc", __builtin_return_address(0)) ? NULL : next_realloc(p, size);
}

int
posix_memalign(void **ret, size_t alignment, size_t size)
{
	if (!next_posix_memalign)
		find_next();
	return is_to_fail("posix_memalign", __builtin_return_address(0)) ? ENOMEM : next_posix_memalign(ret, alignment, size);
}

void *
aligned_alloc(size_t alignment, size_t size)
{
	if (!next_aligned_alloc)
		find_next();
	return is_to_fail("aligned_alloc", __builtin_return_address(0)) ? NULL : next_aligned_alloc(alignment, size);
}

void
free(void *p)
{
	if (!p || is_early(p))
		return;
	if (!next_free)
		find_next();
	next_free(p);
}

static char *
copy_text(const char *text, size_t length)
{
	char *copy;

	busy++;
	copy = malloc(length + 1);
	busy--;
	if (!copy)
		return NULL;
	memcpy(copy, text, length);
	copy[length] = '\0';
	return copy;
}

/* A sanitizer has copies of its own of these two, which ask nobody. */
char *
strndup(const char *text, size_t max)
{
	return is_to_fail("strndup", __builtin_return_address(0)) ? NULL : copy_text(text, strnlen(text, max));
}

char *
strdup(const char *text)
{
	return is_to_fail("strdup", __builtin_return_address(0)) ? NULL : copy_text(text, strlen(text));
}
