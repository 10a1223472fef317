/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "tests/segmentctl/lies.h"
#include "tests/segmentctl/run.h"

struct fake lies_fake;

void
lies_stop(void)
{
	fake_stop(&lies_fake);
}

void
lies_assert_found_out_after(fake_handler handler, const char *command, const char *arg, const char *part, const char *out)
{
	const struct run *run;
	bool known;

	fake_start(&lies_fake, handler);
	run = run_segmentctl("--socket", lies_fake.socket, command, arg, NULL);
	ck_assert_msg(run->status == SEGMENTCTL_FAILED, "status %d: %s", run->status, run->err);
	ck_assert_msg(strstr(run->err, part) != NULL, "'%s' lacks '%s'", run->err, part);
	ck_assert_str_eq(run->out, out);
	run = run_segmentctl("--socket", lies_fake.socket, "--json", command, arg, NULL);
	ck_assert_int_eq(run->status, SEGMENTCTL_FAILED);
	ck_assert(run_is_json(run->out, &known));
	ck_assert_ptr_nonnull(strstr(run->out, "\"error\""));
}

void
lies_assert_found_out(fake_handler handler, const char *command, const char *arg, const char *part)
{
	lies_assert_found_out_after(handler, command, arg, part, "");
}

void
lies_answer_short(const struct fake_request *request)
{
	fake_reply(request, "", 0);
}
