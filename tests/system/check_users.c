/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What each uid is charged with, as an administrator is told it: to the piece what real clients of several uids hold, and what they
 * still may; nothing when they are gone; and page by page, also where uids come and go between two pages.
 */
#include "config.h"

#include <inttypes.h>
#include <poll.h>

#include "tests/system/suite.h"

#define MANY		300		/* uids: several pages */
#define LATE		6		/* that come while they are asked for */
#define FIRST_UID	5000u
#define ROWS		(MANY + 32)
#define PAGE_ROWS	((PROTOCOL_MESSAGE_MAX - sizeof(struct protocol_listed)) / sizeof(struct protocol_user))
#define THINGS		8		/* of a kind that one holder has, at most */
#define TOTAL_CLIENTS		1000u
#define TOTAL_ATTACHMENTS	160u

static const char keys[] = "limits = { clients = 40; attachments = 64; subscriptions = 9; segments = 7; bytes = \"1MiB\"; "
    "total_clients = 1000; total_attachments = 160; };";

static const char body[] = "segments = ( { name = \"desk\"; size = \"64KiB\"; mode = \"0666\"; prefault = false; mlock = false; } );\n"
    "templates = ( { name = \"job-%U-\"; max_size = \"64KiB\"; max_count = 100; lifetime = \"attached\"; prefault = false; "
    "mlock = false; } );";

/* What somebody holds, each of what stands here once. */
struct holding {
	uint32_t uid;
	unsigned n_plain;		/* connections that do nothing, at least one */
	unsigned n_attached;
	unsigned n_subscribed;		/* connections that are told of the first */
	unsigned n_all;			/* or of all */
	unsigned n_created;		/* of 4096 bytes and one more, each */
	unsigned n_unread;		/* connections with one descriptor that is not read */
	unsigned n_groups;
};

static const struct holding holdings[] = {
	{ .uid = 4101, .n_plain = 3, .n_attached = 5, .n_subscribed = 1, .n_all = 2, .n_created = 2, .n_unread = 2 },
	{ .uid = 4102, .n_plain = 1 },
	{ .uid = 4103, .n_plain = 2, .n_attached = 1, .n_created = 4, .n_unread = 1, .n_groups = 300 },
};
#define N_HOLDINGS	BASE_ARRAY_SIZE(holdings)

struct holder {
	const struct harness_daemon *daemon;
	const struct holding *holding;
};

static void
become(const struct holding *holding)
{
	gid_t groups[512];

	for (unsigned i = 0; i < holding->n_groups; i++)
		groups[i] = 6000 + i;
	harness_become(holding->uid, holding->uid, groups, holding->n_groups);
}

static void
subscribe(const struct harness_conn *first, struct harness_conn *conn, bool is_all)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON, .session = first->session };
	struct harness_reply reply;

	if (is_all) {
		request.flags |= PROTOCOL_SUBSCRIBE_ALL;
		request.session = 0;
	}
	harness_assert(harness_ask(conn, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), &reply) == 0, "subscribe: %s",
	    reply.bytes + sizeof(reply.header));
}

static void
leave_unread(struct harness_conn *conn)
{
	union suite_request request;
	size_t size = suite_fill_attach(&request, ++conn->serial);
	struct pollfd poll_fd = { .fd = conn->fd, .events = POLLIN };

	harness_assert(harness_send(conn->fd, request.bytes, size, NULL, 0) == (ssize_t)size, "send: %s", strerror(errno));
	harness_assert(harness_poll(&poll_fd, 1, HARNESS_TIMEOUT_MS) == 1, "no reply came");
}

