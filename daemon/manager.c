/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Start: privileges, the state directory's lock and the socket, then the segments; clients are served while those are
 * being provisioned. Readiness is told once every required segment is ready. Stop: nothing new comes in, workers are
 * killed, the rest is given back; memory that clients map stays theirs.
 */
#include "config.h"

#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/kept.h"
#include "daemon/log.h"
#include "daemon/manager.h"
#include "daemon/manager_parts.h"
#include "daemon/survival_await.h"
#include "daemon/privileges.h"
#include "daemon/promptness.h"
#include "daemon/rest.h"
#include "daemon/timer.h"
#include "host/limits.h"
#include "systemd/notify.h"

#define WORKERS_MAX	64
#define IO_WORKERS	8		/* that may wait for a disk, each for another one at worst */

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
		manager_tell_later(manager);
}

static void
manager_on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct manager *manager = arg;

	notify_watchdog();
	timer_add(&manager->watchdog_event, &manager->watchdog_interval);
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
	survival_set_await(&manager->survival, keys->await_returns_ms);
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
		.workers = &manager->io_workers,
		.judge = orphans_judge_ask,
		.forget = orphans_judge_forget,
		.judge_arg = &manager->auditor,
		.is_ours = manager_has_object,
		.is_ours_arg = manager,
	});
}

static void
manager_on_kept(void *arg)
{
	static const struct timeval later = { .tv_usec = 100000 };
	struct manager *manager = arg;

	if (!evtimer_pending(&manager->log_event, NULL))
		timer_add(&manager->log_event, &later);
}

static void
manager_on_log(evutil_socket_t fd, short what, void *arg)
{
	if (!log_flush())
		manager_on_kept(arg);
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
	    evtimer_assign(&manager->log_event, manager->base, manager_on_log, manager) ||
	    evtimer_assign(&manager->watchdog_event, manager->base, manager_on_watchdog, manager))
		return -ENOMEM;
	log_set_on_kept(manager_on_kept, manager);
	return 0;
}

static int
manager_start_watchdog(struct manager *manager)
{
	uint64_t ms = notify_watchdog_interval_ms();

	if (!ms)
		return 0;
	manager->watchdog_interval = timer_delay(ms * NS_PER_MS);
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
		.is_trusted = requests_is_trusted,
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
	parcels_init(&manager->sessions.parcels, manager->base, &manager->accounts, &manager->sessions.flights);
	if (turns_init(&manager->sessions.turns, manager->base))
		return -ENOMEM;
	return burials_init(&manager->sessions.burials, manager->base, &manager->sessions.parcels);
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
		log_write(MESSAGE_STATE, NULL, "%s. Remedy: let the daemon's uid write there, make room, or, where no segments are in use, name "
		    "another state_dir", text);
		return r;
	}
	provisioner->record = &manager->record;
	backend_access_begin(&manager->access_workers);
	backend_names_begin(&manager->name_workers, listener_open_lock(&manager->listener), provisioner_on_name, provisioner);
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
	    &manager->start->inherited, manager->start->known, manager->conf->daemon.state_dir, text, sizeof(text));
	if (r == SURVIVAL_E_FEW) {
		log_write(MESSAGE_TAKEOVER_WAITS, NULL, "%s", text);
		return -EMFILE;
	}
	if (r)
		log_write(MESSAGE_STATE, NULL, "%s. Remedy: let the daemon's uid write there, make room, or, where no segments are in use, "
		    "name another state_dir", text);
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
	workers_init(&manager->name_workers, manager->base, 1);
	workers_init(&manager->access_workers, manager->base, UINT_MAX);
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
	manager->provisioner.releases.names = &manager->name_workers;
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
	bool is_there = manager->start->is_kept || manager->start->is_unchanged;
	int r = is_there ? 0 : kept_write(state_dir, manager->conf, &manager->start->origin);

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
	manager->start->known = pack_known_free(manager->start->known);
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
	turns_deinit(&manager->sessions.turns);
	burials_deinit(&manager->sessions.burials);
	parcels_deinit(&manager->sessions.parcels);
	flights_deinit(&manager->sessions.flights);
	reload_deinit(&manager->reload);
	orphans_deinit(&manager->orphans);
	deaths_deinit(&manager->deaths);
	events_deinit(&manager->events);
	/* Before the segments, whose provisioning they work on. */
	workers_deinit(&manager->workers);
	workers_deinit(&manager->io_workers);
	workers_deinit(&manager->name_workers);
	workers_deinit(&manager->access_workers);
	backend_names_end();
	backend_access_end();
	orphans_free_scans(&manager->orphans);
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
	log_set_on_kept(NULL, NULL);
	if (event_initialized(&manager->log_event))
		(void)event_del(&manager->log_event);
	if (event_initialized(&manager->status_event))
		(void)event_del(&manager->status_event);
	if (event_initialized(&manager->watchdog_event))
		(void)event_del(&manager->watchdog_event);
	if (manager->base)
		event_base_free(manager->base);
	libevent_global_shutdown();
}

int
manager_open(struct start *start, struct manager **ret_manager)
{
	struct manager *manager;
	int r;

	/*
	 * From the kernel, and not from malloc, which would take what reading a large configuration has left, and zero it: the
	 * ring of events takes no memory then before it is used.
	 */
	manager = mmap(NULL, sizeof(*manager), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (manager == MAP_FAILED) {
		r = -errno;
		log_write(MESSAGE_FAILED, &(struct log_about) { .error = r }, "cannot go on");
		return r;
	}
	*ret_manager = manager;
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
	LIST_INIT(&manager->name_workers.list);
	LIST_INIT(&manager->access_workers.list);
	manager->auditor.fd = -1;
	LIST_INIT(&manager->parser.parses);
	LIST_INIT(&manager->parser.releases);
	TAILQ_INIT(&manager->leftovers.list);
	manager->record = (struct record) RECORD_NULL;
	manager->survival = (struct survival) SURVIVAL_NULL;
	LIST_INIT(&manager->recovery.jobs);

	/* A write to a peer that has gone is an error, and a broken lease no reason to end. */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGIO, SIG_IGN);
	/* What is larger than RLIMIT_FSIZE is an error then. */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)limits_raise_nofile();
	r = manager_init(manager);
	return r ? r : manager_start(manager);
}

void
manager_close(struct manager *manager)
{
	manager_deinit(manager);
	(void)munmap(manager, sizeof(*manager));
}

int
manager_run(struct start *start)
{
	struct manager *manager = NULL;
	int r;

	promptness_ask();
	r = manager_open(start, &manager);
	if (!manager)
		return r;
	if (r == 0 && event_base_dispatch(manager->base) < 0)
		r = -EIO;
	if (r)
		log_write(MESSAGE_FAILED, &(struct log_about) { .error = r }, "cannot go on");
	/* Who comes next finds what we had, as if we had been killed. */
	if (r && manager->has_restored) {
		rest_before_failure();
		_exit(EXIT_FAILURE);
	}
	manager_close(manager);
	return r;
}
