/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether the keys of an unpacked definition go together. Internal to conf/. */
#ifndef CONF_PACK_CHECK_H
#define CONF_PACK_CHECK_H

#include "conf/definition.h"

/* What is wrong with a definition whose keys are each in order, as a sentence that lives for ever; NULL: nothing. */
const char *pack_check(const struct definition *definition);

#endif
