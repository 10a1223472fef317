/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `metrics`: the daemon's OpenMetrics text as it came, once it is known to be whole. */
#include "config.h"

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"

#define END	"# EOF\n"

/* Whether the text ends as OpenMetrics asks, and holds nothing that acts on a terminal. */
static const char *
find_fault(const char *text)
{
	size_t length = strlen(text);

	if (length < strlen(END) || !streq(text + length - strlen(END), END))
		return "the metrics do not end in '# EOF'";
	if (length > strlen(END) && text[length - strlen(END) - 1] != '\n')
		return "the metrics do not end in '# EOF'";
	for (; *text; text++)
		if ((unsigned char)*text < ' ' && *text != '\n')
			return "the metrics hold a control character";
	return NULL;
}

static int
print_text(const struct segmentctl *ctl, const char *text)
{
	struct json json = JSON_NULL;
	int r;

	if (!ctl->json)
		return report_output(ctl, fputs(text, stdout) < 0 ? -errno : 0);
	r = json_init(&json);
	if (r == 0) {
		json_add_string(&json, "openmetrics", text);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

int
metrics_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct protocol_header request = { 0 };
	const char *text, *fault;
	struct ask *ask;
	int r;

	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	r = ask_request(ask, PROTOCOL_METRICS, &request, sizeof(request), sizeof(request) + 1);
	if (r == 0) {
		text = ask_text(ask, sizeof(request), (uint32_t)(ask->reply_bytes - sizeof(request)));
		fault = text ? find_fault(text) : "the metrics do not end with a NUL";
		r = fault ? report_protocol(ctl, fault) : print_text(ctl, text);
	}
	ask_free(ask);
	return r;
}
