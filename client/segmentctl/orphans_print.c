/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * How orphans are shown. Everybody on the host chooses names of objects: they are escaped like everything that is not ours, and
 * never cut, since one is to be recognised before it is removed.
 */
#include "config.h"

#include <inttypes.h>
#include <sys/stat.h>

#include "base/base.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/orphans.h"
#include "client/segmentctl/row.h"
#include "client/segmentctl/table.h"
#include "client/segmentctl/text.h"
#include "host/process.h"

enum { OBJECT, ID, OWNER, MODE, SIZE, WASTED, USED, CREATOR, VERDICT, PROOF, N_COLUMNS };

static const struct table_column columns[] = {
	[OBJECT] = { "OBJECT", 0, 0 },
	[ID] = { "ID", TABLE_RIGHT, 3 },
	[OWNER] = { "OWNER", TABLE_TRUNCATE, 0 },
	[MODE] = { "MODE", 0, 5 },
	[SIZE] = { "SIZE", TABLE_RIGHT, 4 },
	[WASTED] = { "WASTED", TABLE_RIGHT, 0 },
	[USED] = { "LAST USED", 0, 1 },
	[CREATOR] = { "CREATOR", TABLE_HIDE_EMPTY, 2 },
	[VERDICT] = { "VERDICT", 0, 0 },
	[PROOF] = { "PROOF", 0, 6 },
};
static_assert(BASE_ARRAY_SIZE(columns) == N_COLUMNS, "columns");

void
orphans_format_object(const struct audit_stray *stray, char buf[ORPHANS_OBJECT_SIZE])
{
	if (stray->what == AUDIT_POSIX)
		(void)snprintf(buf, ORPHANS_OBJECT_SIZE, "/%s", stray->name);
	else if (stray->key)
		(void)snprintf(buf, ORPHANS_OBJECT_SIZE, "0x%08" PRIx32, stray->key);
	else
		(void)snprintf(buf, ORPHANS_OBJECT_SIZE, "id:%" PRId32, stray->shm_id);
}

/* The last use that the kernel keeps; 0: it knows of none. Of System V memory its making is none. */
static uint64_t
last_used_ns(const struct audit_stray *stray)
{
	int64_t seconds = stray->attached_s > stray->detached_s ? stray->attached_s : stray->detached_s;

	return seconds > 0 && (uint64_t)seconds < UINT64_MAX / NS_PER_SEC ? (uint64_t)seconds * NS_PER_SEC : 0;
}

static bool
creator_lives(const struct audit_stray *stray)
{
	return stray->creator > 0 && process_tid_state(stray->creator) == PROCESS_THREAD_LIVES;
}

/* What the verdict rests on, for a person to whom the removal is proposed. */
static void
format_proof(const struct audit_stray *stray, char *buf, size_t size)
{
	bool is_held = stray->verdict == AUDIT_HELD;

	/* In a list, and before its removal: there only what waits is kept. */
	if (stray->verdict == AUDIT_KEPT) {
		(void)snprintf(buf, size, "in quarantine: %s", stray->error == -EEXIST ? "another has its name" :
		    stray->error == -EACCES ? "another user's to settle" : "not settled yet");
		return;
	}
	switch (stray->proof) {
	case AUDIT_BY_LEASE:
		(void)snprintf(buf, size, is_held ? "write lease refused" : "write lease granted");
		break;
	case AUDIT_BY_OPEN:
		(void)snprintf(buf, size, "leased or locked by another");
		break;
	case AUDIT_BY_NATTCH:
		(void)snprintf(buf, size, "nattch %" PRIu32, stray->n_attached);
		break;
	default:
		(void)snprintf(buf, size, "%s", stray->error ? strerror(-stray->error) : "-");
		break;
	}
}

static const char *
proof_name(unsigned proof)
{
	static const char *const names[] = {
		[AUDIT_BY_NOTHING] = NULL, [AUDIT_BY_LEASE] = "lease", [AUDIT_BY_OPEN] = "open", [AUDIT_BY_NATTCH] = "nattch",
	};

	return proof < BASE_ARRAY_SIZE(names) ? names[proof] : NULL;
}

