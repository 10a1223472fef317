/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Every allocation, or every system call, of the library fails once: its caller gets what was asked for, or an error with a sentence;
 * the same call works when it is made again; and when all is given back nothing is left in the process, and nothing in the daemon.
 */
#include "config.h"

#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "tests/faults/library.h"
#include "tests/faults/points.h"
#include "tests/system/suite.h"

#define FULL_S		8
#define N_DECLARED	6
#define EVENT_MS	10000
#define FDS_MAX		64
#define USED		(SEGMENT_WRITE | SEGMENT_POPULATE)
#define STATUS_REFUSED	3		/* of a client whose call was answered with an error; a sanitizer ends with 1 */
#define STATUS_SKIPPED	77		/* of a client that cannot be what its row is about */
#define LOCKS_BYTES	(LIBRARY_LOCKS * 80)

/* "w" and "z" are large enough for huge pages, which begin where they are told to. */
static const char body[] =
    "segments = (\n"
    "{ name = \"m\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; locks = ( { name = \"all\"; length = \"4KiB\"; "
    "undo = \"4KiB\"; } ); },\n"
    "{ name = \"y\"; size = \"64KiB\"; page_size = \"base\"; backend = \"sysv\"; mlock = false; locks = ( { name = \"all\"; "
    "length = \"4KiB\"; undo = \"4KiB\"; } ); },\n"
    "{ name = \"f\"; size = \"64KiB\"; page_size = \"base\"; backend = \"file\"; path = \"%s/data\"; mlock = false; },\n"
    "{ name = \"w\"; size = \"4MiB\"; page_size = \"transparent\"; placement = \"prefer\"; mlock = false; dump = false; },\n"
    "{ name = \"z\"; size = \"4MiB\"; page_size = \"transparent\"; placement = \"prefer\"; backend = \"sysv\"; mlock = false; },\n"
    "{ name = \"l\"; size = \"64KiB\"; page_size = \"base\"; mlock = false; locks = (%s); } );\n"
    "templates = ( { name = \"t-\"; max_size = \"64KiB\"; page_size = \"base\"; mlock = false; } );\n";

static struct harness_daemon daemon_under_test;
static struct injector injector;
static struct harness_conn watcher;
static struct points points;
static uint64_t n_errors;

/* In the client. */

/* From the first error on nothing more is asked, but for giving back. */
int
library_must_say(int r)
{
	harness_assert(r >= 0 || (r > -4096 && segment_error()[0]), "%d without a sentence", r);
	return r;
}

unsigned
library_pause(void)
{
	return atomic_exchange(&injector.page->is_armed, 0);
}

void
library_resume(unsigned armed)
{
	atomic_store(&injector.page->is_armed, armed);
}

int
library_use(struct segment *segment)
{
	int lock = library_must_say(segment_find_lock(segment, "all")), r;
	long *cell = segment_data(segment), value = *cell + 1;

	if (lock < 0)
		return lock;
	r = library_must_say(segment_lock(segment, lock));
	if (r)
		return r;
	(void)segment_recovered(segment, lock);
	r = library_must_say(segment_set(segment, lock, cell, &value, sizeof(value)));
	if (r) {
		harness_assert(segment_rollback(segment, lock) == 0, "rollback after %d: %s", r, segment_error());
		return r;
	}
	harness_assert(*cell == value, "%ld was stored, and %ld is there", value, *cell);
	return library_must_say(segment_unlock(segment, lock));
}

int
library_attach(const char *name, unsigned flags, int (*then)(struct segment *))
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r = library_must_say(segment_connect(&client, NULL)), end;

	if (r) {
		harness_assert(!client, "a client came with %d", r);
		return r;
	}
	r = library_must_say(segment_attach(client, name, NULL, flags, &segment));
	harness_assert(!r == !!segment, "%d came with a segment, or none", r);
	if (r == 0 && then)
		r = then(segment);
	end = library_must_say(segment_detach(segment));
	segment_disconnect(client);
	return r ? r : end;
}

static int
run_attach(void)
{
	return library_attach("m", USED, NULL);
}

static int
run_lock(void)
{
	return library_attach("m", USED, library_use);
}

