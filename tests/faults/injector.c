/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The page, and who is started with it: see injector.h. */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "tests/faults/injector.h"
#include "tests/faults/tracing.h"
#include "tests/system/world.h"

static const char *const left_out[FAULTS_LEFT_OUT_N] = {
	[FAULTS_LIBCONFIG] = "libconfig's own: 1.5 uses them without a look, later ones abort",
	[FAULTS_NAMES] = "within getgrnam(3) and getpwnam(3), which fail as a whole instead: the C library's first look at "
	    "nsswitch.conf uses them without a look",
	[FAULTS_FULL] = "within vasprintf(3), for the end of a string that fills its buffer: glibc 2.36 puts it behind that",
};

void
injector_init(struct injector *injector, enum faults_kind kind, const char *dir)
{
	cleanup_close int fd = -1;

	*injector = (struct injector) { .kind = kind, .tracer = HARNESS_CHILD_NULL };
	(void)snprintf(injector->path, sizeof(injector->path), "%s/faults", dir);
	fd = open(injector->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	harness_assert(fd >= 0 && ftruncate(fd, FAULTS_PAGE_BYTES) == 0, "%s: %s", injector->path, strerror(errno));
	injector->page = mmap(NULL, FAULTS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	harness_assert(injector->page != MAP_FAILED, "mmap: %s", strerror(errno));
	if (kind == FAULTS_CALLS)
		tracing_start(&injector->tracer, injector->page);
}

void
injector_deinit(struct injector *injector)
{
	if (injector->kind == FAULTS_CALLS)
		harness_child_kill(&injector->tracer);
	if (faults_set_page)
		faults_set_page(NULL);
	injector->n_last = injector_n_seen(injector);
	(void)munmap(injector->page, FAULTS_PAGE_BYTES);
	injector->page = NULL;
}

static void
prepare_preload(const char *path)
{
	const char *options = getenv("ASAN_OPTIONS");
	char text[1024];

	(void)snprintf(text, sizeof(text), "%s%sverify_asan_link_order=0", options ? options : "", options ? ":" : "");
	(void)setenv("ASAN_OPTIONS", text, 1);
	(void)setenv(FAULTS_ENVIRONMENT, path, 1);
	(void)setenv("LD_PRELOAD", FAULTS_PRELOAD, 1);
}

void
injector_load(enum faults_kind kind, char **argv)
{
	if (kind == FAULTS_ALLOCATIONS && !getenv(FAULTS_ENVIRONMENT)) {
		prepare_preload("");
		(void)execv("/proc/self/exe", argv);
		perror("exec");
		exit(EXIT_FAILURE);
	}
	(void)unsetenv("LD_PRELOAD");
}

void
injector_prepare(void *arg)
{
	const struct injector *injector = arg;

	if (injector->kind == FAULTS_ALLOCATIONS) {
		prepare_preload(injector->path);
		return;
	}
	/* It goes on when it is traced. */
	(void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
	(void)raise(SIGSTOP);
}

void
injector_take(struct injector *injector, pid_t pid)
{
	if (injector->kind == FAULTS_CALLS)
		tracing_take(&injector->tracer, pid);
}

void
injector_take_client(struct injector *injector, pid_t pid)
{
	injector->page->pid = pid;
	if (injector->kind == FAULTS_CALLS)
		tracing_take(&injector->tracer, pid);
}

void
injector_serve_audit(struct injector *injector, struct harness_daemon *daemon)
{
	daemon->before_audit = injector_prepare;
	daemon->before_audit_arg = injector;
	harness_daemon_serve_audit(daemon);
	injector_take(injector, daemon->audit_pid);
}

void
injector_end_audit(struct harness_daemon *daemon)
{
	if (!daemon->audit_pid)
		return;
	(void)kill(daemon->audit_pid, SIGKILL);
	(void)waitpid(daemon->audit_pid, NULL, 0);
	daemon->audit_pid = 0;
}

void
injector_let_go(struct injector *injector)
{
	injector_disarm(injector);
	if (injector->kind == FAULTS_CALLS)
		tracing_let_go(&injector->tracer);
}

void
injector_end(struct injector *injector, void (*stop)(void *arg), void *arg)
{
	injector_let_go(injector);
	stop(arg);
	injector_deinit(injector);
	world_await_empty("after its stop");
	world_await_childless("after its stop");
}

void
injector_arm(struct injector *injector, enum faults_target target, unsigned variant, uint64_t at)
{
	struct faults_page *page = injector->page;

	page->kind = injector->kind;
	page->target = target;
	page->variant = variant;
	page->at = at;
	page->what[0] = '\0';
	atomic_store(&page->n_seen, 0);
	atomic_store(&page->n_failed, 0);
	for (size_t i = 0; i < FAULTS_LEFT_OUT_N; i++)
		atomic_store(&page->n_left_out[i], 0);
	atomic_store(&page->is_armed, 1);
}

void
injector_disarm(struct injector *injector)
{
	if (!atomic_exchange(&injector->page->is_armed, 0))
		return;
	for (size_t i = 0; i < FAULTS_LEFT_OUT_N; i++)
		injector->n_left_out[i] = atomic_load(&injector->page->n_left_out[i]);
}

uint64_t
injector_n_seen(const struct injector *injector)
{
	return injector->page ? atomic_load(&injector->page->n_seen) : injector->n_last;
}

bool
injector_has_failed(const struct injector *injector)
{
	return atomic_load(&injector->page->n_failed);
}

bool
injector_awaits(const struct injector *injector, uint64_t since_ns, uint64_t ms)
{
	uint64_t limit_ms = injector_has_failed(injector) ? ms : HARNESS_TIMEOUT_MS;

	return harness_clock_ns() < since_ns + limit_ms * NS_PER_MS;
}

const char *
injector_describe(const struct injector *injector)
{
	return injector->page->what;
}

bool
injector_is_lasting(const struct injector *injector)
{
	static const char *const lasting[] = { "EACCES", "EPERM", "EIO", "ENOTTY", "EINVAL", "EFAULT", "ESRCH", "EIDRM" };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(lasting); i++)
		if (strstr(injector_describe(injector), lasting[i]))
			return true;
	return false;
}

void
injector_tell_left_out(const struct injector *injector)
{
	for (size_t i = 0; i < FAULTS_LEFT_OUT_N; i++) {
		if (injector->n_left_out[i])
			printf("LEFT OUT: %u allocations, %s\n", injector->n_left_out[i], left_out[i]);
	}
}

bool
injector_is_all(void)
{
	const char *text = getenv("FAULTS_ALL");

	return (text && text[0]) || getenv("FAULTS_AT");
}

bool
injector_is_wanted(const char *name)
{
	const char *text = getenv("FAULTS_ONLY");

	return !text || streq(name, text);
}

bool
injector_is_wanted_part(const char *name)
{
	const char *text = getenv("FAULTS_PART");

	return !text || streq(name, text);
}

bool
injector_is_chosen(unsigned *ret_variant, uint64_t *ret_at)
{
	const char *text = getenv("FAULTS_AT");

	if (!text)
		return false;
	harness_assert(sscanf(text, "%u:%" SCNu64, ret_variant, ret_at) == 2, "FAULTS_AT is '%s', and not of the form 2:153", text);
	return true;
}

bool
injector_has_time(void)
{
	return harness_is_full() || injector_is_all();
}

static uint64_t
common_factor(uint64_t a, uint64_t b)
{
	while (b) {
		uint64_t rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

/* By a step that has no factor in common with their number. */
uint64_t
injector_spread(uint64_t i, uint64_t n, uint64_t shift)
{
	uint64_t step = n * 5 / 8 + 1;

	while (common_factor(n, step) != 1)
		step++;
	return (shift + i * step) % n;
}
