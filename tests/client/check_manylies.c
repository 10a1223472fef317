/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that lies in its answer for many segments: whatever it says, the library returns an error, has nothing attached,
 * leaks no fd and no mapping, and attaches through a new connection afterwards.
 */
#include "config.h"

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/suite_run.h"

#define N	5

/* A good answer for N segments, before it is spoilt. */
struct answer_many {
	struct protocol_attached_many many;
	struct protocol_attached rows[N];
	char behind[64];
	size_t size;
	int fds[PROTOCOL_FDS_MAX + 8];
	unsigned n_fds;
};

struct lie {
	const char *name;
	void (*spoil)(struct answer_many *answer);
	int r;
	const char *sentence;
	size_t who;			/* the request that is named; N: none alone */
	bool keeps;			/* the connection stays */
};

static void
add_fds(struct answer_many *answer, unsigned n)
{
	while (n-- > 0)
		answer->fds[answer->n_fds++] = fake_object(FAKE_SIZE);
}

#define LIE(lie_name, change)				\
static void						\
lie_name(struct answer_many *answer)			\
{							\
	change;						\
}

LIE(lie_fewer_rows, answer->many.n_rows = N - 1)
LIE(lie_more_rows, answer->many.n_rows = N + 1)
LIE(lie_absurd_rows, answer->many.n_rows = UINT32_MAX)
LIE(lie_fds_said, answer->many.n_fds++)
LIE(lie_more, answer->many.header.flags |= PROTOCOL_MORE)
LIE(lie_padding, answer->many.header.row = 1)
LIE(lie_header_alone, answer->size = sizeof(struct protocol_header))
LIE(lie_no_rows, answer->size = sizeof(answer->many))
LIE(lie_cut_off, answer->size -= 8)
LIE(lie_row_small, answer->rows[2].header.size -= 8)
LIE(lie_row_none, answer->rows[2].header.size = 0)
LIE(lie_row_large, answer->rows[2].header.size = UINT32_MAX)
LIE(lie_row_swallows, answer->rows[2].header.size += sizeof(answer->rows[3]))
LIE(lie_row_type, answer->rows[2].header.type = PROTOCOL_ATTACH_MANY)
LIE(lie_row_flags, answer->rows[2].header.flags |= PROTOCOL_PUSHED)
LIE(lie_row_status, answer->rows[2].header.status = -EACCES)
LIE(lie_row_map, answer->rows[3].map_bytes = FAKE_SIZE + 4096)
LIE(lie_row_access, answer->rows[4].access = PROTOCOL_ACCESS_READ)
LIE(lie_row_locks, answer->rows[1].n_locks = 1)
LIE(lie_row_more, answer->rows[1].header.flags |= PROTOCOL_MORE)
LIE(lie_behind, answer->size += 8)
LIE(lie_locks_shift, answer->rows[0].n_locks = 1; add_fds(answer, 1); answer->many.n_fds++)
LIE(lie_one_fd_more, add_fds(answer, 1); answer->many.n_fds++)
LIE(lie_two_fds_more, add_fds(answer, 2); answer->many.n_fds += 2)
LIE(lie_many_fds, add_fds(answer, 8); answer->many.n_fds += 8)
LIE(lie_fd_less, (void)close(answer->fds[--answer->n_fds]); answer->many.n_fds--)

static void
lie_no_fds(struct answer_many *answer)
{
	while (answer->n_fds > 0)
		(void)close(answer->fds[--answer->n_fds]);
	answer->many.n_fds = 0;
}

static void
lie_row_pipe(struct answer_many *answer)
{
	int ends[2];

	fake_assert(pipe(ends) == 0);
	(void)close(answer->fds[3]);
	(void)close(ends[1]);
	answer->fds[3] = ends[0];
}

static void
refusal(struct answer_many *answer, uint32_t row)
{
	lie_no_fds(answer);
	answer->many.header.status = -EACCES;
	answer->many.header.row = row;
	answer->size = sizeof(struct protocol_header) + 8;
	memcpy((char *)&answer->many + sizeof(struct protocol_header), "not you", 8);
}

LIE(refuse_third, refusal(answer, 3))
LIE(refuse_none, refusal(answer, 0))
LIE(refuse_absurd, refusal(answer, N + 1))
LIE(refuse_last_of_all, refusal(answer, UINT32_MAX))