static void
hold(int control, void *arg)
{
	const struct holder *holder = arg;
	const struct holding *holding = holder->holding;
	const char *socket = holder->daemon->socket;
	struct harness_conn plain[THINGS], others[3 * THINGS];
	struct protocol_attached attached;
	unsigned n = 0;
	char name[32];
	int fd;

	become(holding);
	for (unsigned i = 0; i < holding->n_plain; i++)
		harness_open(&plain[i], socket);
	for (unsigned i = 0; i < holding->n_attached; i++)
		harness_assert(harness_attach(&plain[0], "desk", SUITE_READ, &attached, &fd) == 0, "attach");
	for (unsigned i = 0; i < holding->n_created; i++) {
		(void)snprintf(name, sizeof(name), "job-%u-%u", holding->uid, i);
		harness_assert(harness_create(&plain[0], name, 4096 + 1, &attached, &fd) == 0, "create");
	}
	for (unsigned i = 0; i < holding->n_subscribed + holding->n_all; i++) {
		harness_open(&others[n], socket);
		subscribe(&plain[0], &others[n++], i >= holding->n_subscribed);
	}
	for (unsigned i = 0; i < holding->n_unread; i++) {
		harness_open(&others[n], socket);
		leave_unread(&others[n++]);
	}
	harness_say(control, "held");
	harness_expect(control, "end");
}

/* The rows of uids, and that of all together; the former's number. */
static size_t
ask_users(struct harness_conn *conn, struct protocol_user *all, struct protocol_user *rows)
{
	static struct protocol_user told[ROWS + 1];
	int n = harness_users(conn, told, BASE_ARRAY_SIZE(told));

	harness_assert(n >= 2, "users: %d", n);
	for (int i = 0; i < n; i++) {
		ck_assert_uint_eq(told[i].flags, i == n - 1 ? PROTOCOL_USER_ALL : 0);
		ck_assert_uint_gt(told[i].cursor, i ? told[i - 1].cursor : 0);
		ck_assert_uint_eq(told[i].n_charges, PROTOCOL_CHARGED_N);
		rows[i] = told[i];
	}
	*all = told[n - 1];
	return (size_t)n - 1;
}

/* Likewise, when it is known who has read: the daemon gives little time to asking that. */
static size_t
await_read(struct harness_conn *conn, struct protocol_user *all, struct protocol_user *rows, uint64_t n_unread)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	size_t n;

	while ((n = ask_users(conn, all, rows), all->charges[PROTOCOL_CHARGED_IN_FLIGHT].used) != n_unread)
		harness_assert(harness_clock_ns() < until_ns, "%" PRIu64 " are in flight, not %" PRIu64,
		    all->charges[PROTOCOL_CHARGED_IN_FLIGHT].used, n_unread);
	return n;
}

static const struct protocol_user *
find_user(const struct protocol_user *rows, size_t n, uint32_t uid)
{
	const struct protocol_user *found = NULL;

	for (size_t i = 0; i < n; i++) {
		if (rows[i].uid != uid)
			continue;
		harness_assert(!found, "uid %" PRIu32 " is told twice", uid);
		found = &rows[i];
	}
	harness_assert(found, "uid %" PRIu32 " is not told", uid);
	return found;
}

static void
expect_used(const struct protocol_user *row, unsigned kind, uint64_t wanted)
{
	harness_assert(row->charges[kind].used == wanted, "uid %" PRIu32 " has %" PRIu64 " of kind %u, not %" PRIu64, row->uid,
	    row->charges[kind].used, kind, wanted);
}

static void
expect_holding(const struct protocol_user *row, const struct holding *holding)
{
	unsigned n_subscribed = holding->n_subscribed + holding->n_all;
	unsigned n_clients = holding->n_plain + n_subscribed + holding->n_unread;

	expect_used(row, PROTOCOL_CHARGED_CLIENTS, n_clients);
	expect_used(row, PROTOCOL_CHARGED_DESCRIPTORS, 2 * n_clients);
	expect_used(row, PROTOCOL_CHARGED_ATTACHMENTS, holding->n_attached + holding->n_created + holding->n_unread);
	expect_used(row, PROTOCOL_CHARGED_SUBSCRIPTIONS, n_subscribed);
	expect_used(row, PROTOCOL_CHARGED_ALL_EVENTS, holding->n_all);
	expect_used(row, PROTOCOL_CHARGED_SEGMENTS, holding->n_created);
	expect_used(row, PROTOCOL_CHARGED_BYTES, (uint64_t)holding->n_created * (4096 + 1));
	expect_used(row, PROTOCOL_CHARGED_IN_FLIGHT, holding->n_unread);
	/* Each connection keeps its groups, of 4 bytes each, where they are many. */
	expect_used(row, PROTOCOL_CHARGED_MEMORY, (uint64_t)n_clients * holding->n_groups * sizeof(uint32_t));
	expect_used(row, PROTOCOL_CHARGED_UNREAD, 0);
	expect_used(row, PROTOCOL_CHARGED_ENDED, 0);
	expect_used(row, PROTOCOL_CHARGED_DEATHS, 0);
	expect_used(row, PROTOCOL_CHARGED_ENDS, 0);
}

