/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Rules of orphans with the real daemon and the real segmentd-audit, in a /dev/shm and an IPC namespace of the test's own:
 * what programs leave that never heard of us is found, told and removed, and what anybody uses is not touched.
 */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>

#include "tests/audit/python.h"
#include "tests/audit/rig.h"
#include "tests/system/opener.h"
#include "tests/system/reloading.h"
#include "tests/system/stranger.h"
#include "tests/system/telling.h"

#define KEY		0x5e96d
#define OTHER_KEY	0x5e96e
#define REST_MS		3000

#define DESK	RELOADING_SEGMENTS(RELOADING_SEGMENT("desk", ""))
#define RULES(list)	DESK "orphans = ( " list " );\n"
#define POSIX(pattern, after, action) \
	"{ posix = \"" pattern "\"; after = \"" after "\"; action = \"" action "\"; }"
#define SYSV(keys, action)	"{ sysv = { " keys " }; after = \"0s\"; action = \"" action "\"; }"

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

/* segmentd-audit runs with the daemon's own rights: root's objects are all that it can judge. */
static void
begin(const char *body)
{
	rig_enter_private_shm();
	(void)setenv("SEGMENTD_AUDIT", AUDIT_BUILT, 1);
	harness_daemon_start(&daemon_, NULL, body);
}

static void
end(void)
{
	harness_daemon_stop(&daemon_);
}

static void
await_removed(const char *name)
{
	char text[128];

	(void)snprintf(text, sizeof(text), "POSIX object \"/%s\" was an orphan, and was removed", name);
	harness_daemon_await_log(&daemon_, text);
	harness_assert(!rig_exists(name), "/%s is there", name);
}

/* What is made and let go of now is removed: whatever was due before it has been judged by then. */
static void
await_fence(const char *name)
{
	rig_make(name, 0, 0600);
	await_removed(name);
}

static uint64_t
figure(const char *name)
{
	return suite_figure(&daemon_, name);
}

START_TEST(what_the_dead_left_goes_and_what_is_used_stays)
{
	struct opener dead, alive;
	struct stranger dead_too, alive_too;
	int id;

	begin(RULES(POSIX("/*", "200ms", "remove") ", " SYSV("mode = \"0600\";", "remove")));
	opener_start(&alive, 0, 0, 0);
	opener_must(&alive, 0, "make /used 65536");
	opener_must(&alive, 0, "map 65536");
	opener_must(&alive, 0, "close");
	opener_start(&dead, 0, 0, 0);
	opener_must(&dead, 0, "make /left 65536");
	opener_must(&dead, 0, "map 65536");
	opener_must(&dead, 0, "set 5 5");
	opener_must(&dead, 0, "close");
	stranger_start(&alive_too, 0, 0);
	stranger_must(&alive_too, 0, "make %d 65536 384", OTHER_KEY);
	stranger_must(&alive_too, 0, "attach %d 0", OTHER_KEY);
	stranger_start(&dead_too, 0, 0);
	stranger_must(&dead_too, 0, "make %d 65536 384", KEY);
	stranger_must(&dead_too, 0, "attach %d 0", KEY);
	id = stranger_find(KEY);
	ck_assert_int_ge(id, 0);
	opener_kill(&dead);
	stranger_kill(&dead_too);
	await_removed("left");
	harness_daemon_await_log(&daemon_, "(key 0x0005e96d) was an orphan, and was removed");
	ck_assert_int_eq(stranger_find(KEY), -ENOENT);
	reloading_expect(harness_daemon_log(&daemon_), "the kernel granted a write lease");
	reloading_expect(harness_daemon_log(&daemon_), "the kernel counts no attachment of it (nattch 0); last detached");
	reloading_expect(harness_daemon_log(&daemon_), "segmentd.conf:");
	reloading_expect(harness_daemon_log(&daemon_), "of uid 0, mode 0644, 64 KiB, of which 4 KiB are in memory");
	await_fence("fence");
	ck_assert(rig_exists("used"));
	ck_assert_int_ge(stranger_find(OTHER_KEY), 0);
	opener_must(&alive, 0, "set 9 9");
	ck_assert_uint_eq(figure("segmentd_orphans_removed_total"), 3);
	/* And when they have gone, too, so does that. */
	opener_kill(&alive);
	stranger_kill(&alive_too);
	await_removed("used");
	harness_daemon_await_log(&daemon_, "(key 0x0005e96e) was an orphan, and was removed");
	end();
}
END_TEST

