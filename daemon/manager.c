/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Start: privileges, the state directory's lock and the socket, then the segments; clients are served while those are
 * being provisioned. Readiness is told once every required segment is ready. Stop: nothing new comes in, workers are
 * killed, the rest is given back; memory that clients map stays theirs.
 */
#include "config.h"

#include <inttypes.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/auditor.h"
#include "daemon/ending.h"
#include "daemon/ledger.h"
#include "daemon/kept.h"
#include "daemon/leftovers.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/orphans.h"
#include "daemon/privileges.h"
#include "daemon/recovery.h"
#include "daemon/recoverylog.h"
#include "daemon/reload.h"
#include "daemon/requests.h"
#include "daemon/survival.h"
#include "host/limits.h"
#include "systemd/notify.h"

#define STATUS_MS	200		/* between two lines of status, at the least */
#define EXTEND_SECONDS	60		/* for the next step of provisioning before the service manager gives the start up */
#define WORKERS_MAX	64
#define IO_WORKERS	8		/* that may wait for a disk, each for another one at worst */

static const struct timeval status_later = { .tv_usec = STATUS_MS * 1000 };

struct manager {
	struct conf *conf;
	struct start *start;
	struct event_base *base;
	struct accounts accounts;
	struct workers workers;
	struct workers io_workers;	/* of those nobody else is held up */
	struct auditor auditor;
	struct parser parser;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct record record;
	struct leftovers leftovers;
	struct survival survival;
	struct recovery recovery;
	struct registry registry;
	struct events events;
	struct deaths deaths;
	struct session_host sessions;
	struct listener listener;
	struct requests requests;
	struct orphans orphans;
	struct reload reload;
	struct who who;
	struct ending ending;
	struct event *signals[4];
	struct event watchdog_event;
	struct event status_event;
	struct timeval watchdog_interval;
	uint64_t n_awaited;		/* required segments that were not ready when they were counted, less those that are since */
	uint64_t extended_at;		/* how far provisioning was when the service manager was asked for more time */
	bool is_ready;			/* the service manager was told */
	bool is_incomplete;		/* a required segment failed, and that was logged */
	bool is_stopping;
	bool has_restored;		/* what the daemon before had, and nobody is to lose by an error of ours */
	uint64_t started_ns;
};

/* How far the start has come. */
struct manager_progress {
	uint64_t n, n_ready, n_failed, n_required_left, n_required_failed;
	uint64_t done_bytes, total_bytes;	/* of all but those that failed, or are on their way out */
	bool is_under_way;		/* some of them is being provisioned */
};

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

static void
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

/* In one line: how far it is; and, until a reload is carried out, that the files are not what is in effect. */
static void
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
		(void)evtimer_add(&manager->status_event, &status_later);
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
		(void)evtimer_add(&manager->status_event, &status_later);
		return;
	}
	manager->is_ready = true;
	log_write(MESSAGE_READY, NULL, "ready after %" PRIu64 " ms: %" PRIu64 " of %" PRIu64 " segments, socket '%s'",
	    (clock_monotonic_ns() - manager->started_ns) / NS_PER_MS, progress.n_ready, progress.n,
	    manager->conf->daemon.socket);
}

static void
manager_on_status(evutil_socket_t fd, short what, void *arg)
{
	manager_tell(arg);
}

