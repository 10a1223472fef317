/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is said of an orphan: which object, whose, how large, since when, how we know that nobody holds it, and under which rule
 * what was done. Names are strangers' bytes: they are quoted in sentences, and whole only in the journal's field.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/orphans.h"
#include "host/findings.h"

/* One object in words. */
struct told {
	const struct audit_stray *stray;
	char name[2 + AUDIT_NAME_SIZE];		/* as it is: /NAME; or of a System V segment its key */
	char what[64 + 4 * AUDIT_NAME_SIZE];	/* POSIX object "/psm_1"; System V segment 17 (key 0x00007a2f) */
	char about[160];			/* inode 33, of uid 1000, mode 0600, 4 MiB, of which 64 KiB are in memory */
	char since[128];
	const char *proof;
	char rule[64 + 512];
};

static void
tell_posix(const struct orphans_ask *ask, size_t i, struct told *told)
{
	const struct audit_stray *stray = told->stray;
	uint64_t age_s = (clock_monotonic_ns() - ask->since_ns[i]) / NS_PER_SEC;
	char quoted[4 + 4 * AUDIT_NAME_SIZE];

	(void)snprintf(told->name, sizeof(told->name), "/%s", ask->candidates[i].name);
	(void)snprintf(told->what, sizeof(told->what), "POSIX object %s", log_quote(quoted, sizeof(quoted), told->name));
	(void)snprintf(told->since, sizeof(told->since), ask->is_seen[i] ? "last closed %" PRIu64 " s ago" :
	    "not closed by anybody since it was first looked at, %" PRIu64 " s ago", age_s);
	told->proof = stray->proof == AUDIT_BY_LEASE ? "the kernel granted a write lease, so no process has it open or maps it" : "";
}

static void
tell_sysv(struct told *told)
{
	const struct audit_stray *stray = told->stray;
	int64_t now_s = (int64_t)(clock_realtime_ns() / NS_PER_SEC);

	(void)snprintf(told->name, sizeof(told->name), "key 0x%08x", stray->key);
	(void)snprintf(told->what, sizeof(told->what), "System V segment %d (key 0x%08x)", stray->shm_id, stray->key);
	if (stray->detached_s)
		(void)snprintf(told->since, sizeof(told->since), "last detached %" PRId64 " s ago, by pid %d",
		    now_s - stray->detached_s, stray->last);
	else
		(void)snprintf(told->since, sizeof(told->since), "never attached, made %" PRId64 " s ago, by pid %d",
		    now_s - stray->changed_s, stray->creator);
	told->proof = stray->proof == AUDIT_BY_NATTCH ? "the kernel counts no attachment of it (nattch 0)" : "";
}

static void
tell_object(const struct orphans_ask *ask, size_t i, struct told *told)
{
	const struct audit_stray *stray = told->stray = &ask->strays[i];
	const struct conf_orphan *rule = ask->rule_of[i];
	char size[32], resident[32], inode[32] = "";

	if (ask->candidates[i].what == AUDIT_POSIX)
		tell_posix(ask, i, told);
	else
		tell_sysv(told);
	if (stray->inode)
		(void)snprintf(inode, sizeof(inode), "inode %" PRIu64 ", ", stray->inode);
	(void)snprintf(told->about, sizeof(told->about), "%sof uid %u, mode %04o, %s, of which %s are in memory", inode, stray->uid,
	    stray->mode & 07777, findings_size(size, sizeof(size), stray->size_bytes),
	    findings_size(resident, sizeof(resident), stray->resident_bytes));
	(void)snprintf(told->rule, sizeof(told->rule), "%.512s:%u", rule->file, rule->line);
}

static void
tell_event(const struct orphans *orphans, const struct told *told, enum protocol_orphan what)
{
	const struct audit_stray *stray = told->stray;

	if (orphans->host.events)
		events_post_orphan(orphans->host.events, &(struct events_orphan) {
			.kind = PROTOCOL_EVENT_ORPHAN,
			.what = what,
			.name = told->name,
			.inode = stray->inode,
			.shm_id = stray->what == AUDIT_SYSV ? stray->shm_id : -1,
			.creator_pid = stray->creator,
			.uid = stray->uid,
			.resident_bytes = stray->resident_bytes,
			.size_bytes = stray->size_bytes,
		});
}

static void
tell_found(struct orphans *orphans, const struct told *told, const struct log_about *about)
{
	orphans->n_found++;
	tell_event(orphans, told, PROTOCOL_ORPHAN_FOUND);
	/* Strangers can make as many as they like. */
	if (log_allowed(&orphans->found_limit))
		log_write(MESSAGE_ORPHAN_FOUND, about, "%s is an orphan, and stays (%s): %s; %s; %s", told->what, told->rule,
		    told->proof, told->since, told->about);
}

static void
tell_removed(struct orphans *orphans, const struct told *told, const struct log_about *about)
{
	orphans->n_found++;
	orphans->n_removed++;
	orphans->freed_bytes += told->stray->resident_bytes;
	tell_event(orphans, told, PROTOCOL_ORPHAN_REMOVED);
	/* Every one, as far as the journal would have room for all else beside them. */
	if (log_allowed(&orphans->removed_limit))
		log_write(MESSAGE_ORPHAN_REMOVED, about, "%s was an orphan, and was removed (%s): %s; %s; %s", told->what, told->rule,
		    told->proof, told->since, told->about);
}

static void
tell_kept(struct orphans *orphans, const struct told *told, const struct log_about *about)
{
	orphans->n_found++;
	orphans->n_kept++;
	tell_event(orphans, told, PROTOCOL_ORPHAN_KEPT);
	if (log_allowed(&orphans->unknown_limit))
		log_write(MESSAGE_ORPHAN_KEPT, about, "%s is an orphan, and could not be removed, so that it stays (%s): %s; %s; %s%s", told->what,
		    told->rule, told->proof, told->since, told->about, about->error == -EPERM || about->error == -EACCES ?
		    "; `segmentctl doctor` says which rights are missing" : "");
}

static void
tell_unknown(struct orphans *orphans, const struct told *told, const struct log_about *about)
{
	orphans->n_unknown++;
	if (log_allowed(&orphans->unknown_limit))
		log_write(MESSAGE_ORPHAN_UNKNOWN, about, "whether anybody holds %s cannot be asked with the rights at hand, so that it stays "
		    "(%s): %s; `segmentctl doctor` says which are missing", told->what, told->rule, told->about);
}

void
orphans_tell(struct orphans_ask *ask, size_t i)
{
	struct orphans *orphans = ask->orphans;
	struct told told;
	struct journal_object object = { .name = told.name, .proof = NULL, .rule = told.rule };
	struct log_about about = { .object = &object };

	tell_object(ask, i, &told);
	object.inode = told.stray->inode;
	object.uid = told.stray->uid;
	object.bytes = told.stray->size_bytes;
	object.resident_bytes = told.stray->resident_bytes;
	object.has_id = ask->candidates[i].what == AUDIT_SYSV;
	object.id = told.stray->shm_id;
	object.proof = *told.proof ? told.proof : NULL;
	about.error = told.stray->error;
	switch (told.stray->verdict) {
	case AUDIT_UNHELD:
		tell_found(orphans, &told, &about);
		break;
	case AUDIT_REMOVED:
		tell_removed(orphans, &told, &about);
		break;
	case AUDIT_KEPT:
		tell_kept(orphans, &told, &about);
		break;
	default:
		tell_unknown(orphans, &told, &about);
		break;
	}
}