/* Python's own shared memory, whose tracker is killed with it. */
START_TEST(what_python_left_goes)
{
	struct python python;

	python_must_be_there();
	begin(RULES(POSIX("/psm_*", "100ms", "remove") ", " POSIX("/fence", "100ms", "remove")));
	python_start(&python);
	await_fence("fence");
	ck_assert(rig_exists(python.name));
	python_kill(&python);
	await_removed(python.name);
	end();
}
END_TEST

START_TEST(what_comes_back_into_use_before_its_time_stays)
{
	struct opener opener;
	ino_t inode;

	begin(RULES(POSIX("/*", "500ms", "remove")));
	opener_start(&opener, 0, 0, 0);
	opener_must(&opener, 0, "make /mine 65536");
	opener_must(&opener, 0, "close");
	inode = rig_inode("mine");
	opener_must(&opener, 0, "write /mine");
	opener_must(&opener, 0, "map 65536");
	opener_must(&opener, 0, "close");
	await_fence("fence");
	ck_assert_uint_eq(rig_inode("mine"), inode);
	opener_must(&opener, 0, "unmap");
	await_removed("mine");
	end();
}
END_TEST

START_TEST(report_tells_once_and_removes_nothing)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_event event;
	const char *log;

	begin(RULES(POSIX("/told*", "1ms", "report") ", " POSIX("/fence*", "1ms", "remove")));
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	rig_make("told", 0, 0600);
	harness_daemon_await_log(&daemon_, "POSIX object \"/told\" is an orphan, and stays");
	telling_next(&conn, &event);
	ck_assert_uint_eq(event.kind, PROTOCOL_EVENT_ORPHAN);
	ck_assert_uint_eq(event.attachment, PROTOCOL_ORPHAN_FOUND);
	ck_assert_str_eq(event.segment, "");
	ck_assert_str_eq(event.lock_name, "/told");
	ck_assert_uint_eq(event.generation, rig_inode("told"));
	ck_assert_int_eq(event.lock, -1);
	ck_assert_uint_eq(event.uid, 0);
	/* Somebody uses it, and lets it go. */
	ck_assert_int_eq(close(shm_open("/told", O_RDWR, 0)), 0);
	await_fence("fence");
	telling_next(&conn, &event);
	ck_assert_uint_eq(event.kind, PROTOCOL_EVENT_ORPHAN);
	ck_assert_uint_eq(event.attachment, PROTOCOL_ORPHAN_REMOVED);
	ck_assert_str_eq(event.lock_name, "/fence");
	log = strstr(harness_daemon_log(&daemon_), "is an orphan, and stays");
	ck_assert_ptr_null(strstr(log + 1, "is an orphan, and stays"));
	ck_assert(rig_exists("told"));
	ck_assert_uint_eq(figure("segmentd_orphans_found_total"), 2);
	harness_close(&conn);
	end();
}
END_TEST

/* Names of any bytes; and what is no object. */
START_TEST(only_objects_are_removed_whatever_their_names)
{
	begin(RULES(POSIX("/x*", "1ms", "remove")));
	ck_assert_int_eq(mkfifo("/dev/shm/xfifo", 0600), 0);
	ck_assert_int_eq(mkdir("/dev/shm/xdirectory", 0700), 0);
	ck_assert_int_eq(symlink("/dev/shm/y", "/dev/shm/xlink"), 0);
	rig_make("y", 0, 0600);
	rig_make("xtwo", 0, 0600);
	ck_assert_int_eq(link("/dev/shm/xtwo", "/dev/shm/ytwo"), 0);
	rig_make("x\nsegmentd: error: forged", 0, 0600);
	harness_daemon_await_log(&daemon_, "\"/x\\x0asegmentd: error: forged\" was an orphan, and was removed");
	reloading_expect_not(harness_daemon_log(&daemon_), "\nsegmentd: error: forged");
	ck_assert(!rig_exists("x\nsegmentd: error: forged"));
	await_fence("xfence");
	ck_assert(rig_exists("xfifo") && rig_exists("xdirectory") && rig_exists("xlink") && rig_exists("xtwo") && rig_exists("y"));
	end();
}
END_TEST

