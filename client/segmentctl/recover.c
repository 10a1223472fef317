/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `recover`: frees poisoned locks, for whoever has looked at their bytes. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/report.h"
#include "conf/definition.h"

static int
print_json(const struct segmentctl *ctl, const struct protocol_recover *request, uint32_t n_locks)
{
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_add_string(&json, "name", request->name);
		json_add_string(&json, "lock", *request->lock ? request->lock : NULL);
		json_add_bool(&json, "keep", request->flags & PROTOCOL_RECOVER_KEEP);
		json_add_number(&json, "recovered", n_locks);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

static int
print_recovered(const struct segmentctl *ctl, const struct protocol_recover *request, uint32_t n_locks)
{
	if (ctl->json)
		return print_json(ctl, request, n_locks);
	printf("%" PRIu32 " lock%s of '%s' recovered, %s\n", n_locks, n_locks == 1 ? "" : "s", request->name,
	    request->flags & PROTOCOL_RECOVER_KEEP ? "bytes kept as they are" : "bytes rolled back");
	return report_output(ctl, 0);
}

static int
check_names(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	int r = ask_check_name(ctl, args[0]);

	if (r != 0 || n_args == 1 || definition_name_valid(args[1]))
		return r;
	return report_usage(ctl, "'%.*s'%s cannot be a lock's name: expected letters, digits, '.', '_' and '-', a letter or "
	    "digit first, %d at most", DEFINITION_NAME_MAX, args[1], strlen(args[1]) > DEFINITION_NAME_MAX ? "..." : "",
	    DEFINITION_NAME_MAX);
}

int
recover_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct protocol_recover request = {
		.flags = ctl->options & SEGMENTCTL_OPTION_KEEP ? PROTOCOL_RECOVER_KEEP : 0,
	};
	struct ask *ask;
	int r = check_names(ctl, args, n_args);

	if (r != 0)
		return r;
	ask = ask_new(ctl, &r);
	if (!ask)
		return r;
	ask_set_name(request.name, args[0]);
	if (n_args > 1)
		ask_set_name(request.lock, args[1]);
	r = ask_request(ask, PROTOCOL_RECOVER, &request.header, sizeof(request), sizeof(struct protocol_recovered));
	if (r == 0)
		r = print_recovered(ctl, &request, ask->reply.recovered.n_locks);
	ask_free(ask);
	return r;
}
