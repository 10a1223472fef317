/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * System V segments that a rule is about. Nothing tells of a detach, but the kernel keeps its time: so the table is looked
 * through as seldom as no detach can be missed, and what nobody has attached is due by the kernel's own times. Those are of a
 * clock that can be set; after a jump of it nothing is older than that.
 */
#include "config.h"

#include <event2/event_struct.h>
#include <sys/shm.h>

#include "base/base.h"
#include "daemon/hash.h"
#include "daemon/orphans.h"
#include "daemon/timer.h"

#define TURN_NS		(NS_PER_MS / 2)		/* of work in one turn of the loop */
#define LOOK_MIN_NS	NS_PER_SEC		/* between two looks, at least */
#define JUMP_NS		(2 * NS_PER_SEC)	/* of one clock against the other: it was set */

/* One of which something was said. */
struct told {
	int shm_id;
	uint32_t key;
	int64_t changed_s, attached_s, detached_s;
	uint32_t verdict;
	uint8_t n_tries;
	uint32_t seen;			/* by the look of that number */
	uint64_t retry_ns;		/* monotonic; UINT64_MAX: not while it is as it is */
	UT_hash_handle hh;
};

struct orphans_sysv {
	struct orphans *orphans;
	struct orphans_rules *rules;
	struct event event;
	bool is_looking;		/* a look goes on */
	int at, end;			/* in the kernel's table */
	uint32_t serial;		/* of the look */
	uint64_t look_ns;		/* what it took so far */
	uint64_t next_ns;		/* monotonic: what it found is due then */
	int64_t offset_ns;		/* of the clock of day to the other one, when last looked */
	int64_t floor_s;		/* no time before this is believed */
	struct told *told;
	struct orphans_ask *ask;
};

static void
sysv_forget(struct orphans_sysv *sysv, struct told *told)
{
	HASH_DEL(sysv->told, told);
	free(told);
}

static struct told *
sysv_find(struct orphans_sysv *sysv, int shm_id)
{
	struct told *told;

	HASH_FIND_INT(sysv->told, &shm_id, told);
	return told;
}

static uint64_t
min_after_ns(const struct orphans_rules *rules)
{
	uint64_t ms = UINT64_MAX / NS_PER_MS;

	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i].is_sysv)
			ms = min_u64(ms, rules->list[i].after_ms);
	return ms * NS_PER_MS;
}

/* One that nobody has attached. When it is due, by the monotonic clock. */
static uint64_t
sysv_due_ns(const struct orphans_sysv *sysv, const struct shmid_ds *status, const struct conf_orphan *rule, uint64_t now_ns)
{
	int64_t last_s = status->shm_ctime, now_s = (int64_t)(clock_realtime_ns() / NS_PER_SEC);

	last_s = last_s > status->shm_atime ? last_s : status->shm_atime;
	last_s = last_s > status->shm_dtime ? last_s : status->shm_dtime;
	last_s = last_s > sysv->floor_s ? last_s : sysv->floor_s;
	/* The kernel cuts off what is less than a second: the next whole one is the earliest that is certain. */
	last_s += 1 + (int64_t)((rule->after_ms + 999) / 1000);
	return last_s <= now_s ? now_ns : now_ns + (uint64_t)(last_s - now_s) * NS_PER_SEC;
}

/* Whether it is the one of which something was said, and as it was then. */
static bool
is_same(const struct told *told, const struct shmid_ds *status)
{
	return told->key == (uint32_t)status->shm_perm.__key && told->changed_s == status->shm_ctime &&
	    told->attached_s == status->shm_atime && told->detached_s == status->shm_dtime;
}

static void
sysv_look_at(struct orphans_sysv *sysv, int shm_id, const struct shmid_ds *status, uint64_t now_ns)
{
	const struct conf_orphan *rule;
	struct audit_candidate *candidate;
	uint64_t due_ns;
	struct told *told;

	if (status->shm_nattch || status->shm_perm.mode & SHM_DEST || !(rule = orphans_rules_of_segment(sysv->rules, status)))
		return;
	due_ns = sysv_due_ns(sysv, status, rule, now_ns);
	told = sysv_find(sysv, shm_id);
	if (told && !is_same(told, status)) {
		sysv_forget(sysv, told);
		told = NULL;
	}
	if (told) {
		told->seen = sysv->serial;
		due_ns = max_u64(due_ns, told->retry_ns);
	}
	if (due_ns > now_ns) {
		sysv->next_ns = min_u64(sysv->next_ns, due_ns);
		return;
	}
	candidate = orphans_ask_add(sysv->ask, sysv->rules, rule, 0, false);
	candidate->what = AUDIT_SYSV;
	candidate->shm_id = shm_id;
	candidate->key = (uint32_t)status->shm_perm.__key;
	candidate->attached_s = status->shm_atime;
	candidate->detached_s = status->shm_dtime;
	candidate->changed_s = status->shm_ctime;
	candidate->creator = (uint32_t)status->shm_cpid;
}

