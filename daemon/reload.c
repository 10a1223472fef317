/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who asks waits in one queue. A turn takes as many things of a phase (reload_phases.c) as half a millisecond holds. Between two
 * turns clients come and go, so nothing is kept of a judgement but its sentence.
 */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/reload_phases.h"
#include "daemon/timer.h"

#define LOGGED_MAX	50		/* lines of one reload in the log */

void
reload_turn_soon(struct reload *reload)
{
	static const struct timeval now = { 0 };

	timer_add(&reload->turn_event, &now);
}

static void
reload_log_line(const struct protocol_plan_line *line, const char *text, void *arg)
{
	const char *subject = line->subject == PROTOCOL_PLAN_TEMPLATE ? "template " :
	    line->subject == PROTOCOL_PLAN_DAEMON ? "daemon" : line->subject == PROTOCOL_PLAN_ORPHANS ? "orphans" : "";
	enum message message = line->action == PROTOCOL_PLAN_PROBLEM ? MESSAGE_RELOAD_PROBLEM :
	    line->action == PROTOCOL_PLAN_REFUSED ? MESSAGE_RELOAD_REFUSED : MESSAGE_RELOAD_STEP;
	const struct log_about about = { .segment = line->subject == PROTOCOL_PLAN_SEGMENT ? line->name : NULL };

	if (line->action == PROTOCOL_PLAN_PROBLEM)
		log_write(message, NULL, "reload: %s", text);
	else
		log_write(message, &about, "reload: %s %s%s: %s", reload_action_name(line->action), subject, line->name,
		    text);
}

static void
reload_log(const struct reload_request *request)
{
	const struct reload_lines *lines = &request->lines;
	char sum[256], who[64] = "SIGHUP";
	enum message message = lines->counts[PROTOCOL_PLAN_PROBLEM] ? MESSAGE_RELOAD_PROBLEM :
	    lines->counts[PROTOCOL_PLAN_REFUSED] ? MESSAGE_RELOAD_REFUSED : MESSAGE_RELOAD;

	if (request->pid)
		(void)snprintf(who, sizeof(who), "pid %d of uid %u", request->pid, request->uid);
	else if (!request->is_hangup)
		(void)snprintf(who, sizeof(who), "a process of uid %u", request->uid);
	if (request->has_failed) {
		log_write(MESSAGE_RELOAD_PROBLEM, NULL, "reload, asked for by %s: the configuration is not judged, and all stays as it is: %s",
		    who, request->why);
		return;
	}
	reload_lines_walk(lines, LOGGED_MAX, reload_log_line, NULL);
	if (lines->n > LOGGED_MAX)
		log_write(message, NULL, "reload: %u more lines were left out", lines->n - LOGGED_MAX);
	log_write(message, NULL, "reload, asked for by %s: %s", who, reload_lines_sum(lines, sum, sizeof(sum)));
}

static void
reload_keep_line(const struct protocol_plan_line *line, const char *text, void *arg)
{
	struct reload *reload = arg;
	size_t n = strlen(reload->problem);

	(void)snprintf(reload->problem + n, sizeof(reload->problem) - n, "%s", text);
}

/* The first of what was wrong, for as long as nothing better comes. */
static void
reload_keep_problem(struct reload *reload, const struct reload_request *request)
{
	uint32_t n = request->lines.counts[PROTOCOL_PLAN_PROBLEM];

	reload->problem[0] = '\0';
	if (request->has_failed) {
		(void)snprintf(reload->problem, sizeof(reload->problem), "%.*s", (int)sizeof(reload->problem) - 1, request->why);
		return;
	}
	/* How many there are comes first: of a long line the end may be lost. */
	if (n > 1)
		(void)snprintf(reload->problem, sizeof(reload->problem), "%" PRIu32 " problems, the first: ", n);
	if (n)
		reload_lines_walk(&request->lines, 1, reload_keep_line, reload);
}

/* Who has lost the right to it while others were carried out gets nothing done, and hears so. */
static void
reload_drop_unwanted(struct reload *reload)
{
	struct reload_request *request;

	while ((request = TAILQ_FIRST(&reload->queue)) && request->may_begin && !request->may_begin(request)) {
		TAILQ_REMOVE(&reload->queue, request, entry);
		request->is_done = true;
		request->done(request);
	}
}

static void
reload_begin_next(struct reload *reload)
{
	struct reload_request *request;

	if (reload->current)
		return;
	reload_drop_unwanted(reload);
	request = TAILQ_FIRST(&reload->queue);
	if (!request)
		return;
	TAILQ_REMOVE(&reload->queue, request, entry);
	if (reload->hangup == request)
		reload->hangup = NULL;
	request->has_begun = true;
	reload->current = request;
	reload->serial++;
	reload_judge_start(&reload->judge);
	reload->at = 0;
	reload->phase = RELOAD_READING;
	if (request->applies)
		reload->host.on_begin(reload->host.arg);
	reload_read(reload);
}

static void
reload_finish(struct reload *reload)
{
	struct reload_request *request = take_ptr(reload->current);

	reload->phase = RELOAD_IDLE;
	request->is_done = true;
	if (request->applies) {
		reload->n_reloads++;
		reload->n_invalid += request->has_failed || request->lines.counts[PROTOCOL_PLAN_PROBLEM];
		reload_log(request);
		reload_keep_problem(reload, request);
		reload->host.on_end(reload->host.arg);
		if (!request->has_failed && !request->lines.counts[PROTOCOL_PLAN_PROBLEM])
			events_post_reload(reload->host.events, request->pid, request->uid);
	}
	request->done(request);
	reload_begin_next(reload);
}