START_TEST(our_own_objects_are_no_candidates)
{
	struct harness_conn conn = HARNESS_CONN_NULL;

	begin("segments = ( { name = \"named\"; size = \"64KiB\"; mlock = false; backend = \"posix\"; object = \"/named\"; },\n"
	    "  { name = \"keyed\"; size = \"64KiB\"; mlock = false; backend = \"sysv\"; key = 0x5e96d; } );\n"
	    "orphans = ( " POSIX("/*", "1ms", "remove") ", " SYSV("user = \"0\";", "remove") " );\n");
	harness_open(&conn, daemon_.socket);
	(void)close(suite_attach(&conn, "named", SUITE_WRITE));
	await_fence("fence");
	ck_assert_int_ge(shmget(IPC_PRIVATE, 4096, 0600), 0);
	harness_daemon_await_log(&daemon_, "(key 0x00000000) was an orphan, and was removed");
	ck_assert(rig_exists("named"));
	ck_assert_int_ge(stranger_find(KEY), 0);
	reloading_expect_not(harness_daemon_log(&daemon_), "/named");
	(void)close(suite_attach(&conn, "named", SUITE_WRITE));
	harness_close(&conn);
	end();
}
END_TEST

START_TEST(rules_by_user_key_and_mode_take_what_all_of_it_is_true_of)
{
	static const char rules[] = RULES(SYSV("user = \"65534\"; key = 0x5e96d; mode = \"0640\";", "remove") ", "
	    POSIX("/theirs", "1ms", "remove"));
	struct stranger nobody;

	harness_need_root();
	rig_enter_private_shm();
	(void)unsetenv("SEGMENTD_AUDIT");
	harness_daemon_prepare(&daemon_, NULL, rules);
	harness_daemon_serve_audit(&daemon_);
	stranger_start(&nobody, HARNESS_NOBODY, HARNESS_NOBODY);
	stranger_must(&nobody, 0, "make %d 4096 384", KEY);
	stranger_must(&nobody, 0, "make %d 4096 416", OTHER_KEY);
	ck_assert_int_ge(shmget(IPC_PRIVATE, 4096, 0640), 0);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	rig_make("theirs", HARNESS_NOBODY, 0600);
	await_removed("theirs");
	/* The one of that key has another mode; the one of that mode another key, or owner. */
	ck_assert_uint_eq(stranger_count(), 3);
	stranger_must(&nobody, 0, "change %d %d %d 416", stranger_find(KEY), HARNESS_NOBODY, HARNESS_NOBODY);
	harness_daemon_await_log(&daemon_, "(key 0x0005e96d) was an orphan, and was removed");
	ck_assert_uint_eq(stranger_count(), 2);
	stranger_kill(&nobody);
	end();
}
END_TEST

/* Another user is told of what is its own, and of nothing else. */
static void
observe(int control, void *arg)
{
	struct harness_conn conn = HARNESS_CONN_NULL;
	struct protocol_event event;

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, daemon_.socket);
	harness_assert(telling_subscribe(&conn, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0) == 0, "not subscribed");
	harness_say(control, "listening");
	telling_next(&conn, &event);
	harness_assert(event.kind == PROTOCOL_EVENT_ORPHAN && streq(event.lock_name, "/theirs") && event.uid == HARNESS_NOBODY,
	    "an event of kind %u, of '%s'", event.kind, event.lock_name);
}

START_TEST(others_are_told_of_their_own_objects_alone)
{
	struct harness_child observer = HARNESS_CHILD_NULL;

	harness_need_root();
	rig_enter_private_shm();
	(void)unsetenv("SEGMENTD_AUDIT");
	harness_daemon_prepare(&daemon_, NULL, RULES(POSIX("/*", "1ms", "remove")));
	harness_daemon_serve_audit(&daemon_);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_child_start(&observer, observe, NULL);
	harness_expect(observer.control, "listening");
	await_fence("ours");
	rig_make("theirs", HARNESS_NOBODY, 0600);
	harness_child_await_success(&observer);
	end();
}
END_TEST

START_TEST(what_there_is_no_right_to_stays_and_is_told)
{
	harness_need_root();
	begin(RULES(POSIX("/*", "1ms", "remove")));
	rig_make("theirs", HARNESS_NOBODY, 0600);
	harness_daemon_await_log(&daemon_, "whether anybody holds POSIX object \"/theirs\" cannot be asked with the rights at hand");
	await_fence("fence");
	ck_assert(rig_exists("theirs"));
	ck_assert_uint_eq(figure("segmentd_orphans_unknown_total"), 1);
	end();
}
END_TEST