static int
add_row(struct table *table, const struct audit_stray *stray)
{
	char object[ORPHANS_OBJECT_SIZE], id[TEXT_SIZE], owner[TEXT_USER_SIZE], mode[ROW_MODE_SIZE + 8], size[TEXT_SIZE];
	char wasted[TEXT_SIZE], used[TEXT_SIZE], creator[TEXT_SIZE], proof[128];
	uint64_t used_ns = last_used_ns(stray);
	const char *cells[N_COLUMNS] = {
		[OBJECT] = object, [ID] = id, [OWNER] = owner, [MODE] = mode, [SIZE] = size, [WASTED] = wasted,
		[USED] = used_ns ? used : "-", [CREATOR] = stray->creator > 0 ? creator : "",
		[VERDICT] = audit_verdict_name(stray->verdict), [PROOF] = proof,
	};

	orphans_format_object(stray, object);
	if (stray->what == AUDIT_POSIX)
		(void)snprintf(id, sizeof(id), "%" PRIu64, stray->inode);
	else
		(void)snprintf(id, sizeof(id), "%" PRId32, stray->shm_id);
	text_format_user(stray->uid, owner);
	(void)snprintf(mode, sizeof(mode), "%04o", (unsigned)(stray->mode & 07777));
	text_format_size(stray->size_bytes, size);
	/* Of what is held nothing is. */
	if (stray->verdict == AUDIT_UNHELD)
		text_format_size(stray->resident_bytes, wasted);
	else
		(void)strcpy(wasted, "-");
	text_format_time(used_ns, false, used);
	(void)snprintf(creator, sizeof(creator), "%" PRId32 "%s", stray->creator, creator_lives(stray) ? "" : " (gone)");
	format_proof(stray, proof, sizeof(proof));
	return table_add_row(table, cells, NULL, 0);
}

static int
print_table(const struct orphans *orphans)
{
	struct table table = TABLE_NULL;
	int r = table_init(&table, columns, N_COLUMNS);

	for (size_t i = 0; r == 0 && i < orphans->n; i++)
		r = add_row(&table, &orphans->rows[i].stray);
	if (r == 0)
		r = table_print(&table);
	table_deinit(&table);
	return r;
}

/* What of the answer is missing: why it is, and what helps. */
static void
print_lacks(const struct orphans *orphans)
{
	const struct audit_answer *end = &orphans->end;

	if (orphans->n_unknown && *end->text) {
		fputs("segmentctl: ", stderr);
		text_put_escaped(stderr, end->text);
		putc('\n', stderr);
	} else if (orphans->n_unknown) {
		fprintf(stderr, "segmentctl: %zu object%s could not be judged\n", orphans->n_unknown, orphans->n_unknown == 1 ? "" : "s");
	}
	if (orphans->n_kept)
		fprintf(stderr, "segmentctl: %zu object%s in quarantine (" AUDIT_QUARANTINES "/ID/) for the end of a removal: each has its name "
		    "back once that is free, or is removed once nobody has it, when segmentd-audit is asked again\n", orphans->n_kept,
		    orphans->n_kept == 1 ? " waits" : "s wait");
	if (end->flags & AUDIT_INCOMPLETE)
		fputs("segmentctl: not all was looked at, for want of time, memory or descriptors: there may be more\n", stderr);
}

int
orphans_print(const struct orphans *orphans)
{
	char size[TEXT_SIZE];
	int r = 0;

	if (orphans->n)
		r = print_table(orphans);
	if (r < 0)
		return r;
	text_format_size(orphans->resident_bytes, size);
	if (orphans->n_unheld)
		printf("%zu orphan%s, %s\n", orphans->n_unheld, orphans->n_unheld == 1 ? "" : "s", size);
	else
		printf("no orphan: %" PRIu32 " object%s looked at\n", orphans->end.n_seen, orphans->end.n_seen == 1 ? " was" : "s were");
	(void)fflush(stdout);
	print_lacks(orphans);
	return ferror(stdout) ? -EIO : 0;
}

static void
describe_result(const struct orphan *row, char *buf, size_t size)
{
	char resident[TEXT_SIZE];

	text_format_size(row->stray.resident_bytes, resident);
	switch (row->result) {
	case AUDIT_REMOVED:
		if (row->n_attached)
			(void)snprintf(buf, size, "its key is free, and its memory goes with %" PRIu32 " that attached meanwhile", row->n_attached);
		else
			(void)snprintf(buf, size, "%s given back", resident);
		break;
	case AUDIT_HELD:
		(void)snprintf(buf, size, "somebody has it now");
		break;
	case AUDIT_CHANGED:
		(void)snprintf(buf, size, "it was in use meanwhile, or is another one by now");
		break;
	case AUDIT_GONE:
		(void)snprintf(buf, size, "somebody else has removed it");
		break;
	case AUDIT_UNKNOWN:
		(void)snprintf(buf, size, "not judged: %s", row->error ? strerror(-row->error) : "no right to ask the kernel");
		break;
	case AUDIT_UNFIT:
		(void)snprintf(buf, size, "a directory, fifo, socket, symbolic link, or a file of several names: no shared memory");
		break;
	case AUDIT_KEPT:
		if (row->error == -EEXIST || row->stray.verdict == AUDIT_KEPT) {
			(void)snprintf(buf, size, "it waits in quarantine for its name, which another has, or for nobody to have it");
			break;
		}
		/* fall through */
	default:
		(void)snprintf(buf, size, "%s", row->error ? strerror(-row->error) : "no reason was given");
		break;
	}
}

void
orphans_print_results(const struct orphans *orphans, size_t first, size_t n)
{
	char object[ORPHANS_OBJECT_SIZE], text[256];

	for (size_t i = first; i < first + n && orphans->rows[i].is_tried; i++) {
		const struct orphan *row = &orphans->rows[i];

		orphans_format_object(&row->stray, object);
		describe_result(row, text, sizeof(text));
		printf("%-8s ", audit_verdict_name(row->result));
		text_put_escaped(stdout, object);
		printf(": %s\n", text);
	}
}

