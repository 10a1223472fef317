/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A configuration's files as texts that can be sent: what a reader with other rights, on its own, would make the same
 * configuration of, and report the same problems at the same places.
 */
#ifndef CONF_GATHER_H
#define CONF_GATHER_H

#include "conf/load.h"

/* The texts of one configuration, in the order in which conf_load_texts takes them. */
struct gathered {
	struct conf_text *texts;	/* names and bytes are the gathered's own */
	size_t n_texts;
	size_t length;			/* of all together */
};

#define GATHERED_NULL	{ 0 }

/*
 * Reads path and the segments.d beside it with the caller's rights; @include is carried out, and marks in the texts say from
 * which file and line they go on, so that problems name the files themselves. 0: *ret_gathered is to be given back.
 * CONF_E_INVALID: files that cannot be read or looked through, or that are more than CONF_FILE_MAX_BYTES together; the report
 * says which. Or -ENOMEM.
 */
int conf_gather(const char *path, struct conf_report *report, struct gathered *ret_gathered);
void gathered_deinit(struct gathered *gathered);

#endif