static void
manager_log_change(const struct segment *segment)
{
	const struct log_about about = { .segment = segment->definition->name };
	const char *name = segment->definition->name;
	static struct log_limit ready = LOG_LIMIT(1000);
	uint32_t n = segment_n_attached(segment);
	char size[32], keeps[64] = "";

	switch (segment->state) {
	case PROTOCOL_READY:
		(void)findings_size(size, sizeof(size), segment->definition->size_bytes);
		if (segment->reason)
			log_write(MESSAGE_SEGMENT_DEGRADED, &about, "segment '%s' (%s) is ready, but not as asked: %s", name, size,
			    segment->reason);
		else if (segment_file_note(segment))
			log_write(MESSAGE_SEGMENT_DEGRADED, &about, "segment '%s' (%s) is ready, but %s", name, size,
			    segment_file_note(segment));
		/* A created or scrubbed one at its clients' will: not for everybody's log. */
		else if (!segment->is_declared || segment->definition->scrub)
			log_write(LOG_DEBUG, &about, "segment '%s' (%s) is ready", name, size);
		/* Of many the sum is told: the journal drops what comes beyond 10,000 entries in 30 s, whatever it is. */
		else if (log_allowed(&ready))
			log_write(MESSAGE_SEGMENT_READY, &about, "segment '%s' (%s) is ready", name, size);
		break;
	case PROTOCOL_FAILED:
		log_write(MESSAGE_SEGMENT_FAILED, &about, "segment '%s' (%s:%u) could not be provisioned: %s", name,
		    segment->definition->file, segment->definition->line, segment->reason ? segment->reason : "");
		break;
	case PROTOCOL_DRAINING:
		if (n)
			log_write(MESSAGE_SEGMENT_DRAINING, &about, "segment '%s' is being removed, and stays until %u attachment%s", name, n,
			    n == 1 ? " ends" : "s end");
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

static void
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
		(void)evtimer_add(&manager->status_event, &now);
	else if (!evtimer_pending(&manager->status_event, NULL))
		(void)evtimer_add(&manager->status_event, &status_later);
}

static void
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

static void
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

static void
manager_end_sessions(struct manager *manager)
{
	struct session *session;

	while ((session = TAILQ_FIRST(&manager->sessions.sessions))) {
		requests_on_session_end(session, &manager->requests);
		(void)session_free(session);
	}
}

/* A second signal ends what the first one waits for. */
static void
manager_on_signal(evutil_socket_t signal, short what, void *arg)
{
	struct manager *manager = arg;

	log_write(MESSAGE_STOPPING, NULL, "stopping on signal %d (%s)%s", (int)signal, strsignal((int)signal),
	    manager->is_stopping ? ", at once" : "");
	if (manager->is_stopping) {
		(void)event_base_loopbreak(manager->base);
		return;
	}
	notify_stopping();
	manager->is_stopping = true;
	listener_stop(&manager->listener);
	manager_end_sessions(manager);
	reload_deinit(&manager->reload);
	orphans_deinit(&manager->orphans);
	if (!ending_begin(&manager->ending, manager->base, &manager->registry))
		(void)event_base_loopbreak(manager->base);
}

/*
 * Another daemon is about to take our place: it finds everything as if we had been killed, and the connections in any case. What
 * workers are at ends with us.
 */
static void
manager_on_handover(evutil_socket_t signal, short what, void *arg)
{
	struct manager *manager = arg;

	if (manager->is_stopping)
		return;
	log_write(MESSAGE_HANDING_OVER, NULL, "handing over on signal %d (%s): %s", (int)signal, strsignal((int)signal),
	    manager->survival.has_box ? "segments, and who has them, stay as they are" :
	    "what has a name, a key or a file stays as it is; there is no service manager to keep the rest: connections end, and "
	    "memory without a name stays with who maps it");
	notify_stopping();
	survival_hand_over(&manager->survival);
	_exit(EXIT_SUCCESS);
}

static void
manager_on_hangup(evutil_socket_t signal, short what, void *arg)
{
	struct manager *manager = arg;
	int r = manager->is_stopping ? 0 : reload_hangup(&manager->reload);

	if (r)
		log_write(MESSAGE_RELOAD_PROBLEM, &(struct log_about) { .error = r }, "the configuration cannot be reloaded");
}

/* Before the start is complete the service manager waits for that, and not for a reload. */
static void
manager_on_reload_begin(void *arg)
{
	const struct manager *manager = arg;

	if (manager->is_ready)
		notify_reloading();
}

static void
manager_on_reload_end(void *arg)
{
	struct manager *manager = arg;
	struct manager_progress progress;

	leftovers_look_soon(&manager->leftovers);
	/* First what came of it: who waits for the end sees that. */
	manager_count(manager, &progress);
	manager_tell_status(manager, &progress);
	/* Said again with the next status, if there is no room for it now. */
	if (manager->is_ready && !notify_ready())
		(void)evtimer_add(&manager->status_event, &status_later);
}

static void
manager_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct manager *manager = arg;

	notify_watchdog();
	(void)evtimer_add(&manager->watchdog_event, &manager->watchdog_interval);
}

