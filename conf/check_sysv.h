/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What concerns System V segments. Internal to conf/. */
#ifndef CONF_CHECK_SYSV_H
#define CONF_CHECK_SYSV_H

#include "conf/read.h"

/* One definition whose backend is sysv. */
void check_sysv(struct reader *reader, config_setting_t *group, const struct definition *definition);

#endif
