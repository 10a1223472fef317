/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Who judges orphans: segmentd-audit, which asks the kernel, and removes what may be removed. */
#include "config.h"

#include "base/base.h"
#include "daemon/orphans.h"

static struct orphans_ask *
ask_of(struct auditor_question *question)
{
	return BASE_CONTAINER_OF(question, struct orphans_ask, question);
}

static void
judge_on_send(struct auditor_question *question)
{
	orphans_send(ask_of(question));
}

static int
judge_on_row(struct auditor_question *question, const void *row)
{
	orphans_answer(ask_of(question), row);
	return 0;
}

static void
judge_on_done(struct auditor_question *question, const struct auditor_end *end)
{
	orphans_end(ask_of(question), end->result, end->text);
}

int
orphans_judge_ask(struct orphans_ask *ask, void *arg)
{
	ask->question = (struct auditor_question) {
		.kind = AUDIT_JUDGE,
		.n_rows = (uint32_t)ask->n,
		.rows = ask->candidates,
		.can_wait = true,
		.prepare = judge_on_send,
		.take = judge_on_row,
		.done = judge_on_done,
	};
	auditor_ask(arg, &ask->question);
	return 0;
}

void
orphans_judge_forget(struct orphans_ask *ask, void *arg)
{
	auditor_cancel(&ask->question);
}
