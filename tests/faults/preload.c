/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Loaded before the C library into the daemon, its workers, segmentd-audit or a client: one allocation, by its number, fails as if there were no
 * memory. All others are the C library's, or the sanitizer's. What the C library allocates for itself counts as well; that of
 * others which nobody lives through is left out and counted apart (faults_left_out of page.h), but in a worker, which may die at
 * any time. getgrnam(3) and getpwnam(3) fail as a whole instead.
 */
#include "config.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <grp.h>
#include <malloc.h>
#include <pwd.h>
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
static struct group *(*next_getgrnam)(const char *);
static struct passwd *(*next_getpwnam)(const char *);

/* What dlsym(3) itself allocates, before there is anybody to ask; never given back. */
static _Alignas(16) char early[EARLY_BYTES];
static size_t n_early;

static __thread unsigned busy __attribute__((tls_model("initial-exec")));
static __thread bool is_in_names __attribute__((tls_model("initial-exec")));
static __thread bool is_full __attribute__((tls_model("initial-exec")));

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
	*(void **)&next_getgrnam = dlsym(RTLD_NEXT, "getgrnam");
	*(void **)&next_getpwnam = dlsym(RTLD_NEXT, "getpwnam");
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
	else if (argc > 0 && strcmp(argv[0], "segmentd-audit") == 0)
		self = FAULTS_AUDIT;
	frame = mmap(NULL, FAULTS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	(void)close(fd);
	if (frame != MAP_FAILED)
		page = frame;
}

static const char *
library_of(const void *frame)
{
	Dl_info info;
	const char *name;

	if (!dladdr(frame, &info) || !info.dli_fname)
		return "";
	name = strrchr(info.dli_fname, '/');
	return name ? name + 1 : info.dli_fname;
}

static bool
is_libconfig(const void *frame)
{
	return strncmp(library_of(frame), "libconfig", 9) == 0;
}

/* Of who asks. False: libconfig asked the C library for what allocates. */
static __attribute__((noinline)) bool
describe(const char *function)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);
	size_t at = (size_t)snprintf(page->what, sizeof(page->what), "%s", function);

	for (int i = 3; i < n && at < sizeof(page->what); i++) {
		Dl_info info;

		if (self != FAULTS_WORKER && is_libconfig(frames[i]))
			return false;
		if (!dladdr(frames[i], &info))
			continue;
		at += (size_t)snprintf(page->what + at, sizeof(page->what) - at, " %s+%#lx", library_of(frames[i]),
		    (unsigned long)((char *)frames[i] - (char *)info.dli_fbase));
	}
	return true;
}

static enum faults_left_out
judge(const void *caller)
{
	if (self == FAULTS_WORKER)
		return FAULTS_LEFT_OUT_N;
	return is_in_names ? FAULTS_NAMES : is_full ? FAULTS_FULL : is_libconfig(caller) ? FAULTS_LIBCONFIG : FAULTS_LEFT_OUT_N;
}

static bool
is_to_fail(const char *function, const void *caller)
{
	enum faults_left_out why;
	bool fails;

	if (!page || busy || !atomic_load(&page->is_armed) || page->kind != FAULTS_ALLOCATIONS || page->target != self ||
	    (page->pid && page->pid != getpid()))
		return false;
	busy++;
	why = judge(caller);
	fails = why == FAULTS_LEFT_OUT_N && atomic_fetch_add(&page->n_seen, 1) == page->at;
	if (fails && !describe(function)) {
		why = FAULTS_LIBCONFIG;
		fails = false;
	}
	if (why != FAULTS_LEFT_OUT_N)
		atomic_fetch_add(&page->n_left_out[why], 1);
	if (fails) {
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

/* The C library's own blocks have room for it, as their sizes are; only a sanitizer's end where they were asked to. */
void *
realloc(void *p, size_t size)
{
	const void *caller = __builtin_return_address(0);
	bool fails;

	if (!next_realloc)
		find_next();
	is_full = p && !is_early(p) && !busy && size == malloc_usable_size(p) + 1 && strncmp(library_of(caller), "libc.so", 7) == 0;
	fails = is_to_fail("realloc", caller);
	is_full = false;
	return fails ? NULL : next_realloc(p, size);
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

/* The names by which libraries that were compiled with older headers call it. */
extern char *__strdup(const char *text);

char *
__strdup(const char *text)
{
	return is_to_fail("strdup", __builtin_return_address(0)) ? NULL : copy_text(text, strlen(text));
}

/* With what it needs of nsswitch.conf, and of the files that this names. */
struct group *
getgrnam(const char *name)
{
	struct group *group;

	if (!next_getgrnam)
		find_next();
	if (is_to_fail("getgrnam", __builtin_return_address(0)))
		return NULL;
	is_in_names = true;
	group = next_getgrnam(name);
	is_in_names = false;
	return group;
}

struct passwd *
getpwnam(const char *name)
{
	struct passwd *user;

	if (!next_getpwnam)
		find_next();
	if (is_to_fail("getpwnam", __builtin_return_address(0)))
		return NULL;
	is_in_names = true;
	user = next_getpwnam(name);
	is_in_names = false;
	return user;
}