static unsigned
manager_n_workers(const struct conf_daemon *keys)
{
	cpu_set_t cpus;
	unsigned n = keys->workers;

	if (n == 0 && sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		n = (unsigned)CPU_COUNT(&cpus);
	return (unsigned)min_u64(max_u64(n, 1), WORKERS_MAX);
}

/* The keys that a reload can change, to those that have them. */
static void
manager_on_daemon_keys(const struct conf_daemon *keys, void *arg)
{
	struct manager *manager = arg;
	int r = listener_set_mode(&manager->listener, keys->socket_mode);

	if (r)
		log_write(MESSAGE_SOCKET, &(struct log_about) { .error = r }, "the permissions of the socket cannot be changed");
	accounts_set_limits(&manager->accounts, &keys->limits);
	manager->sessions.keeps = keys->keep_sessions;
	workers_set_max(&manager->workers, manager_n_workers(keys));
	auditor_set_socket(&manager->auditor, keys->audit_socket);
	budget_set_reserve(&manager->provisioner.budget, keys->memory_reserve_bytes);
	manager->recovery.memory_reserve_bytes = keys->memory_reserve_bytes;
	requests_set_administrators(&manager->requests, keys->has_admin_gid, keys->admin_gid);
}

static int
manager_init_reload(struct manager *manager)
{
	const struct reload_host host = {
		.base = manager->base,
		.registry = &manager->registry,
		.parser = &manager->parser,
		.events = &manager->events,
		.orphans = &manager->orphans,
		.file = manager->start->file,
		.is_socket_inherited = manager->listener.is_inherited,
		.on_daemon = manager_on_daemon_keys,
		.on_begin = manager_on_reload_begin,
		.on_end = manager_on_reload_end,
		.arg = manager,
	};

	return reload_init(&manager->reload, &host, &manager->conf->daemon);
}

static bool
manager_has_object(const char *name, void *arg)
{
	const struct manager *manager = arg;
	char object[RECORD_OBJECT_SIZE];

	if (backend_has_object(name))
		return true;
	/* What an earlier daemon left is judged by the record, and by no rule. */
	(void)snprintf(object, sizeof(object), "/%s", name);
	return leftovers_have(&manager->leftovers, object);
}

static void
manager_init_orphans(struct manager *manager)
{
	orphans_init(&manager->orphans, &(struct orphans_host) {
		.base = manager->base,
		.events = &manager->events,
		.directory = BACKEND_SHM_DIR,
		.judge = orphans_judge_ask,
		.forget = orphans_judge_forget,
		.judge_arg = &manager->auditor,
		.is_ours = manager_has_object,
		.is_ours_arg = manager,
	});
}

static int
manager_init_loop(struct manager *manager)
{
	struct event_config *config = event_config_new();

	if (!config)
		return -ENOMEM;
	(void)event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
	(void)event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
	manager->base = event_base_new_with_config(config);
	event_config_free(config);
	if (!manager->base)
		return -ENOMEM;
	manager->signals[0] = evsignal_new(manager->base, SIGTERM, manager_on_signal, manager);
	manager->signals[1] = evsignal_new(manager->base, SIGINT, manager_on_signal, manager);
	manager->signals[2] = evsignal_new(manager->base, SIGHUP, manager_on_hangup, manager);
	manager->signals[3] = evsignal_new(manager->base, SIGUSR2, manager_on_handover, manager);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(manager->signals); i++)
		if (!manager->signals[i] || evsignal_add(manager->signals[i], NULL))
			return -ENOMEM;
	if (evtimer_assign(&manager->status_event, manager->base, manager_on_status, manager) ||
	    evtimer_assign(&manager->watchdog_event, manager->base, manager_on_watchdog, manager))
		return -ENOMEM;
	return 0;
}

static int
manager_start_watchdog(struct manager *manager)
{
	uint64_t ms = notify_watchdog_interval_ms();

	if (!ms)
		return 0;
	manager->watchdog_interval = (struct timeval) {
		.tv_sec = (time_t)(ms / 1000),
		.tv_usec = (suseconds_t)(ms % 1000 * 1000),
	};
	return evtimer_add(&manager->watchdog_event, &manager->watchdog_interval) ? -ENOMEM : 0;
}

