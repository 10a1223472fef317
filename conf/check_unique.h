/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What no two segments have in common, since the kernel has each of it once. Internal to conf/. */
#ifndef CONF_CHECK_UNIQUE_H
#define CONF_CHECK_UNIQUE_H

#include "conf/read.h"

/* All definitions: no POSIX object, key or file is two segments'. */
void check_unique(struct reader *reader);

#endif
