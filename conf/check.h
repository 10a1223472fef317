/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What concerns more than one key: contradictions within a definition, and between definitions. Internal to conf/. */
#ifndef CONF_CHECK_H
#define CONF_CHECK_H

#include "conf/read.h"

/* One definition as it was read; setting is its group. Fills in what follows from other keys. */
void check_definition(struct reader *reader, config_setting_t *setting, struct definition *definition);

/* An entry of allow, of orphans. */
void check_allow(struct reader *reader, config_setting_t *setting, const struct definition_allow *allow);
void check_orphan(struct reader *reader, config_setting_t *setting, const struct conf_orphan *orphan);

/* All definitions of all files: names twice, names that a template stands for. */
void check_names(struct reader *reader);

#endif
