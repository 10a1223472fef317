/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether a definition's locks are in order, each and together. Internal to conf/. */
#ifndef CONF_CHECK_LOCKS_H
#define CONF_CHECK_LOCKS_H

#include "conf/read.h"

/*
 * Before an entry's keys are read and after their defaults are set: what kind it is, and a mark in each field that a value
 * is written for, which stays where that value is refused.
 */
void check_lock_begin(config_setting_t *group, struct definition_lock *lock);

/* All locks of a definition whose keys are read, against each other and against the segment; list is where they stood. */
void check_locks(struct reader *reader, config_setting_t *list, const struct definition *definition);

#endif