/* What accounts.h promises: half of what the others leave, of which a sixteenth is for who administers; and those have all of it. */
static uint64_t
share_of(const struct protocol_user *all, const struct protocol_user *row, unsigned kind)
{
	uint64_t limit = all->charges[kind].limit, others = all->charges[kind].used - row->charges[kind].used;

	if (row->uid == geteuid())
		return limit - others;
	limit -= limit / 16;
	limit -= min_u64(limit, others);
	return limit - limit / 2;
}

static void
expect_limits(const struct protocol_user *all, const struct protocol_user *row)
{
	static const struct { unsigned kind; uint64_t limit; } limits[] = {
		{ PROTOCOL_CHARGED_CLIENTS, 40 }, { PROTOCOL_CHARGED_ATTACHMENTS, 64 }, { PROTOCOL_CHARGED_SUBSCRIPTIONS, 9 },
		{ PROTOCOL_CHARGED_ALL_EVENTS, 64 }, { PROTOCOL_CHARGED_SEGMENTS, 7 }, { PROTOCOL_CHARGED_BYTES, MIB },
		{ PROTOCOL_CHARGED_DESCRIPTORS, PROTOCOL_UNLIMITED }, { PROTOCOL_CHARGED_IN_FLIGHT, 256 },
		{ PROTOCOL_CHARGED_UNREAD, 32 * MIB }, { PROTOCOL_CHARGED_MEMORY, 32 * MIB }, { PROTOCOL_CHARGED_ENDED, 128 },
		{ PROTOCOL_CHARGED_DEATHS, 4096 }, { PROTOCOL_CHARGED_ENDS, 4096 },
	};

	static_assert(BASE_ARRAY_SIZE(limits) == PROTOCOL_CHARGED_N, "all kinds");
	for (size_t i = 0; i < BASE_ARRAY_SIZE(limits); i++)
		ck_assert_uint_eq(row->charges[limits[i].kind].limit, limits[i].limit);
	ck_assert_uint_eq(row->charges[PROTOCOL_CHARGED_CLIENTS].share, share_of(all, row, PROTOCOL_CHARGED_CLIENTS));
	ck_assert_uint_eq(row->charges[PROTOCOL_CHARGED_ATTACHMENTS].share, share_of(all, row, PROTOCOL_CHARGED_ATTACHMENTS));
	ck_assert_uint_eq(row->charges[PROTOCOL_CHARGED_ALL_EVENTS].share, PROTOCOL_UNLIMITED);
}

/* Nobody is left out of the sums, and metrics have the same. */
static void
expect_sums(struct harness_conn *conn, const struct protocol_user *all, const struct protocol_user *rows, size_t n)
{
	static const char *const names[] = { "clients", "attachments", "subscriptions", "all_events", "segments", "bytes", "descriptors",
	    "in_flight", "unread", "memory", "ended", "deaths", "ends" };
	struct protocol_header request = { 0 };
	struct harness_reply reply;
	char name[80];

	static_assert(BASE_ARRAY_SIZE(names) == PROTOCOL_CHARGED_N, "all kinds");
	ck_assert_int_eq(harness_ask(conn, PROTOCOL_METRICS, &request, sizeof(request), &reply), 0);
	for (unsigned kind = 0; kind < PROTOCOL_CHARGED_N; kind++) {
		uint64_t sum = 0;

		for (size_t i = 0; i < n; i++)
			sum += rows[i].charges[kind].used;
		ck_assert_uint_eq(sum, all->charges[kind].used);
		(void)snprintf(name, sizeof(name), "segmentd_charged{kind=\"%s\"}", names[kind]);
		ck_assert_uint_eq(suite_figure_of(&reply, name), sum);
	}
	ck_assert_uint_eq(suite_figure_of(&reply, "segmentd_charged_uids"), n);
	ck_assert_uint_eq(all->charges[PROTOCOL_CHARGED_CLIENTS].limit, TOTAL_CLIENTS);
	ck_assert_uint_eq(all->charges[PROTOCOL_CHARGED_ATTACHMENTS].limit, TOTAL_ATTACHMENTS);
}

