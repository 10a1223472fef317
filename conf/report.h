/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Collects what is wrong with a configuration. The types are in conf/load.h; this is how conf/ itself adds to them. */
#ifndef CONF_REPORT_H
#define CONF_REPORT_H

#include <stdarg.h>

#include "base/base.h"
#include "conf/load.h"

/* Adds a problem; past CONF_REPORT_MAX it is counted only. line 0: the file as a whole; key may be NULL. 0 or -ENOMEM. */
int report_add(struct conf_report *report, const char *file, unsigned line, const char *key,
    const char *format, ...) BASE_PRINTF(5, 6);
int report_add_v(struct conf_report *report, const char *file, unsigned line, const char *key,
    const char *format, va_list args) BASE_PRINTF(5, 0);

#endif