/* Who may open what others have is changed by workers: in a moment, unless somebody holds them up, who is not waited for. */
static bool
reload_awaits_access(struct reload *reload)
{
	static const struct timeval soon = { .tv_usec = 2000 };

	if (!reload->current->applies || !backend_access_changes())
		return false;
	timer_add(&reload->turn_event, &soon);
	return true;
}

static void
reload_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct reload *reload = arg;
	uint64_t until_ns = clock_monotonic_ns() + RELOAD_TURN_NS;

	do {
		if (reload_do_some(reload))
			continue;
		reload->at = 0;
		if (reload->phase == RELOAD_PHASE_N - 1) {
			if (!reload_awaits_access(reload))
				reload_finish(reload);
			return;
		}
		reload->phase++;
	} while (clock_monotonic_ns() < until_ns);
	reload_turn_soon(reload);
}

static void
reload_on_garbage(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval now = { 0 };
	struct reload *reload = arg;

	if (!reload_lines_free_some(&reload->garbage, clock_monotonic_ns() + RELOAD_TURN_NS))
		timer_add(&reload->garbage_event, &now);
}

/* One is given back at once, and of many the rest later. */
static void
reload_throw_away(struct reload *reload, struct reload_lines *lines)
{
	reload_lines_move(lines, &reload->garbage);
	if (!evtimer_pending(&reload->garbage_event, NULL))
		reload_on_garbage(-1, 0, reload);
}

static void
conf_daemon_deinit(struct conf_daemon *daemon)
{
	free(daemon->socket);
	free(daemon->state_dir);
	free(daemon->admin_group);
	free(daemon->audit_socket);
	daemon->socket = daemon->state_dir = daemon->admin_group = daemon->audit_socket = NULL;
}

int
reload_init(struct reload *reload, const struct reload_host *host, const struct conf_daemon *daemon)
{
	*reload = (struct reload) { .host = *host, .daemon = *daemon, .kept = KEPT_NULL };
	TAILQ_INIT(&reload->queue);
	reload_lines_init(&reload->garbage);
	reload->daemon.socket = strdup(daemon->socket);
	reload->daemon.state_dir = strdup(daemon->state_dir);
	reload->daemon.admin_group = daemon->admin_group ? strdup(daemon->admin_group) : NULL;
	reload->daemon.audit_socket = strdup(daemon->audit_socket);
	if (!reload->daemon.socket || !reload->daemon.state_dir || !reload->daemon.audit_socket ||
	    (daemon->admin_group && !reload->daemon.admin_group))
		return -ENOMEM;
	return evtimer_assign(&reload->turn_event, host->base, reload_on_turn, reload) ||
	    evtimer_assign(&reload->garbage_event, host->base, reload_on_garbage, reload) ? -ENOMEM : 0;
}

void
reload_deinit(struct reload *reload)
{
	struct reload_request *request;

	if (!reload->host.base)
		return;
	if (event_initialized(&reload->turn_event))
		(void)event_del(&reload->turn_event);
	/* Those of sessions were given back with them; what is left has nobody who waits. */
	if ((request = take_ptr(reload->current))) {
		request->is_done = true;
		(void)reload_request_free(request);
	}
	while ((request = TAILQ_FIRST(&reload->queue)))
		(void)reload_request_free(request);
	if (event_initialized(&reload->garbage_event))
		(void)event_del(&reload->garbage_event);
	reload_lines_deinit(&reload->garbage);
	reload->parse = parse_free(reload->parse);
	kept_deinit(&reload->kept);
	reload->next = conf_free(reload->next);
	conf_daemon_deinit(&reload->daemon);
	reload->host.base = NULL;
}

struct reload_request *
reload_request_new(bool applies, int32_t pid, uint32_t uid, reload_done_fn done, void *arg)
{
	struct reload_request *request = malloc(sizeof(*request));

	if (!request)
		return NULL;
	*request = (struct reload_request) { .applies = applies, .pid = pid, .uid = uid, .done = done, .arg = arg };
	reload_lines_init(&request->lines);
	return request;
}

static void
reload_forget(struct reload_request *request)
{
	(void)reload_request_free(request);
}

struct reload_request *
reload_request_free(struct reload_request *request)
{
	struct reload *reload;

	if (!request)
		return NULL;
	reload = request->reload;
	if (reload && reload->current == request) {
		request->done = reload_forget;
		return NULL;
	}
	if (reload && !request->is_done) {
		TAILQ_REMOVE(&reload->queue, request, entry);
		if (reload->hangup == request)
			reload->hangup = NULL;
	}
	/* One that was never submitted has none. */
	if (reload)
		reload_throw_away(reload, &request->lines);
	free(request);
	return NULL;
}

void
reload_submit(struct reload *reload, struct reload_request *request)
{
	request->reload = reload;
	TAILQ_INSERT_TAIL(&reload->queue, request, entry);
	reload_begin_next(reload);
}

int
reload_hangup(struct reload *reload)
{
	if (reload->hangup)
		return 0;
	reload->hangup = reload_request_new(true, 0, PROTOCOL_NOBODY, reload_forget, NULL);
	if (!reload->hangup)
		return -ENOMEM;
	reload->hangup->is_hangup = true;
	reload_submit(reload, reload->hangup);
	return 0;
}
