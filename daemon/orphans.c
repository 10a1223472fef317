/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The rules in effect, questions to who judges, and what is said of the answers. */
#include "config.h"

#include "base/base.h"
#include "daemon/orphans.h"
#include "daemon/timer.h"

#define BACKOFF_MIN_NS	NS_PER_SEC
#define BACKOFF_MAX_NS	(24 * 3600 * NS_PER_SEC)
#define RETRY_MIN_NS	(10 * NS_PER_SEC)	/* between two questions that could not be asked */
#define RETRY_MAX_NS	(600 * NS_PER_SEC)
#define TURN_NS		(NS_PER_MS / 2)
#define REST_FACTOR	20

uint64_t
orphans_backoff_ns(const struct conf_orphan *rule, unsigned n_tries)
{
	uint64_t ns = max_u64(rule->after_ms * NS_PER_MS, BACKOFF_MIN_NS);

	for (unsigned i = 0; i <= n_tries && ns < BACKOFF_MAX_NS; i++)
		ns *= 2;
	return min_u64(ns, BACKOFF_MAX_NS);
}

uint64_t
orphans_spent_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * NS_PER_SEC + (uint64_t)t.tv_nsec;
}

uint64_t
orphans_rest_ns(uint64_t spent_ns, uint64_t at_least_ns)
{
	return max_u64(at_least_ns, REST_FACTOR * spent_ns);
}

/* Questions. */

struct orphans_ask *
orphans_ask_new(struct orphans *orphans, void (*on_end)(struct orphans_ask *ask))
{
	struct orphans_ask *ask = malloc(sizeof(*ask));

	if (!ask)
		return NULL;
	ask->orphans = orphans;
	ask->on_send = NULL;
	ask->on_end = on_end;
	ask->n = ask->n_answered = 0;
	ask->is_out = ask->is_sent = false;
	ask->rules = NULL;
	ask->question = (struct auditor_question) { 0 };
	return ask;
}

struct orphans_ask *
orphans_ask_free(struct orphans_ask *ask)
{
	if (!ask)
		return NULL;
	if (ask->is_out)
		ask->orphans->host.forget(ask, ask->orphans->host.judge_arg);
	(void)orphans_rules_unref(ask->rules);
	free(ask);
	return NULL;
}

struct audit_candidate *
orphans_ask_add(struct orphans_ask *ask, struct orphans_rules *rules, const struct conf_orphan *rule, uint64_t since_ns,
    bool is_seen)
{
	size_t i = ask->n++;

	if (!ask->rules)
		ask->rules = orphans_rules_ref(rules);
	ask->rule_of[i] = rule;
	ask->since_ns[i] = since_ns;
	ask->is_seen[i] = is_seen;
	ask->candidates[i] = (struct audit_candidate) { .flags = rule->remove ? AUDIT_CANDIDATE_REMOVE : 0 };
	return &ask->candidates[i];
}

void
orphans_ask_submit(struct orphans_ask *ask)
{
	struct orphans *orphans = ask->orphans;
	int r;

	ask->is_out = true;
	ask->is_sent = false;
	ask->n_answered = 0;
	r = orphans->host.judge(ask, orphans->host.judge_arg);
	if (r)
		orphans_end(ask, r, strerror(-r));
}

void
orphans_ask_clear(struct orphans_ask *ask)
{
	ask->n = ask->n_answered = 0;
	ask->is_out = ask->is_sent = false;
	ask->rules = orphans_rules_unref(ask->rules);
}

bool
orphans_ask_is_spared(const struct orphans_ask *ask, size_t i)
{
	return ask->rule_of[i]->remove && !(ask->candidates[i].flags & AUDIT_CANDIDATE_REMOVE);
}

void
orphans_send(struct orphans_ask *ask)
{
	if (ask->rules != ask->orphans->rules)
		for (size_t i = 0; i < ask->n; i++)
			ask->candidates[i].flags = 0;
	if (ask->on_send)
		ask->on_send(ask);
	ask->is_sent = true;
}

void
orphans_answer(struct orphans_ask *ask, const struct audit_stray *stray)
{
	if (ask->n_answered < ask->n)
		ask->strays[ask->n_answered++] = *stray;
}

