/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The locks of a definition: each by itself, and all of them against each other. What may be restored or zeroed at a death
 * is told apart here once and for all: no byte belongs to two locks, and an application's mutex to none. Recovery relies
 * on it, and looks at nothing else.
 */
#include "config.h"

#include "conf/check_locks.h"

#include "conf/units.h"

/* Stands in a field whose value was written and refused: there is a problem of it already, and nothing follows from it. */
#define REFUSED		UINT64_MAX

/* Bytes that belong to one entry alone: what its lock protects or zeroes, or the mutex itself. */
struct span {
	uint64_t start, end;
	size_t lock;			/* the entry's index */
	bool is_mutex;
};

/* A definition's locks, and what they were read from. */
struct locks {
	struct reader *reader;
	const struct definition *definition;
	config_setting_t **groups;	/* one a lock */
	struct span *spans;		/* of those that are in order themselves; two a lock at most */
	size_t n_spans;
};

static config_setting_t *
member(config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key);
}

void
check_lock_begin(config_setting_t *group, struct definition_lock *lock)
{
	lock->is_mutex = member(group, "at") != NULL;
	if (lock->is_mutex)
		lock->at_bytes = REFUSED;
	if (member(group, "offset"))
		lock->offset_bytes = REFUSED;
	if (member(group, "length"))
		lock->length_bytes = REFUSED;
	if (member(group, "undo"))
		lock->undo_bytes = REFUSED;
	else if (lock->is_mutex)
		lock->undo_bytes = 0;
	if (member(group, "on_death"))
		lock->on_death = DEFINITION_ON_DEATH_N;
	else if (lock->is_mutex)
		lock->on_death = DEFINITION_KEEP;
}

/* Reports each of the keys that stands in the group although it means nothing there. */
static void
refuse_keys(struct reader *reader, config_setting_t *group, const char *const *keys, const char *why)
{
	for (; *keys; keys++)
		if (member(group, *keys))
			read_problem(reader, member(group, *keys), NULL, "%s", why);
}

/* What is restored after a death was logged before; too little room for any entry is a mistake and no wish. */
static void
check_undo(struct reader *reader, config_setting_t *group, const struct definition_lock *lock)
{
	config_setting_t *undo = member(group, "undo");
	char found[32];

	if (!undo || lock->undo_bytes >= DEFINITION_UNDO_MIN)	/* also one that was refused */
		return;
	(void)units_format_size(found, sizeof(found), lock->undo_bytes);
	if (lock->undo_bytes > 0)
		read_problem(reader, undo, NULL,
		    "%s holds no section's old bytes; expected %dB or more%s", found, DEFINITION_UNDO_MIN,
		    lock->on_death == DEFINITION_ROLLBACK ? "" : ", or 0 to log nothing");
	else if (lock->on_death == DEFINITION_ROLLBACK)
		read_problem(reader, undo, NULL,
		    "%s contradicts on_death = \"rollback\", which needs the old bytes; expected %dB or more, or "
		    "on_death = \"keep\", \"zero\" or \"poison\"", found, DEFINITION_UNDO_MIN);
}

static void
check_own(struct reader *reader, config_setting_t *group, const struct definition_lock *lock)
{
	static const char *const others[] = { "init", NULL };

	refuse_keys(reader, group, others, "is for an application's mutex; remove it, or say with at where the mutex is");
	if (!member(group, "length"))
		read_problem(reader, group, "length", "is missing; a lock requires it (or at, for an application's mutex)");
	check_undo(reader, group, lock);
}

/* A mutex that is zeroed after a death says which bytes; one that is kept has none. */
static void
check_mutex_range(struct reader *reader, config_setting_t *group, const struct definition_lock *lock)
{
	static const char *const range[] = { "offset", "length", NULL };

	if (lock->on_death == DEFINITION_KEEP)
		refuse_keys(reader, group, range,
		    "stands beside at with on_death = \"keep\", which changes no byte; remove it, or set on_death = "
		    "\"zero\"");
	for (unsigned i = 0; lock->on_death == DEFINITION_ZERO && range[i]; i++)
		if (!member(group, range[i]))
			read_problem(reader, group, range[i],
			    "is missing; on_death = \"zero\" of a mutex requires offset and length of what is zeroed");
}

