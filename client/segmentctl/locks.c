/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Locks, a row each, as the daemon's books and the locks' own words have them. A word may be anything, since whoever
 * writes the segment writes it; it is shown, and nothing here trusts it.
 */
#include "config.h"

#include "client/segmentctl/locks.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"
#include "conf/definition.h"
#include "conf/units.h"

enum { NAME, KIND, PROTECTS, UNDO, ON_DEATH, STATE, RECOVERIES, LAST, NOTE, N_COLUMNS };

static const struct table_column columns[] = {
	[NAME] = { "NAME", TABLE_TRUNCATE, 0 },
	[KIND] = { "KIND", 0, 3 },
	[PROTECTS] = { "PROTECTS", 0, 4 },
	[UNDO] = { "UNDO", TABLE_RIGHT, 7 },
	[ON_DEATH] = { "ON DEATH", 0, 5 },
	[STATE] = { "STATE", 0, 0 },
	[RECOVERIES] = { "RECOVERIES", TABLE_RIGHT, 2 },
	[LAST] = { "LAST RECOVERY", 0, 1 },
	[NOTE] = { "NOTE", TABLE_TRUNCATE | TABLE_HIDE_EMPTY, 6 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

static bool
is_mutex(const struct protocol_lock *row)
{
	return row->kind == PROTOCOL_LOCK_MUTEX;
}

static const char *
kind_name(unsigned kind)
{
	static const char *const names[PROTOCOL_LOCK_KIND_N] = {
		[PROTOCOL_LOCK_OURS] = "lock",
		[PROTOCOL_LOCK_MUTEX] = "mutex",
	};

	return kind < PROTOCOL_LOCK_KIND_N ? names[kind] : "unknown";
}

static const char *
on_death_name(unsigned on_death)
{
	return on_death < DEFINITION_ON_DEATH_N ? definition_on_death_names[on_death] : "unknown";
}

/* Why a mutex is not looked after, and what mends that. */
struct reason {
	const char *text;		/* NULL: it is looked after */
	const char *remedy;		/* NULL: there is none, or needs none */
	bool is_known;			/* its word says whether it is held */
};

static const struct reason *
find_reason(unsigned reason)
{
	static const struct reason reasons[PROTOCOL_LOCK_REASON_N] = {
		[PROTOCOL_LOCK_FINE] = { NULL, NULL, true },
		[PROTOCOL_LOCK_UNUSED] = { "nobody has initialised it yet", NULL, true },
		[PROTOCOL_LOCK_NOT_ROBUST] = { "not looked after: it is not robust",
			"before pthread_mutex_init() the program must call pthread_mutexattr_setrobust() with PTHREAD_MUTEX_ROBUST; "
			"or init = true makes it", false },
		[PROTOCOL_LOCK_NOT_SHARED] = { "not looked after: it is not process-shared",
			"before pthread_mutex_init() the program must call pthread_mutexattr_setpshared() with "
			"PTHREAD_PROCESS_SHARED, and pthread_mutexattr_setrobust() with PTHREAD_MUTEX_ROBUST; or init = true makes it",
			false },
		[PROTOCOL_LOCK_INHERITS] = { "not looked after: it inherits or protects priorities",
			"the program must leave its protocol PTHREAD_PRIO_NONE", false },
		[PROTOCOL_LOCK_NAMESPACES] = { "not looked after: writers of another pid namespace are attached",
			"thread ids mean nothing between them; a lock of segmentd's own (without at) works across pid namespaces",
			true },
		[PROTOCOL_LOCK_UNREADABLE] = { "not looked after: its memory cannot be read",
			"its page is not in memory: set prefault = true, or somebody has punched it out", false },
		[PROTOCOL_LOCK_FOREIGN] = { "not looked after: these bytes are no pthread mutex",
			"look whether at is where the program has it", false },
	};
	static const struct reason unknown = { "not looked after: for a reason unknown here", NULL, false };

	return reason < PROTOCOL_LOCK_REASON_N ? &reasons[reason] : &unknown;
}

/* One word, which scripts rely on. */
static const char *
state_name(const struct protocol_lock *row)
{
	if (row->flags & PROTOCOL_LOCK_DUE)
		return "recovering";
	if (row->flags & PROTOCOL_LOCK_POISONED)
		return "poisoned";
	if (row->flags & PROTOCOL_LOCK_STUCK)
		return "stuck";
	if (row->reason == PROTOCOL_LOCK_UNUSED)
		return "unused";
	if (is_mutex(row) && !find_reason(row->reason)->is_known)
		return "unknown";
	return row->owner ? "held" : "free";
}

/* The state for people: who has it. pid: 0 where it is not known. */
static void
format_state(const struct protocol_lock *row, int32_t pid, char *buf, size_t size)
{
	const char *name = state_name(row);

	if (streq(name, "stuck"))
		(void)snprintf(buf, size, "stuck, its thread %" PRIu32 " seems gone", row->owner);
	else if (streq(name, "held") && is_mutex(row))
		(void)snprintf(buf, size, "held by thread %" PRIu32, row->owner);
	else if (streq(name, "held") && pid > 0)
		(void)snprintf(buf, size, "held by attachment %" PRIu32 " (pid %" PRId32 ")", row->owner, pid);
	else if (streq(name, "held"))
		(void)snprintf(buf, size, "held by attachment %" PRIu32, row->owner);
	else
		(void)snprintf(buf, size, "%s", name);
}

static int
take_row(const void *data, void *arg)
{
	const struct protocol_lock *row = data;
	struct locks *locks = arg;

	if (!text_field_ends(row->name, sizeof(row->name)))
		return report_protocol(locks->ctl, "a lock's name has no end");
	if (locks->n == locks->size) {
		size_t size = max_u64(16, locks->size * 2);
		struct protocol_lock *rows = reallocarray(locks->rows, size, sizeof(*rows));

		if (!rows)
			return report_no_memory(locks->ctl);
		locks->rows = rows;
		locks->size = size;
	}
	locks->rows[locks->n++] = *row;
	return 0;
}

int
locks_collect(struct locks *locks, struct ask *ask, const char *name, uint64_t generation)
{
	struct protocol_locks request = { .generation = generation };

	locks->ctl = ask->ctl;
	ask_set_name(request.name, name);
	return ask_rows(ask, PROTOCOL_LOCKS, &request, sizeof(request), sizeof(struct protocol_lock), take_row, locks);
}

void
locks_deinit(struct locks *locks)
{
	free(locks->rows);
	*locks = (struct locks)LOCKS_NULL;
}

uint32_t
locks_count_recovering(const struct locks *locks, const char *name)
{
	uint32_t n = 0;

	for (size_t i = 0; i < locks->n; i++)
		n += (!*name || streq(locks->rows[i].name, name)) && locks->rows[i].flags & PROTOCOL_LOCK_DUE;
	return n;
}

/* 0: hidden, or there is none. */
static int32_t
find_owner_pid(const struct protocol_lock *row, const struct holders *holders)
{
	int32_t pid = 0;

	if (!is_mutex(row) && row->owner)
		pid = holders_find_pid(holders, row->owner);
	return pid > 0 ? pid : 0;
}

static void
format_kind(const struct protocol_lock *row, char *buf, size_t size)
{
	char at[TEXT_SIZE];

	if (is_mutex(row))
		(void)snprintf(buf, size, "%s at %s", kind_name(row->kind), units_format_size(at, sizeof(at), row->at_bytes));
	else
		(void)snprintf(buf, size, "%s", kind_name(row->kind));
}

static void
format_range(const struct protocol_lock *row, char *buf, size_t size)
{
	char offset[TEXT_SIZE], length[TEXT_SIZE];

	/* Exact, since what is rounded would name other bytes. */
	if (row->length_bytes)
		(void)snprintf(buf, size, "%s+%s", units_format_size(offset, sizeof(offset), row->offset_bytes),
		    units_format_size(length, sizeof(length), row->length_bytes));
	else
		(void)snprintf(buf, size, "-");
}

static void
format_last(const struct protocol_lock *row, char *buf, size_t size)
{
	char time[TEXT_SIZE];

	text_format_time(row->recovered_ns, false, time);
	if (!row->recovered_ns)
		(void)snprintf(buf, size, "-");
	else if (row->recovered_pid > 0)
		(void)snprintf(buf, size, "%s (pid %" PRId32 ")", time, row->recovered_pid);
	else
		(void)snprintf(buf, size, "%s", time);
}

static int
add_to_table(struct table *table, const struct protocol_lock *row, int32_t pid)
{
	char kind[64], range[2 * TEXT_SIZE], undo[TEXT_SIZE], state[64], recoveries[TEXT_SIZE], last[64];
	const uint8_t bad = PROTOCOL_LOCK_POISONED | PROTOCOL_LOCK_STUCK;
	const char *reason = find_reason(row->reason)->text;
	const char *cells[N_COLUMNS] = {
		[NAME] = row->name, [KIND] = kind, [PROTECTS] = range, [UNDO] = is_mutex(row) ? "-" : undo,
		[ON_DEATH] = on_death_name(row->on_death), [STATE] = state, [RECOVERIES] = recoveries, [LAST] = last,
		[NOTE] = reason ? reason : "",
	};

	format_kind(row, kind, sizeof(kind));
	format_range(row, range, sizeof(range));
	(void)units_format_size(undo, sizeof(undo), row->log_bytes);
	format_state(row, pid, state, sizeof(state));
	(void)snprintf(recoveries, sizeof(recoveries), "%" PRIu64, row->n_recoveries);
	format_last(row, last, sizeof(last));
	return table_add_row(table, cells, row->flags & bad ? "red" : NULL, STATE);
}

static void
print_poisoned(const struct locks *locks, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < locks->n; i++)
		n += streq(state_name(&locks->rows[i]), "poisoned");
	if (n == 0)
		return;
	printf("%zu poisoned: nobody gets %s until `segmentctl recover ", n, n == 1 ? "it" : "them");
	text_put_escaped(stdout, name);
	puts("` rolls back what was begun, or with --keep keeps it");
}

/* What mends mutexes that are not looked after: a line a reason, with the first of them. */
static void
print_remedies(const struct locks *locks)
{
	bool was_said[PROTOCOL_LOCK_REASON_N] = { false };

	for (size_t i = 0; i < locks->n; i++) {
		const struct protocol_lock *row = &locks->rows[i];
		const char *remedy = find_reason(row->reason)->remedy;

		if (!remedy || was_said[row->reason])
			continue;
		was_said[row->reason] = true;
		text_put_escaped(stdout, row->name);
		printf(": %s\n", remedy);
	}
}

int
locks_print(const struct locks *locks, const struct holders *holders, const char *name)
{
	struct table table;
	int r;

	if (locks->n == 0)
		return 0;
	r = table_init(&table, columns, N_COLUMNS);
	for (size_t i = 0; i < locks->n && r == 0; i++)
		r = add_to_table(&table, &locks->rows[i], find_owner_pid(&locks->rows[i], holders));
	if (r == 0) {
		fputs("\nLocks\n", stdout);
		r = table_print(&table);
	}
	if (r == 0) {
		print_poisoned(locks, name);
		print_remedies(locks);
	}
	table_deinit(&table);
	return r;
}

static void
add_lock(const struct protocol_lock *row, int32_t pid, struct json *json)
{
	char time[TEXT_SIZE];

	text_format_time(row->recovered_ns, true, time);
	json_open_object(json, NULL);
	json_add_string(json, "name", row->name);
	json_add_string(json, "kind", kind_name(row->kind));
	json_add_number(json, "offset", row->offset_bytes);
	json_add_number(json, "length", row->length_bytes);
	if (is_mutex(row))
		json_add_number(json, "at", row->at_bytes);
	else
		json_add_number(json, "undo", row->log_bytes);
	json_add_string(json, "on_death", on_death_name(row->on_death));
	json_add_string(json, "state", state_name(row));
	json_add_number(json, is_mutex(row) ? "owner_thread" : "owner_attachment", row->owner);
	json_add_number(json, "owner_pid", (uint64_t)pid);
	json_add_string(json, "note", find_reason(row->reason)->text);
	json_add_number(json, "recoveries", row->n_recoveries);
	json_add_string(json, "recovered", row->recovered_ns ? time : NULL);
	json_add_number(json, "recovered_pid", row->recovered_pid > 0 ? (uint64_t)row->recovered_pid : 0);
	json_close_object(json);
}

void
locks_add_members(const struct locks *locks, const struct holders *holders, struct json *json)
{
	json_open_array(json, "locks");
	for (size_t i = 0; i < locks->n; i++)
		add_lock(&locks->rows[i], find_owner_pid(&locks->rows[i], holders), json);
	json_close_array(json);
}
