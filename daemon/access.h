/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who may attach a segment, and how: owner, group, mode and allow of its definition, as on a file. */
#ifndef DAEMON_ACCESS_H
#define DAEMON_ACCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/definition.h"

/* Who somebody is, by the kernel's word at the moment of connecting. */
struct identity {
	uint32_t uid;
	uint32_t gid;
	/*
	 * They have no number in the daemon's user namespace: what stands for them is the kernel's for all of those. Nobody is
	 * taken for somebody by it.
	 */
	bool is_uid_unknown, is_gid_unknown;
	int32_t pid;			/* 0 where its pid namespace hides it; a number to print */
	uint64_t process;		/* as process_number() has it; 0: not known */
	uint32_t *groups;		/* supplementary, in order: who is root of a container has up to 65,536 */
	size_t n_groups;
};

#define IDENTITY_NULL	{ 0 }

void identity_deinit(struct identity *identity);
bool identity_is_uid(const struct identity *identity, uint32_t uid);
/* After groups were set. */
void identity_order_groups(struct identity *identity);
bool identity_in_group(const struct identity *identity, uint32_t gid);
/* Whether it is that process. A pid alone is not enough where it is 0: all whom their pid namespace hides have that one. */
bool identity_is_process(const struct identity *identity, uint32_t uid, int32_t pid, uint64_t process);

/* The uid and gid that own the segment: the definition's, else the daemon's. */
uint32_t access_owner(const struct definition *definition);
uint32_t access_group(const struct definition *definition);

/* PROTOCOL_ACCESS_* bits that somebody has; 0: the segment does not exist for them. */
uint32_t access_allowed(const struct definition *definition, const struct identity *identity);

#endif
