/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What a daemon has in its ledger for a successor, at each step of what its clients do: read as that one would read it, and held
 * against what the clients were told and what the kernel says. A reply is there: so is the row.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "daemon/ledger_rows.h"
#include "tests/harness_locks.h"

#define ROWS_MAX	16
#define WRITE		(PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE)

static const char body[] = "segments = ( { name = \"plain\"; size = \"64KiB\"; }, { name = \"safe\"; size = \"64KiB\"; mlock = true; "
    "locks = ( { name = \"l\"; offset = \"0\"; length = \"100\"; on_death = \"keep\"; } ); } );\n"
    "templates = ( { name = \"t-\"; max_size = \"1MiB\"; max_count = 4; } );\n";

/* What a successor would be given now. */
static struct {
	struct ledger_segment segments[ROWS_MAX];
	struct ledger_lock locks[ROWS_MAX];
	struct ledger_session sessions[ROWS_MAX];
	struct ledger_attachment attachments[ROWS_MAX];
	char names[ROWS_MAX][64], templates[ROWS_MAX][64];
	unsigned modes[ROWS_MAX];
	size_t n[LEDGER_KIND_N];
} seen;

static struct harness_daemon daemon_ = HARNESS_DAEMON_NULL;

static int
on_item(const struct ledger_item *item, void *arg)
{
	size_t n = seen.n[item->kind]++;

	ck_assert_uint_lt(n, ROWS_MAX);
	if (item->kind == LEDGER_SEGMENT) {
		seen.segments[n] = *item->segment;
		ck_assert_ptr_nonnull(item->texts.definition);
		(void)snprintf(seen.names[n], sizeof(seen.names[n]), "%s", item->texts.definition->name);
		(void)snprintf(seen.templates[n], sizeof(seen.templates[n]), "%s",
		    item->texts.template_name ? item->texts.template_name : "");
		seen.modes[n] = item->texts.definition->mode;
	} else if (item->kind == LEDGER_LOCK) {
		seen.locks[n] = *item->lock;
	} else if (item->kind == LEDGER_SESSION) {
		seen.sessions[n] = *item->session;
	} else {
		seen.attachments[n] = *item->attachment;
	}
	return 0;
}

static void
on_tell(const char *text, void *arg)
{
	harness_fail("the ledger: %s", text);
}

static void
look(void)
{
	struct ledger ledger;
	char text[512];
	int r;

	memset(&seen, 0, sizeof(seen));
	r = ledger_open(&ledger, daemon_.state, NULL, on_item, on_tell, NULL, text, sizeof(text));
	harness_assert(r == 0, "%s", text);
	ledger_close(&ledger);
}

/* What comes of a request after its reply, is over with the next one. */
static void
look_after(struct harness_conn *conn)
{
	ck_assert_int_eq(harness_wait(conn, "safe"), PROTOCOL_READY);
	look();
}

static const struct ledger_segment *
find_segment(const char *name)
{
	for (size_t i = 0; i < seen.n[LEDGER_SEGMENT]; i++)
		if (streq(seen.names[i], name))
			return &seen.segments[i];
	harness_fail("no row is about '%s'", name);
}

static const struct ledger_session *
find_session(const struct harness_conn *conn)
{
	for (size_t i = 0; i < seen.n[LEDGER_SESSION]; i++)
		if (seen.sessions[i].id == conn->session)
			return &seen.sessions[i];
	harness_fail("no row is about session %" PRIu64, conn->session);
}

static void
begin(void)
{
	harness_daemon_start(&daemon_, NULL, body);
}

static void
attach(struct harness_conn *conn, const char *name, struct protocol_attached *ret_attached, int *ret_fd)
{
	int r = harness_attach(conn, name, WRITE, ret_attached, ret_fd);

	harness_assert(r == 0, "attach: %s", strerror(-r));
}