static void
check_mutex(struct reader *reader, config_setting_t *group, const struct definition *definition,
    const struct definition_lock *lock)
{
	static const char *const others[] = { "undo", NULL };

	refuse_keys(reader, group, others, "stands beside at: nothing is logged for an application's mutex; remove it");
	if (lock->at_bytes != REFUSED && lock->at_bytes % DEFINITION_MUTEX_ALIGNMENT)
		read_problem(reader, member(group, "at"), NULL,
		    "%llu is no multiple of %d, as every pthread_mutex_t's address is; expected its offset in the segment",
		    (unsigned long long)lock->at_bytes, DEFINITION_MUTEX_ALIGNMENT);
	if (lock->on_death == DEFINITION_ROLLBACK || lock->on_death == DEFINITION_POISON)
		read_problem(reader, member(group, "on_death"), NULL,
		    "\"%s\" is not for a mutex; expected \"keep\" or \"zero\"",
		    definition_on_death_names[lock->on_death]);
	check_mutex_range(reader, group, lock);
	if (lock->init && !definition->prefault)
		read_problem(reader, member(group, "init"), NULL,
		    "true contradicts prefault = false: the daemon writes the mutex into memory that is there; set "
		    "prefault = true, or let the application make it");
}

/* Notes bytes that are an entry's alone, if they are in the segment. */
static void
add_span(struct locks *locks, size_t i, bool is_mutex, uint64_t start, uint64_t length)
{
	const struct definition *definition = locks->definition;
	uint64_t size = definition->is_template ? definition->max_size_bytes : definition->size_bytes;
	const char *key = is_mutex ? "at" : "length";
	config_setting_t *where = member(locks->groups[i], key);
	uint64_t end = start + length;		/* each at most 2^62 */
	char found[32];

	if (size == 0 || end <= size)		/* 0: the size was refused itself */
		locks->spans[locks->n_spans++] = (struct span){ start, end, i, is_mutex };
	else
		read_problem(locks->reader, where, NULL,
		    "%s reaches beyond the segment: it ends at byte %llu; expected all of it within %s, %s",
		    is_mutex ? "the mutex" : "the range", (unsigned long long)end,
		    definition->is_template ? "max_size" : "size", units_format_size(found, sizeof(found), size));
}

/* Whether an entry has bytes to protect or to zero; what is missing or refused was reported. */
static bool
has_range(config_setting_t *group, const struct definition_lock *lock)
{
	if (lock->is_mutex && (lock->on_death != DEFINITION_ZERO || !member(group, "offset")))
		return false;
	return lock->length_bytes && lock->length_bytes != REFUSED && lock->offset_bytes != REFUSED;
}

/* One lock by itself. */
static void
check_lock(struct locks *locks, size_t i)
{
	const struct definition_lock *lock = &locks->definition->locks[i];
	config_setting_t *group = locks->groups[i];

	if (lock->is_mutex)
		check_mutex(locks->reader, group, locks->definition, lock);
	else
		check_own(locks->reader, group, lock);
	if (lock->is_mutex && lock->at_bytes != REFUSED)
		add_span(locks, i, true, lock->at_bytes, DEFINITION_MUTEX_BYTES);
	if (has_range(group, lock))
		add_span(locks, i, false, lock->offset_bytes, lock->length_bytes);
}

/* bytes 64 to 127 of lock "a"; the mutex in bytes 0 to 39 of lock "b". */
static const char *
describe_span(const struct locks *locks, const struct span *span, char *buf, size_t size)
{
	const char *name = locks->definition->locks[span->lock].name;

	(void)snprintf(buf, size, "%s %llu to %llu of lock \"%s\"", span->is_mutex ? "the mutex in bytes" : "bytes",
	    (unsigned long long)span->start, (unsigned long long)(span->end - 1), name ? name : "");
	return buf;
}

