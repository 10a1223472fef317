/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether the keys of an unpacked definition go together. Internal to conf/. */
#ifndef CONF_PACK_CHECK_H
#define CONF_PACK_CHECK_H

#include "conf/definition.h"

/* Of a definition whose keys are each in order. 0, -ENOMEM, or PACK_E_INVALID with what is wrong, a sentence that lives for ever. */
int pack_check(const struct definition *definition, const char **ret_fault);

#endif
