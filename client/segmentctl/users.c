/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `users`: what each uid makes the daemon hold, and how much it may, those first who are nearest to a limit; and last of all what all
 * have together. Users have their names here, when all rows are there: whoever is asked for them keeps no daemon waiting.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"

#define ALERT_PERCENT	80		/* of a limit: worth a look */
#define PERCENT_MAX	999
#define CELL_SIZE	64		/* two texts, and what stands between them */
static_assert(CELL_SIZE >= 2 * TEXT_SIZE, "room for both");

/* A column a kind, in the wire's order, behind those of who it is. */
enum { UID, USER, NEAREST, N_HEAD, N_COLUMNS = N_HEAD + PROTOCOL_CHARGED_N };
static_assert(N_COLUMNS <= TABLE_COLUMNS_MAX, "columns");

static const struct table_column head[N_HEAD] = {
	[UID] = { "UID", TABLE_RIGHT, 0 },
	[USER] = { "USER", TABLE_TRUNCATE, 0 },
	[NEAREST] = { "NEAREST", 0, 0 },
};

struct kind {
	const char *name;		/* as metrics have it */
	const char *heading;
	unsigned dispensable;		/* of its column */
	bool is_bytes;
};

static const struct kind kinds[] = {
	[PROTOCOL_CHARGED_CLIENTS] = { "clients", "CLIENTS", 2, false },
	[PROTOCOL_CHARGED_ATTACHMENTS] = { "attachments", "ATTACHMENTS", 1, false },
	[PROTOCOL_CHARGED_SUBSCRIPTIONS] = { "subscriptions", "SUBSCRIPTIONS", 6, false },
	[PROTOCOL_CHARGED_ALL_EVENTS] = { "all_events", "ALL_EVENTS", 10, false },
	[PROTOCOL_CHARGED_SEGMENTS] = { "segments", "SEGMENTS", 4, false },
	[PROTOCOL_CHARGED_BYTES] = { "bytes", "BYTES", 3, true },
	[PROTOCOL_CHARGED_DESCRIPTORS] = { "descriptors", "DESCRIPTORS", 5, false },
	[PROTOCOL_CHARGED_IN_FLIGHT] = { "in_flight", "IN_FLIGHT", 7, false },
	[PROTOCOL_CHARGED_UNREAD] = { "unread", "UNREAD", 8, true },
	[PROTOCOL_CHARGED_MEMORY] = { "memory", "MEMORY", 9, true },
	[PROTOCOL_CHARGED_ENDED] = { "ended", "ENDED", 12, false },
	[PROTOCOL_CHARGED_DEATHS] = { "deaths", "DEATHS", 13, false },
	[PROTOCOL_CHARGED_ENDS] = { "ends", "ENDS", 11, false },
};
static_assert(BASE_ARRAY_SIZE(kinds) == PROTOCOL_CHARGED_N, "kinds");

struct user {
	struct protocol_user row;
	unsigned nearest;		/* the kind that it has most of, by what it may have */
	double part;			/* that it has of that; 0: it has nothing that has a limit */
};

struct users {
	const struct segmentctl *ctl;
	struct json json;
	struct table_column columns[N_COLUMNS];	/* of the table */
	struct table table;
	struct user *users;
	size_t n, n_allocated;
	bool is_used[PROTOCOL_CHARGED_N];	/* by anybody */
};

/* How many it may have now: as its own limit says, or as the others leave. */
static uint64_t
most_of(const struct protocol_charge *charge)
{
	return min_u64(charge->limit, charge->share);
}

static double
part_of(const struct protocol_charge *charge)
{
	uint64_t most = most_of(charge);

	if (!charge->used || most == PROTOCOL_UNLIMITED)
		return 0;
	return (double)charge->used / (double)max_u64(most, 1);
}

/* A daemon that knows fewer kinds leaves the others zero; what one knows more is not told. */
static void
find_nearest(struct user *user)
{
	for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++) {
		double part = part_of(&user->row.charges[i]);

		if (part <= user->part)
			continue;
		user->part = part;
		user->nearest = i;
	}
}

static bool
is_of_all(const struct user *user)
{
	return user->row.flags & PROTOCOL_USER_ALL;
}

/* All together are last; then who is nearest to a limit is first. */
static int
compare(const void *a, const void *b)
{
	const struct user *one = a, *another = b;

	if (is_of_all(one) != is_of_all(another))
		return is_of_all(one) ? 1 : -1;
	if (one->part != another->part)
		return one->part > another->part ? -1 : 1;
	return (one->row.uid > another->row.uid) - (one->row.uid < another->row.uid);
}

static int
take_row(const void *row, void *arg)
{
	struct users *users = arg;
	struct user *user;

	if (users->n == users->n_allocated) {
		size_t n = max_u64(16, users->n_allocated * 2);
		struct user *more = reallocarray(users->users, n, sizeof(*more));

		if (!more)
			return report_no_memory(users->ctl);
		users->users = more;
		users->n_allocated = n;
	}
	user = &users->users[users->n];
	*user = (struct user){ .row = *(const struct protocol_user *)row };
	if (user->row.n_charges > PROTOCOL_CHARGES_MAX)
		return report_protocol(users->ctl, "a user is charged with more kinds than a row has room for");
	for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++)
		users->is_used[i] = users->is_used[i] || user->row.charges[i].used;
	find_nearest(user);
	users->n++;
	return 0;
}

/* More than all of it is shown as such: so it is where others have taken of what is for all since. */
static unsigned
percent_of(const struct user *user)
{
	return user->part < PERCENT_MAX / 100.0 ? (unsigned)(user->part * 100) : PERCENT_MAX;
}

