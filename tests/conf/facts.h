/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What segmentd.conf(5) has to say of a key, made from its row. */
#ifndef TESTS_CONF_FACTS_H
#define TESTS_CONF_FACTS_H

#include <stddef.h>

#include "conf/keys.h"

#define FACTS_SIZE	2048

/* Its meaning, type, default, range and reload class, as one paragraph. Returns buf, of FACTS_SIZE bytes. */
const char *facts_of(const struct keys_row *row, char *buf);

#endif
