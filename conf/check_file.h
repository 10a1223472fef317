/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What of a definition cannot be, where its backend is a file. Internal to conf/. */
#ifndef CONF_CHECK_FILE_H
#define CONF_CHECK_FILE_H

#include "conf/read.h"

/* One definition with backend "file". */
void check_file(struct reader *reader, config_setting_t *group, const struct definition *definition);

#endif
