/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is no question is told so and believed no further; who may not ask is refused; and it ends when nobody asks. */
#include "config.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#include "tests/audit/rig.h"

static union {
	struct audit_question question;
	struct {
		struct audit_question head;
		union {
			struct audit_candidate candidates[2];
			struct audit_object objects[2];
		};
	};
	char bytes[AUDIT_MESSAGE_BYTES + 1000];
} message;

static union {
	struct audit_answer head;
	char bytes[AUDIT_MESSAGE_BYTES];
} answer;

static void
setup(void)
{
	rig_start();
	memset(&message, 0, sizeof(message));
	message.question = (struct audit_question) { .version = AUDIT_VERSION, .kind = AUDIT_JUDGE, .serial = 4711 };
}

/* Its answer's size; 0: it has hung up. */
static size_t
ask(size_t size)
{
	ssize_t n;

	/* More than its buffer may be full already. */
	ck_assert_int_eq(fcntl(rig.fd, F_SETFL, 0), 0);
	ck_assert_int_eq(send(rig.fd, &message, size, MSG_NOSIGNAL), (ssize_t)size);
	n = recv(rig.fd, &answer, sizeof(answer), 0);
	ck_assert(n >= 0 || errno == ECONNRESET);
	return n > 0 ? (size_t)n : 0;
}