static int
manager_init_sessions(struct manager *manager)
{
	manager->sessions = (struct session_host) {
		.base = manager->base,
		.accounts = &manager->accounts,
		.dispatch = requests_dispatch,
		.on_end = requests_on_session_end,
		.on_room = requests_on_room,
		.arg = &manager->requests,
	};
	manager->sessions.keeps = manager->conf->daemon.keep_sessions;
	TAILQ_INIT(&manager->sessions.sessions);
	manager->requests = (struct requests) {
		.registry = &manager->registry,
		.sessions = &manager->sessions,
		.workers = &manager->workers,
		.kernelcount = &manager->kernelcount,
		.provisioner = &manager->provisioner,
		.events = &manager->events,
		.deaths = &manager->deaths,
		.reload = &manager->reload,
		.orphans = &manager->orphans,
		.who = &manager->who,
		.has_admin_gid = manager->conf->daemon.has_admin_gid,
		.admin_gid = manager->conf->daemon.admin_gid,
		.started_ns = manager->started_ns,
	};
	flights_init(&manager->sessions.flights, manager->base, &manager->accounts);
	return burials_init(&manager->sessions.burials, manager->base);
}

/* Under the lock of state_dir: what an earlier daemon made is ours to judge, before anything is made. */
static int
manager_init_record(struct manager *manager)
{
	const char *state_dir = manager->conf->daemon.state_dir;
	struct provisioner *provisioner = &manager->provisioner;
	char text[FINDINGS_TEXT_SIZE];
	int r;

	r = leftovers_init(&manager->leftovers, manager->base, &manager->kernelcount, &provisioner->releases);
	if (r)
		return r;
	r = record_open(&manager->record, state_dir, leftovers_take, leftovers_tell, &manager->leftovers, text, sizeof(text));
	if (r) {
		log_write(MESSAGE_STATE, NULL, "%s. Remedy: let the daemon's uid write there, make room, or name another state_dir", text);
		return r;
	}
	provisioner->record = &manager->record;
	provisioner->leftovers = &manager->leftovers;
	provisioner->releases.keep = leftovers_keep;
	provisioner->releases.keep_arg = &manager->leftovers;
	manager->leftovers.auditor = &manager->auditor;
	manager->registry.last_generation = max_u64(manager->registry.last_generation, manager->leftovers.last_generation);
	return 0;
}

/* What the daemon before had in use: read now, and restored before anything else is made. */
static int
manager_init_survival(struct manager *manager)
{
	char text[FINDINGS_TEXT_SIZE];
	int r;

	r = survival_init(&manager->survival, manager->base, &manager->registry, &manager->requests, &manager->leftovers,
	    &manager->start->inherited, manager->conf->daemon.state_dir, text, sizeof(text));
	if (r)
		log_write(MESSAGE_STATE, NULL, "%s. Remedy: let the daemon's uid write there, make room, or name another state_dir", text);
	return r;
}

static void
manager_tell_inherited(const char *text, void *arg)
{
	log_write(MESSAGE_NOT_TAKEN_OVER, NULL, "%s", text);
}