START_TEST(reload_brings_rules_and_takes_them_away)
{
	begin(DESK);
	rig_make("first", 0, 0600);
	rig_make("second", 0, 0600);
	(void)reloading_hangup(&daemon_, NULL, RULES(POSIX("/first", "1ms", "remove") ", " POSIX("/fence*", "1ms", "remove")));
	await_removed("first");
	ck_assert(rig_exists("second"));
	(void)reloading_hangup(&daemon_, NULL, RULES(POSIX("/fence*", "1ms", "remove")));
	rig_make("first", 0, 0600);
	await_fence("fence1");
	ck_assert(rig_exists("first"));
	/* One that waits for its time when its rule goes. */
	(void)reloading_hangup(&daemon_, NULL, RULES(POSIX("/first", "1h", "remove") ", " POSIX("/fence*", "1ms", "remove")));
	(void)reloading_hangup(&daemon_, NULL, RULES(POSIX("/second", "1ms", "remove") ", " POSIX("/fence*", "1ms", "remove")));
	await_removed("second");
	await_fence("fence2");
	ck_assert(rig_exists("first"));
	(void)reloading_hangup(&daemon_, NULL, DESK);
	ck_assert_uint_eq(figure("segmentd_orphans_watched"), 0);
	end();
}
END_TEST

static void
flood(unsigned n)
{
	int fds[2];

	for (unsigned i = 0; i < n; i++) {
		fds[0] = shm_open("/flood0", O_RDWR | O_CREAT, 0600);
		fds[1] = shm_open("/flood1", O_RDWR | O_CREAT, 0600);
		(void)close(fds[0]);
		(void)close(fds[1]);
	}
}

static unsigned
queue_length(void)
{
	cleanup_fclose FILE *f = fopen("/proc/sys/fs/inotify/max_queued_events", "re");
	unsigned n = 0;

	ck_assert(f && fscanf(f, "%u", &n) == 1);
	return n;
}

START_TEST(overflow_leads_to_a_look_at_all)
{
	struct opener opener;

	if (queue_length() > 100000)
		harness_skip("fs.inotify.max_queued_events is %u, too long a queue to be filled", queue_length());
	begin(RULES(POSIX("/x*", "1ms", "remove")));
	await_fence("xfence");
	opener_start(&opener, 0, 0, 0);
	opener_must(&opener, 0, "make /xused 65536");
	ck_assert_int_eq(kill(daemon_.pid, SIGSTOP), 0);
	flood(queue_length());
	/* Of this the kernel has no room to tell. */
	rig_make("xlost", 0, 0600);
	ck_assert_int_eq(kill(daemon_.pid, SIGCONT), 0);
	await_removed("xlost");
	ck_assert_uint_ge(figure("segmentd_orphans_overflows_total"), 1);
	ck_assert(rig_exists("xused"));
	opener_kill(&opener);
	await_removed("xused");
	end();
}
END_TEST

static uint64_t
cpu_ns(pid_t pid)
{
	cleanup_fclose FILE *f = NULL;
	unsigned long user, system_;
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	ck_assert(f && fscanf(f, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system_) == 2);
	return (user + system_) * (NS_PER_SEC / (uint64_t)sysconf(_SC_CLK_TCK));
}

static void
flood_until_killed(int control, void *arg)
{
	harness_say(control, "flooding");
	for (;;)
		flood(1000);
}

/* The daemon's end is what must not come. */
static void
rest(int ms)
{
	ck_assert_int_eq(poll(&(struct pollfd) { .fd = daemon_.pidfd, .events = POLLIN }, 1, ms), 0);
}

/* Nobody hostile has more of the daemon than a part of a CPU, and others are served. */
START_TEST(flood_costs_a_bounded_part_of_a_cpu)
{
	struct harness_child flooders[2] = { HARNESS_CHILD_NULL, HARNESS_CHILD_NULL };
	uint64_t begun_ns, cpu_begun_ns, took_ns, used_ns;
	unsigned seconds = harness_storm_seconds(8);

	begin(_i ? RULES(POSIX("/*", "1ms", "remove")) : RULES(POSIX("/other*", "1ms", "remove")));
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(flooders); i++) {
		harness_child_start(&flooders[i], flood_until_killed, NULL);
		harness_expect(flooders[i].control, "flooding");
	}
	begun_ns = clock_monotonic_ns();
	cpu_begun_ns = cpu_ns(daemon_.pid);
	while ((took_ns = clock_monotonic_ns() - begun_ns) < seconds * NS_PER_SEC) {
		rest(200);
		suite_serves(&daemon_);
	}
	used_ns = cpu_ns(daemon_.pid) - cpu_begun_ns;
	printf("a flood of opens and closes: %.1f %% of a CPU in %u s, %ju overflows\n",
	    100.0 * (double)used_ns / (double)took_ns, seconds, (uintmax_t)figure("segmentd_orphans_overflows_total"));
	if (!harness_has_sanitizers())
		ck_assert_uint_lt(5 * used_ns, took_ns);
	for (unsigned i = 0; i < BASE_ARRAY_SIZE(flooders); i++)
		harness_child_kill(&flooders[i]);
	if (_i)
		await_removed("flood0");
	end();
}
END_TEST

