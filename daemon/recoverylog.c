/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Every sentence names the lock, who died as far as that is known, how the bytes are now, and what is to be done next. */
#include "config.h"

#include "base/base.h"
#include "daemon/log.h"
#include "daemon/recoverylog.h"

/* Who died, for a sentence. */
static void
recoverylog_name_dead(const struct locks_dead *dead, char *buf, size_t size)
{
	if (dead->pid > 0)
		(void)snprintf(buf, size, "process %d of uid %u", dead->pid, dead->uid);
	else
		(void)snprintf(buf, size, "a process whose pid is not known here");
}

/* Somebody asked for it with segmentctl: nobody has died now. */
static void
recoverylog_by_hand(const struct log_about *about, const char *lock_name, enum recovery_outcome outcome)
{
	if (outcome == RECOVERY_FREED)
		log_write(MESSAGE_LOCK_FREED, about, "lock '%s' of segment '%s' was poisoned, and is free again: it was recovered by hand",
		    lock_name, about->segment);
	else
		log_write(MESSAGE_LOCK_DAMAGED, about, "lock '%s' of segment '%s' was to be recovered by hand, and stays poisoned: its log is "
		    "damaged, or its memory could not be had; try again once there is memory, or see to its bytes, then "
		    "`segmentctl recover --keep %s %s`", lock_name, about->segment, about->segment, lock_name);
}

static void
recoverylog_freed(const struct log_about *about, const struct lock *lock, const struct locks_dead *dead, const char *who)
{
	static const char *const ours[DEFINITION_ON_DEATH_N] = {
		[DEFINITION_ROLLBACK] = "its bytes are as before the section",
		[DEFINITION_KEEP] = "its bytes are as it left them",
		[DEFINITION_ZERO] = "its bytes are zero",
		[DEFINITION_POISON] = "its bytes are as it left them",
	};
	const struct definition_lock *definition = lock->definition;

	if (dead->is_by_waiter)
		log_write(MESSAGE_LOCK_FREED, about, "lock '%s' of segment '%s' was put right and taken by one that waited for it: its owner "
		    "(%s) died in a section; on_death = \"%s\": %s", definition->name, about->segment, who,
		    definition_on_death_names[definition->on_death], ours[definition->on_death]);
	else if (lock_is_mutex(lock))
		log_write(MESSAGE_LOCK_FREED, about, "mutex '%s' of segment '%s' is free again: its owner (%s) died; on_death = \"%s\": %s, "
		    "and the next to lock it is told by EOWNERDEAD", definition->name, about->segment, who,
		    definition_on_death_names[definition->on_death], ours[definition->on_death]);
	else
		log_write(MESSAGE_LOCK_FREED, about, "lock '%s' of segment '%s' is free again: its owner (%s) died in a section; on_death = "
		    "\"%s\": %s", definition->name, about->segment, who, definition_on_death_names[definition->on_death],
		    ours[definition->on_death]);
}

static void
recoverylog_sentence(const struct log_about *about, const struct lock *lock, const struct locks_dead *dead,
    enum recovery_outcome outcome)
{
	const char *lock_name = lock->definition->name;
	char who[64];

	if (dead->is_by_hand) {
		recoverylog_by_hand(about, lock_name, outcome);
		return;
	}
	recoverylog_name_dead(dead, who, sizeof(who));
	switch (outcome) {
	case RECOVERY_FREED:
		recoverylog_freed(about, lock, dead, who);
		break;
	case RECOVERY_POISONED:
		log_write(MESSAGE_LOCK_POISONED, about, "lock '%s' of segment '%s' is poisoned, as on_death says: its owner (%s) died in a "
		    "section; look at its bytes, then `segmentctl recover %s %s` to roll them back, or with --keep to keep them",
		    lock_name, about->segment, who, about->segment, lock_name);
		break;
	case RECOVERY_DELAYED:
		log_write(MESSAGE_LOCK_WAITS, about, "lock '%s' of segment '%s' is not free yet, and waits for memory: its owner (%s) died "
		    "in a section, and what it changed cannot be put right within memory_reserve and the memory cgroup's limits; it "
		    "is tried again each second", lock_name, about->segment, who);
		break;
	default:
		log_write(MESSAGE_LOCK_DAMAGED, about, "lock '%s' of segment '%s' is poisoned: what its owner (%s) left could not be put right, "
		    "since its log is damaged, or workers failed at it; try `segmentctl recover %s %s`, "
		    "and if that finds the log damaged, see to its bytes and add --keep", lock_name, about->segment, who,
		    about->segment, lock_name);
		break;
	}
}

void
recoverylog_write(const char *segment, const struct lock *lock, const struct locks_dead *dead,
    enum recovery_outcome outcome)
{
	/* Each has its own: what somebody must act on is not left out for what has been put right. */
	static struct log_limit limits[RECOVERY_OUTCOME_N] = {
		[RECOVERY_FREED] = LOG_LIMIT(20),
		[RECOVERY_POISONED] = LOG_LIMIT(20),
		[RECOVERY_DISTRUSTED] = LOG_LIMIT(20),
		[RECOVERY_DELAYED] = LOG_LIMIT(20),
	};
	const struct log_about about = {
		.segment = segment,
		.lock = lock->definition->name,
		.client_pid = dead->pid,
		.has_client_uid = dead->pid != 0,
		.client_uid = dead->uid,
	};

	if (log_allowed(&limits[outcome]))
		recoverylog_sentence(&about, lock, dead, outcome);
}