static void
sysv_begin_look(struct orphans_sysv *sysv, uint64_t now_ns)
{
	uint64_t day_ns = clock_realtime_ns();
	int64_t offset_ns = (int64_t)(day_ns - now_ns), jump_ns = offset_ns - sysv->offset_ns;
	struct shm_info info;

	if (sysv->serial && (jump_ns > (int64_t)JUMP_NS || jump_ns < -(int64_t)JUMP_NS))
		sysv->floor_s = (int64_t)(day_ns / NS_PER_SEC);
	sysv->offset_ns = offset_ns;
	sysv->serial++;
	sysv->look_ns = 0;
	sysv->next_ns = UINT64_MAX;
	sysv->at = 0;
	sysv->end = shmctl(0, SHM_INFO, (struct shmid_ds *)(void *)&info);
	sysv->is_looking = true;
}

/* What was said of those that are gone. */
static void
sysv_end_look(struct orphans_sysv *sysv)
{
	struct told *told, *next;

	sysv->is_looking = false;
	HASH_ITER(hh, sysv->told, told, next)
		if (told->seen != sysv->serial)
			sysv_forget(sysv, told);
}

static void
sysv_go_on(struct orphans_sysv *sysv, uint64_t now_ns, uint64_t until_ns)
{
	struct shmid_ds status;
	uint64_t begun_ns = orphans_spent_ns();
	int shm_id;

	/* The index of the highest that is used; -1: it cannot be asked. */
	while (sysv->at <= sysv->end && sysv->ask->n < ORPHANS_BATCH && now_ns < until_ns) {
		shm_id = shmctl(sysv->at++, SHM_STAT_ANY, &status);
		if (shm_id >= 0)
			sysv_look_at(sysv, shm_id, &status, now_ns);
		now_ns = clock_monotonic_ns();
	}
	sysv->look_ns += orphans_spent_ns() - begun_ns;
	if (sysv->at > sysv->end)
		sysv_end_look(sysv);
}

static void
sysv_plan(struct orphans_sysv *sysv)
{
	uint64_t now_ns = clock_monotonic_ns(), delay_ns = 0;

	if (sysv->ask->is_out)
		return;
	if (!sysv->is_looking) {
		/* What is let go of from now on is not due before the shortest of the rules' times. */
		delay_ns = min_after_ns(sysv->rules);
		if (sysv->next_ns != UINT64_MAX)
			delay_ns = min_u64(delay_ns, sysv->next_ns > now_ns ? sysv->next_ns - now_ns : 0);
		delay_ns = max_u64(delay_ns, orphans_rest_ns(sysv->look_ns, LOOK_MIN_NS));
	}
	timer_add_ns(&sysv->event, delay_ns);
}

static void
sysv_on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct orphans_sysv *sysv = arg;
	uint64_t now_ns = clock_monotonic_ns();

	if (!sysv->is_looking)
		sysv_begin_look(sysv, now_ns);
	sysv_go_on(sysv, now_ns, now_ns + TURN_NS);
	if (sysv->ask->n && (!sysv->is_looking || sysv->ask->n == ORPHANS_BATCH))
		orphans_ask_submit(sysv->ask);
	sysv_plan(sysv);
}

/* Answers. */

/* NULL where there are as many already as may be, or memory is short: then what is said of it is said again. */
static struct told *
sysv_add(struct orphans_sysv *sysv, int shm_id)
{
	struct told *told;

	if (HASH_COUNT(sysv->told) >= sysv->orphans->max_entries || !(told = calloc(1, sizeof(*told))))
		return NULL;
	told->shm_id = shm_id;
	HASH_ADD_INT(sysv->told, shm_id, told);
	if (!HASH_TAKES(told)) {
		free(told);
		return NULL;
	}
	return told;
}