static int
run_sysv(void)
{
	return library_attach("y", USED, library_use);
}

static int
run_file(void)
{
	return library_attach("f", USED, segment_sync);
}

static int
run_many(void)
{
	struct segment_request requests[] = {
		{ .name = "m", .flags = SEGMENT_READ }, { .name = "y", .flags = SEGMENT_WRITE }, { .name = "m", .flags = SEGMENT_WRITE },
	};
	struct segment_client *client = NULL;
	int r = library_must_say(segment_connect(&client, NULL)), end = 0;

	if (r)
		return r;
	r = library_must_say(segment_attach_many(client, requests, BASE_ARRAY_SIZE(requests)));
	for (size_t i = 0; i < BASE_ARRAY_SIZE(requests); i++) {
		int one;

		harness_assert(!r == !!requests[i].segment && !r == !requests[i].error, "%d, and of one %d", r, requests[i].error);
		one = library_must_say(segment_detach(requests[i].segment));
		end = end ? end : one;
	}
	segment_disconnect(client);
	return r ? r : end;
}

static int
run_create(void)
{
	static unsigned n;
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r = library_must_say(segment_connect(&client, NULL)), end;
	char name[32];

	if (r)
		return r;
	/* Those before are perhaps on their way still. */
	(void)snprintf(name, sizeof(name), "t-%d-%u", (int)getpid(), n++);
	r = library_must_say(segment_create(client, name, 4096, 0, &segment));
	/* It was made, and its maker was told something else. */
	if (r == -EEXIST)
		r = library_must_say(segment_attach(client, name, NULL, SEGMENT_WRITE, &segment));
	end = library_must_say(segment_detach(segment));
	segment_disconnect(client);
	return r ? r : end;
}

static void
ignore(const struct segment_event *event, void *arg)
{
	(void)event, (void)arg;
}

int
library_run_events(void)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL;
	int r = library_must_say(segment_connect(&client, NULL));
	struct pollfd fd = { .events = POLLIN };

	if (r)
		return r;
	fd.fd = library_must_say(segment_event_fd(client));
	r = fd.fd < 0 ? fd.fd : library_must_say(segment_attach(client, "m", NULL, SEGMENT_READ, &segment));
	/* Another client's is told. */
	r = r ? r : library_attach("m", USED, NULL);
	if (r == 0) {
		harness_assert(harness_poll(&fd, 1, EVENT_MS) != 0, "nothing was told; failed: %s", injector_describe(&injector));
		r = library_must_say(segment_dispatch(client, ignore, NULL));
	}
	(void)segment_detach(segment);
	segment_disconnect(client);
	return r < 0 ? r : 0;
}

/* Where huge pages are to fit, and neither forked children nor core dumps have it. */
static int
run_aligned(void)
{
	return library_attach("w", USED | SEGMENT_DONTFORK, NULL);
}

static int
run_aligned_sysv(void)
{
	return library_attach("z", USED | SEGMENT_DONTFORK, NULL);
}

static int
run_many_locks(void)
{
	return library_attach("l", USED, library_use);
}

/* Its connection has gone, as with a daemon: what it has comes back by another one. */
static void
hang_up(void)
{
	unsigned armed = library_pause(), n = 0;

	for (int fd = 3; fd < FDS_MAX; fd++) {
		struct sockaddr_un peer = { .sun_family = AF_UNSPEC };
		socklen_t length = sizeof(peer);

		if (fd == watcher.fd || getpeername(fd, (struct sockaddr *)&peer, &length) || peer.sun_family != AF_UNIX ||
		    length <= offsetof(struct sockaddr_un, sun_path) || !streq(peer.sun_path, getenv("SEGMENTD_SOCKET")))
			continue;
		(void)shutdown(fd, SHUT_RDWR);
		n++;
	}
	harness_assert(n == 1, "%u connections", n);
	library_resume(armed);
}

