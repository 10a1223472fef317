/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What backend, page size and nodes ask of each other, and of the other keys of a definition. Internal to conf/. */
#ifndef CONF_CHECK_BACKEND_H
#define CONF_CHECK_BACKEND_H

#include "conf/read.h"

/* One definition, whatever its backend, with its sizes filled in. */
void check_backend(struct reader *reader, config_setting_t *group, const struct definition *definition);

#endif
