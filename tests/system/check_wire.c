/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Bytes that no honest client sends, to the real daemon. Whatever comes, its session alone pays for it: it is told why and
 * disconnected, another client is served, and the daemon holds not one descriptor more than before.
 */
#include "config.h"

#include <fcntl.h>

#include "tests/system/suite.h"

/* A way to break the rules: makes the message. Serial 7 follows on those of a session that was greeted. */
struct breach {
	const char *what;
	bool is_greeted;
	const char *said;		/* the farewell's text */
	size_t (*fill)(union suite_request *request);
};

static size_t
break_one_byte(union suite_request *request)
{
	(void)suite_fill_attach(request, 7);
	return 1;
}

static size_t
break_half_a_header(union suite_request *request)
{
	(void)suite_fill_attach(request, 7);
	return sizeof(request->header) / 2;
}

static size_t
break_short_of_its_size(union suite_request *request)
{
	return suite_fill_attach(request, 7) - 1;
}

static size_t
break_beyond_its_size(union suite_request *request)
{
	return suite_fill_attach(request, 7) + 1;
}

static size_t
break_size_of_the_type(union suite_request *request)
{
	return suite_fill(request, PROTOCOL_ATTACH, sizeof(request->attach) - 8, 7);
}

static size_t
break_oversized(union suite_request *request)
{
	return suite_fill(request, PROTOCOL_LIST, PROTOCOL_REQUEST_MAX + 1, 7);
}

static size_t
break_much_oversized(union suite_request *request)
{
	return suite_fill(request, PROTOCOL_LIST, sizeof(request->bytes), 7);
}

static size_t
break_huge_size(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->header.size = UINT32_MAX;
	return size;
}

static size_t
break_reply_flag(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->header.flags = PROTOCOL_REPLY;
	return size;
}

static size_t
break_unknown_flag(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->header.flags = 0x8000;
	return size;
}

static size_t
break_status(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->header.status = -1;
	return size;
}

static size_t
break_header_padding(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->header.zero = 1;
	return size;
}

static size_t
break_detach_padding(union suite_request *request)
{
	size_t size = suite_fill(request, PROTOCOL_DETACH, sizeof(request->detach), 7);

	request->detach.zero = 1;
	return size;
}

static size_t
break_create_padding(union suite_request *request)
{
	size_t size = suite_fill(request, PROTOCOL_CREATE, sizeof(request->create), 7);

	request->create.zero = 1;
	return size;
}

static size_t
break_create_flags(union suite_request *request)
{
	size_t size = suite_fill(request, PROTOCOL_CREATE, sizeof(request->create), 7);

	request->create.flags = 1;
	return size;
}

static size_t
break_remove_padding(union suite_request *request)
{
	size_t size = suite_fill(request, PROTOCOL_REMOVE, sizeof(request->remove), 7);

	request->remove.zero = 1;
	return size;
}

static size_t
break_hello_padding(union suite_request *request)
{
	size_t size = suite_fill_hello(request, 7);

	request->hello.zero = 1;
	return size;
}

static size_t
break_endless_name(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	memset(request->attach.name, 'x', sizeof(request->attach.name));
	return size;
}

static size_t
break_behind_a_name(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	request->attach.name[sizeof(request->attach.name) - 1] = 'x';
	return size;
}

static size_t
break_endless_layout(union suite_request *request)
{
	size_t size = suite_fill_attach(request, 7);

	memset(request->attach.layout, 'x', sizeof(request->attach.layout));
	return size;
}

static size_t
break_behind_a_shown_name(union suite_request *request)
{
	size_t size = suite_fill(request, PROTOCOL_SHOW, sizeof(request->show), 7);

	request->show.name[5] = 'x';
	return size;
}

static size_t
break_serial_zero(union suite_request *request)
{
	return suite_fill_attach(request, 0);
}

static size_t
break_second_hello(union suite_request *request)
{
	return suite_fill_hello(request, 7);
}

static size_t
break_attach_first(union suite_request *request)
{
	return suite_fill_attach(request, 7);
}

static size_t
break_unknown_type_first(union suite_request *request)
{
	return suite_fill(request, 999, sizeof(request->header), 7);
}

static size_t
break_magic(union suite_request *request)
{
	size_t size = suite_fill_hello(request, 7);

	request->hello.magic = 0x53454744;	/* the other byte order's */
	return size;
}