static int
run_reconnect(void)
{
	struct segment_client *client = NULL;
	struct segment *segment = NULL, *other = NULL;
	int r = library_must_say(segment_connect(&client, NULL)), end;

	if (r)
		return r;
	r = library_must_say(segment_attach(client, "m", NULL, SEGMENT_WRITE, &segment));
	if (r == 0) {
		hang_up();
		r = library_must_say(segment_attach(client, "y", NULL, SEGMENT_READ, &other));
	}
	r = r ? r : library_use(segment);
	end = library_must_say(segment_detach(other));
	r = r ? r : end;
	end = library_must_say(segment_detach(segment));
	segment_disconnect(client);
	return r ? r : end;
}

static const struct library_row rows[] = {
	{ .name = "attach", .run = run_attach },
	{ .name = "lock", .run = run_lock },
	{ .name = "wait for the dead", .run = library_run_wait },
	{ .name = "a first wait", .run = library_run_wait, .is_first = true },
	{ .name = "wait for the word alone", .prepare = library_refuse_waitv, .run = library_run_wait },
	{ .name = "read behind the dead", .run = library_run_read },
	{ .name = "a thread's lock", .run = library_run_thread },
	{ .name = "many locks", .run = run_many_locks },
	{ .name = "aligned", .run = run_aligned },
	{ .name = "aligned sysv", .run = run_aligned_sysv },
	{ .name = "sysv", .run = run_sysv },
	{ .name = "file", .run = run_file },
	{ .name = "attach many", .run = run_many },
	{ .name = "create", .run = run_create },
	{ .name = "events", .run = library_run_events },
	{ .name = "reconnect", .run = run_reconnect },
	{ .name = "sysv without /proc", .prepare = library_hide_namespaces, .run = run_sysv },
	{ .name = "no standard input", .run = library_run_no_streams },
	{ .name = "no descriptors", .run = library_run_no_descriptors },
	{ .name = "hung up on", .run = library_run_hang_ups },
	{ .name = "cut short", .run = library_run_cut },
};

/* What a process has of the world: descriptors, and mappings of what is not its own. */
static void
count(size_t *ret_fds, size_t *ret_maps)
{
	DIR *dir = opendir("/proc/self/fd");
	cleanup_fclose FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	harness_assert(dir && f, "/proc/self: %s", strerror(errno));
	*ret_fds = *ret_maps = 0;
	while (readdir(dir))
		++*ret_fds;
	(void)closedir(dir);
	while (fgets(line, sizeof(line), f))
		*ret_maps += strstr(line, "memfd:") || strstr(line, "SYSV") || strstr(line, "/data");
}

#ifdef WITH_SANITIZERS
extern int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
#endif

static void
expect_no_leak(void)
{
#ifdef WITH_SANITIZERS
	if (injector.kind == FAULTS_ALLOCATIONS && __lsan_do_recoverable_leak_check)
		harness_assert(__lsan_do_recoverable_leak_check() == 0, "memory is leaked");
#endif
}

struct errand {
	const struct library_row *row;
	unsigned variant;
	uint64_t at;
};

static void
run_client(int control, void *arg)
{
	const struct errand *errand = arg;
	size_t fds, maps, fds_after, maps_after;
	int r;

	(void)control;
	if (injector.kind == FAULTS_CALLS)
		(void)raise(SIGSTOP);
	else
		injector.page->pid = getpid();
	if (errand->row->prepare && !errand->row->prepare())
		_exit(STATUS_SKIPPED);
	/* What is kept for the life of the process is there then. */
	r = errand->row->is_first ? 0 : errand->row->run();
	harness_assert(r == 0, "before anything failed: %d, %s", r, segment_error());
	count(&fds, &maps);
	injector_arm(&injector, FAULTS_CLIENT, errand->variant, errand->at);
	r = errand->row->run();
	injector_disarm(&injector);
	harness_assert(r == 0 || injector_has_failed(&injector), "nothing failed, and %d came of it: %s", r, segment_error());
	n_errors = r != 0;
	r = errand->row->run();
	harness_assert(r == 0, "again, after %s: %d, %s", injector_describe(&injector), r, segment_error());
	count(&fds_after, &maps_after);
	harness_assert(fds == fds_after && maps == maps_after, "after %s there are %zu descriptors and %zu mappings instead of %zu and %zu",
	    injector_describe(&injector), fds_after, maps_after, fds, maps);
	expect_no_leak();
	if (n_errors)
		_exit(STATUS_REFUSED);
}

/* In the test. */

