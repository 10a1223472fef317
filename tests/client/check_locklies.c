/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that lies about a segment's locks: whatever it says of control memory and of what is where in it, the library
 * returns an error with a sentence, keeps nothing, and attaches through a new connection afterwards. And rows that come in
 * several messages.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>

#include "tests/client/fake_locks.h"
#include "tests/suite_run.h"

#define N_LOCKS		3
#define CONTROL_SIZE	8192

/* What is sent: a good answer, with one thing changed. */
struct told {
	struct protocol_attached attached;
	struct protocol_lock rows[N_LOCKS + 1];
	uint32_t n_rows;
	uint64_t control_size;		/* of the object */
	int n_fds;
	bool swapped;			/* fds */
	/* If the rows are asked for. */
	struct protocol_listed listed;
	int cut_bytes;
};

struct lie {
	const char *name;
	void (*change)(struct told *told);
	const char *sentence;
	bool paged;
	int r;				/* 0: -EPROTO, and the connection is closed */
};

static struct told
truth(const struct fake_request *request, bool paged)
{
	struct told told = {
		.attached = fake_attached(request), .n_rows = N_LOCKS, .control_size = CONTROL_SIZE, .n_fds = 2,
	};

	told.attached.n_locks = N_LOCKS;
	told.attached.control_bytes = CONTROL_SIZE;
	if (paged)
		told.attached.header.flags |= PROTOCOL_MORE;
	for (uint32_t i = 0; i < N_LOCKS; i++) {
		struct protocol_lock *row = &told.rows[i];

		*row = (struct protocol_lock){ .cursor = i + 1, .offset_bytes = i * 4096, .length_bytes = 4096,
			.at_bytes = N_LOCKS * CONTROL_RECORD_BYTES + i * 64, .log_bytes = 64 };
		(void)snprintf(row->name, sizeof(row->name), "lock%u", i);
	}
	told.rows[N_LOCKS - 1].kind = PROTOCOL_LOCK_MUTEX;
	return told;
}

#define LIE(lie_name, lie_change)						\
static void									\
lie_name(struct told *told)							\
{										\
	lie_change;								\
}

LIE(more_locks, told->attached.n_locks++)
LIE(fewer_locks, told->attached.n_locks--)
LIE(absurd_locks, told->attached.n_locks = UINT32_MAX)
LIE(none_but_rows, told->attached.n_locks = 0)
LIE(none_but_control, told->attached.n_locks = 0; told->n_rows = 0; told->n_fds = 1)
LIE(none_but_fd, told->attached.n_locks = 0; told->n_rows = 0; told->attached.control_bytes = 0)
LIE(none_but_more, told->attached.n_locks = 0; told->attached.control_bytes = 0; told->n_rows = 0; told->n_fds = 1;
    told->attached.header.flags |= PROTOCOL_MORE)
LIE(no_control, told->n_fds = 1)
LIE(one_row_more, told->n_rows++)
LIE(id_none, told->attached.attachment = 0)
LIE(id_poison, told->attached.attachment = CONTROL_ID_POISON)
LIE(id_waiters, told->attached.attachment = CONTROL_WAITERS | 5)
LIE(small_object, told->control_size = CONTROL_SIZE / 2)
LIE(absurd_control, told->attached.control_bytes = UINT64_MAX)
LIE(tiny_control, told->attached.control_bytes = 2 * CONTROL_RECORD_BYTES)
LIE(out_of_order, told->rows[1].cursor = 1)
LIE(no_name, told->rows[1].name[0] = '\0')
LIE(endless_name, memset(told->rows[1].name, 'x', sizeof(told->rows[1].name)))
LIE(odd_kind, told->rows[1].kind = PROTOCOL_LOCK_KIND_N)
LIE(odd_on_death, told->rows[1].on_death = CONTROL_ON_DEATH_N)
LIE(outside, told->rows[1].offset_bytes = FAKE_SIZE - 4095)
LIE(far_outside, told->rows[1].offset_bytes = UINT64_MAX - 4095)
LIE(too_long, told->rows[1].length_bytes = UINT64_MAX)
LIE(mutex_outside, told->rows[2].at_bytes = FAKE_SIZE - 39)
LIE(log_outside, told->rows[1].at_bytes = CONTROL_SIZE - 56)
LIE(log_far_outside, told->rows[1].at_bytes = UINT64_MAX - 63)
LIE(log_too_long, told->rows[1].log_bytes = UINT32_MAX - 7)
LIE(log_in_records, told->rows[1].at_bytes = 2 * CONTROL_RECORD_BYTES)
LIE(log_unaligned, told->rows[1].at_bytes += 4)
LIE(log_odd, told->rows[1].log_bytes = 60)
LIE(data_as_control, told->swapped = true)
LIE(short_rows, told->listed.row_size = sizeof(struct protocol_lock) - 8)
LIE(absurd_rows, told->listed.row_size = UINT32_MAX)
LIE(no_rows, told->listed.n_rows = 0; told->n_rows = 0)
LIE(more_rows, told->listed.n_rows = N_LOCKS + 1; told->n_rows = N_LOCKS + 1)
LIE(rows_miscounted, told->listed.n_rows = N_LOCKS + 1)
LIE(rows_cut, told->cut_bytes = 8)
LIE(rows_header, told->cut_bytes = 8; told->n_rows = 0)
LIE(stale, told->listed.header.status = -ESTALE)
LIE(read_only, told->control_size = 0)

