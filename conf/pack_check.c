/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Whether the keys of an unpacked definition go together. It was checked before it was packed, with a sentence for whoever
 * wrote it (check.c); here it is held against what the daemon builds on, should the bytes not come from us.
 */
#include "config.h"

#include "conf/pack_check.h"

#include "base/base.h"
#include "conf/pack.h"

static bool
name_is_good(const struct definition *definition)
{
	const char *percent = strchr(definition->name, '%');
	char plain[DEFINITION_NAME_MAX + 1];

	if (!definition->is_template || !percent)
		return definition_name_valid(definition->name);
	if (percent == definition->name || percent[1] != 'U' || strlen(definition->name) > DEFINITION_NAME_MAX)
		return false;
	(void)snprintf(plain, sizeof(plain), "%.*s%s", (int)(percent - definition->name), definition->name, percent + 2);
	return definition_name_valid(plain);	/* refuses another % */
}

static bool
lock_is_good(const struct definition_lock *lock, const struct definition *definition)
{
	bool has_log = lock->undo_bytes >= DEFINITION_UNDO_MIN;

	if (!lock->is_mutex)
		return lock->length_bytes > 0 && !lock->init && lock->at_bytes == 0 &&
		    (has_log || (lock->undo_bytes == 0 && lock->on_death != DEFINITION_ROLLBACK));
	if (lock->undo_bytes || lock->at_bytes % DEFINITION_MUTEX_ALIGNMENT || (lock->init && !definition->prefault))
		return false;
	if (lock->on_death == DEFINITION_KEEP)
		return lock->length_bytes == 0 && lock->offset_bytes == 0;
	return lock->on_death == DEFINITION_ZERO && lock->length_bytes > 0;
}

/* Bytes that are one lock's alone. */
struct span {
	uint64_t start, end;
};

static int
span_by_start(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static bool
spans_overlap(const struct definition *definition, struct span *spans)
{
	size_t n = 0;

	for (size_t i = 0; i < definition->n_locks; i++) {
		const struct definition_lock *lock = &definition->locks[i];

		if (lock->is_mutex)
			spans[n++] = (struct span){ lock->at_bytes, lock->at_bytes + DEFINITION_MUTEX_BYTES };
		if (lock->length_bytes)
			spans[n++] = (struct span){ lock->offset_bytes, lock->offset_bytes + lock->length_bytes };
	}
	qsort(spans, n, sizeof(*spans), span_by_start);
	for (size_t i = 1; i < n; i++)
		if (spans[i].start < spans[i - 1].end)
			return true;
	return false;
}

static int
name_by(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool
names_meet(const struct definition *definition, const char **names)
{
	for (size_t i = 0; i < definition->n_locks; i++)
		names[i] = definition->locks[i].name;
	qsort(names, definition->n_locks, sizeof(*names), name_by);
	for (size_t i = 1; i < definition->n_locks; i++)
		if (streq(names[i], names[i - 1]))
			return true;
	return false;
}

static int
refuse(const char **ret_fault, const char *fault)
{
	*ret_fault = fault;
	return PACK_E_INVALID;
}

static int
check_locks_together(const struct definition *definition, const char **ret_fault)
{
	cleanup_free struct span *spans = calloc(2 * definition->n_locks, sizeof(*spans));
	cleanup_free const char **names = calloc(definition->n_locks, sizeof(*names));

	if (!spans || !names)
		return -ENOMEM;
	if (spans_overlap(definition, spans))
		return refuse(ret_fault, "two of its locks have a byte in common");
	if (names_meet(definition, names))
		return refuse(ret_fault, "two of its locks have one name");
	return 0;
}

static int
check_locks(const struct definition *definition, const char **ret_fault)
{
	uint64_t undo = 0;

	for (size_t i = 0; i < definition->n_locks; i++) {
		if (!lock_is_good(&definition->locks[i], definition))
			return refuse(ret_fault, "one of its locks is none");
		undo += definition->locks[i].undo_bytes;	/* at most 1024 times 1 GiB */
	}
	if (undo > DEFINITION_UNDO_TOTAL_MAX)
		return refuse(ret_fault, "its locks have more undo than a segment may have");
	if (definition_lock_beyond(definition, definition->is_template ? definition->max_size_bytes : definition->size_bytes))
		return refuse(ret_fault, "one of its locks reaches beyond it");
	return definition->n_locks ? check_locks_together(definition, ret_fault) : 0;
}

int
pack_check(const struct definition *definition, const char **ret_fault)
{
	if (!definition->name || !name_is_good(definition))
		return refuse(ret_fault, "its name is none");
	if (definition->max_size_bytes < (definition->is_template ? 1 : definition->size_bytes))
		return refuse(ret_fault, "its max_size is less than its size");
	if (definition->mlock && !definition->prefault)
		return refuse(ret_fault, "it is to be locked without being there");
	if (definition->linger_ms && definition->lifetime != DEFINITION_ATTACHED)
		return refuse(ret_fault, "it lingers, and never ends");
	if (definition->backend == DEFINITION_FILE && (!definition->path || definition->path[0] != '/' || definition->is_template))
		return refuse(ret_fault, "it is a file, and has no path");
	return check_locks(definition, ret_fault);
}
