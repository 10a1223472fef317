/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A group of keys as bytes, by the table's rows. Internal to conf/. */
#ifndef CONF_PACK_GROUP_H
#define CONF_PACK_GROUP_H

#include "base/base.h"
#include "conf/keys.h"
#include "conf/pack_bytes.h"

/* Appends the keys of a scope that have a value, lists of other groups too. where: 0, or the KEYS_OF_* that they apply to. */
void pack_put_group(struct pack *pack, enum keys_scope scope, unsigned where, const void *base);

/*
 * Reads them into base, which is all zero. A key that is not there holds its default, unless it is required. 0, -ENOMEM, or
 * PACK_E_INVALID: why says what is wrong. base owns what was read in any case.
 */
int pack_get_group(struct cursor *cursor, enum keys_scope scope, unsigned where, void *base, char *why);

int pack_refuse(char *why, const char *format, ...) BASE_PRINTF(2, 3);

#endif
