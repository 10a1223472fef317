/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Fields of the table's rows, by type. A new type is a case in each of the two. */
#include "config.h"

#include "conf/field.h"

#include "base/base.h"
#include "conf/load.h"

static const void *
at(const void *base, size_t offset)
{
	return (const char *)base + offset;
}

/* Two strings of which each may be NULL. */
static bool
text_equal(const char *a, const char *b)
{
	return a && b ? streq(a, b) : a == b;
}

static bool
flag_of(const struct keys_row *row, const void *base)
{
	return row->flag_offset == KEYS_NO_FIELD || *(const bool *)at(base, row->flag_offset);
}

static bool
admin_group_equal(const struct conf_daemon *a, const struct conf_daemon *b)
{
	return text_equal(a->admin_group, b->admin_group) && a->has_admin_gid == b->has_admin_gid &&
	    (!a->has_admin_gid || a->admin_gid == b->admin_gid);
}

bool
field_equal(const struct keys_row *row, const void *a, const void *b)
{
	const void *x = row->offset == KEYS_NO_FIELD ? NULL : at(a, row->offset);
	const void *y = row->offset == KEYS_NO_FIELD ? NULL : at(b, row->offset);
	const struct definition *p = a, *q = b;

	if (flag_of(row, a) != flag_of(row, b))
		return false;
	if (!flag_of(row, a))
		return true;
	switch (row->type) {
	case KEYS_TYPE_BOOL:
	case KEYS_TYPE_FLAG:
		return *(const bool *)x == *(const bool *)y;
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		return *(const uint32_t *)x == *(const uint32_t *)y;
	case KEYS_TYPE_WORD:
		return *(const uint8_t *)x == *(const uint8_t *)y;
	case KEYS_TYPE_SIZE:
	case KEYS_TYPE_TIME:
		return *(const uint64_t *)x == *(const uint64_t *)y;
	case KEYS_TYPE_MODE:
		if (row->scope == KEYS_ORPHAN_SYSV)	/* wider there, as the kernel has it */
			return *(const uint32_t *)x == *(const uint32_t *)y;
		return *(const uint16_t *)x == *(const uint16_t *)y;
	case KEYS_TYPE_NAME:
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		return text_equal(*(char *const *)x, *(char *const *)y);
	case KEYS_TYPE_ADMIN_GROUP:
		return admin_group_equal(a, b);
	case KEYS_TYPE_NUMA:
		return p->numa == q->numa && p->numa_nodes == q->numa_nodes;
	case KEYS_TYPE_SYNC:
		return p->sync == q->sync && (!p->sync || p->sync_ms == q->sync_ms);
	default:
		return true;	/* groups and lists have no field */
	}
}

/* A copy of a string that may be NULL takes the place of another. */
static int
copy_text(char *const *from, char **to)
{
	char *copied = NULL;

	if (*from && !(copied = strdup(*from)))
		return -ENOMEM;
	free(*to);
	*to = copied;
	return 0;
}

static int
copy_allow(const struct definition *from, struct definition *to)
{
	struct definition_allow *allow = calloc(from->n_allow + 1, sizeof(*allow));
	size_t n = 0;

	for (; allow && n < from->n_allow; n++) {
		allow[n] = from->allow[n];
		allow[n].name = NULL;
		if (copy_text(&from->allow[n].name, &allow[n].name))
			break;
	}
	if (!allow || n < from->n_allow) {
		while (allow && n > 0)
			free(allow[--n].name);
		free(allow);
		return -ENOMEM;
	}
	for (size_t i = 0; i < to->n_allow; i++)
		free(to->allow[i].name);
	free(to->allow);
	to->allow = allow;
	to->n_allow = n;
	return 0;
}

static int
copy_locks(const struct definition *from, struct definition *to)
{
	struct definition_lock *locks = calloc(from->n_locks + 1, sizeof(*locks));
	size_t n = 0;

	for (; locks && n < from->n_locks; n++) {
		locks[n] = from->locks[n];
		locks[n].name = NULL;
		if (copy_text(&from->locks[n].name, &locks[n].name))
			break;
	}
	if (!locks || n < from->n_locks) {
		while (locks && n > 0)
			free(locks[--n].name);
		free(locks);
		return -ENOMEM;
	}
	for (size_t i = 0; i < to->n_locks; i++)
		free(to->locks[i].name);
	free(to->locks);
	to->locks = locks;
	to->n_locks = n;
	return 0;
}

/* How many bytes a row's field has; 0: it is no plain one. */
static size_t
plain_size(const struct keys_row *row)
{
	switch (row->type) {
	case KEYS_TYPE_BOOL:
	case KEYS_TYPE_FLAG:
		return sizeof(bool);
	case KEYS_TYPE_UINT:
	case KEYS_TYPE_NUMBER:
	case KEYS_TYPE_USER:
	case KEYS_TYPE_GROUP:
		return sizeof(uint32_t);
	case KEYS_TYPE_WORD:
		return sizeof(uint8_t);
	case KEYS_TYPE_SIZE:
	case KEYS_TYPE_TIME:
	case KEYS_TYPE_SYNC:
		return sizeof(uint64_t);
	case KEYS_TYPE_MODE:
		return row->scope == KEYS_ORPHAN_SYSV ? sizeof(uint32_t) : sizeof(uint16_t);
	default:
		return 0;
	}
}

/* What a type has beside its field. */
static int
copy_beside(const struct keys_row *row, const void *from, void *to)
{
	const struct conf_daemon *daemon_from = from;
	struct conf_daemon *daemon_to = to;
	const struct definition *p = from;
	struct definition *q = to;

	switch (row->type) {
	case KEYS_TYPE_NAME:
	case KEYS_TYPE_TEXT:
	case KEYS_TYPE_PATH:
		return copy_text(at(from, row->offset), (char **)(void *)((char *)to + row->offset));
	case KEYS_TYPE_ADMIN_GROUP:
		if (copy_text(&daemon_from->admin_group, &daemon_to->admin_group))
			return -ENOMEM;
		daemon_to->has_admin_gid = daemon_from->has_admin_gid;
		daemon_to->admin_gid = daemon_from->admin_gid;
		return 0;
	case KEYS_TYPE_NUMA:
		q->numa = p->numa;
		q->numa_nodes = p->numa_nodes;
		return 0;
	case KEYS_TYPE_SYNC:
		q->sync = p->sync;
		return 0;
	case KEYS_TYPE_LIST:
		return streq(row->key, "allow") ? copy_allow(from, to) : copy_locks(from, to);
	default:
		if (row->name_offset != KEYS_NO_FIELD)
			return copy_text(at(from, row->name_offset), (char **)(void *)((char *)to + row->name_offset));
		return 0;
	}
}

int
field_copy(const struct keys_row *row, const void *from, void *to)
{
	size_t size = plain_size(row);
	int r = copy_beside(row, from, to);

	if (r)
		return r;
	if (size)
		memcpy((char *)to + row->offset, at(from, row->offset), size);
	if (row->flag_offset != KEYS_NO_FIELD)
		*(bool *)((char *)to + row->flag_offset) = flag_of(row, from);
	return 0;
}