static const struct lie lies[] = {
	{ "more locks than rows", more_locks, "fewer or more" },
	{ "fewer locks than rows", fewer_locks, "fewer or more" },
	{ "absurdly many locks", absurd_locks, "can have" },
	{ "no locks but rows", none_but_rows, "no locks" },
	{ "no locks but control", none_but_control, "no locks" },
	{ "no locks but its fd", none_but_fd, "no locks" },
	{ "no locks but more", none_but_more, "no locks" },
	{ "no control", no_control, "no fd of control" },
	{ "one row more", one_row_more, "fewer or more" },
	{ "id 0", id_none, "word" },
	{ "poison's id", id_poison, "word" },
	{ "waiters in the id", id_waiters, "word" },
	{ "small control object", small_object, "smaller" },
	{ "absurd control", absurd_control, "smaller" },
	{ "tiny control", tiny_control, "no room" },
	{ "out of order", out_of_order, "order" },
	{ "no name", no_name, "name" },
	{ "endless name", endless_name, "name" },
	{ "odd kind", odd_kind, "unknown kind" },
	{ "odd on_death", odd_on_death, "unknown kind" },
	{ "outside", outside, "not the segment's" },
	{ "far outside", far_outside, "not the segment's" },
	{ "too long", too_long, "not the segment's" },
	{ "mutex outside", mutex_outside, "outside" },
	{ "log outside", log_outside, "log" },
	{ "log far outside", log_far_outside, "log" },
	{ "log too long", log_too_long, "log" },
	{ "log in records", log_in_records, "log" },
	{ "unaligned log", log_unaligned, "log" },
	{ "odd log", log_odd, "log" },
	{ "data as control", data_as_control, "smaller" },
	{ "read-only control", read_only, "mapping", .r = -EACCES },
	{ "short rows", short_rows, "no list", .paged = true },
	{ "absurd rows", absurd_rows, "no list", .paged = true },
	{ "no rows", no_rows, "list has", .paged = true },
	{ "too many rows", more_rows, "list has", .paged = true },
	{ "rows miscounted", rows_miscounted, "no list", .paged = true },
	{ "rows cut", rows_cut, "no list", .paged = true },
	{ "header of rows cut", rows_header, "no list", .paged = true },
	{ "log outside, asked for", log_outside, "log", .paged = true },
	{ "order, asked for", out_of_order, "order", .paged = true },
	{ "segment made anew", stale, "anew", .paged = true, .r = -ESTALE },
};

static void
send_told(int fd, struct told *told)
{
	char message[PROTOCOL_MESSAGE_MAX];
	int data = fake_object(FAKE_SIZE), control = fake_object(told->control_size ? told->control_size : CONTROL_SIZE);
	int fds[] = { told->swapped ? control : data, told->swapped ? data : control };
	size_t rows_size = told->attached.header.flags & PROTOCOL_MORE ? 0 : told->n_rows * sizeof(told->rows[0]);

	if (told->control_size == 0)
		fds[1] = fake_reopen(control, O_RDONLY);
	told->attached.header.size = (uint32_t)(sizeof(told->attached) + rows_size);
	memcpy(message, &told->attached, sizeof(told->attached));
	memcpy(message + sizeof(told->attached), told->rows, rows_size);
	fake_send(fd, message, told->attached.header.size, fds, (unsigned)told->n_fds);
	(void)close(data);
	(void)close(control);
	if (told->control_size == 0)
		(void)close(fds[1]);
}

static void
send_listed(int fd, const struct fake_request *request, const struct told *told)
{
	char message[PROTOCOL_MESSAGE_MAX];
	struct protocol_listed listed = told->listed;
	size_t rows_size = told->n_rows * sizeof(told->rows[0]);

	listed.header.size = (uint32_t)(sizeof(listed) + rows_size - (size_t)told->cut_bytes);
	listed.header.type = PROTOCOL_LOCKS;
	listed.header.flags = PROTOCOL_REPLY;
	listed.header.serial = request->header.serial;
	memcpy(message, &listed, sizeof(listed));
	memcpy(message + sizeof(listed), told->rows, rows_size);
	fake_send(fd, message, listed.header.size, NULL, 0);
}

