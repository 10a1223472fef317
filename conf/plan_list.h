/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What differs between two lists of a definition, allow and locks, whose order says nothing. Internal to conf/. */
#ifndef CONF_PLAN_LIST_H
#define CONF_PLAN_LIST_H

#include "conf/keys.h"

/* 1: the two have the same entries. 0: they have not. Or -ENOMEM. */
int plan_list_equal(const struct keys_row *row, const struct definition *a, const struct definition *b);

/*
 * Words for lists that differ: how many entries each has, which were added, removed and changed (some of them, if they are
 * many), and whether somebody loses access by it. The strings are the caller's, also after an error. 0 or -ENOMEM.
 */
int plan_list_format(const struct keys_row *row, const struct definition *a, const struct definition *b,
    char **ret_from, char **ret_to, char **ret_text, bool *ret_takes_access);

#endif