void
orphans_end(struct orphans_ask *ask, int result, const char *text)
{
	struct orphans *orphans = ask->orphans;

	if (result == 0) {
		orphans->retry_ns = 0;
	} else {
		/* Said once, and again only after it had worked. */
		if (!orphans->retry_ns)
			log_write(MESSAGE_ORPHANS_LATER, &(struct log_about) { .error = result },
			    "whether anybody holds what the rules of orphans are about cannot be asked for now, and it stays: %s", text);
		orphans->retry_ns = min_u64(max_u64(2 * orphans->retry_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	}
	ask->on_end(ask);
}

/* Rules. */

static void
orphans_on_garbage(evutil_socket_t fd, short what, void *arg)
{
	struct orphans *orphans = arg;

	if (!orphans_names_free_some(&orphans->garbage, clock_monotonic_ns() + TURN_NS))
		timer_add_ns(&orphans->garbage_event, 0);
}

void
orphans_throw_away(struct orphans *orphans, struct orphans_names *names)
{
	/* What is left of others before. */
	(void)orphans_names_free_some(&orphans->garbage, UINT64_MAX);
	orphans->garbage = *names;
	*names = (struct orphans_names) { 0 };
	timer_add_ns(&orphans->garbage_event, 0);
}

void
orphans_init(struct orphans *orphans, const struct orphans_host *host)
{
	*orphans = (struct orphans) {
		.host = *host,
		.max_entries = ORPHANS_ENTRIES_MAX,
		.found_limit = LOG_LIMIT(100),
		.removed_limit = LOG_LIMIT(1000),
		.unknown_limit = LOG_LIMIT(5),
	};
	LIST_INIT(&orphans->scans);
	(void)evtimer_assign(&orphans->garbage_event, host->base, orphans_on_garbage, orphans);
}

void
orphans_deinit(struct orphans *orphans)
{
	if (!orphans->host.base)
		return;
	orphans->posix = orphans_posix_free(orphans->posix);
	orphans->sysv = orphans_sysv_free(orphans->sysv);
	orphans->rules = orphans_rules_unref(orphans->rules);
	(void)orphans_names_free_some(&orphans->garbage, UINT64_MAX);
	(void)event_del(&orphans->garbage_event);
	orphans->host.base = NULL;
}

void
orphans_free_scans(struct orphans *orphans)
{
	orphans_scans_free(&orphans->scans);
}

static int
orphans_renew_posix(struct orphans *orphans)
{
	int r = 0;

	if (orphans->posix)
		r = orphans_posix_renew(orphans->posix);
	else if (orphans->rules->n_posix)
		r = orphans_posix_new(orphans, &orphans->posix);
	if (r)
		log_write(MESSAGE_ORPHANS_UNWATCHED, &(struct log_about) { .error = r }, "%s cannot be watched, and no rule of orphans with posix is "
		    "carried out%s", orphans->host.directory, r == -EMFILE ? "; raise fs.inotify.max_user_instances" :
		    r == -ENOSPC ? "; raise fs.inotify.max_user_watches" : "");
	return r;
}

static int
orphans_renew_sysv(struct orphans *orphans)
{
	int r = 0;

	if (orphans->sysv)
		orphans_sysv_renew(orphans->sysv);
	else if (orphans->rules->n_sysv)
		r = orphans_sysv_new(orphans, &orphans->sysv);
	if (r)
		log_write(MESSAGE_ORPHANS_UNWATCHED, &(struct log_about) { .error = r }, "no rule of orphans with sysv is carried out");
	return r;
}

/* Whether all that there are rules for is watched for. */
static bool
orphans_are_whole(const struct orphans *orphans)
{
	return !orphans->rules || ((!orphans->rules->n_posix || orphans->posix) && (!orphans->rules->n_sysv || orphans->sysv));
}

int
orphans_set_rules(struct orphans *orphans, struct conf_orphan **list, size_t *n)
{
	struct orphans_rules *running = orphans->rules, *rules;
	int r, r_sysv;

	if (orphans_are_whole(orphans) &&
	    orphans_rules_are_equal(running ? running->list : NULL, running ? running->n : 0, *list, *n)) {
		orphans_rules_move(running, *list);
		return 0;
	}
	rules = orphans_rules_new(list, n);
	if (!rules)
		return -ENOMEM;
	(void)orphans_rules_unref(orphans->rules);
	orphans->rules = rules;
	r = orphans_renew_posix(orphans);
	r_sysv = orphans_renew_sysv(orphans);
	return r ? r : r_sysv;
}

size_t
orphans_n_watched(const struct orphans *orphans)
{
	return orphans_posix_n(orphans->posix) + orphans_sysv_n(orphans->sysv);
}