/* Attaches as the lie says, or truly. */
static void
answer(int fd, const struct fake_request *request, const struct lie *lie)
{
	bool paged = lie && lie->paged;
	struct told told = truth(request, paged);
	struct fake_request rows;

	told.listed = (struct protocol_listed){ .n_rows = told.n_rows, .row_size = sizeof(told.rows[0]) };
	if (lie)
		lie->change(&told);
	send_told(fd, &told);
	if (!paged)
		return;
	fake_expect(fd, PROTOCOL_LOCKS, &rows);
	if (told.listed.header.status)
		fake_refuse(fd, &rows, told.listed.header.status, "it was made anew");
	else
		send_listed(fd, &rows, &told);
}

static void
tell_lie(int listen_fd, void *arg)
{
	const struct lie *lie = arg;
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH, &request);
	answer(fd, &request, lie);
	if (lie->r == 0) {
		fake_assert(!fake_receive(fd, &request));
		(void)close(fd);
		fd = fake_accept(listen_fd);
	} else {
		/* An attachment that came to nothing is given back. */
		fake_expect(fd, PROTOCOL_DETACH, &request);
	}
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	answer(fd, &request, NULL);
	fake_expect(fd, PROTOCOL_DETACH, &request);
	fake_assert(!fake_receive(fd, &request));
}

START_TEST(lie_is_an_error_and_leaves_nothing)
{
	struct lie lie = lies[_i];
	struct segment_client *client;
	struct segment *segment = NULL;
	struct fake fake;
	unsigned n_fds, n_mappings;
	int r;

	fake_start(&fake, tell_lie, &lie);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	n_mappings = count_mappings();
	r = segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment);
	ck_assert_msg(r == (lie.r ? lie.r : -EPROTO), "%s: %d: %s", lie.name, r, r ? segment_error() : "attached");
	ck_assert_msg(strstr(segment_error(), lie.sentence), "%s: '%s'", lie.name, segment_error());
	ck_assert_msg(count_fds() == n_fds - (lie.r ? 0 : 1), "%s: %u fds, %u before", lie.name, count_fds(), n_fds);
	ck_assert_uint_eq(count_mappings(), n_mappings);

	r = segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment);
	ck_assert_msg(r == 0, "the truth: %d: %s", r, segment_error());
	/* Data and control. */
	ck_assert_uint_eq(count_mappings(), n_mappings + 2);
	ck_assert_uint_eq(count_fds(), n_fds + 2);
	ck_assert_int_eq(segment_lock(segment, 0), 0);
	ck_assert_int_eq(segment_unlock(segment, 0), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	fake_stop(&fake);
}
END_TEST

START_TEST(many_locks_come_in_several_messages)
{
	static struct fake_locks locks;
	struct segment_client *client;
	struct segment *segment = NULL;
	char name[16];

	for (uint32_t i = 0; i < FAKE_LOCKS_MAX; i++) {
		(void)snprintf(name, sizeof(name), "lock-%u", i);
		fake_locks_add(&locks, name, i * 1024, 1024, 64, CONTROL_ROLLBACK);
	}
	locks.n_rows_max = 160;
	fake_locks_start(&locks);
	ck_assert_int_eq(segment_connect(&client, locks.fake.path), 0);
	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment), 0);
	for (int i = 0; i < FAKE_LOCKS_MAX; i++) {
		unsigned char *bytes = (unsigned char *)segment_data(segment) + i * 1024;

		(void)snprintf(name, sizeof(name), "lock-%d", i);
		ck_assert_int_eq(segment_find_lock(segment, name), i);
		ck_assert_int_eq(segment_lock(segment, i), 0);
		ck_assert_int_eq(segment_set(segment, i, bytes + 1023, "x", 1), 0);
		ck_assert_int_eq(segment_modify(segment, i, bytes + 1024, 1), -ERANGE);
	}
	/* All at once. */
	for (int i = 0; i < FAKE_LOCKS_MAX; i++) {
		ck_assert_uint_eq(fake_word(&locks, i), segment->attachment);
		ck_assert_int_eq(segment_rollback(segment, i), 0);
		ck_assert_uint_eq(fake_word(&locks, i), 0);
	}
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}
END_TEST

START_TEST(exhausted_descriptors_are_named)
{
	static struct fake_locks locks;
	struct segment_client *client;
	struct segment *segment = NULL;
	struct rlimit limit, small;
	unsigned n_fds;
	int last;

	fake_locks_add(&locks, "lock", 0, 1024, 64, CONTROL_ROLLBACK);
	fake_locks_start(&locks);
	ck_assert_int_eq(segment_connect(&client, locks.fake.path), 0);
	n_fds = count_fds();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	last = dup(0);
	(void)close(last);
	/* There is room for one of two. */
	small = (struct rlimit){ .rlim_cur = (rlim_t)last + 1, .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	ck_assert_int_eq(segment_attach(client, "bank", NULL, SEGMENT_WRITE, &segment), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("locklies");
	TCase *tcase = tcase_create("locklies");

	tcase_add_loop_test(tcase, lie_is_an_error_and_leaves_nothing, 0, BASE_ARRAY_SIZE(lies));
	tcase_add_test(tcase, many_locks_come_in_several_messages);
	tcase_add_test(tcase, exhausted_descriptors_are_named);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