/* What it has, but for one connection. */
static uint64_t
count_beside(const struct protocol_user *row)
{
	uint64_t n = 0;

	for (unsigned kind = 0; kind < PROTOCOL_CHARGED_N; kind++)
		n += row->charges[kind].used;
	return n - 1 - 2;		/* with its two descriptors */
}

/* Until nobody but who asks has anything, and that is its connection. */
static void
await_alone(struct harness_conn *conn)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	static struct protocol_user rows[ROWS];
	struct protocol_user all;
	size_t n;

	while ((n = ask_users(conn, &all, rows)) > 1 || count_beside(&rows[0]) || count_beside(&all))
		harness_assert(harness_clock_ns() < until_ns, "%zu uids hold something, the last %" PRIu32, n, rows[n - 1].uid);
	ck_assert_uint_eq(rows[0].uid, geteuid());
}

START_TEST(each_uid_is_told_with_what_it_holds)
{
	struct harness_child children[N_HOLDINGS];
	struct holder holders[N_HOLDINGS];
	static struct protocol_user rows[ROWS];
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_user all;
	unsigned n_unread = 0;
	size_t n;

	harness_need_root();
	harness_daemon_start(&daemon, keys, body);
	harness_open(&conn, daemon.socket);
	for (size_t i = 0; i < N_HOLDINGS; i++) {
		children[i] = (struct harness_child) HARNESS_CHILD_NULL;
		holders[i] = (struct holder) { &daemon, &holdings[i] };
		harness_child_start(&children[i], hold, &holders[i]);
		harness_expect(children[i].control, "held");
	}
	for (size_t i = 0; i < N_HOLDINGS; i++)
		n_unread += holdings[i].n_unread;
	n = await_read(&conn, &all, rows, n_unread);
	ck_assert_uint_eq(n, N_HOLDINGS + 1);
	for (size_t i = 0; i < N_HOLDINGS; i++)
		expect_holding(find_user(rows, n, holdings[i].uid), &holdings[i]);
	for (size_t i = 0; i < n; i++)
		expect_limits(&all, &rows[i]);
	expect_sums(&conn, &all, rows, n);
	/* By a death that nobody prepares, one by one. */
	for (size_t i = 0; i < N_HOLDINGS; i++)
		harness_child_kill(&children[i]);
	await_alone(&conn);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

/* A process that lives has hung up: for a moment its death is awaited, and its attachments' ends are remembered. */
START_TEST(who_hung_up_is_charged_until_it_is_forgotten)
{
	uint64_t until_ns = harness_clock_ns() + HARNESS_TIMEOUT_MS * NS_PER_MS;
	static struct protocol_user rows[ROWS];
	struct harness_conn conn, listener, visitor;
	struct harness_daemon daemon;
	const struct protocol_user *row;
	struct protocol_user all;
	int fds[3];
	size_t n;

	harness_daemon_start(&daemon, keys, body);
	harness_open(&conn, daemon.socket);
	harness_open(&listener, daemon.socket);
	subscribe(&conn, &listener, true);
	/* Where a second goes by between the end and the answer, it is tried again. */
	do {
		harness_assert(harness_clock_ns() < until_ns, "no end was told");
		harness_open(&visitor, daemon.socket);
		for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
			fds[i] = suite_attach(&visitor, "desk", SUITE_READ);
		for (size_t i = 0; i < BASE_ARRAY_SIZE(fds); i++)
			(void)close(fds[i]);
		harness_close(&visitor);
		do {
			n = ask_users(&conn, &all, rows);
			row = find_user(rows, n, geteuid());
		} while (row->charges[PROTOCOL_CHARGED_CLIENTS].used > 2);
	} while (!row->charges[PROTOCOL_CHARGED_DEATHS].used);
	expect_used(row, PROTOCOL_CHARGED_DEATHS, 1);
	expect_used(row, PROTOCOL_CHARGED_ENDS, BASE_ARRAY_SIZE(fds));
	expect_used(row, PROTOCOL_CHARGED_DESCRIPTORS, 4 + 1);
	harness_close(&listener);
	await_alone(&conn);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Connects as somebody else. */
static void
open_as(struct harness_conn *conn, const struct harness_daemon *daemon, uint32_t uid)
{
	ck_assert_int_eq(seteuid(uid), 0);
	harness_open(conn, daemon->socket);
	ck_assert_int_eq(seteuid(0), 0);
}

static size_t
ask_page(struct harness_conn *conn, uint64_t cursor, struct protocol_user *rows, bool *ret_has_more)
{
	struct protocol_users request = { .cursor = cursor };
	struct harness_reply reply;

	ck_assert_int_eq(harness_ask(conn, PROTOCOL_USERS, &request.header, sizeof(request), &reply), 0);
	ck_assert_uint_eq(reply.listed.row_size, sizeof(*rows));
	ck_assert_uint_le(reply.listed.n_rows, PAGE_ROWS);
	memcpy(rows, reply.bytes + sizeof(reply.listed), reply.listed.n_rows * sizeof(*rows));
	*ret_has_more = reply.header.flags & PROTOCOL_MORE;
	return reply.listed.n_rows;
}

struct crowd {
	struct harness_conn conns[MANY + LATE];
	unsigned seen[MANY + LATE];
	bool is_gone[MANY + LATE];
	unsigned n;
};

/* Each second one is handed a descriptor, which it reads. */
static void
come(struct crowd *crowd, const struct harness_daemon *daemon)
{
	struct harness_conn *conn = &crowd->conns[crowd->n];

	open_as(conn, daemon, FIRST_UID + crowd->n);
	if (crowd->n % 2)
		(void)close(suite_attach(conn, "desk", SUITE_READ));
	crowd->n++;
}

static void
go(struct crowd *crowd, uint32_t at)
{
	ck_assert_uint_lt(at, crowd->n);
	if (!crowd->is_gone[at])
		harness_close(&crowd->conns[at]);
	crowd->is_gone[at] = true;
}

static void
take_page(struct crowd *crowd, const struct protocol_user *rows, size_t n, uint64_t *cursor)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t at = rows[i].uid - FIRST_UID;

		ck_assert_uint_gt(rows[i].cursor, *cursor);
		*cursor = rows[i].cursor;
		if (rows[i].flags || rows[i].uid == geteuid())
			continue;
		ck_assert_uint_lt(at, crowd->n);
		crowd->seen[at]++;
		if (crowd->is_gone[at])
			continue;
		expect_used(&rows[i], PROTOCOL_CHARGED_CLIENTS, 1);
	}
}

