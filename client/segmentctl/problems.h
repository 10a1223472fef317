/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What is wrong with a configuration that was read here. */
#ifndef CLIENT_SEGMENTCTL_PROBLEMS_H
#define CLIENT_SEGMENTCTL_PROBLEMS_H

#include "client/segmentctl/json.h"
#include "conf/load.h"

/* On standard error; in a document, as its members "problems" and "problems_left_out". */
void problems_print(const struct conf_report *report);
void problems_add_members(struct json *json, const struct conf_report *report);

#endif
