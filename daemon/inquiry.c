/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Others' questions, of people who wait, go before it. */
#include "config.h"

#include "base/base.h"
#include "daemon/inquiry.h"
#include "host/findings.h"

/* What is in the way may be open here, too, to be judged and watched: we are not who is looked for. */
static int
inquiry_take(struct auditor_question *question, const void *row)
{
	struct inquiry *inquiry = BASE_CONTAINER_OF(question, struct inquiry, question);
	const struct audit_holder *holder = row;

	if (holder->pid != getpid() || question->auditor->has_other_pids)
		audit_brief_add(&inquiry->brief, holder);
	return 0;
}

static void
inquiry_done(struct auditor_question *question, const struct auditor_end *end)
{
	struct inquiry *inquiry = BASE_CONTAINER_OF(question, struct inquiry, question);
	inquiry_done_fn done = take_ptr(inquiry->done);
	char found[FINDINGS_TEXT_SIZE];

	if (end->result)
		(void)snprintf(found, sizeof(found), "who has it cannot be told: %s", end->text);
	else
		(void)audit_brief_describe(found, sizeof(found), &inquiry->brief, end->text, end->is_incomplete);
	done(inquiry, found);
}

void
inquiry_begin(struct inquiry *inquiry, struct auditor *auditor, const struct audit_object *object, inquiry_done_fn done)
{
	*inquiry = (struct inquiry) {
		.question = {
			.kind = AUDIT_WHO,
			.n_rows = 1,
			.rows = &inquiry->object,
			.can_wait = true,
			.take = inquiry_take,
			.done = inquiry_done,
		},
		.object = *object,
		.done = done,
	};
	auditor_ask(auditor, &inquiry->question);
}

bool
inquiry_cancel(struct inquiry *inquiry)
{
	if (!inquiry->done)
		return false;
	auditor_cancel(&inquiry->question);
	inquiry->done = NULL;
	return true;
}