static const struct lie lies[] = {
	{ "fewer rows", lie_fewer_rows, -EPROTO, "fewer or more attachments", N },
	{ "more rows", lie_more_rows, -EPROTO, "fewer or more attachments", N },
	{ "rows without number", lie_absurd_rows, -EPROTO, "fewer or more attachments", N },
	{ "fds that are not there", lie_fds_said, -EPROTO, "fewer or more fds", N },
	{ "more", lie_more, -EPROTO, "more are said", N },
	{ "padding", lie_padding, -EPROTO, "no reply", N },
	{ "header alone", lie_header_alone, -EPROTO, "too short", N },
	{ "no rows", lie_no_rows, -EPROTO, "cut off", 0 },
	{ "cut off", lie_cut_off, -EPROTO, "cut off", 4 },
	{ "small row", lie_row_small, -EPROTO, "larger or smaller", 2 },
	{ "row of nothing", lie_row_none, -EPROTO, "larger or smaller", 2 },
	{ "large row", lie_row_large, -EPROTO, "larger or smaller", 2 },
	{ "row that swallows another", lie_row_swallows, -EPROTO, "has no locks", 2 },
	{ "type of a row", lie_row_type, -EPROTO, "none of a good answer", 2 },
	{ "flags of a row", lie_row_flags, -EPROTO, "none of a good answer", 2 },
	{ "status of a row", lie_row_status, -EPROTO, "none of a good answer", 2 },
	{ "map of a row", lie_row_map, -EPROTO, "smaller than", 3 },
	{ "access of a row", lie_row_access, -EPROTO, "access", 4 },
	{ "locks of a row", lie_row_locks, -EPROTO, "rows of locks", 1 },
	{ "more of a row without locks", lie_row_more, -EPROTO, "has no locks", 1 },
	{ "bytes behind", lie_behind, -EPROTO, "left behind", 4 },
	{ "an fd for locks that are not there", lie_locks_shift, -EPROTO, "rows of locks", 0 },
	{ "one fd more", lie_one_fd_more, -EPROTO, "has no locks", 4 },
	{ "two fds more", lie_two_fds_more, -EPROTO, "more fds came", 4 },
	{ "fds beyond all", lie_many_fds, -EPROTO, "nobody asked for", N },
	{ "an fd less", lie_fd_less, -EPROTO, "no fd came", 4 },
	{ "no fds", lie_no_fds, -EPROTO, "no fd came", 0 },
	{ "a pipe", lie_row_pipe, -EPROTO, "no memory object", 3 },
	{ "refused", refuse_third, -EACCES, "not you", 2, .keeps = true },
	{ "refused without a row", refuse_none, -EACCES, "not you", N, .keeps = true },
	{ "refused for a row beyond", refuse_absurd, -EPROTO, "refused row 6 of 5", N },
	{ "refused for an absurd row", refuse_last_of_all, -EPROTO, "refused row", N },
};

/* What a good daemon answers. */
static void
answer_well(const struct fake_request *request, struct answer_many *answer)
{
	const struct protocol_attach_many *many = (const void *)request;
	const struct protocol_attach_row *rows = (const void *)(many + 1);

	fake_assert(many->n_rows == N && many->zero == 0);
	fake_assert(request->header.size == sizeof(*many) + N * sizeof(*rows));
	memset(answer, 0, sizeof(*answer));
	answer->many = (struct protocol_attached_many){ .header = request->header, .n_rows = N, .n_fds = N };
	answer->many.header.flags = PROTOCOL_REPLY;
	for (unsigned i = 0; i < N; i++) {
		answer->rows[i] = fake_attached(request);
		answer->rows[i].header.type = PROTOCOL_ATTACH;
		answer->rows[i].attachment = i + 1;
		fake_assert(answer->rows[i].access == rows[i].access && rows[i].name[0] == (char)('a' + i));
	}
	add_fds(answer, N);
	answer->size = offsetof(struct answer_many, behind);
}

static void
send_answer(int fd, struct answer_many *answer)
{
	answer->many.header.size = (uint32_t)answer->size;
	fake_send(fd, answer, answer->size, answer->fds, answer->n_fds);
	while (answer->n_fds > 0)
		(void)close(answer->fds[--answer->n_fds]);
}

