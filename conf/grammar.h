/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Whether a text is in libconfig's grammar. Internal to conf/. */
#ifndef CONF_GRAMMAR_H
#define CONF_GRAMMAR_H

#include "conf/load.h"
#include "conf/source.h"

/* Positive results. */
enum {
	GRAMMAR_E_REFUSED = 1		/* the report says where and why */
};

/* Checks a source that was read; its brackets are known to be nested within bounds. Also -ENOMEM. */
int grammar_check(const struct source *source, struct conf_report *report);

#endif