/* Rows of ATTACH_MANY that are good but for what is changed afterwards; says_n of them, and n come. */
static size_t
fill_many(union suite_request *request, uint32_t says_n, uint32_t n, struct protocol_attach_row **ret_rows)
{
	struct protocol_attach_row *rows = (void *)(&request->many + 1);
	size_t size = suite_fill(request, PROTOCOL_ATTACH_MANY, sizeof(request->many) + n * sizeof(*rows), 7);

	request->many.n_rows = says_n;
	for (uint32_t i = 0; i < n; i++)
		rows[i] = (struct protocol_attach_row){ .access = SUITE_READ, .name = "desk" };
	*ret_rows = rows;
	return size;
}

static size_t
break_many_none(union suite_request *request)
{
	struct protocol_attach_row *rows;

	return fill_many(request, 0, 0, &rows);
}

static size_t
break_many_none_said(union suite_request *request)
{
	struct protocol_attach_row *rows;

	return fill_many(request, 0, 1, &rows);
}

static size_t
break_many_no_count(union suite_request *request)
{
	return suite_fill(request, PROTOCOL_ATTACH_MANY, sizeof(request->header), 7);
}

static size_t
break_many_too_many(union suite_request *request)
{
	struct protocol_attach_row *rows;

	return fill_many(request, PROTOCOL_ATTACH_ROWS + 1, PROTOCOL_ATTACH_ROWS + 1, &rows);
}

static size_t
break_many_absurd(union suite_request *request)
{
	struct protocol_attach_row *rows;

	/* As many as bring the size, in 32 bits, round to that of one. */
	return fill_many(request, (UINT32_C(1) << 27) + 1, 1, &rows);
}

static size_t
break_many_fewer(union suite_request *request)
{
	struct protocol_attach_row *rows;

	return fill_many(request, 64, 63, &rows);
}

static size_t
break_many_more(union suite_request *request)
{
	struct protocol_attach_row *rows;

	return fill_many(request, 63, 64, &rows);
}

static size_t
break_many_half_a_row(union suite_request *request)
{
	struct protocol_attach_row *rows;

	(void)fill_many(request, 2, 2, &rows);
	return request->header.size -= sizeof(*rows) / 2;
}

static size_t
break_many_padding(union suite_request *request)
{
	struct protocol_attach_row *rows;
	size_t size = fill_many(request, 2, 2, &rows);

	request->many.zero = 1;
	return size;
}

static size_t
break_many_endless_name(union suite_request *request)
{
	struct protocol_attach_row *rows;
	size_t size = fill_many(request, 64, 64, &rows);

	memset(rows[63].name, 'x', sizeof(rows[63].name));
	return size;
}

static size_t
break_many_behind_a_layout(union suite_request *request)
{
	struct protocol_attach_row *rows;
	size_t size = fill_many(request, 64, 64, &rows);

	rows[63].layout[1] = 'x';
	return size;
}

static size_t
break_many_quiet(union suite_request *request)
{
	struct protocol_attach_row *rows;
	size_t size = fill_many(request, 2, 2, &rows);

	request->header.flags = PROTOCOL_QUIET;
	return size;
}

static size_t
break_many_brief(union suite_request *request)
{
	size_t size = break_many_quiet(request);

	request->header.flags = PROTOCOL_BRIEF;
	return size;
}

static const struct breach breaches[] = {
	{ "one byte", true, "shorter than its header", break_one_byte },
	{ "half a header", true, "shorter than its header", break_half_a_header },
	{ "one byte too few", true, "not the size that its header says", break_short_of_its_size },
	{ "one byte too many", true, "not the size that its header says", break_beyond_its_size },
	{ "another type's size", true, "not the size of its type", break_size_of_the_type },
	{ "one byte more than any request", true, "longer than any request", break_oversized },
	{ "much more than any request", true, "longer than any request", break_much_oversized },
	{ "a size of 4 GiB", true, "not the size that its header says", break_huge_size },
	{ "a reply", true, "bits that requests have not", break_reply_flag },
	{ "an unknown flag", true, "bits that requests have not", break_unknown_flag },
	{ "a status", true, "bits that requests have not", break_status },
	{ "padding of the header", true, "bits that requests have not", break_header_padding },
	{ "padding of DETACH", true, "must be zero", break_detach_padding },
	{ "padding of CREATE", true, "must be zero", break_create_padding },
	{ "flags of CREATE", true, "must be zero", break_create_flags },
	{ "padding of REMOVE", true, "must be zero", break_remove_padding },
	{ "padding of HELLO", false, "must be zero", break_hello_padding },
	{ "a name without an end", true, "does not end", break_endless_name },
	{ "a byte behind a name's end", true, "bytes behind its end", break_behind_a_name },
	{ "a layout without an end", true, "does not end", break_endless_layout },
	{ "a byte behind an empty name", true, "bytes behind its end", break_behind_a_shown_name },
	{ "no row", true, "no rows", break_many_none },
	{ "a row that is not counted", true, "no rows", break_many_none_said },
	{ "no count of rows", true, "not the size of its type", break_many_no_count },
	{ "too many rows", true, "more than its type", break_many_too_many },
	{ "rows without number", true, "more than its type", break_many_absurd },
	{ "a row too few", true, "size of its rows", break_many_fewer },
	{ "a row too many", true, "size of its rows", break_many_more },
	{ "half a row", true, "size of its rows", break_many_half_a_row },
	{ "padding of ATTACH_MANY", true, "must be zero", break_many_padding },
	{ "a row's name without an end", true, "does not end", break_many_endless_name },
	{ "a byte behind a row's layout", true, "bytes behind its end", break_many_behind_a_layout },
	{ "many without a reply", true, "cannot be left out", break_many_quiet },
	{ "many in brief", true, "no brief reply", break_many_brief },
	{ "serial 0", true, "serials must rise", break_serial_zero },
	{ "serial 0 at first", false, "serials must rise", break_serial_zero },
	{ "a second HELLO", true, "HELLO was said already", break_second_hello },
	{ "ATTACH before HELLO", false, "must be HELLO", break_attach_first },
	{ "an unknown type before HELLO", false, "must be HELLO", break_unknown_type_first },
	{ "another magic", false, "not segmentd's", break_magic },
	{ "too much before HELLO", false, "longer than any request", break_much_oversized },
};