static void
sum_results(const struct orphans *orphans, size_t *ret_n_removed, uint64_t *ret_bytes)
{
	*ret_n_removed = 0;
	*ret_bytes = 0;
	for (size_t i = 0; i < orphans->n; i++) {
		const struct orphan *row = &orphans->rows[i];

		if (!row->is_tried || row->result != AUDIT_REMOVED)
			continue;
		(*ret_n_removed)++;
		*ret_bytes += row->n_attached ? 0 : row->stray.resident_bytes;
	}
}

void
orphans_print_sum(const struct orphans *orphans)
{
	char size[TEXT_SIZE];
	size_t n_removed;
	uint64_t bytes;

	sum_results(orphans, &n_removed, &bytes);
	text_format_size(bytes, size);
	printf("%zu of %zu removed, %s given back\n", n_removed, orphans->n_unheld, size);
}

static void
add_time(struct json *json, const char *key, int64_t seconds)
{
	char text[TEXT_SIZE] = "";

	if (seconds > 0 && (uint64_t)seconds < UINT64_MAX / NS_PER_SEC)
		text_format_time((uint64_t)seconds * NS_PER_SEC, true, text);
	json_add_string(json, key, *text ? text : NULL);
}

static void
add_error(struct json *json, const char *key, int error)
{
	json_add_string(json, key, error ? strerror(-error) : NULL);
}

static void
add_kind(struct json *json, const struct audit_stray *stray)
{
	bool is_sysv = stray->what == AUDIT_SYSV;

	json_add_string(json, "what", is_sysv ? "sysv" : "posix");
	if (is_sysv) {
		json_add_number(json, "id", (uint64_t)stray->shm_id);
		json_add_number(json, "key", stray->key);
		json_add_number(json, "attached", stray->n_attached);
		json_add_number(json, "creator", stray->creator > 0 ? (uint64_t)stray->creator : 0);
		json_add_bool(json, "creator_lives", creator_lives(stray));
		json_add_number(json, "last_pid", stray->last > 0 ? (uint64_t)stray->last : 0);
	} else {
		json_add_number(json, "device", stray->device);
		json_add_number(json, "inode", stray->inode);
	}
	add_time(json, is_sysv ? "last_attached" : "last_accessed", stray->attached_s);
	add_time(json, is_sysv ? "last_detached" : "last_modified", stray->detached_s);
	add_time(json, "changed", stray->changed_s);
}

static void
add_object(struct json *json, const struct orphan *row, bool with_result)
{
	const struct audit_stray *stray = &row->stray;
	char object[ORPHANS_OBJECT_SIZE], owner[TEXT_USER_SIZE], mode[16];

	orphans_format_object(stray, object);
	text_format_user(stray->uid, owner);
	(void)snprintf(mode, sizeof(mode), "%04o", (unsigned)(stray->mode & 07777));
	json_open_object(json, NULL);
	json_add_string(json, "object", object);
	add_kind(json, stray);
	json_add_number(json, "uid", stray->uid);
	json_add_string(json, "owner", owner);
	json_add_number(json, "gid", stray->gid);
	json_add_string(json, "mode", mode);
	json_add_number(json, "size", stray->size_bytes);
	json_add_number(json, "resident", stray->resident_bytes);
	json_add_string(json, "verdict", audit_verdict_name(stray->verdict));
	json_add_string(json, "proof", proof_name(stray->proof));
	add_error(json, "error", stray->error);
	if (with_result) {
		json_add_string(json, "result", row->is_tried ? audit_verdict_name(row->result) : NULL);
		add_error(json, "result_error", row->error);
	}
	json_close_object(json);
}

static void
add_all(const struct orphans *orphans, struct json *json)
{
	bool with_result = orphans->ctl->options & SEGMENTCTL_OPTION_REMOVE;
	const struct audit_answer *end = &orphans->end;
	size_t n_removed;
	uint64_t bytes;

	json_open_array(json, "objects");
	for (size_t i = 0; i < orphans->n; i++)
		add_object(json, &orphans->rows[i], with_result);
	json_close_array(json);
	json_add_number(json, "orphans", orphans->n_unheld);
	json_add_number(json, "wasted", orphans->resident_bytes);
	json_add_number(json, "quarantined", orphans->n_kept);
	json_add_number(json, "not_judged", orphans->n_unknown);
	json_add_string(json, "lacking", orphans->n_unknown && *end->text ? end->text : NULL);
	json_add_bool(json, "complete", !(end->flags & AUDIT_INCOMPLETE));
	if (!with_result)
		return;
	sum_results(orphans, &n_removed, &bytes);
	json_add_number(json, "removed", n_removed);
	json_add_number(json, "given_back", bytes);
}

int
orphans_print_json(const struct orphans *orphans)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		add_all(orphans, &json);
		r = json_print(&json);
	}
	json_deinit(&json);
	return r;
}