START_TEST(a_segment_that_is_ready_has_a_row_with_its_definition)
{
	const struct ledger_segment *row;

	begin();
	look();
	ck_assert_uint_eq(seen.n[LEDGER_SEGMENT], 2);
	ck_assert_uint_eq(seen.n[LEDGER_SESSION] + seen.n[LEDGER_ATTACHMENT] + seen.n[LEDGER_LOCK], 0);
	row = find_segment("safe");
	ck_assert_uint_eq(row->state, PROTOCOL_READY);
	ck_assert_uint_eq(row->flags, LEDGER_SEGMENT_DECLARED);
	ck_assert_uint_eq(row->map_bytes, 65536);
	ck_assert_uint_ge(row->locked_bytes, 65536 + row->control_bytes);
	ck_assert_uint_gt(row->control_bytes, 0);
	ck_assert_uint_ne(row->claim_id, 0);
	ck_assert_uint_ne(row->data_inode, row->control_inode);
	ck_assert_int_eq(row->shm_id, -1);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(an_attachment_has_a_row_from_its_reply_to_its_end)
{
	struct protocol_attached attached;
	const struct ledger_segment *segment;
	const struct ledger_attachment *row = &seen.attachments[0];
	struct harness_conn conn;
	struct stat st;
	int fd;

	begin();
	harness_open(&conn, daemon_.socket);
	attach(&conn, "plain", &attached, &fd);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], 1);
	look_after(&conn);
	ck_assert_uint_eq(row->generation, attached.generation);
	ck_assert_uint_eq(row->id, attached.attachment);
	ck_assert_uint_eq(row->access, WRITE);
	ck_assert_uint_eq(row->session, conn.session);
	ck_assert_int_eq(row->pid, getpid());
	ck_assert_uint_eq(row->uid, geteuid());
	ck_assert_uint_eq(row->flags, LEDGER_ATTACHMENT_MARKED);
	segment = find_segment("plain");
	ck_assert_uint_eq(segment->generation, attached.generation);
	ck_assert_uint_eq(segment->flags, LEDGER_SEGMENT_DECLARED | LEDGER_SEGMENT_WAS_ATTACHED);
	ck_assert_int_eq(fstat(fd, &st), 0);
	ck_assert_uint_eq(segment->data_inode, st.st_ino);
	ck_assert_uint_eq(segment->data_device, st.st_dev);
	/* Given up, and still held. */
	ck_assert_int_eq(harness_detach(&conn, &attached), 0);
	harness_await_counts(&conn, "plain", 0, 1);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], 1);
	ck_assert_uint_eq(row->session, 0);
	(void)close(fd);
	harness_await_counts(&conn, "plain", 0, 0);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], 0);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

static int
subscribe(struct harness_conn *conn, uint32_t flags, uint64_t session)
{
	struct protocol_subscribe request = { .flags = flags, .session = session };
	struct harness_reply reply;

	return harness_ask(conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply);
}