static int
manager_init(struct manager *manager)
{
	const struct conf *conf = manager->conf;
	int r = manager_init_loop(manager);

	if (r)
		return r;
	accounts_init(&manager->accounts, &conf->daemon.limits);
	workers_init(&manager->workers, manager->base, manager_n_workers(&conf->daemon));
	workers_init(&manager->io_workers, manager->base, IO_WORKERS);
	parser_init(&manager->parser, &manager->workers);
	r = auditor_init(&manager->auditor, manager->base, conf->daemon.audit_socket);
	if (r)
		return r;
	r = who_init(&manager->who, manager->base, &manager->auditor, &manager->registry, &manager->workers,
	    &manager->io_workers);
	if (r)
		return r;
	r = manager_init_sessions(manager);
	if (r)
		return r;
	r = events_init(&manager->events, manager->base, requests_send_event);
	if (r)
		return r;
	manager_init_orphans(manager);
	deaths_init(&manager->deaths, manager->base, &manager->registry);
	r = provisioner_init(&manager->provisioner, manager->base, &manager->workers, conf->daemon.memory_reserve_bytes);
	if (r)
		return r;
	manager->provisioner.releases.io = &manager->io_workers;
	manager->provisioner.auditor = &manager->auditor;
	r = kernelcount_init(&manager->kernelcount, manager->base);
	if (r) {
		log_write(MESSAGE_LIMIT, &(struct log_about) { .error = r },
		    "inotify is not to be had; raise fs.inotify.max_user_instances");
		return r;
	}
	r = recovery_init(&manager->recovery, manager->base, &manager->workers, conf->daemon.memory_reserve_bytes,
	    manager_on_recovery, manager);
	if (r)
		return r;
	manager->recovery.io = &manager->io_workers;
	r = registry_init(&manager->registry, manager->base, &manager->kernelcount, &manager->provisioner,
	    &manager->recovery, &manager->accounts, manager_on_change, manager);
	if (r)
		return r;
	manager->registry.host.events = &manager->events;
	manager->registry.host.on_grown = manager_on_grown;
	manager->registry.host.on_grown_arg = manager;
	r = listener_init(&manager->listener, &manager->sessions, &manager->start->inherited, &conf->daemon);
	if (r == 0)
		r = manager_init_record(manager);
	if (r == 0)
		r = manager_init_survival(manager);
	if (r)
		return r;
	inherited_drop(&manager->start->inherited, manager_tell_inherited, NULL);
	r = manager_init_reload(manager);
	if (r == 0)
		memcpy(manager->reload.problem, manager->start->problem, sizeof(manager->start->problem));
	return r;
}

/* Its objects may have lost their names to a removal that was killed. */
static bool
manager_has_posix_rule(const struct conf *conf)
{
	for (size_t i = 0; i < conf->n_orphans; i++)
		if (!conf->orphans[i].is_sysv)
			return true;
	return false;
}

/* From here on nobody is to lose by an error of ours what the daemon before had: manager_run() says what becomes of one. */
static int
manager_restore(struct manager *manager, bool *ret_differs)
{
	manager->has_restored = true;
	return survival_restore(&manager->survival, manager->conf, ret_differs);
}

/* All that is left of it is this daemon's. What the configuration has otherwise by now goes the way of a reload. */
static int
manager_succeed(struct manager *manager, bool differs)
{
	char text[FINDINGS_TEXT_SIZE];
	int r = survival_begin(&manager->survival, text, sizeof(text));

	if (r) {
		log_write(MESSAGE_STATE, NULL, "%s", text);
		return r;
	}
	if (!differs)
		return 0;
	log_write(MESSAGE_RELOAD_STEP, NULL, "the configuration differs from what runs: it is carried out as by a reload");
	r = reload_hangup(&manager->reload);
	if (r)
		log_write(MESSAGE_RELOAD_PROBLEM, &(struct log_about) { .error = r }, "the configuration cannot be carried out: reload it");
	return 0;
}

/* For who comes next, should the files be spoilt by then. */
static void
manager_keep_conf(const struct manager *manager)
{
	const char *state_dir = manager->conf->daemon.state_dir;
	int r = manager->start->is_kept ? 0 : kept_write(state_dir, manager->conf);

	if (r)
		kept_tell_failure(state_dir, r);
}

static int
manager_start(struct manager *manager)
{
	static const struct timeval now = { 0 };
	bool differs = false;
	int r;

	r = privileges_drop();
	if (r) {
		log_write(MESSAGE_FAILED, &(struct log_about) { .error = r }, "cannot give up privileges");
		return r;
	}
	r = listener_start(&manager->listener);
	if (r == 0)
		r = manager_start_watchdog(manager);
	if (r == 0)
		r = manager_restore(manager, &differs);
	if (r == 0)
		r = registry_declare(&manager->registry, manager->conf);
	if (r == 0)
		leftovers_begin(&manager->leftovers, &manager->registry);
	if (r == 0 && manager_has_posix_rule(manager->conf))
		leftovers_settle(&manager->leftovers);
	/* What of it cannot be had has been logged, and is tried again with the next reload. */
	if (r == 0)
		(void)orphans_set_rules(&manager->orphans, &manager->conf->orphans, &manager->conf->n_orphans);
	if (r == 0)
		manager_keep_conf(manager);
	/* What reading thousands of definitions took is not needed any more: nobody is served yet who would wait for it. */
	conf_drop_definitions(manager->conf);
	(void)malloc_trim(0);
	if (r == 0 && evtimer_add(&manager->status_event, &now))
		r = -ENOMEM;
	return r ? r : manager_succeed(manager, differs);
}

