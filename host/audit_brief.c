/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "base/base.h"
#include "host/audit_brief.h"

#define HOLDS	(AUDIT_MAPS_READ | AUDIT_MAPS_WRITE | AUDIT_FD_READ | AUDIT_FD_WRITE)

void
audit_brief_add(struct audit_brief *brief, const struct audit_holder *holder)
{
	if (!(holder->how & HOLDS))
		return;
	if (brief->n < AUDIT_BRIEF_SHOWN) {
		brief->shown[brief->n].pid = holder->pid;
		(void)snprintf(brief->shown[brief->n].command, sizeof(brief->shown[0].command), "%s", holder->command);
	}
	brief->n++;
}

const char *
audit_brief_describe(char *buf, size_t size, const struct audit_brief *brief, const char *hidden, bool is_incomplete)
{
	unsigned n_shown = (unsigned)min_u64(brief->n, AUDIT_BRIEF_SHOWN);
	size_t len = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < n_shown && len < size; i++)
		len += (size_t)snprintf(buf + len, size - len, "%s%d (%s)", !i ? "" : i + 1 == brief->n ? " and " : ", ",
		    (int)brief->shown[i].pid, brief->shown[i].command);
	if (brief->n > n_shown && len < size)
		len += (size_t)snprintf(buf + len, size - len, " and %u more", brief->n - n_shown);
	if (len < size)
		len += (size_t)snprintf(buf + len, size - len, "%s", brief->n > 1 ? " have it" : brief->n ? " has it" :
		    "no process is seen to have it");
	if (*hidden && len < size)
		len += (size_t)snprintf(buf + len, size - len, " (%s)", hidden);
	if (is_incomplete && len < size)
		(void)snprintf(buf + len, size - len, " (not all were looked at)");
	return buf;
}