START_TEST(a_session_has_a_row_that_says_what_it_is)
{
	struct harness_conn one, two;
	const struct ledger_session *row;

	begin();
	harness_open(&one, daemon_.socket);
	look_after(&one);
	row = find_session(&one);
	ck_assert_uint_eq(row->flags, LEDGER_SESSION_GREETED);
	ck_assert_int_eq(row->pid, getpid());
	ck_assert_uint_eq(row->gid, getegid());
	ck_assert_uint_ne(row->socket_inode, 0);
	ck_assert_uint_eq(row->doing_serial, 0);
	harness_open(&two, daemon_.socket);
	ck_assert_int_eq(subscribe(&two, PROTOCOL_SUBSCRIBE_ON, one.session), 0);
	look_after(&two);
	row = find_session(&two);
	ck_assert_uint_eq(row->flags, LEDGER_SESSION_GREETED | LEDGER_SESSION_SUBSCRIBED);
	ck_assert_uint_eq(row->watched_session, one.session);
	ck_assert_int_eq(subscribe(&two, PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL, 0), 0);
	look_after(&two);
	row = find_session(&two);
	ck_assert_uint_eq(row->flags, LEDGER_SESSION_GREETED | LEDGER_SESSION_SUBSCRIBED | LEDGER_SESSION_SUBSCRIBED_ALL);
	ck_assert_uint_eq(row->watched_session, 0);
	ck_assert_int_eq(subscribe(&two, 0, 0), 0);
	look_after(&two);
	ck_assert_uint_eq(find_session(&two)->flags, LEDGER_SESSION_GREETED);
	/* What is to be done once was begun. */
	ck_assert_int_eq(harness_remove(&two, "plain", ~PROTOCOL_REMOVE_NOW), -EINVAL);
	look();
	ck_assert_uint_eq(find_session(&two)->doing_serial, two.serial);
	harness_close(&two);
	do
		look();
	while (seen.n[LEDGER_SESSION] > 1 && harness_wait(&one, "plain") == PROTOCOL_READY);
	(void)find_session(&one);
	harness_close(&one);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(what_a_client_created_is_told_from_what_is_declared)
{
	struct protocol_attached attached;
	const struct ledger_segment *row;
	struct harness_conn conn;
	uint64_t serial;
	int fd;

	harness_need_root();
	begin();
	harness_open(&conn, daemon_.socket);
	ck_assert_int_eq(harness_create(&conn, "t-x", 10000, &attached, &fd), 0);
	serial = conn.serial;
	look_after(&conn);
	row = find_segment("t-x");
	ck_assert_uint_eq(row->flags, LEDGER_SEGMENT_WAS_ATTACHED);
	ck_assert_uint_eq(row->created_session, conn.session);
	ck_assert_uint_eq(row->created_serial, serial);
	ck_assert_uint_eq(row->charged_bytes, 10000);
	ck_assert_uint_eq(row->charged_uid, geteuid());
	ck_assert_str_eq(seen.templates[row - seen.segments], "t-");
	/* On its way out, then gone. */
	ck_assert_int_eq(harness_remove(&conn, "t-x", 0), 0);
	look();
	ck_assert_uint_eq(find_segment("t-x")->state, PROTOCOL_DRAINING);
	ck_assert_int_eq(harness_remove(&conn, "t-x", PROTOCOL_REMOVE_NOW), 0);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_SEGMENT], 2);
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], 0);
	(void)close(fd);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(a_reload_writes_the_new_definition)
{
	begin();
	look();
	ck_assert_uint_eq(find_segment("plain")->state, PROTOCOL_READY);
	ck_assert_uint_ne(seen.modes[find_segment("plain") - seen.segments], 0604);
	harness_daemon_configure(&daemon_, NULL, "segments = ( { name = \"plain\"; size = \"64KiB\"; mode = \"0604\"; } );\n");
	ck_assert_int_eq(kill(daemon_.pid, SIGHUP), 0);
	harness_daemon_await_log(&daemon_, "reload, asked for by SIGHUP");
	look();
	ck_assert_uint_eq(seen.modes[find_segment("plain") - seen.segments], 0604);
	ck_assert_uint_eq(seen.n[LEDGER_SEGMENT], 1);
	harness_daemon_stop(&daemon_);
}
END_TEST

static void
die_in_a_section(int control, void *arg)
{
	struct harness_segment segment;
	struct harness_conn conn;

	harness_open(&conn, daemon_.socket);
	harness_segment_open(&conn, "safe", &segment);
	harness_assert(control_try(harness_segment_place(&segment, 0).lock, segment.attached.attachment, 0), "the lock is held");
}

START_TEST(a_lock_that_was_recovered_is_counted)
{
	struct harness_segment segment;
	struct harness_child child;
	struct harness_conn conn;
	pid_t pid;

	begin();
	harness_open(&conn, daemon_.socket);
	harness_segment_open(&conn, "safe", &segment);
	harness_child_start(&child, die_in_a_section, NULL);
	pid = child.pid;
	harness_child_await_success(&child);
	do
		look();
	while (!seen.n[LEDGER_LOCK] && harness_wait(&conn, "safe") == PROTOCOL_READY);
	ck_assert_uint_eq(seen.n[LEDGER_LOCK], 1);
	ck_assert_uint_eq(seen.locks[0].generation, segment.attached.generation);
	ck_assert_uint_eq(seen.locks[0].index, 0);
	ck_assert_uint_eq(seen.locks[0].n_recoveries, 1);
	ck_assert_int_eq(seen.locks[0].recovered_pid, pid);
	ck_assert_uint_ne(seen.locks[0].recovered_ns, 0);
	/* It goes with its segment. */
	harness_segment_close(&segment);
	ck_assert_int_eq(harness_remove(&conn, "safe", PROTOCOL_REMOVE_NOW), 0);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_LOCK], 0);
	harness_close(&conn);
	harness_daemon_stop(&daemon_);
}
END_TEST

START_TEST(a_killed_daemon_leaves_all_and_a_stopped_one_nothing)
{
	struct protocol_attached attached;
	struct harness_conn conn;
	char path[128];
	int fd;

	begin();
	harness_open(&conn, daemon_.socket);
	attach(&conn, "plain", &attached, &fd);
	(void)snprintf(path, sizeof(path), "%s/" LEDGER_FILE, daemon_.state);
	harness_daemon_kill(&daemon_);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_SEGMENT], 2);
	ck_assert_uint_eq(seen.n[LEDGER_SESSION], 1);
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], 1);
	(void)close(fd);
	harness_close(&conn);
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon_), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	harness_daemon_remove(&daemon_);
}
END_TEST