static void
format_amount(unsigned kind, uint64_t amount, char buf[TEXT_SIZE])
{
	if (kinds[kind].is_bytes)
		text_format_size(amount, buf);
	else
		(void)snprintf(buf, TEXT_SIZE, "%" PRIu64, amount);
}

static void
format_charge(const struct protocol_charge *charge, unsigned kind, char buf[CELL_SIZE])
{
	char used[TEXT_SIZE], most[TEXT_SIZE];

	format_amount(kind, charge->used, used);
	format_amount(kind, most_of(charge), most);
	if (!charge->used)
		(void)snprintf(buf, CELL_SIZE, "-");
	else if (most_of(charge) == PROTOCOL_UNLIMITED)
		(void)snprintf(buf, CELL_SIZE, "%s", used);
	else
		(void)snprintf(buf, CELL_SIZE, "%s/%s", used, most);
}

static const char *
color_of(const struct user *user)
{
	unsigned percent = percent_of(user);

	return percent >= 100 ? "red" : percent >= ALERT_PERCENT ? "yellow" : NULL;
}

/* A kind of which nobody has any is left empty, and has no column then. */
static int
add_to_table(struct users *users, const struct user *user)
{
	char uid[TEXT_SIZE], name[TEXT_USER_SIZE], nearest[CELL_SIZE], charges[PROTOCOL_CHARGED_N][CELL_SIZE];
	const char *cells[N_COLUMNS] = { [UID] = uid, [USER] = name, [NEAREST] = nearest };

	if (is_of_all(user)) {
		(void)snprintf(uid, sizeof(uid), "all");
		(void)snprintf(name, sizeof(name), "-");
	} else {
		(void)snprintf(uid, sizeof(uid), "%" PRIu32, user->row.uid);
		text_format_user(user->row.uid, name);
	}
	if (user->part > 0)
		(void)snprintf(nearest, sizeof(nearest), "%s %u%%", kinds[user->nearest].name, percent_of(user));
	else
		(void)snprintf(nearest, sizeof(nearest), "-");
	for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++) {
		cells[N_HEAD + i] = users->is_used[i] ? charges[i] : "";
		format_charge(&user->row.charges[i], i, charges[i]);
	}
	return table_add_row(&users->table, cells, color_of(user), NEAREST);
}

static void
add_limit(struct json *json, const char *key, uint64_t limit)
{
	if (limit == PROTOCOL_UNLIMITED)
		json_add_string(json, key, NULL);
	else
		json_add_number(json, key, limit);
}

static void
add_charges_to_json(struct json *json, const struct user *user)
{
	json_add_string(json, "nearest", user->part > 0 ? kinds[user->nearest].name : NULL);
	json_add_number(json, "percent", percent_of(user));
	json_open_object(json, "charges");
	for (unsigned i = 0; i < PROTOCOL_CHARGED_N && i < user->row.n_charges; i++) {
		const struct protocol_charge *charge = &user->row.charges[i];

		json_open_object(json, kinds[i].name);
		json_add_number(json, "used", charge->used);
		add_limit(json, "limit", charge->limit);
		if (!is_of_all(user))
			add_limit(json, "share", charge->share);
		json_close_object(json);
	}
	json_close_object(json);
}

static void
add_to_json(struct json *json, const struct user *user)
{
	char name[TEXT_USER_SIZE];

	text_format_user(user->row.uid, name);
	json_open_object(json, NULL);
	json_add_number(json, "uid", user->row.uid);
	json_add_string(json, "user", name);
	add_charges_to_json(json, user);
	json_close_object(json);
}

/* All together, which is the last one, stands beside the users. */
static int
print_json(struct users *users)
{
	const struct user *all = users->n && is_of_all(&users->users[users->n - 1]) ? &users->users[users->n - 1] : NULL;

	json_open_array(&users->json, "users");
	for (size_t i = 0; i < users->n; i++)
		if (!is_of_all(&users->users[i]))
			add_to_json(&users->json, &users->users[i]);
	json_close_array(&users->json);
	if (all) {
		json_open_object(&users->json, "all");
		add_charges_to_json(&users->json, all);
		json_close_object(&users->json);
	}
	return report_output(users->ctl, json_print(&users->json));
}

static int
print_table(struct users *users)
{
	for (size_t i = 0; i < users->n; i++)
		if (add_to_table(users, &users->users[i]) < 0)
			return report_no_memory(users->ctl);
	return report_output(users->ctl, table_print(&users->table));
}

static int
print_users(struct users *users, struct ask *ask)
{
	struct protocol_users request = { 0 };
	int r = ask_rows(ask, PROTOCOL_USERS, &request, sizeof(request), sizeof(struct protocol_user), take_row, users);

	if (r != 0)
		return r;
	if (users->n)
		qsort(users->users, users->n, sizeof(*users->users), compare);
	return users->ctl->json ? print_json(users) : print_table(users);
}

static int
begin_table(struct users *users)
{
	memcpy(users->columns, head, sizeof(head));
	for (unsigned i = 0; i < PROTOCOL_CHARGED_N; i++)
		users->columns[N_HEAD + i] = (struct table_column){ kinds[i].heading, TABLE_RIGHT | TABLE_HIDE_EMPTY, kinds[i].dispensable };
	return table_init(&users->table, users->columns, N_COLUMNS);
}

int
users_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct users users = { .ctl = ctl };
	struct ask *ask;
	int r;

	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	if (json_init(&users.json) < 0 || begin_table(&users) < 0)
		r = report_no_memory(ctl);
	else
		r = print_users(&users, ask);
	table_deinit(&users.table);
	json_deinit(&users.json);
	free(users.users);
	ask_free(ask);
	return r;
}
