/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's figures as OpenMetrics text: a row a metric. Totals only; a segment's own are in `list`, so that the number
 * of series does not grow with what clients create.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/orphans.h"
#include "daemon/reload.h"
#include "daemon/requests.h"

#define REFRESH_NS	(NS_PER_MS / 4)		/* of asking who has read; what is not asked then is told as it was known */

struct metrics_sums {
	uint64_t by_state[PROTOCOL_STATE_N];
	uint64_t readers, writers, unsupervised;
	uint64_t size_bytes;
	uint64_t poisoned;
};

enum metrics_type {
	METRICS_GAUGE,
	METRICS_COUNTER,
};

struct metrics_row {
	const char *name;
	enum metrics_type type;
	const char *unit;		/* or NULL */
	const char *help;
	uint64_t (*value)(const struct requests *requests, const struct metrics_sums *sums);
};

#define METRICS_VALUE(name_, expression_)							\
	static uint64_t										\
	metrics_##name_(const struct requests *requests BASE_UNUSED,				\
	    const struct metrics_sums *sums BASE_UNUSED)					\
	{											\
		return (uint64_t)(expression_);							\
	}

METRICS_VALUE(declared, sums->by_state[PROTOCOL_DECLARED])
METRICS_VALUE(provisioning, sums->by_state[PROTOCOL_PROVISIONING])
METRICS_VALUE(ready, sums->by_state[PROTOCOL_READY])
METRICS_VALUE(draining, sums->by_state[PROTOCOL_DRAINING])
METRICS_VALUE(failed, sums->by_state[PROTOCOL_FAILED])
METRICS_VALUE(readers, sums->readers)
METRICS_VALUE(writers, sums->writers)
METRICS_VALUE(unsupervised, sums->unsupervised)
METRICS_VALUE(size, sums->size_bytes)
METRICS_VALUE(locked, requests->provisioner->locked_bytes)
METRICS_VALUE(promised, requests->provisioner->budget.promised_bytes)
METRICS_VALUE(sessions, requests->sessions->n_sessions)
METRICS_VALUE(accepted, requests->sessions->last_id)
METRICS_VALUE(connections, requests->sessions->n_connections)
METRICS_VALUE(turned_away, requests->sessions->n_turned_away)
METRICS_VALUE(crowded, requests->sessions->n_crowded)
METRICS_VALUE(requests, requests->sessions->n_requests)
METRICS_VALUE(violations, requests->sessions->n_violations)
METRICS_VALUE(workers, requests->workers->n)
METRICS_VALUE(workers_lost, requests->workers->n_lost + requests->provisioner->releases.io->n_lost +
    requests->sessions->parcels.workers.n_lost)