/* Fills it to the last byte. Returns the file that does. */
static int
fill(void)
{
	char path[128];
	static const char bytes[4096];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/ballast", daemon_.state);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	while (write(fd, bytes, sizeof(bytes)) > 0)
		;
	ck_assert_int_eq(errno, ENOSPC);
	return fd;
}

/* The rows of the file's last page are had still: so many attachments are handed out, and no more. */
START_TEST(without_room_nothing_is_handed_out_and_the_daemon_goes_on)
{
	struct protocol_attached attached[32];
	struct harness_conn conn, other;
	int fds[BASE_ARRAY_SIZE(attached)], ballast, r = 0;
	size_t n = 0;
	struct harness_reply reply;
	struct protocol_attach request = { .access = WRITE };

	harness_need_root();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
		harness_skip("no mounts of the test's own: %s", strerror(errno));
	harness_daemon_prepare(&daemon_, NULL, body);
	(void)mkdir(daemon_.state, 0700);
	if (mount("tmpfs", daemon_.state, "tmpfs", 0, "size=128k,mode=700"))
		harness_skip("no tmpfs of the test's own: %s", strerror(errno));
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	ballast = fill();
	for (; r == 0 && n < BASE_ARRAY_SIZE(attached); n++)
		r = harness_attach(&conn, "plain", WRITE, &attached[n], &fds[n]);
	n--;
	ck_assert_int_eq(r, -ENOSPC);
	(void)strcpy(request.name, "plain");
	ck_assert_int_eq(harness_ask(&conn, PROTOCOL_ATTACH, &request.header, sizeof(request), &reply), -ENOSPC);
	reply.bytes[reply.size] = '\0';
	ck_assert_ptr_nonnull(strstr((char *)(&reply.header + 1), "segment 'plain' is not handed out: "));
	ck_assert_ptr_nonnull(strstr((char *)(&reply.header + 1), daemon_.state));
	ck_assert_ptr_nonnull(strstr((char *)(&reply.header + 1), "Remedy: make room"));
	/* Whoever comes to look what is the matter is served. */
	harness_open(&other, daemon_.socket);
	ck_assert_int_eq(harness_wait(&other, "plain"), PROTOCOL_READY);
	harness_await_counts(&other, "plain", 0, (unsigned)n);
	harness_daemon_await_log(&daemon_, "is served, but would not survive a restart: ");
	ck_assert_int_eq(ftruncate(ballast, 0), 0);
	r = harness_attach(&conn, "plain", WRITE, &attached[n], &fds[n]);
	ck_assert_int_eq(r, 0);
	look();
	ck_assert_uint_eq(seen.n[LEDGER_ATTACHMENT], n + 1);
	for (size_t i = 0; i <= n; i++)
		(void)close(fds[i]);
	(void)close(ballast);
	harness_close(&other);
	harness_close(&conn);
	ck_assert_int_eq(kill(daemon_.pid, SIGTERM), 0);
	ck_assert_int_eq(harness_daemon_await_exit(&daemon_), 0);
	ck_assert_int_eq(umount(daemon_.state), 0);
	harness_daemon_remove(&daemon_);
}
END_TEST

static Suite *
make_suite(void)
{
	Suite *suite = suite_create("entries");
	TCase *tcase = tcase_create("entries");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, a_segment_that_is_ready_has_a_row_with_its_definition);
	tcase_add_test(tcase, an_attachment_has_a_row_from_its_reply_to_its_end);
	tcase_add_test(tcase, a_session_has_a_row_that_says_what_it_is);
	tcase_add_test(tcase, what_a_client_created_is_told_from_what_is_declared);
	tcase_add_test(tcase, a_reload_writes_the_new_definition);
	tcase_add_test(tcase, a_lock_that_was_recovered_is_counted);
	tcase_add_test(tcase, a_killed_daemon_leaves_all_and_a_stopped_one_nothing);
	tcase_add_test(tcase, without_room_nothing_is_handed_out_and_the_daemon_goes_on);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(void)
{
	return harness_run(make_suite());
}
