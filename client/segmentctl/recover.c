/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `recover`: frees poisoned locks, for whoever has looked at their bytes. */
#include "config.h"

#include <inttypes.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/json.h"
#include "client/segmentctl/locks.h"
#include "client/segmentctl/report.h"
#include "conf/definition.h"

struct recovered {
	const struct protocol_recover *request;
	uint32_t n;
	uint32_t n_recovering;		/* of them, a worker is at still */
};

static int
print_json(const struct segmentctl *ctl, const struct recovered *recovered)
{
	const struct protocol_recover *request = recovered->request;
	struct json json = JSON_NULL;
	int r = json_init(&json);

	if (r == 0) {
		json_add_string(&json, "name", request->name);
		json_add_string(&json, "lock", *request->lock ? request->lock : NULL);
		json_add_bool(&json, "keep", request->flags & PROTOCOL_RECOVER_KEEP);
		json_add_number(&json, "recovered", recovered->n);
		json_add_number(&json, "recovering", recovered->n_recovering);
		r = json_print(&json);
	}
	json_deinit(&json);
	return report_output(ctl, r);
}

static int
print_recovered(const struct segmentctl *ctl, const struct recovered *recovered)
{
	const struct protocol_recover *request = recovered->request;
	uint32_t n_done = recovered->n - recovered->n_recovering;

	if (ctl->json)
		return print_json(ctl, recovered);
	if (n_done)
		printf("%" PRIu32 " lock%s of '%s' recovered, %s\n", n_done, n_done == 1 ? "" : "s", request->name,
		    request->flags & PROTOCOL_RECOVER_KEEP ? "bytes kept as they are" : "bytes rolled back");
	if (recovered->n_recovering)
		printf("%" PRIu32 " lock%s of '%s' in recovery still, in the background: `segmentctl show %s` says whether "
		    "that ends in 'free' or in 'poisoned'\n", recovered->n_recovering, recovered->n_recovering == 1 ? "" : "s",
		    request->name, request->name);
	return report_output(ctl, 0);
}

/* What the daemon has begun need not be done: a worker may be at it, and may fail. */
static int
count_recovering(struct ask *ask, struct recovered *recovered)
{
	struct locks locks = LOCKS_NULL;
	int r = locks_collect(&locks, ask, recovered->request->name, 0);

	if (r == 0)
		recovered->n_recovering = (uint32_t)min_u64(recovered->n,
		    locks_count_recovering(&locks, recovered->request->lock));
	locks_deinit(&locks);
	return r;
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
	struct recovered recovered = { .request = &request };
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
	if (r == 0) {
		recovered.n = ask->reply.recovered.n_locks;
		r = count_recovering(ask, &recovered);
	}
	if (r == 0)
		r = print_recovered(ctl, &recovered);
	ask_free(ask);
	return r;
}