/* Something is said of it, if that is news. */
static struct told *
sysv_say(struct orphans_sysv *sysv, size_t i)
{
	const struct audit_candidate *candidate = &sysv->ask->candidates[i];
	uint32_t verdict = sysv->ask->strays[i].verdict;
	struct told *told = sysv_find(sysv, candidate->shm_id);

	if (!told)
		told = sysv_add(sysv, candidate->shm_id);
	if (!told || told->verdict != verdict)
		orphans_tell(sysv->ask, i);
	if (!told)
		return NULL;
	told->verdict = verdict;
	told->key = candidate->key;
	told->changed_s = candidate->changed_s;
	told->attached_s = candidate->attached_s;
	told->detached_s = candidate->detached_s;
	told->seen = sysv->serial;
	told->retry_ns = UINT64_MAX;
	return told;
}

static void
sysv_take_verdict(struct orphans_sysv *sysv, size_t i, uint64_t now_ns)
{
	const struct orphans_ask *ask = sysv->ask;
	struct told *told;

	switch (ask->strays[i].verdict) {
	case AUDIT_REMOVED:
		orphans_tell(sysv->ask, i);
		break;
	case AUDIT_UNHELD:
		/* Under other rules it is looked at anew. */
		if (!orphans_ask_is_spared(ask, i))
			(void)sysv_say(sysv, i);
		break;
	case AUDIT_KEPT:
	case AUDIT_UNKNOWN:
		told = sysv_say(sysv, i);
		if (!told)
			break;
		told->retry_ns = now_ns + orphans_backoff_ns(ask->rule_of[i], told->n_tries);
		if (told->n_tries < UINT8_MAX)
			told->n_tries++;
		sysv->next_ns = min_u64(sysv->next_ns, told->retry_ns);
		break;
	default:
		/* The kernel's table says what it is now, when it is looked at next. */
		break;
	}
}

static void
sysv_on_end(struct orphans_ask *ask)
{
	struct orphans *orphans = ask->orphans;
	struct orphans_sysv *sysv = orphans->sysv;
	uint64_t now_ns = clock_monotonic_ns();

	for (size_t i = 0; i < ask->n_answered; i++)
		sysv_take_verdict(sysv, i, now_ns);
	/* What was not answered is asked again. */
	if (ask->n_answered < ask->n)
		sysv->next_ns = min_u64(sysv->next_ns, now_ns + max_u64(ask->orphans->retry_ns, LOOK_MIN_NS));
	orphans_ask_clear(ask);
	if (sysv->rules->n_sysv)
		sysv_plan(sysv);
	else
		orphans->sysv = orphans_sysv_free(sysv);
}

struct orphans_sysv *
orphans_sysv_free(struct orphans_sysv *sysv)
{
	struct told *told, *next;

	if (!sysv)
		return NULL;
	sysv->ask = orphans_ask_free(sysv->ask);
	if (event_initialized(&sysv->event))
		(void)event_del(&sysv->event);
	HASH_ITER(hh, sysv->told, told, next)
		sysv_forget(sysv, told);
	(void)orphans_rules_unref(sysv->rules);
	free(sysv);
	return NULL;
}

int
orphans_sysv_new(struct orphans *orphans, struct orphans_sysv **ret_sysv)
{
	struct orphans_sysv *sysv = calloc(1, sizeof(*sysv));

	if (!sysv)
		return -ENOMEM;
	sysv->orphans = orphans;
	sysv->rules = orphans_rules_ref(orphans->rules);
	sysv->ask = orphans_ask_new(orphans, sysv_on_end);
	if (!sysv->ask || evtimer_assign(&sysv->event, orphans->host.base, sysv_on_turn, sysv)) {
		(void)orphans_sysv_free(sysv);
		return -ENOMEM;
	}
	timer_add_ns(&sysv->event, 0);
	*ret_sysv = sysv;
	return 0;
}

void
orphans_sysv_renew(struct orphans_sysv *sysv)
{
	struct orphans *orphans = sysv->orphans;
	struct told *told, *next;

	/* A removal that is under way is waited for: it is to be told. */
	if (!orphans->rules->n_sysv && !sysv->ask->is_out) {
		orphans->sysv = orphans_sysv_free(sysv);
		return;
	}
	(void)orphans_rules_unref(sysv->rules);
	sysv->rules = orphans_rules_ref(orphans->rules);
	HASH_ITER(hh, sysv->told, told, next)
		sysv_forget(sysv, told);
	sysv->is_looking = false;
	if (sysv->ask->is_out)
		return;
	/* What was not asked yet is of the old ones. */
	orphans_ask_clear(sysv->ask);
	timer_add_ns(&sysv->event, 0);
}

size_t
orphans_sysv_n(const struct orphans_sysv *sysv)
{
	return sysv ? HASH_COUNT(sysv->told) : 0;
}