START_TEST(who_breaks_a_rule_is_told_and_disconnected)
{
	union suite_request request;
	struct harness_conn conn;
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(breaches); i++) {
		size_t size;

		suite_dial(&scene, &conn, breaches[i].is_greeted);
		size = breaches[i].fill(&request);
		ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, NULL, 0), (ssize_t)size);
		suite_farewell(conn.fd, -EPROTO, breaches[i].said, breaches[i].what);
		harness_close(&conn);
		suite_expect_clean(&scene);
	}
	suite_end(&scene);
}
END_TEST

/* The reason is not lost behind what else the peer had sent by then. */
START_TEST(the_reason_outlives_what_was_sent_behind_the_breach)
{
	union suite_request bad, good;
	struct harness_conn conn;
	struct suite_scene scene;
	size_t size;

	suite_begin(&scene, NULL, suite_desk);
	for (int i = 0; i < 20; i++) {
		suite_dial(&scene, &conn, true);
		size = break_serial_zero(&bad);
		(void)harness_send(conn.fd, bad.bytes, size, NULL, 0);
		size = suite_fill_attach(&good, 8);
		for (int j = 0; j < 8; j++)
			(void)harness_send(conn.fd, good.bytes, size, NULL, 0);
		suite_farewell(conn.fd, -EPROTO, "serials must rise", "a breach with more behind it");
		harness_close(&conn);
	}
	suite_end(&scene);
}
END_TEST

START_TEST(a_serial_that_goes_back_is_refused)
{
	struct protocol_segment rows[4];
	union suite_request request;
	struct harness_conn conn;
	struct suite_scene scene;
	size_t size;

	suite_begin(&scene, NULL, suite_desk);
	harness_open(&conn, scene.daemon.socket);
	conn.serial = 100;
	ck_assert_uint_eq(harness_list(&conn, rows, BASE_ARRAY_SIZE(rows)), 1);
	size = suite_fill_attach(&request, 50);
	(void)harness_send(conn.fd, request.bytes, size, NULL, 0);
	suite_farewell(conn.fd, -EPROTO, "serials must rise", "a serial that goes back");
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

START_TEST(an_empty_message_ends_its_session)
{
	struct harness_conn conn;
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	for (int is_greeted = 0; is_greeted < 2; is_greeted++) {
		suite_dial(&scene, &conn, is_greeted);
		ck_assert_int_eq(harness_send(conn.fd, "", 0, NULL, 0), 0);
		harness_expect_hangup(conn.fd);
		harness_close(&conn);
	}
	suite_end(&scene);
}
END_TEST

START_TEST(unknown_types_are_refused_and_the_session_goes_on)
{
	static const unsigned types[] = { 0, PROTOCOL_TYPE_N, 999, UINT16_MAX };
	union suite_request request;
	struct harness_conn conn;
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	harness_open(&conn, scene.daemon.socket);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(types); i++) {
		struct protocol_segment rows[4];

		memset(&request, 0, sizeof(request));
		suite_refused(&conn, types[i], &request, sizeof(request.header), -EOPNOTSUPP, "is not known");
		/* Whatever size it has, since a later version may know it. */
		suite_refused(&conn, types[i], &request, PROTOCOL_REQUEST_MAX, -EOPNOTSUPP, "is not known");
		ck_assert_uint_eq(harness_list(&conn, rows, BASE_ARRAY_SIZE(rows)), 1);
	}
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

START_TEST(other_versions_are_told_which_one_is_spoken)
{
	static const uint32_t versions[][2] = { { 0, 0 }, { 2, 9 }, { UINT32_MAX, UINT32_MAX }, { 9, 0 } };
	union suite_request request;
	struct harness_conn conn;
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(versions); i++) {
		suite_dial(&scene, &conn, false);
		(void)suite_fill_hello(&request, 1);
		request.hello.version_min = versions[i][0];
		request.hello.version_max = versions[i][1];
		suite_refused(&conn, PROTOCOL_HELLO, &request, sizeof(request.hello), -EPROTONOSUPPORT, "version 1");
		/* It was not greeted: it may say hello in another version, and nothing else. */
		if (i % 2) {
			(void)suite_fill_hello(&request, 0);
			request.hello.version_max = 9;
			ck_assert_int_eq(harness_ask(&conn, PROTOCOL_HELLO, &request.header, sizeof(request.hello),
			    &(struct harness_reply){ 0 }), 0);
		} else {
			size_t size = suite_fill_attach(&request, 9);

			(void)harness_send(conn.fd, request.bytes, size, NULL, 0);
			suite_farewell(conn.fd, -EPROTO, "must be HELLO", "ATTACH without a version");
		}
		harness_close(&conn);
	}
	suite_end(&scene);
}
END_TEST