/* Those on both sides of where a page ended go, and others come, before the next one is asked for. */
START_TEST(pages_go_on_where_uids_come_and_go)
{
	static struct protocol_user rows[ROWS];
	static struct crowd crowd;
	struct protocol_user all;
	struct harness_daemon daemon;
	struct harness_conn conn;
	unsigned n_pages = 0;
	uint64_t cursor = 0;
	bool has_more;
	size_t n;

	harness_need_root();
	harness_daemon_start(&daemon, "limits = { total_clients = 4000; };", body);
	harness_open(&conn, daemon.socket);
	while (crowd.n < MANY)
		come(&crowd, &daemon);
	for (;;) {
		n = ask_page(&conn, cursor, rows, &has_more);
		take_page(&crowd, rows, n, &cursor);
		n_pages++;
		if (!has_more)
			break;
		ck_assert_uint_eq(n, PAGE_ROWS);
		go(&crowd, rows[n - 1].uid - FIRST_UID);
		go(&crowd, rows[n - 1].uid - FIRST_UID + 1);
		come(&crowd, &daemon);
		come(&crowd, &daemon);
	}
	/* Root's and that of all are two; of those that went, some may have been told, and some not. */
	ck_assert_uint_eq(n_pages, (2 + MANY + LATE + PAGE_ROWS - 1) / PAGE_ROWS);
	ck_assert_uint_eq(crowd.n, MANY + LATE);
	for (uint32_t i = 0; i < crowd.n; i++)
		harness_assert(crowd.seen[i] == 1 || (crowd.is_gone[i] && !crowd.seen[i]), "uid %" PRIu32 " was told %u times", FIRST_UID + i,
		    crowd.seen[i]);
	/* All together are the last. */
	ck_assert_uint_eq(cursor, UINT64_MAX);
	ck_assert_uint_eq(ask_page(&conn, UINT64_MAX, rows, &has_more), 0);
	ck_assert(!has_more);
	ck_assert_uint_eq(ask_page(&conn, UINT64_MAX - 1, rows, &has_more), 1);
	ck_assert_uint_eq(rows[0].flags, PROTOCOL_USER_ALL);
	/* On whatever page somebody is told, it is asked whether they have read. */
	(void)await_read(&conn, &all, rows, 0);
	for (uint32_t i = 0; i < crowd.n; i++)
		go(&crowd, i);
	await_alone(&conn);
	harness_close(&conn);
	harness_daemon_stop(&daemon);
}
END_TEST