static void
report_overlap(struct locks *locks, const struct span *a, const struct span *b)
{
	bool swap = a->lock > b->lock || (a->lock == b->lock && b->is_mutex);	/* the later entry is told of the other */
	const struct span *first = swap ? b : a, *second = swap ? a : b;
	config_setting_t *group = locks->groups[second->lock];
	config_setting_t *where = member(group, second->is_mutex ? "at" : "offset");
	char ours[256], theirs[256];

	read_problem(locks->reader, where ? where : group, where ? NULL : "offset",
	    "%s overlap%s %s; expected no byte in both", describe_span(locks, second, ours, sizeof(ours)),
	    second->is_mutex ? "s" : "", describe_span(locks, first, theirs, sizeof(theirs)));
}

static int
by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	return (x->lock > y->lock) - (x->lock < y->lock);
}

/* In order of their starts a span meets the one that reaches farthest before it, or none. */
static void
check_overlaps(struct locks *locks)
{
	const struct span *farthest = locks->spans;

	qsort(locks->spans, locks->n_spans, sizeof(*locks->spans), by_start);
	for (size_t i = 1; i < locks->n_spans; i++) {
		const struct span *span = &locks->spans[i];

		if (span->start < farthest->end)
			report_overlap(locks, farthest, span);
		if (span->end > farthest->end)
			farthest = span;
	}
}

static int
by_name(const void *a, const void *b)
{
	const struct definition_lock *x = *(const struct definition_lock *const *)a;
	const struct definition_lock *y = *(const struct definition_lock *const *)b;
	int order = strcmp(x->name, y->name);

	return order ? order : (x > y) - (x < y);
}

static void
check_lock_names(struct locks *locks)
{
	const struct definition *definition = locks->definition;
	cleanup_free const struct definition_lock **sorted = calloc(definition->n_locks + 1, sizeof(const void *));
	size_t n = 0;

	if (!sorted) {
		locks->reader->error = -ENOMEM;
		return;
	}
	for (size_t i = 0; i < definition->n_locks; i++)
		if (definition->locks[i].name)	/* others are missing or refused already */
			sorted[n++] = &definition->locks[i];
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (size_t i = 1; i < n; i++)
		if (streq(sorted[i]->name, sorted[i - 1]->name))
			read_problem(locks->reader, member(locks->groups[sorted[i] - definition->locks], "name"), NULL,
			    "\"%s\" is another lock's of this segment already; expected each name once",
			    sorted[i]->name);
}

static void
check_undo_sum(struct locks *locks, config_setting_t *list)
{
	uint64_t sum = 0;
	char found[32], most[32];
	bool fits = true;

	for (size_t i = 0; i < locks->definition->n_locks; i++)
		if (locks->definition->locks[i].undo_bytes != REFUSED)
			fits = fits && checked_add(sum, locks->definition->locks[i].undo_bytes, &sum);
	if (!fits || sum > DEFINITION_UNDO_TOTAL_MAX)
		read_problem(locks->reader, list, NULL,
		    "the locks' undo is %s together; expected %s at most in a segment: lower undo",
		    units_format_size(found, sizeof(found), sum),
		    units_format_size(most, sizeof(most), DEFINITION_UNDO_TOTAL_MAX));
}

void
check_locks(struct reader *reader, config_setting_t *list, const struct definition *definition)
{
	cleanup_free config_setting_t **groups = calloc(definition->n_locks + 1, sizeof(config_setting_t *));
	cleanup_free struct span *spans = calloc(2 * definition->n_locks + 1, sizeof(*spans));
	struct locks locks = { .reader = reader, .definition = definition, .groups = groups, .spans = spans };
	size_t n = 0;

	if (!groups || !spans) {
		reader->error = -ENOMEM;
		return;
	}
	for (unsigned i = 0; n < definition->n_locks; i++) {
		config_setting_t *setting = config_setting_get_elem(list, i);

		if (setting->type == CONFIG_TYPE_GROUP)	/* others were refused, and have no lock */
			groups[n++] = setting;
	}
	for (size_t i = 0; i < n; i++)
		check_lock(&locks, i);
	check_lock_names(&locks);
	check_overlaps(&locks);
	check_undo_sum(&locks, list);
}