START_TEST(fds_that_come_along_are_refused_and_not_kept)
{
	union suite_request request;
	struct harness_conn conn;
	struct suite_scene scene;
	int fds[253];

	suite_begin(&scene, NULL, suite_desk);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	for (unsigned n = 1; n <= BASE_ARRAY_SIZE(fds); n += 84) {
		size_t size;

		suite_dial(&scene, &conn, true);
		size = suite_fill_attach(&request, 7);
		ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, fds, n), (ssize_t)size);
		suite_farewell(conn.fd, -EPROTO, "file descriptors were sent along", "fds");
		harness_close(&conn);

		suite_dial(&scene, &conn, false);
		size = suite_fill_hello(&request, 1);
		ck_assert_int_eq(harness_send(conn.fd, request.bytes, size, fds, n), (ssize_t)size);
		suite_farewell(conn.fd, -EPROTO, "file descriptors were sent along", "fds with HELLO");
		harness_close(&conn);
		suite_expect_clean(&scene);
	}
	suite_end(&scene);
}
END_TEST

START_TEST(a_repeated_removal_is_answered_again_and_done_once)
{
	struct harness_conn conn;
	struct protocol_segment row;
	struct suite_scene scene;

	suite_begin(&scene, NULL, suite_desk);
	harness_open(&conn, scene.daemon.socket);
	ck_assert_int_eq(harness_create(&conn, "scratch-a", 4096, NULL, NULL), 0);
	ck_assert_int_eq(harness_remove(&conn, "scratch-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-a", 4096, NULL, NULL), 0);
	conn.serial--;
	ck_assert_int_eq(harness_remove(&conn, "scratch-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_find(&scene.watcher, "scratch-a", &row), 0);
	ck_assert_uint_eq(row.state, PROTOCOL_READY);
	/* Under a new serial it is a new one. */
	ck_assert_int_eq(harness_remove(&conn, "scratch-a", PROTOCOL_REMOVE_NOW), 0);
	ck_assert_int_eq(harness_find(&scene.watcher, "scratch-a", &row), -ENOENT);

	/* A refusal is repeated, too. */
	ck_assert_int_eq(harness_remove(&conn, "scratch-b", 0), -ENOENT);
	ck_assert_int_eq(harness_create(&scene.watcher, "scratch-b", 4096, NULL, NULL), 0);
	conn.serial--;
	ck_assert_int_eq(harness_remove(&conn, "scratch-b", 0), -ENOENT);
	ck_assert_int_eq(harness_remove(&conn, "scratch-b", PROTOCOL_REMOVE_NOW), 0);
	harness_close(&conn);
	suite_end(&scene);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("wire");
	TCase *tcase = tcase_create("wire");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, who_breaks_a_rule_is_told_and_disconnected);
	tcase_add_test(tcase, the_reason_outlives_what_was_sent_behind_the_breach);
	tcase_add_test(tcase, a_serial_that_goes_back_is_refused);
	tcase_add_test(tcase, an_empty_message_ends_its_session);
	tcase_add_test(tcase, unknown_types_are_refused_and_the_session_goes_on);
	tcase_add_test(tcase, other_versions_are_told_which_one_is_spoken);
	tcase_add_test(tcase, fds_that_come_along_are_refused_and_not_kept);
	tcase_add_test(tcase, a_repeated_removal_is_answered_again_and_done_once);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
