/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What is told of it all: how far the start has come, and that it is ready, to the service manager; and what becomes of segments
 * and their locks, to the log.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/manager_parts.h"
#include "daemon/recoverylog.h"
#include "daemon/timer.h"
#include "systemd/notify.h"

#define STATUS_MS	200		/* between two lines of status, at the least */
#define EXTEND_SECONDS	60		/* for the next step of provisioning before the service manager gives the start up */

static const struct timeval status_later = { .tv_usec = STATUS_MS * 1000 };

static void
manager_count_bytes(const struct segment *segment, struct manager_progress *progress)
{
	uint64_t done_bytes = 0, total_bytes;

	if (segment->provision) {
		done_bytes = provision_progress_bytes(segment->provision);
		total_bytes = provision_end_bytes(segment->provision);
		progress->is_under_way |= total_bytes > 0;
	} else if (segment->state == PROTOCOL_READY || segment->state == PROTOCOL_DECLARED) {
		total_bytes = provision_bytes_of(segment->definition);
		if (segment->state == PROTOCOL_READY)
			done_bytes = total_bytes;
	} else {
		return;
	}
	/* Of what is only declared nobody has said yet that there cannot be so much. */
	if (!checked_add(progress->total_bytes, total_bytes, &progress->total_bytes))
		progress->total_bytes = UINT64_MAX;
	progress->done_bytes += done_bytes;
}

void
manager_count(const struct manager *manager, struct manager_progress *ret_progress)
{
	const struct segment *segment;

	*ret_progress = (struct manager_progress) { 0 };
	TAILQ_FOREACH(segment, &manager->registry.in_order, entry) {
		bool is_required = segment->is_declared && segment->definition->required;

		ret_progress->n++;
		if (segment->state == PROTOCOL_READY)
			ret_progress->n_ready++;
		else if (segment->state == PROTOCOL_FAILED)
			ret_progress->n_failed++;
		if (is_required && segment->state == PROTOCOL_FAILED)
			ret_progress->n_required_failed++;
		if (is_required && segment->state < PROTOCOL_READY)
			ret_progress->n_required_left++;
		manager_count_bytes(segment, ret_progress);
	}
}

void
manager_tell_status(const struct manager *manager, const struct manager_progress *progress)
{
	char text[160], done[32], total[32];
	const char *problem = manager->reload.problem;

	if (progress->is_under_way)
		(void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " segments ready, %s of %s provisioned",
		    progress->n_ready, progress->n, findings_size(done, sizeof(done), progress->done_bytes),
		    findings_size(total, sizeof(total), progress->total_bytes));
	else if (progress->n_failed)
		(void)snprintf(text, sizeof(text), "%" PRIu64 " of %" PRIu64 " segments ready, %" PRIu64 " failed",
		    progress->n_ready, progress->n, progress->n_failed);
	else
		(void)snprintf(text, sizeof(text), "%" PRIu64 " segments ready", progress->n_ready);
	notify_status("%s%s%s", text, *problem ? "; configuration not reloaded: " : "", problem);
}

/* What gets on is waited for, however much it is; what hangs is not. */
static void
manager_extend_start(struct manager *manager, const struct manager_progress *progress)
{
	uint64_t at = progress->done_bytes + progress->n_ready + progress->n_failed;

	if (!progress->is_under_way || at == manager->extended_at)
		return;
	manager->extended_at = at;
	notify_extend(EXTEND_SECONDS);
}

static void
manager_tell(struct manager *manager)
{
	struct manager_progress progress;

	/* What is required is not awaited any more, but given back. */
	if (manager->is_stopping)
		return;
	/* While a reload is under way, ready would mean its end. */
	if (manager->is_ready && !(manager->reload.current && manager->reload.current->applies))
		(void)notify_ready();
	manager_count(manager, &progress);
	manager->n_awaited = progress.n_required_left;
	manager_tell_status(manager, &progress);
	/* Segments tell what they become; how far they are on the way is asked for as long as any of them is. */
	if (progress.is_under_way && !evtimer_pending(&manager->status_event, NULL))
		timer_add(&manager->status_event, &status_later);
	if (manager->is_ready)
		return;
	manager_extend_start(manager, &progress);
	if (progress.n_required_left)
		return;
	if (progress.n_required_failed) {
		if (!manager->is_incomplete)
			log_write(MESSAGE_INCOMPLETE, NULL, "startup is not complete: %" PRIu64 " segments that are required could not "
			    "be provisioned, for the reasons above; the others are served", progress.n_required_failed);
		manager->is_incomplete = true;
		return;
	}
	if (!notify_ready()) {
		timer_add(&manager->status_event, &status_later);
		return;
	}
	manager->is_ready = true;
	log_write(MESSAGE_READY, NULL, "ready after %" PRIu64 " ms: %" PRIu64 " of %" PRIu64 " segments, socket '%s'",
	    (clock_monotonic_ns() - manager->started_ns) / NS_PER_MS, progress.n_ready, progress.n,
	    manager->conf->daemon.socket);
}

void
manager_tell_later(struct manager *manager)
{
	timer_add(&manager->status_event, &status_later);
}

void
manager_on_status(evutil_socket_t fd, short what, void *arg)
{
	manager_tell(arg);
}

/* Whoever may create, or attach what is scrubbed, has it happen as often as they like. */
static bool
manager_is_at_will(const struct segment *segment)
{
	return !segment->is_declared || segment->definition->scrub;
}

static struct log_about
manager_about(const struct segment *segment)
{
	const struct account *creator = segment->creation ? segment->creation->charge.account : NULL;

	return (struct log_about) {
		.segment = segment->definition->name,
		.has_client_uid = creator != NULL,
		.client_uid = creator ? creator->uid : 0,
	};
}