METRICS_VALUE(jobs, requests->workers->n_jobs)
METRICS_VALUE(worker_deaths, requests->workers->n_deaths)
METRICS_VALUE(kernel_events, requests->kernelcount->n_events)
METRICS_VALUE(kernel_overflows, requests->kernelcount->n_overflows)
METRICS_VALUE(rests, requests->kernelcount->tolls.n_rests)
METRICS_VALUE(closings, requests->kernelcount->tolls.n_closings)
METRICS_VALUE(subscribers, requests->events->n_subscribers)
METRICS_VALUE(events, requests->events->n_sent)
METRICS_VALUE(events_lost, requests->events->n_lost)
METRICS_VALUE(events_silent, requests->events->n_silent)
METRICS_VALUE(poisoned, sums->poisoned)
METRICS_VALUE(recoveries, requests->registry->host.recovery->n_recoveries)
METRICS_VALUE(poisonings, requests->registry->host.recovery->n_poisonings)
METRICS_VALUE(reloads, requests->reload->n_reloads)
METRICS_VALUE(reloads_invalid, requests->reload->n_invalid)
METRICS_VALUE(orphans_watched, orphans_n_watched(requests->orphans))
METRICS_VALUE(orphans_found, requests->orphans->n_found)
METRICS_VALUE(orphans_removed, requests->orphans->n_removed)
METRICS_VALUE(orphans_kept, requests->orphans->n_kept)
METRICS_VALUE(orphans_unknown, requests->orphans->n_unknown)
METRICS_VALUE(orphans_freed, requests->orphans->freed_bytes)
METRICS_VALUE(orphans_overflows, requests->orphans->n_overflows)
METRICS_VALUE(leftovers_kept, requests->provisioner->leftovers->n_kept)
METRICS_VALUE(leftovers_taken, requests->provisioner->leftovers->n_adopted)
METRICS_VALUE(leftovers_removed, requests->provisioner->leftovers->n_removed)
METRICS_VALUE(audits, requests->who->auditor->n_questions)
METRICS_VALUE(audits_failed, requests->who->auditor->n_failures)
METRICS_VALUE(audits_unsettled, requests->who->auditor->unsettled.is_any)
METRICS_VALUE(box_live, requests->box ? box_n_live(requests->box) : 0)
METRICS_VALUE(box_dead, requests->box ? requests->box->n_dead : 0)
METRICS_VALUE(box_renewals, requests->box ? requests->box->n_renewals : 0)
METRICS_VALUE(box_lost, requests->box ? requests->box->n_lost : 0)
METRICS_VALUE(count_refused, requests->registry->n_count_refused)
METRICS_VALUE(uids, HASH_COUNT(requests->sessions->accounts->by_uid))
METRICS_VALUE(uptime, (clock_monotonic_ns() - requests->started_ns) / NS_PER_SEC)

