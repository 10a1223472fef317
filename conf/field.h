/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Fields of the table's rows, by type: whether two are the same, and one made like another. Internal to conf/. */
#ifndef CONF_FIELD_H
#define CONF_FIELD_H

#include "conf/keys.h"

/* Whether a row's field says the same in both; lists are not looked at. Names of users and groups do not count. */
bool field_equal(const struct keys_row *row, const void *a, const void *b);

/* Makes the field in `to` as it is in `from`; a list of a definition, too. 0 or -ENOMEM, which leaves `to` as it was. */
int field_copy(const struct keys_row *row, const void *from, void *to);

#endif
