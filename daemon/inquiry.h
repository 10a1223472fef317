/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Who has an object that is in a segment's way: segmentd-audit is asked, and the answer is a clause of the sentence that says why.
 * Embedded in who wants to know; zero at first, and whenever nothing is asked.
 */
#ifndef DAEMON_INQUIRY_H
#define DAEMON_INQUIRY_H

#include "daemon/auditor.h"
#include "host/audit_brief.h"

struct inquiry;

/* From the loop. found: a clause; also where nobody could be asked. Another inquiry may begin in it, or this one go away. */
typedef void (*inquiry_done_fn)(struct inquiry *inquiry, const char *found);

struct inquiry {
	struct auditor_question question;
	struct audit_object object;
	struct audit_brief brief;
	inquiry_done_fn done;		/* NULL: nothing is asked */
};

/* done is called once, in a later turn. */
void inquiry_begin(struct inquiry *inquiry, struct auditor *auditor, const struct audit_object *object, inquiry_done_fn done);
/* done is not called any more. Whether it would have been. */
bool inquiry_cancel(struct inquiry *inquiry);

#endif