static void
manager_deinit(struct manager *manager)
{
	manager->is_stopping = true;
	ending_deinit(&manager->ending);
	listener_deinit(&manager->listener);
	manager_end_sessions(manager);
	burials_deinit(&manager->sessions.burials);
	flights_deinit(&manager->sessions.flights);
	reload_deinit(&manager->reload);
	orphans_deinit(&manager->orphans);
	deaths_deinit(&manager->deaths);
	events_deinit(&manager->events);
	/* Before the segments, whose provisioning they work on. */
	workers_deinit(&manager->workers);
	workers_deinit(&manager->io_workers);
	who_deinit(&manager->who);
	auditor_deinit(&manager->auditor);
	parser_deinit(&manager->parser);
	releases_close(&manager->provisioner.releases);
	registry_deinit(&manager->registry);
	leftovers_deinit(&manager->leftovers);
	recovery_deinit(&manager->recovery);
	kernelcount_deinit(&manager->kernelcount);
	provisioner_deinit(&manager->provisioner);
	record_close(&manager->record);
	survival_deinit(&manager->survival, !manager->has_restored);
	/* Nothing is left of us that another daemon could find half done. */
	listener_unlock(&manager->listener);
	accounts_deinit(&manager->accounts);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(manager->signals); i++)
		if (manager->signals[i])
			event_free(manager->signals[i]);
	if (event_initialized(&manager->status_event))
		(void)event_del(&manager->status_event);
	if (event_initialized(&manager->watchdog_event))
		(void)event_del(&manager->watchdog_event);
	if (manager->base)
		event_base_free(manager->base);
	libevent_global_shutdown();
}

int
manager_run(struct start *start)
{
	struct manager *manager;
	int r;

	/*
	 * From the kernel, and not from malloc, which would take what reading a large configuration has left, and zero it: the
	 * ring of events takes no memory then before it is used.
	 */
	manager = mmap(NULL, sizeof(*manager), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (manager == MAP_FAILED)
		return -errno;
	manager->start = start;
	manager->conf = start->conf;
	manager->started_ns = clock_monotonic_ns();
	manager->kernelcount.inotify_fd = -1;
	manager->listener.fd = manager->listener.lock_fd = manager->listener.reserve_fd = -1;
	TAILQ_INIT(&manager->registry.in_order);
	TAILQ_INIT(&manager->registry.templates);
	TAILQ_INIT(&manager->sessions.sessions);
	LIST_INIT(&manager->workers.list);
	LIST_INIT(&manager->io_workers.list);
	manager->auditor.fd = -1;
	LIST_INIT(&manager->parser.parses);
	LIST_INIT(&manager->parser.releases);
	TAILQ_INIT(&manager->leftovers.list);
	manager->record = (struct record) RECORD_NULL;
	manager->survival = (struct survival) SURVIVAL_NULL;
	TAILQ_INIT(&manager->recovery.passes);
	LIST_INIT(&manager->recovery.jobs);

	/* A write to a peer that has gone is an error, and a broken lease no reason to end. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGIO, SIG_IGN);
	/* What is larger than RLIMIT_FSIZE is an error then. */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)limits_raise_nofile();
	r = manager_init(manager);
	if (r == 0)
		r = manager_start(manager);
	if (r == 0 && event_base_dispatch(manager->base) < 0)
		r = -EIO;
	if (r)
		log_write(MESSAGE_FAILED, &(struct log_about) { .error = r }, "cannot go on");
	/* Who comes next finds what we had, as if we had been killed. */
	if (r && manager->has_restored)
		_exit(EXIT_FAILURE);
	manager_deinit(manager);
	(void)munmap(manager, sizeof(*manager));
	return r;
}