static bool
fail_at(const struct points_row *row, uint64_t at)
{
	struct errand errand = { .row = row->operation, .variant = row->variant, .at = at };
	struct harness_child client = HARNESS_CHILD_NULL;
	int status;

	injector.page->pid = 0;
	atomic_store(&injector.page->n_failed, 0);
	atomic_store(&injector.page->n_seen, 0);
	harness_child_start(&client, run_client, &errand);
	if (injector.kind == FAULTS_CALLS)
		injector_take_client(&injector, client.pid);
	status = harness_child_await(&client);
	if (status == STATUS_SKIPPED) {
		if (row->variant == 0)
			printf("LEFT OUT: %s: that cannot be here\n", row->name);
		return false;
	}
	harness_assert(status == 0 || status == STATUS_REFUSED, "%s, %ju, errors %u: the client ended with %d; failed: %s", row->name, (uintmax_t)at,
	    row->variant, status, injector_has_failed(&injector) ? injector_describe(&injector) : "nothing");
	n_errors += status == STATUS_REFUSED;
	return injector_has_failed(&injector);
}

static void
fail_all(void)
{
	points_init(&points, &injector, fail_at);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(rows); i++)
		if (injector_is_wanted(rows[i].name))
			points_add_variants(&points, FAULTS_KIND, rows[i].name, &rows[i]);
	points_fail(&points, FULL_S);
}

/* The first one is "all", as elsewhere. */
static void
write_locks(char *text, size_t size)
{
	for (unsigned i = 0; i < LIBRARY_LOCKS; i++) {
		int n = snprintf(text, size, "%s{ name = \"%s%.0u\"; offset = \"%uB\"; length = \"64B\"; undo = \"1KiB\"; }", i ? ", " : " ",
		    i ? "l" : "all", i, i * 64);

		harness_assert(n > 0 && (size_t)n < size, "the text is too long");
		text += n;
		size -= (size_t)n;
	}
}

START_TEST(one_fails_in_the_library)
{
	struct harness_daemon *daemon = &daemon_under_test;
	struct protocol_segment list[256];
	struct harness_usage before;
	static char locks[LOCKS_BYTES], text[2 * LOCKS_BYTES];
	uint64_t deadline_ns;

	write_locks(locks, sizeof(locks));
	harness_daemon_prepare(daemon, "", "");
	(void)snprintf(text, sizeof(text), body, daemon->dir, locks);
	harness_daemon_configure(daemon, "", text);
	harness_daemon_launch(daemon);
	harness_daemon_await_ready(daemon);
	(void)setenv("SEGMENTD_SOCKET", daemon->socket, 1);
	harness_open(&watcher, daemon->socket);
	injector_init(&injector, FAULTS_KIND, daemon->dir);
	if (FAULTS_KIND == FAULTS_ALLOCATIONS) {
		harness_assert(faults_set_page, "%s was not loaded", FAULTS_PRELOAD);
		faults_set_page(injector.page);
	}
	harness_usage_read(daemon->pid, &before);
	fail_all();
	deadline_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	harness_await_counts(&watcher, "m", 0, 0);
	harness_await_counts(&watcher, "y", 0, 0);
	harness_await_counts(&watcher, "f", 0, 0);
	harness_await_counts(&watcher, "w", 0, 0);
	harness_await_counts(&watcher, "z", 0, 0);
	harness_await_counts(&watcher, "l", 0, 0);
	while (harness_list(&watcher, list, BASE_ARRAY_SIZE(list)) > N_DECLARED)
		harness_assert(harness_clock_ns() < deadline_ns, "'%s' is left", list[N_DECLARED].name);
	harness_usage_await(&watcher, daemon->pid, &before);
	injector_deinit(&injector);
	harness_daemon_stop(daemon);
	points_tell(&points, "the library", "and %ju of these calls", (uintmax_t)n_errors);
}
END_TEST

int
main(int argc, char **argv)
{
	Suite *suite = suite_create("library");
	TCase *tcase = tcase_create("library");

	(void)argc;
	injector_load(FAULTS_KIND, argv);
	tcase_set_timeout(tcase, injector_is_all() ? 0 : HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, one_fails_in_the_library);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