START_TEST(at_rest_rules_wake_nobody)
{
	struct opener opener;
	uint64_t before;

	begin(RULES(POSIX("/held*", "1h", "remove") ", " POSIX("/left*", "1ms", "report") ", " POSIX("/fence", "1ms", "remove")));
	opener_start(&opener, 0, 0, 0);
	opener_must(&opener, 0, "make /held 65536");
	rig_make("left", 0, 0600);
	await_fence("fence");
	/* segmentd-audit is let go of a while after the last question. */
	rest(8000);
	before = harness_status_figure(daemon_.pid, "voluntary_ctxt_switches:");
	rest(REST_MS * (int)harness_scale());
	ck_assert_uint_eq(harness_status_figure(daemon_.pid, "voluntary_ctxt_switches:") - before, 0);
	opener_kill(&opener);
	end();
}
END_TEST

/* Thousands, of which some are in use. */
START_TEST(many_are_removed_and_none_that_is_used)
{
	unsigned n = harness_is_full() && !harness_has_sanitizers() ? 100000 : 3000, n_used = 20;
	uint64_t begun_ns, cpu_ns_before;
	char name[32];
	int used[20];

	if (n < 100000)
		printf("LEFT OUT: there are %u objects; CHECK_FULL=1 makes 100000\n", n);
	begin(DESK);
	for (unsigned i = 0; i < n; i++) {
		int fd;

		(void)snprintf(name, sizeof(name), "/dev/shm/many%u", i);
		fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
		if (i % (n / n_used) == 0)
			used[i / (n / n_used)] = fd;
		else
			(void)close(fd);
	}
	cpu_ns_before = cpu_ns(daemon_.pid);
	begun_ns = clock_monotonic_ns();
	(void)reloading_hangup(&daemon_, NULL, RULES(POSIX("/many*", "0s", "remove")));
	while (figure("segmentd_orphans_removed_total") < n - n_used)
		rest(100);
	printf("%u objects removed in %.1f s, with %.2f s of the daemon's CPU time\n", n - n_used,
	    (double)(clock_monotonic_ns() - begun_ns) / 1e9, (double)(cpu_ns(daemon_.pid) - cpu_ns_before) / 1e9);
	for (unsigned i = 0; i < n_used; i++) {
		(void)snprintf(name, sizeof(name), "many%u", i * (n / n_used));
		ck_assert_msg(rig_exists(name), "%s was in use, and is gone", name);
		(void)close(used[i]);
	}
	/* More was logged than the harness reads. */
	while (figure("segmentd_orphans_removed_total") < n)
		rest(100);
	ck_assert_uint_eq(rig_count(), 0);
	end();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("orphans");
	TCase *tcase = tcase_create("orphans"), *many = tcase_create("many");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, what_the_dead_left_goes_and_what_is_used_stays);
	tcase_add_test(tcase, what_python_left_goes);
	tcase_add_test(tcase, what_comes_back_into_use_before_its_time_stays);
	tcase_add_test(tcase, report_tells_once_and_removes_nothing);
	tcase_add_test(tcase, only_objects_are_removed_whatever_their_names);
	tcase_add_test(tcase, our_own_objects_are_no_candidates);
	tcase_add_test(tcase, rules_by_user_key_and_mode_take_what_all_of_it_is_true_of);
	tcase_add_test(tcase, others_are_told_of_their_own_objects_alone);
	tcase_add_test(tcase, what_there_is_no_right_to_stays_and_is_told);
	tcase_add_test(tcase, reload_brings_rules_and_takes_them_away);
	suite_add_tcase(suite, tcase);
	tcase_set_timeout(many, 4 * HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(many, overflow_leads_to_a_look_at_all);
	tcase_add_loop_test(many, flood_costs_a_bounded_part_of_a_cpu, 0, 2);
	tcase_add_test(many, at_rest_rules_wake_nobody);
	tcase_add_test(many, many_are_removed_and_none_that_is_used);
	suite_add_tcase(suite, many);
	return harness_run(suite);
}