static void
manager_log_ready(const struct segment *segment, const struct log_about *about)
{
	static struct log_limit ready = LOG_LIMIT(1000), degraded = LOG_LIMIT(20);
	const char *name = segment->definition->name, *note = segment_file_note(segment);
	char size[32];

	(void)findings_size(size, sizeof(size), segment->definition->size_bytes);
	if (segment->reason || note) {
		if (!manager_is_at_will(segment) || log_allowed(&degraded))
			log_write(MESSAGE_SEGMENT_DEGRADED, about, "segment '%s' (%s) is ready, but %s%s", name, size,
			    segment->reason ? "not as asked: " : "", segment->reason ? segment->reason : note);
		return;
	}
	if (manager_is_at_will(segment))
		log_write(LOG_DEBUG, about, "segment '%s' (%s) is ready", name, size);
	/* Of many the sum is told: the journal drops what comes beyond 10,000 entries in 30 s, whatever it is. */
	else if (log_allowed(&ready))
		log_write(MESSAGE_SEGMENT_READY, about, "segment '%s' (%s) is ready", name, size);
}

static void
manager_log_failure(const struct segment *segment, const struct log_about *about)
{
	static struct log_limit limit = LOG_LIMIT(20);
	char creator[64] = "";

	if (manager_is_at_will(segment) && !log_allowed(&limit))
		return;
	if (about->has_client_uid)
		(void)snprintf(creator, sizeof(creator), ", created by uid %u,", (unsigned)about->client_uid);
	log_write(MESSAGE_SEGMENT_FAILED, about, "segment '%s' (%s:%u)%s could not be provisioned: %s", segment->definition->name,
	    segment->definition->file, segment->definition->line, creator, segment->reason ? segment->reason : "");
}

/* What clients make and remove is their own affair, and not for everybody's log. */
static void
manager_log_change(const struct segment *segment)
{
	const struct log_about about = manager_about(segment);
	const char *name = segment->definition->name;
	uint32_t n = segment_n_attached(segment);
	char keeps[64] = "";

	switch (segment->state) {
	case PROTOCOL_READY:
		manager_log_ready(segment, &about);
		break;
	case PROTOCOL_FAILED:
		manager_log_failure(segment, &about);
		break;
	case PROTOCOL_DRAINING:
		if (n)
			log_write(segment->is_declared ? MESSAGE_SEGMENT_DRAINING : LOG_DEBUG, &about, "segment '%s' is being removed, and "
			    "stays until %u attachment%s", name, n, n == 1 ? " ends" : "s end");
		break;
	case PROTOCOL_GONE:
		/* Removed with --now: what the host still lacks of memory is theirs. */
		if (n)
			(void)snprintf(keeps, sizeof(keeps), ", but for the memory of %u attachment%s", n, n == 1 ? "" : "s");
		log_write(segment->is_declared ? MESSAGE_SEGMENT_GONE : LOG_DEBUG, &about, "segment '%s' is gone%s%s", name, keeps,
		    segment->successor ? ", and is made anew as it is declared now" : "");
		break;
	default:
		break;
	}
}

/* All that is required and was counted as not ready may be so now, or have failed. */
static bool
manager_may_be_ready(struct manager *manager, const struct segment *segment)
{
	if (manager->is_ready || segment->state < PROTOCOL_READY || !segment->is_declared || !segment->definition->required)
		return false;
	if (manager->n_awaited)
		manager->n_awaited--;
	return !manager->n_awaited;
}

void
manager_on_change(struct segment *segment, void *arg)
{
	static const struct timeval now = { 0 };
	struct manager *manager = arg;

	if (manager->is_stopping)
		return;
	manager_log_change(segment);
	if (segment->state == PROTOCOL_GONE)
		leftovers_look_soon(&manager->leftovers);
	/* Status is counted seldom, since there may be thousands; readiness is told at once when it may have come. */
	if (manager_may_be_ready(manager, segment))
		timer_add(&manager->status_event, &now);
	else if (!evtimer_pending(&manager->status_event, NULL))
		timer_add(&manager->status_event, &status_later);
}

void
manager_on_grown(struct segment *segment, uint64_t was_bytes, int r, void *arg)
{
	const struct log_about about = { .segment = segment->definition->name };
	const struct manager *manager = arg;
	char was[32], size[32];

	if (manager->is_stopping)
		return;
	if (r)
		log_write(MESSAGE_SEGMENT_NOT_GROWN, &about, "segment '%s' stays as it is: %s", segment->definition->name,
		    segment->growth_reason ? segment->growth_reason : "the daemon is out of memory");
	else
		log_write(MESSAGE_SEGMENT_GROWN, &about, "segment '%s' has grown from %s to %s", segment->definition->name,
		    findings_size(was, sizeof(was), was_bytes),
		    findings_size(size, sizeof(size), segment->definition->size_bytes));
}

void
manager_on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg)
{
	struct segment *segment = segment_of_locks(lock->locks);

	if (outcome == RECOVERY_FREED)
		segment_enter_lock(segment, lock_index(lock));
	if (outcome != RECOVERY_DELAYED)
		events_post(segment->host->events, outcome == RECOVERY_FREED ? PROTOCOL_EVENT_RECOVERED :
		    PROTOCOL_EVENT_POISONED, segment, (int)(lock - lock->locks->list), lock->definition->name,
		    dead->id == lock->locks->claim_id ? 0 : dead->id, dead->pid);
	recoverylog_write(segment->definition->name, lock, dead, outcome);
}