static void
tell_lie(int listen_fd, void *arg)
{
	const struct lie *lie = arg;
	struct fake_request request;
	struct answer_many answer;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH_MANY, &request);
	answer_well(&request, &answer);
	lie->spoil(&answer);
	send_answer(fd, &answer);
	if (!lie->keeps) {
		while (fake_receive(fd, &request))
			continue;
		(void)close(fd);
		fd = fake_accept(listen_fd);
	}
	fake_expect(fd, PROTOCOL_ATTACH_MANY, &request);
	answer_well(&request, &answer);
	send_answer(fd, &answer);
	while (fake_receive(fd, &request))
		fake_assert(request.header.type == PROTOCOL_DETACH);
}

static void
fill(struct segment_request *requests)
{
	static const char *const names[N] = { "a", "b", "c", "d", "e" };

	for (size_t i = 0; i < N; i++)
		requests[i] = (struct segment_request){ .name = names[i], .flags = SEGMENT_WRITE, .error = 1 };
}

START_TEST(lie_is_an_error_and_leaves_nothing)
{
	struct lie lie = lies[_i];
	struct segment_request requests[N];
	struct segment_client *client;
	struct fake fake;
	unsigned n_fds, n_mappings;
	int r;

	fake_start(&fake, tell_lie, &lie);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	n_mappings = count_mappings();
	fill(requests);
	r = segment_attach_many(client, requests, N);
	ck_assert_msg(r == lie.r, "%s: %d, not %d: %s", lie.name, r, lie.r, segment_error());
	ck_assert_msg(strstr(segment_error(), lie.sentence), "%s: '%s'", lie.name, segment_error());
	for (size_t i = 0; i < N; i++)
		ck_assert_msg(!requests[i].segment && requests[i].error == (i == lie.who || lie.who == N ? r : -ECANCELED),
		    "%s: request %zu has %d", lie.name, i, requests[i].error);
	ck_assert_msg(count_fds() == n_fds - (lie.keeps ? 0 : 1), "%s: %u fds, %u before", lie.name, count_fds(), n_fds);
	ck_assert_uint_eq(count_mappings(), n_mappings);

	fill(requests);
	ck_assert_int_eq(segment_attach_many(client, requests, N), 0);
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(segment_detach(requests[i].segment), 0);
	segment_disconnect(client);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	fake_stop(&fake);
}
END_TEST

/* A daemon that is restarted while the request is under way: the new one is asked. */
static void
restart(int listen_fd, void *arg)
{
	struct fake_request request;
	struct answer_many answer;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH_MANY, &request);
	(void)close(fd);
	fd = fake_accept(listen_fd);
	fake_expect(fd, PROTOCOL_ATTACH_MANY, &request);
	answer_well(&request, &answer);
	send_answer(fd, &answer);
	while (fake_receive(fd, &request))
		continue;
}

START_TEST(a_restart_is_survived)
{
	struct segment_request requests[N];
	struct segment_client *client;
	struct fake fake;

	fake_start(&fake, restart, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	fill(requests);
	ck_assert_int_eq(segment_attach_many(client, requests, N), 0);
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(segment_detach(requests[i].segment), 0);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

START_TEST(arguments_are_checked_before_anybody_is_asked)
{
	struct segment_request requests[N];
	struct segment_client *client;

	ck_assert_int_eq(client_new("/nonexistent/socket", &client), 0);
	fill(requests);
	ck_assert_int_eq(segment_attach_many(NULL, requests, N), -EINVAL);
	ck_assert_int_eq(segment_attach_many(client, NULL, N), -EINVAL);
	ck_assert_int_eq(segment_attach_many(client, NULL, 0), 0);
	requests[3].layout = "";
	ck_assert_int_eq(segment_attach_many(client, requests, N), -EINVAL);
	ck_assert_int_eq(requests[3].error, -EINVAL);
	ck_assert_int_eq(requests[0].error, -ECANCELED);
	fill(requests);
	ck_assert_int_eq(segment_attach_many(client, requests, N), -ENOTCONN);
	for (size_t i = 0; i < N; i++)
		ck_assert_int_eq(requests[i].error, -ENOTCONN);
	segment_disconnect(client);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("manylies");
	TCase *tcase = tcase_create("manylies");

	tcase_add_loop_test(tcase, lie_is_an_error_and_leaves_nothing, 0, BASE_ARRAY_SIZE(lies));
	tcase_add_test(tcase, a_restart_is_survived);
	tcase_add_test(tcase, arguments_are_checked_before_anybody_is_asked);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