static const struct metrics_row metrics_table[] = {
	{ "segmentd_segments_declared", METRICS_GAUGE, NULL, "Segments that wait to be provisioned.", metrics_declared },
	{ "segmentd_segments_provisioning", METRICS_GAUGE, NULL, "Segments being provisioned.", metrics_provisioning },
	{ "segmentd_segments_ready", METRICS_GAUGE, NULL, "Segments that can be attached.", metrics_ready },
	{ "segmentd_segments_draining", METRICS_GAUGE, NULL, "Segments that wait for their last holder.", metrics_draining },
	{ "segmentd_segments_failed", METRICS_GAUGE, NULL, "Segments that could not be provisioned.", metrics_failed },
	{ "segmentd_attached_readers", METRICS_GAUGE, NULL, "Attachments for reading.", metrics_readers },
	{ "segmentd_attached_writers", METRICS_GAUGE, NULL, "Attachments for writing.", metrics_writers },
	{ "segmentd_attached_unsupervised", METRICS_GAUGE, NULL, "Attachments whose session is gone.", metrics_unsupervised },
	{ "segmentd_segments_size_bytes", METRICS_GAUGE, "bytes", "Sizes of all segments.", metrics_size },
	{ "segmentd_segments_locked_bytes", METRICS_GAUGE, "bytes", "Of them locked in memory.", metrics_locked },
	{ "segmentd_promised_bytes", METRICS_GAUGE, "bytes", "Promised to provisioning, not resident yet.", metrics_promised },
	{ "segmentd_sessions", METRICS_GAUGE, NULL, "Connected clients.", metrics_sessions },
	{ "segmentd_sessions_accepted", METRICS_COUNTER, NULL, "Connections accepted.", metrics_accepted },
	{ "segmentd_connections", METRICS_COUNTER, NULL, "Connections of this daemon's, also those that were refused.", metrics_connections },
	{ "segmentd_connections_refused", METRICS_COUNTER, NULL, "Of them for want of descriptors or memory.", metrics_turned_away },
	{ "segmentd_accept_rests", METRICS_COUNTER, NULL, "Times that nobody was accepted, for what others left.", metrics_crowded },
	{ "segmentd_requests", METRICS_COUNTER, NULL, "Requests answered.", metrics_requests },
	{ "segmentd_protocol_violations", METRICS_COUNTER, NULL, "Clients disconnected for it.", metrics_violations },
	{ "segmentd_workers", METRICS_GAUGE, NULL, "Worker processes.", metrics_workers },
	{ "segmentd_workers_lost", METRICS_GAUGE, NULL, "Workers that were killed and do not end.", metrics_workers_lost },
	{ "segmentd_worker_jobs", METRICS_COUNTER, NULL, "Jobs given to workers.", metrics_jobs },
	{ "segmentd_worker_deaths", METRICS_COUNTER, NULL, "Workers that died at a job.", metrics_worker_deaths },
	{ "segmentd_kernel_events", METRICS_COUNTER, NULL, "Closes of descriptions told by inotify.", metrics_kernel_events },
	{ "segmentd_kernel_event_overflows", METRICS_COUNTER, NULL, "Overflows, each with a look at all.", metrics_kernel_overflows },
	{ "segmentd_attach_rests", METRICS_COUNTER, NULL, "Attaches that cost so much that the next one waits.", metrics_rests },
	{ "segmentd_descriptors_closing", METRICS_GAUGE, NULL, "Of crowded segments, that wait to be closed.", metrics_closings },
	{ "segmentd_event_subscribers", METRICS_GAUGE, NULL, "Sessions that are told of events.", metrics_subscribers },
	{ "segmentd_events", METRICS_COUNTER, NULL, "Events sent, once for each subscriber.", metrics_events },
	{ "segmentd_events_lost", METRICS_COUNTER, NULL, "Events that a subscriber read too late for.", metrics_events_lost },
	{ "segmentd_event_subscribers_ended", METRICS_COUNTER, NULL, "Subscribers that read nothing for too long.", metrics_events_silent },
	{ "segmentd_locks_poisoned", METRICS_GAUGE, NULL, "Locks found poisoned: at a death, or when asked.", metrics_poisoned },
	{ "segmentd_recoveries", METRICS_COUNTER, NULL, "Locks freed after their owner died.", metrics_recoveries },
	{ "segmentd_poisonings", METRICS_COUNTER, NULL, "Locks poisoned after their owner died.", metrics_poisonings },
	{ "segmentd_reloads", METRICS_COUNTER, NULL, "Reloads, also those that changed nothing.", metrics_reloads },
	{ "segmentd_reloads_invalid", METRICS_COUNTER, NULL, "Of them without a valid configuration.", metrics_reloads_invalid },
	{ "segmentd_orphans_watched", METRICS_GAUGE, NULL, "Stray objects that a rule is about.", metrics_orphans_watched },
	{ "segmentd_orphans_found", METRICS_COUNTER, NULL, "Of them that nobody held for the rule's time.", metrics_orphans_found },
	{ "segmentd_orphans_removed", METRICS_COUNTER, NULL, "Of those that were removed.", metrics_orphans_removed },
	{ "segmentd_orphans_kept", METRICS_COUNTER, NULL, "Of those that could not be removed.", metrics_orphans_kept },
	{ "segmentd_orphans_unknown", METRICS_COUNTER, NULL, "Objects about which the kernel could not be asked.", metrics_orphans_unknown },
	{ "segmentd_orphans_freed_bytes", METRICS_COUNTER, "bytes", "Memory that removed orphans had.", metrics_orphans_freed },
	{ "segmentd_orphans_overflows", METRICS_COUNTER, NULL, "Events lost, each with a look at all names.", metrics_orphans_overflows },
	{ "segmentd_leftovers_kept", METRICS_GAUGE, NULL, "Objects of an earlier daemon that somebody has.", metrics_leftovers_kept },
	{ "segmentd_leftovers_taken", METRICS_COUNTER, NULL, "Of an earlier daemon, taken over.", metrics_leftovers_taken },
	{ "segmentd_leftovers_removed", METRICS_COUNTER, NULL, "And removed, since nobody had them.", metrics_leftovers_removed },
	{ "segmentd_audits", METRICS_COUNTER, NULL, "Questions to segmentd-audit.", metrics_audits },
	{ "segmentd_audits_failed", METRICS_COUNTER, NULL, "Of them that it did not answer.", metrics_audits_failed },
	{ "segmentd_audits_unsettled", METRICS_GAUGE, NULL, "1: what it was removing waits in quarantine; else 0.", metrics_audits_unsettled },
	{ "segmentd_box_descriptors", METRICS_GAUGE, NULL, "Put aside to outlive the daemon.", metrics_box_live },
	{ "segmentd_box_dead", METRICS_GAUGE, NULL, "Put aside and needless, until the box is renewed.", metrics_box_dead },
	{ "segmentd_box_renewals", METRICS_COUNTER, NULL, "Times that all was put aside anew.", metrics_box_renewals },
	{ "segmentd_box_lost", METRICS_COUNTER, NULL, "Descriptors that could not be put aside.", metrics_box_lost },
	{ "segmentd_templates_refused", METRICS_COUNTER, NULL, "Segments beyond the max_count of a template.", metrics_count_refused },
	{ "segmentd_charged_uids", METRICS_GAUGE, NULL, "Users who make the daemon hold anything.", metrics_uids },
	{ "segmentd_uptime_seconds", METRICS_GAUGE, "seconds", "Since the daemon started.", metrics_uptime },
};