/* Who does not administer: of themselves as much as is theirs, whatever they ask from; and who breaks the form is disconnected. */
static void
be_curious(int control, void *arg)
{
	const struct harness_daemon *daemon = arg;
	struct protocol_users request = { 0 };
	struct protocol_user rows[4];
	struct harness_conn conn;
	bool has_more;

	(void)control;
	harness_become(HARNESS_NOBODY, HARNESS_NOBODY, NULL, 0);
	harness_open(&conn, daemon->socket);
	for (uint64_t cursor = 0; cursor < 64; cursor++) {
		static struct protocol_user page[PAGE_ROWS];
		size_t n = ask_page(&conn, cursor, page, &has_more);

		harness_assert(n <= 1 && !has_more && (n == 0 || page[0].uid == HARNESS_NOBODY), "from %" PRIu64 " on there are %zu", cursor, n);
	}
	harness_assert(harness_users(&conn, rows, BASE_ARRAY_SIZE(rows)) == 1, "not one row");
	expect_used(&rows[0], PROTOCOL_CHARGED_CLIENTS, 1);
	expect_used(&rows[0], PROTOCOL_CHARGED_DESCRIPTORS, 2);
	harness_assert(rows[0].charges[PROTOCOL_CHARGED_CLIENTS].limit == 40, "the limit is not told");
	for (unsigned kind = 0; kind < PROTOCOL_CHARGED_N; kind++)
		harness_assert(rows[0].charges[kind].share == PROTOCOL_UNLIMITED, "what others leave of kind %u is told", kind);
	request.header.flags = PROTOCOL_BRIEF;
	harness_fill(&conn, &request.header, PROTOCOL_USERS, sizeof(request));
	request.header.flags = PROTOCOL_BRIEF;
	harness_assert(harness_send(conn.fd, &request, sizeof(request), NULL, 0) == sizeof(request), "send");
	harness_expect_hangup(conn.fd);
	harness_close(&conn);
}

START_TEST(others_learn_of_themselves_alone)
{
	struct harness_child child = HARNESS_CHILD_NULL, holding = HARNESS_CHILD_NULL;
	struct holder holder = { .holding = &holdings[0] };
	struct harness_daemon daemon;

	harness_need_root();
	harness_daemon_start(&daemon, keys, body);
	holder.daemon = &daemon;
	harness_child_start(&holding, hold, &holder);
	harness_expect(holding.control, "held");
	harness_child_start(&child, be_curious, &daemon);
	harness_child_await_success(&child);
	harness_child_kill(&holding);
	harness_daemon_stop(&daemon);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("users");
	TCase *tcase = tcase_create("users");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, each_uid_is_told_with_what_it_holds);
	tcase_add_test(tcase, who_hung_up_is_charged_until_it_is_forgotten);
	tcase_add_test(tcase, pages_go_on_where_uids_come_and_go);
	tcase_add_test(tcase, others_learn_of_themselves_alone);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
