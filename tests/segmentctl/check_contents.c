/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `read`, `write` and `create`: bytes go both ways, whole, and never past an end. */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "conf/definition.h"
#include "tests/segmentctl/fake.h"
#include "tests/segmentctl/run.h"
#include "tests/suite_run.h"

#define SIZE	8192

static struct fake fake;
static int memory = -1;			/* the one segment there is: ours and the fake's */

/* Attaches everybody to the memory file; 'locked' is not permitted, 'none' is not there. */
static void
answer(const struct fake_request *request)
{
	struct protocol_attached reply = {
		.generation = 1, .size_bytes = SIZE, .map_bytes = SIZE, .alignment_bytes = 4096, .attachment = 1,
		.access = PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE,
	};
	struct { struct protocol_segment row; uint32_t lengths[2]; uint64_t file[3]; char keys[32]; } shown = { 0 };
	const char *name = request->message.attach.name;
	int fd;

	switch (request->message.header.type) {
	case PROTOCOL_ATTACH:
		if (streq(name, "none")) {
			fake_refuse(request, -ENOENT, "there is no segment 'none'");
			return;
		}
		if (streq(name, "locked")) {
			fake_refuse(request, -EACCES, "'locked' is not for you");
			return;
		}
		reply.access = request->message.attach.access;
		/* fall through */
	case PROTOCOL_CREATE:
		fd = memory;
		fake_reply_fd(request, (char *)&reply + sizeof(reply.header), sizeof(reply) - sizeof(reply.header), fd);
		return;
	case PROTOCOL_SHOW:
		fake_fill_segment(&shown.row, 1, "made");
		shown.row.lifetime = DEFINITION_ATTACHED;
		strcpy(shown.keys, "linger\t\"5s\"\tset\tlive\n");
		shown.lengths[1] = (uint32_t)strlen(shown.keys) + 1;
		fake_reply(request, &shown, offsetof(__typeof__(shown), keys) + shown.lengths[1]);
		return;
	default:
		fake_reply(request, "", 0);
	}
}

static void
start(void)
{
	char bytes[SIZE];

	memory = memfd_create("segment", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	ck_assert_int_ge(memory, 0);
	for (size_t i = 0; i < SIZE; i++)
		bytes[i] = (char)(i * 7);
	ck_assert_int_eq(write(memory, bytes, SIZE), SIZE);
	ck_assert_int_eq(fcntl(memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	fake_start(&fake, answer);
}

static void
stop(void)
{
	fake_stop(&fake);
	close_fd(&memory);
}

static void
load(char bytes[SIZE])
{
	ck_assert_int_eq(pread(memory, bytes, SIZE, 0), SIZE);
}

START_TEST(read_prints_all_or_a_range)
{
	const struct run *run;
	char bytes[SIZE];

	load(bytes);
	run = run_segmentctl("--socket", fake.socket, "read", "a", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_uint_eq(run->out_bytes, SIZE);
	ck_assert_mem_eq(run->out, bytes, SIZE);
	run = run_segmentctl("--socket", fake.socket, "read", "a", "1KiB", "100", NULL);
	ck_assert_uint_eq(run->out_bytes, 100);
	ck_assert_mem_eq(run->out, bytes + 1024, 100);
	run = run_segmentctl("--socket", fake.socket, "read", "a", "8000", NULL);
	ck_assert_uint_eq(run->out_bytes, SIZE - 8000);
	run = run_segmentctl("--socket", fake.socket, "read", "a", "8KiB", "0", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_uint_eq(run->out_bytes, 0);
}
END_TEST

START_TEST(ranges_beyond_the_end_are_refused)
{
	static const char *const ranges[][2] = { { "8193", NULL }, { "8192", "1" }, { "0", "8193" }, { "1", "1024TiB" } };
	const struct run *run;

	for (size_t i = 0; i < BASE_ARRAY_SIZE(ranges); i++) {
		run = run_segmentctl("--socket", fake.socket, "read", "a", ranges[i][0], ranges[i][1], NULL);
		ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
		ck_assert_uint_eq(run->out_bytes, 0);
		ck_assert_ptr_nonnull(strstr(run->err, "8192 bytes"));
	}
	run_set_input("x", 1);
	run = run_segmentctl("--socket", fake.socket, "write", "a", "8193", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
}
END_TEST

START_TEST(write_puts_input_where_it_belongs)
{
	char before[SIZE], after[SIZE];
	const struct run *run;
	bool known;

	load(before);
	run_set_input("hello", 5);
	run = run_segmentctl("--socket", fake.socket, "write", "a", "4KiB", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	memcpy(before + 4096, "hello", 5);
	load(after);
	ck_assert_mem_eq(before, after, SIZE);
	run_set_input("hello", 5);
	run = run_segmentctl("--socket", fake.socket, "--json", "write", "a", NULL);
	ck_assert_ptr_nonnull(strstr(run->out, "\"written\": 5"));
	ck_assert(run_is_json(run->out, &known));
}
END_TEST

START_TEST(write_may_fill_to_the_last_byte_but_not_more)
{
	char before[SIZE], after[SIZE];
	const struct run *run;

	load(before);
	run_set_input("12345678", 8);
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "write", "a", "8184", NULL)->status, SEGMENTCTL_DONE);
	run_set_input("abcdefghi", 9);
	run = run_segmentctl("--socket", fake.socket, "write", "a", "8184", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert_ptr_nonnull(strstr(run->err, "8 bytes were written from offset 8184"));
	memcpy(before + SIZE - 8, "abcdefgh", 8);
	load(after);
	ck_assert_mem_eq(before, after, SIZE);
}
END_TEST

START_TEST(refusals_have_their_status)
{
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "read", "none", NULL)->status, SEGMENTCTL_NO_SEGMENT);
	ck_assert_int_eq(run_segmentctl("--socket", fake.socket, "write", "locked", NULL)->status,
	    SEGMENTCTL_NOT_PERMITTED);
}
END_TEST

START_TEST(create_warns_of_what_does_not_last)
{
	const struct run *run = run_segmentctl("--socket", fake.socket, "create", "made", "8KiB", NULL);
	bool known;

	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert_ptr_nonnull(strstr(run->err, "\"5s\""));
	run = run_segmentctl("--socket", fake.socket, "--json", "create", "made", "8KiB", NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_DONE);
	ck_assert(run_is_json(run->out, &known));
	ck_assert_ptr_nonnull(strstr(run->out, "\"lifetime\": \"attached\""));
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segmentctl-contents");
	TCase *tcase = tcase_create("contents");

	tcase_set_timeout(tcase, 120);
	tcase_add_checked_fixture(tcase, start, stop);
	tcase_add_test(tcase, read_prints_all_or_a_range);
	tcase_add_test(tcase, ranges_beyond_the_end_are_refused);
	tcase_add_test(tcase, write_puts_input_where_it_belongs);
	tcase_add_test(tcase, write_may_fill_to_the_last_byte_but_not_more);
	tcase_add_test(tcase, refusals_have_their_status);
	tcase_add_test(tcase, create_warns_of_what_does_not_last);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