/* Nothing in this asks the kernel: with thousands of segments that would hold up the loop. */
static void
metrics_sum(const struct requests *requests, struct metrics_sums *ret_sums)
{
	const struct segment *segment;

	*ret_sums = (struct metrics_sums) { 0 };
	TAILQ_FOREACH(segment, &requests->registry->in_order, entry) {
		ret_sums->by_state[segment->state]++;
		ret_sums->readers += segment->n_readers;
		ret_sums->writers += segment->n_writers;
		ret_sums->unsupervised += segment->n_unsupervised;
		ret_sums->size_bytes += segment->definition->size_bytes;
		ret_sums->poisoned += segment->locks->n_poisoned;
	}
}

/* What peers make the daemon hold: when all have gone, zero. The labels are accounts_rows', not anybody's to choose. */
static size_t
metrics_add_charges(const struct accounts *accounts, char *text, size_t size)
{
	size_t len = (size_t)snprintf(text, size, "# TYPE segmentd_charged gauge\n"
	    "# HELP segmentd_charged What users make the daemon hold, of each kind.\n");

	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		len += (size_t)snprintf(text + len, size - len, "segmentd_charged{kind=\"%s\"} %" PRIu64 "\n", accounts_rows[i].name,
		    accounts->used[i]);
	len += (size_t)snprintf(text + len, size - len, "# TYPE segmentd_charges_refused counter\n"
	    "# HELP segmentd_charges_refused Times that a user or all had as much of it as they may.\n");
	for (size_t i = 0; i < ACCOUNTS_KIND_N; i++)
		len += (size_t)snprintf(text + len, size - len, "segmentd_charges_refused_total{kind=\"%s\"} %" PRIu64 "\n",
		    accounts_rows[i].name, accounts->n_refused[i]);
	return len;
}

int
requests_metrics(struct requests *requests, struct session *session, const struct protocol_header *request)
{
	char *text = requests->reply.bytes + sizeof(struct protocol_header);
	size_t size = sizeof(requests->reply) - sizeof(struct protocol_header);
	size_t len = 0;
	struct metrics_sums sums;

	metrics_sum(requests, &sums);
	session_refresh_charges(session->host, clock_monotonic_ns() + REFRESH_NS);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(metrics_table); i++) {
		const struct metrics_row *row = &metrics_table[i];
		bool is_counter = row->type == METRICS_COUNTER;

		len += (size_t)snprintf(text + len, size - len, "# TYPE %s %s\n", row->name,
		    is_counter ? "counter" : "gauge");
		if (row->unit)
			len += (size_t)snprintf(text + len, size - len, "# UNIT %s %s\n", row->name, row->unit);
		len += (size_t)snprintf(text + len, size - len, "# HELP %s %s\n%s%s %" PRIu64 "\n", row->name, row->help,
		    row->name, is_counter ? "_total" : "", row->value(requests, &sums));
	}
	len += metrics_add_charges(session->host->accounts, text + len, size - len);
	len += (size_t)snprintf(text + len, size - len, "# EOF\n");
	return session_reply(session, request, &requests->reply.header, sizeof(struct protocol_header) + len + 1, 0,
	    NULL, 0);
}
