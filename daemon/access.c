/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * As on a file: the first class that fits decides (owner, then group, then others), root passes, and `allow` adds to it
 * as an ACL's entries would. Writing needs reading, too: a shared mapping that can be written can be read.
 */
#include "config.h"

#include "base/base.h"
#include "client/protocol.h"
#include "daemon/access.h"
#include "daemon/backend/backend.h"

void
identity_deinit(struct identity *identity)
{
	free(identity->groups);
	*identity = (struct identity) IDENTITY_NULL;
}

bool
identity_is_uid(const struct identity *identity, uint32_t uid)
{
	return !identity->is_uid_unknown && identity->uid == uid;
}

static int
compare_groups(const void *a, const void *b)
{
	uint32_t one = *(const uint32_t *)a, another = *(const uint32_t *)b;

	return (one > another) - (one < another);
}

bool
identity_in_group(const struct identity *identity, uint32_t gid)
{
	if (!identity->is_gid_unknown && identity->gid == gid)
		return true;
	return identity->n_groups && bsearch(&gid, identity->groups, identity->n_groups, sizeof(gid), compare_groups);
}

void
identity_order_groups(struct identity *identity)
{
	size_t i = 1;

	/* The kernel has them so, but where a user namespace turns them round. */
	while (i < identity->n_groups && identity->groups[i - 1] <= identity->groups[i])
		i++;
	if (i < identity->n_groups)
		qsort(identity->groups, identity->n_groups, sizeof(identity->groups[0]), compare_groups);
}

bool
identity_is_process(const struct identity *identity, uint32_t uid, int32_t pid, uint64_t process)
{
	return identity->uid == uid && identity->pid == pid && identity->process == process && (process || pid);
}

/* Asked of the kernel once: they never change after the start, and every attach compares them. */
static struct {
	bool is_known;
	uint32_t uid;
	uint32_t gid;
} access_daemon;

static void
access_know_daemon(void)
{
	if (access_daemon.is_known)
		return;
	access_daemon.uid = (uint32_t)geteuid();
	access_daemon.gid = (uint32_t)getegid();
	access_daemon.is_known = true;
}

uint32_t
access_owner(const struct definition *definition)
{
	access_know_daemon();
	return definition->has_owner ? definition->owner : access_daemon.uid;
}

uint32_t
access_group(const struct definition *definition)
{
	access_know_daemon();
	return definition->has_group ? definition->group : access_daemon.gid;
}

/* rwx bits of one class to PROTOCOL_ACCESS_*. */
static uint32_t
access_of_bits(unsigned bits)
{
	uint32_t access = 0;

	if (bits & 4)
		access |= PROTOCOL_ACCESS_READ;
	if ((bits & 6) == 6)
		access |= PROTOCOL_ACCESS_WRITE;
	return access;
}

/*
 * As the kernel will: its owner is us, and who is in our group, which is its maker's, has the group's rights as well. Whoever
 * it would refuse is not to be handed anything.
 */
static uint32_t
access_judged(const struct definition *definition, const struct identity *identity)
{
	access_know_daemon();
	if (identity_is_uid(identity, access_daemon.uid))
		return access_of_bits(definition->mode >> 6);
	if (identity_in_group(identity, access_group(definition)) || identity_in_group(identity, access_daemon.gid))
		return access_of_bits(definition->mode >> 3);
	return access_of_bits(definition->mode);
}

uint32_t
access_allowed(const struct definition *definition, const struct identity *identity)
{
	uint32_t access;

	if (identity_is_uid(identity, 0))
		return PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE;
	if (backend_has(definition->backend, BACKEND_JUDGED))
		return access_judged(definition, identity);
	if (identity_is_uid(identity, access_owner(definition)))
		access = access_of_bits(definition->mode >> 6);
	else if (identity_in_group(identity, access_group(definition)))
		access = access_of_bits(definition->mode >> 3);
	else
		access = access_of_bits(definition->mode);
	for (size_t i = 0; i < definition->n_allow; i++) {
		const struct definition_allow *allow = &definition->allow[i];

		if (allow->is_group ? identity_in_group(identity, allow->id) : identity_is_uid(identity, allow->id))
			access |= access_of_bits(allow->write ? 6 : 4);
	}
	return access;
}