static int
await_end(void)
{
	int status;

	status = harness_await_state(rig.pid, 0, "segmentd-audit's end");
	close_fd(&rig.fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* It is told that it is none, and why, and nothing else is taken from it. */
static void
expect_no_question(size_t size, const char *text)
{
	ck_assert_uint_eq(ask(size), sizeof(answer.head));
	ck_assert_int_eq(answer.head.result, -EPROTO);
	ck_assert_uint_eq(answer.head.n_rows, 0);
	ck_assert_uint_eq(answer.head.flags, 0);
	ck_assert_msg(strstr(answer.head.text, text), "the text is '%s'", answer.head.text);
	ck_assert_int_eq(await_end(), 1);
}

static void
set_candidate(const char *name)
{
	message.head.n_rows = 1;
	message.candidates[0] = (struct audit_candidate) { .what = AUDIT_POSIX, .shm_id = -1 };
	(void)snprintf(message.candidates[0].name, sizeof(message.candidates[0].name), "%s", name);
}

#define ONE	(sizeof(message.head) + sizeof(message.candidates[0]))

START_TEST(message_of_a_wrong_size_is_no_question)
{
	static const size_t sizes[] = { 1, sizeof(struct audit_question) - 1, AUDIT_MESSAGE_BYTES + 1, sizeof(message) };

	expect_no_question(sizes[_i], "bytes");
}
END_TEST

START_TEST(numbers_of_rows_that_do_not_fit_are_refused)
{
	static const struct {
		uint32_t kind, n_rows;
		size_t size;
	} cases[] = {
		{ AUDIT_JUDGE, 2, ONE },
		{ AUDIT_JUDGE, 0, ONE },
		{ AUDIT_JUDGE, 1, ONE - 1 },
		{ AUDIT_JUDGE, 1, ONE + 1 },
		{ AUDIT_JUDGE, UINT32_MAX, ONE },
		{ AUDIT_LIST, 1, sizeof(struct audit_question) },
		{ AUDIT_LIST, 0, sizeof(struct audit_question) + 8 },
		{ AUDIT_WHO, 1u << 31, sizeof(struct audit_question) },
	};

	set_candidate("object");
	message.head.kind = cases[_i].kind;
	message.head.n_rows = cases[_i].n_rows;
	expect_no_question(cases[_i].size, "rows");
}
END_TEST

START_TEST(names_that_lead_elsewhere_are_refused)
{
	static const char *const names[] = { "", ".", "..", "a/b", "/etc/passwd", "../../etc/passwd" };

	set_candidate(names[_i]);
	expect_no_question(ONE, "a row");
}
END_TEST

START_TEST(name_without_an_end_is_refused)
{
	set_candidate("");
	memset(message.candidates[0].name, 'a', sizeof(message.candidates[0].name));
	expect_no_question(ONE, "a row");
}
END_TEST

static void
spoil(int how)
{
	set_candidate("object");
	switch (how) {
	case 0:
		message.candidates[0].what = 0;
		break;
	case 1:
		message.candidates[0].what = 3;
		break;
	case 2:
		message.candidates[0].zero = 1;
		break;
	case 3:
		message.candidates[0].flags = 2;
		break;
	case 4:
		message.candidates[0].what = AUDIT_SYSV;
		break;
	default:
		message.head.flags = AUDIT_QUESTION_POSIX;
	}
}

START_TEST(rows_that_are_none_are_refused)
{
	spoil(_i);
	expect_no_question(ONE, _i == 5 ? "flags" : "a row");
}
END_TEST

START_TEST(objects_that_are_none_are_refused)
{
	message.head.kind = AUDIT_WHO;
	message.head.n_rows = 1;
	message.objects[0] = (struct audit_object) { .inode = 1, .shm_id = _i == 0 ? 7 : -1, .zero = _i == 1 };
	if (_i == 2)
		message.objects[0].shm_id = -2;
	expect_no_question(sizeof(message.head) + sizeof(message.objects[0]), "a row");
}
END_TEST

/* Not malformed: a newer asker may try. */
START_TEST(unknown_kinds_and_versions_are_answered_politely)
{
	message.head.kind = 99;
	ck_assert_uint_eq(ask(sizeof(message.head)), sizeof(answer.head));
	ck_assert_int_eq(answer.head.result, -EOPNOTSUPP);
	ck_assert_uint_eq(answer.head.serial, 4711);
	message.head.kind = 0;
	ck_assert_uint_eq(ask(sizeof(message.head)), sizeof(answer.head));
	ck_assert_int_eq(answer.head.result, -EOPNOTSUPP);
	message.head.version = AUDIT_VERSION + 1;
	ck_assert_uint_eq(ask(sizeof(message.head)), sizeof(answer.head));
	ck_assert_int_eq(answer.head.result, -EPROTONOSUPPORT);
	ck_assert_ptr_nonnull(strstr(answer.head.text, "version"));
	message.head = (struct audit_question) { .version = AUDIT_VERSION, .kind = AUDIT_LIST };
	ck_assert_uint_eq(ask(sizeof(message.head)), sizeof(answer.head));
	ck_assert_int_eq(answer.head.result, 0);
	rig_stop();
}
END_TEST

START_TEST(descriptors_that_come_along_are_dropped)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct iovec iov = { .iov_base = &message, .iov_len = sizeof(message.head) };
	struct msghdr header = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	int ends[2], devnull = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char byte;

	ck_assert_int_ge(devnull, 0);
	ck_assert_int_eq(pipe2(ends, O_CLOEXEC), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &ends[1], sizeof(int));
	message.head.kind = AUDIT_LIST;
	ck_assert_int_eq(fcntl(rig.fd, F_SETFL, 0), 0);
	ck_assert_int_eq(sendmsg(rig.fd, &header, MSG_NOSIGNAL), (ssize_t)sizeof(message.head));
	ck_assert_int_gt(recv(rig.fd, &answer, sizeof(answer), 0), 0);
	/* Nobody has the pipe's other end any more. */
	(void)close(ends[1]);
	ck_assert_int_eq(read(ends[0], &byte, 1), 0);
	rig_stop();
}
END_TEST

START_TEST(asker_that_hangs_up_before_the_answer_ends_it)
{
	message.head.kind = AUDIT_LIST;
	message.head.flags = AUDIT_QUESTION_POSIX;
	ck_assert_int_gt(send(rig.fd, &message, sizeof(message.head), MSG_NOSIGNAL), 0);
	rig_stop();
}
END_TEST

/* Started otherwise. */

static int
run(int input, uid_t uid)
{
	pid_t pid = harness_fork();
	int status;

	if (pid == 0) {
		int null = open("/dev/null", O_RDWR);

		if (uid)
			harness_become(uid, uid, NULL, 0);
		(void)dup2(input >= 0 ? input : null, STDIN_FILENO);
		(void)dup2(null, STDERR_FILENO);
		(void)execl(rig_program, rig_program, (char *)NULL);
		_exit(127);
	}
	status = harness_await_state(pid, 0, "segmentd-audit's end");
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(without_a_connection_it_says_so)
{
	int ends[2];

	ck_assert_int_eq(run(-1, 0), 2);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	ck_assert_int_eq(run(ends[1], 0), 2);
	rig_stop();
}
END_TEST

/* A connection as systemd's Accept=yes makes it, of a socket with this mode and group, and a peer. */
static int
run_for(mode_t mode, gid_t group, uid_t peer_uid, const gid_t *groups, size_t n_groups)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/check-question-XXXXXX";
	int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), fd, status, asked;
	pid_t pid;

	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(chown(address.sun_path, 0, group), 0);
	ck_assert_int_eq(chmod(address.sun_path, mode), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	pid = harness_fork();
	if (pid == 0) {
		harness_become(peer_uid, peer_uid, groups, n_groups);
		fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
		harness_assert(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s", strerror(errno));
		_exit(0);
	}
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	ck_assert_int_ge(fd, 0);
	status = harness_await_state(pid, 0, "segmentd-audit's end");
	ck_assert_int_eq(status, 0);
	/* The peer is gone: whoever is let in finds the connection at its end. */
	asked = run(fd, 0);
	(void)close(fd);
	(void)close(listener);
	(void)unlink(address.sun_path);
	(void)rmdir(dir);
	return asked;
}

START_TEST(only_root_and_the_sockets_group_may_ask)
{
	const gid_t staff = 50, others = 51;

	harness_need_root();
	ck_assert_int_eq(run_for(0660, staff, HARNESS_NOBODY, &staff, 1), 0);
	ck_assert_int_eq(run_for(0600, others, 0, NULL, 0), 0);
	/* A mode that lets everybody in does not. */
	ck_assert_int_eq(run_for(0666, staff, HARNESS_NOBODY, &others, 1), 1);
	ck_assert_int_eq(run_for(0666, staff, HARNESS_NOBODY, NULL, 0), 1);
	/* Nor is a group meant that may not connect by its own right. */
	ck_assert_int_eq(run_for(0606, staff, HARNESS_NOBODY, &others, 1), 1);
	ck_assert_int_eq(run_for(0660, HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0), 0);
	rig_stop();
}
END_TEST

/* The program, with rights of its file's that who starts it has not. */
static void
copy_program(const char *to)
{
	struct vfs_cap_data rights = {
		.magic_etc = htole32(VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE),
		.data[0].permitted = htole32(1u << CAP_FOWNER | 1u << CAP_LEASE),
	};
	int in = open(rig_program, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	char piece[65536];
	ssize_t n;

	ck_assert(in >= 0 && out >= 0);
	while ((n = read(in, piece, sizeof(piece))) > 0)
		ck_assert_int_eq(write(out, piece, (size_t)n), n);
	ck_assert_int_eq(fchmod(out, 0755), 0);
	if (fsetxattr(out, "security.capability", &rights, sizeof(rights), 0))
		harness_skip("no capabilities of files: %s", strerror(errno));
	(void)close(in);
	(void)close(out);
}

/* An unprivileged user starts it, and asks it. 1: it was answered. */
static int
ask_as_nobody(const char *program)
{
	int status;
	pid_t pid = harness_fork();

	if (pid == 0) {
		harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
		harness_assert(setenv("SEGMENTD_AUDIT", program, 1) == 0, "setenv: %s", strerror(errno));
		rig.fd = audit_open(NULL, &rig.pid);
		harness_assert(rig.fd >= 0, "audit_open: %s", strerror(-rig.fd));
		harness_assert(fcntl(rig.fd, F_SETFL, 0) == 0, "fcntl: %s", strerror(errno));
		(void)send(rig.fd, &message, sizeof(message.question), MSG_NOSIGNAL);
		_exit(recv(rig.fd, &answer, sizeof(answer), 0) > 0);
	}
	status = harness_await_state(pid, 0, "segmentd-audit's end");
	ck_assert(WIFEXITED(status));
	return WEXITSTATUS(status);
}

START_TEST(rights_of_its_file_are_not_lent_to_whoever_starts_it)
{
	char dir[] = "/tmp/check-question-XXXXXX", path[64];

	harness_need_root();
	ck_assert_ptr_nonnull(mkdtemp(dir));
	ck_assert_int_eq(chmod(dir, 0755), 0);
	(void)snprintf(path, sizeof(path), "%s/audit", dir);
	copy_program(path);
	ck_assert_int_eq(ask_as_nobody(path), 0);
	ck_assert_int_eq(removexattr(path, "security.capability"), 0);
	ck_assert_int_eq(ask_as_nobody(path), 1);
	(void)unlink(path);
	(void)rmdir(dir);
	rig_stop();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("question");
	TCase *tests = tcase_create("question");

	tcase_set_timeout(tests, HARNESS_TEST_TIMEOUT_S);
	tcase_add_checked_fixture(tests, setup, NULL);
	tcase_add_loop_test(tests, message_of_a_wrong_size_is_no_question, 0, 4);
	tcase_add_loop_test(tests, numbers_of_rows_that_do_not_fit_are_refused, 0, 8);
	tcase_add_loop_test(tests, names_that_lead_elsewhere_are_refused, 0, 6);
	tcase_add_test(tests, name_without_an_end_is_refused);
	tcase_add_loop_test(tests, rows_that_are_none_are_refused, 0, 6);
	tcase_add_loop_test(tests, objects_that_are_none_are_refused, 0, 3);
	tcase_add_test(tests, unknown_kinds_and_versions_are_answered_politely);
	tcase_add_test(tests, descriptors_that_come_along_are_dropped);
	tcase_add_test(tests, asker_that_hangs_up_before_the_answer_ends_it);
	tcase_add_test(tests, without_a_connection_it_says_so);
	tcase_add_test(tests, only_root_and_the_sockets_group_may_ask);
	tcase_add_test(tests, rights_of_its_file_are_not_lent_to_whoever_starts_it);
	suite_add_tcase(suite, tests);
	return harness_run(suite);
}
