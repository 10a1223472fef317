/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * One user asks who has each of five hundred segments, which is more than a few looks have room for, and another asks about one: that
 * one is in the next look. The test plays segmentd-audit, and so sees what each look is about.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "host/audit.h"
#include "tests/system/suite.h"

#define SEGMENTS	520		/* two looks and some */
#define ANOTHER		(HARNESS_NOBODY - 1)

static struct harness_daemon daemon_;
static int listening, asked_by = -1;
static union {
	struct audit_question header;
	struct {
		struct audit_question question;
		struct audit_object objects[];
	} who;
	char bytes[AUDIT_MESSAGE_BYTES];
} asked;

/* The test as segmentd-audit. */

static void
listen_as_audit(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", daemon_.audit);
	listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	harness_assert(bind(listening, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(listening, 8) == 0,
	    "%s: %s", daemon_.audit, strerror(errno));
}

/* It saw nobody, and not all: so nothing is looked at again. */
static void
answer(void)
{
	const struct audit_answer nothing = {
		.version = AUDIT_VERSION, .kind = asked.header.kind, .serial = asked.header.serial, .flags = AUDIT_INCOMPLETE,
		.row_size = asked.header.kind == AUDIT_WHO ? sizeof(struct audit_holder) : sizeof(struct audit_stray), .n_hidden = 1,
	};

	ck_assert_int_eq(send(asked_by, &nothing, sizeof(nothing), MSG_NOSIGNAL), sizeof(nothing));
}

/* The next question about who has something. What else the daemon wants to know is answered on the way. */
static void
hear_who(void)
{
	ssize_t n;

	for (;;) {
		if (asked_by < 0) {
			harness_await_readable(listening, "a connection to segmentd-audit");
			asked_by = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
			ck_assert_int_ge(asked_by, 0);
		}
		harness_await_readable(asked_by, "a question");
		n = recv(asked_by, &asked, sizeof(asked), 0);
		if (n <= 0) {
			close_fd(&asked_by);
			continue;
		}
		ck_assert_int_ge(n, sizeof(asked.header));
		if (asked.header.kind == AUDIT_WHO)
			return;
		answer();
	}
}

static bool
is_asked_about(int fd)
{
	struct stat status;

	ck_assert_int_eq(fstat(fd, &status), 0);
	for (uint32_t i = 0; i < asked.header.n_rows; i++)
		if (asked.who.objects[i].inode == status.st_ino && asked.who.objects[i].device == status.st_dev)
			return true;
	return false;
}

/* Who asks. */

static void
ask_about(struct harness_conn *conn, const char *name)
{
	struct protocol_who request = { 0 };

	(void)snprintf(request.name, sizeof(request.name), "%s", name);
	harness_open(conn, daemon_.socket);
	harness_fill(conn, &request.header, PROTOCOL_WHO, sizeof(request));
	ck_assert_int_eq(harness_send(conn->fd, &request, sizeof(request), NULL, 0), sizeof(request));
}

static void
ask_about_all(int control, void *arg)
{
	static struct harness_conn conns[SEGMENTS];
	char name[16];

	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	for (int i = 0; i < SEGMENTS; i++) {
		(void)snprintf(name, sizeof(name), "s%d", i);
		ask_about(&conns[i], name);
	}
	harness_say(control, "asked");
	harness_expect(control, "end");
}

static void
ask_about_book(int control, void *arg)
{
	struct harness_reply reply;
	struct harness_conn conn;

	harness_become(ANOTHER, ANOTHER, NULL, 0);
	ask_about(&conn, "book");
	harness_say(control, "asked");
	ck_assert_int_gt(harness_receive(conn.fd, &reply), 0);
	ck_assert_int_eq(reply.header.status, 0);
	harness_say(control, "told");
}

/* Users take turns: what another one had asked for by then was looked at by the daemon. */
static void
let_turns_pass(struct harness_conn *conn, int n)
{
	struct protocol_show request = { .name = "book" };
	struct harness_reply reply;

	while (n-- > 0)
		ck_assert_int_eq(harness_ask(conn, PROTOCOL_SHOW, &request.header, sizeof(request), &reply), 0);
}

static void
define(char *text, size_t size)
{
	size_t n = (size_t)snprintf(text, size, "segments = ( { name = \"book\"; size = \"4KiB\"; mlock = false; prefault = false; "
	    "mode = \"0666\"; }");

	for (int i = 0; i < SEGMENTS; i++)
		n += (size_t)snprintf(text + n, size - n, ", { name = \"s%d\"; size = \"4KiB\"; mlock = false; prefault = false; "
		    "mode = \"0666\"; }", i);
	(void)snprintf(text + n, size - n, " );\n");
}

START_TEST(who_asks_about_hundreds_delays_nobody)
{
	static char text[SEGMENTS * 128];
	struct harness_child crowd, another;
	struct harness_conn conn;
	uint32_t n;
	int fd;

	harness_need_root();
	define(text, sizeof(text));
	harness_daemon_prepare(&daemon_, "memory_reserve = \"16MiB\"; workers = 1; limits = { clients = 4096; };", text);
	listen_as_audit();
	harness_daemon_launch(&daemon_);
	harness_daemon_await_ready(&daemon_);
	harness_open(&conn, daemon_.socket);
	fd = suite_attach(&conn, "book", SUITE_READ);
	harness_child_start(&crowd, ask_about_all, NULL);
	hear_who();
	harness_expect(crowd.control, "asked");
	let_turns_pass(&conn, SEGMENTS);
	harness_child_start(&another, ask_about_book, NULL);
	harness_expect(another.control, "asked");
	let_turns_pass(&conn, 2);
	ck_assert(!is_asked_about(fd));
	n = asked.header.n_rows;
	answer();
	hear_who();
	harness_assert(is_asked_about(fd), "the next look is at %u others", asked.header.n_rows);
	answer();
	harness_expect(another.control, "told");
	harness_child_await_success(&another);
	/* What the others wait for comes, too. */
	for (n += asked.header.n_rows; n < SEGMENTS + 1; n += asked.header.n_rows) {
		hear_who();
		answer();
	}
	harness_say(crowd.control, "end");
	harness_child_await_success(&crowd);
	(void)close(fd);
	harness_close(&conn);
	(void)close(listening);
	close_fd(&asked_by);
	harness_daemon_stop(&daemon_);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("whoturns");
	TCase *tcase = tcase_create("whoturns");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_asks_about_hundreds_delays_nobody);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
