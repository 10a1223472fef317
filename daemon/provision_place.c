/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Where pages come from: which pool of huge pages, which nodes. Both are judged before anything is made, and verified by what
 * the kernel says when all is there.
 *
 * `local` is the node that the daemon runs on when it provisions, with others where that one is full, as for every program that
 * allocates without a policy; a growth stays where the rest is. `preferred` and `local` never fail for being elsewhere: that is
 * what they ask for. It is said, though.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/provision_steps.h"

uint64_t
provision_pool_bytes(const struct provision *provision)
{
	return provision->page_bytes ? provision->data_bytes - provision->from_bytes : 0;
}

/* The node that most of it is on, or else the one that this process runs on. */
static uint64_t
own_node(const struct holding *holding)
{
	unsigned cpu, node = 0;

	for (unsigned i = 1; i < holding->n_nodes; i++)
		if (holding->node_bytes[i] > holding->node_bytes[node])
			node = i;
	if (holding->n_nodes == 0 && getcpu(&cpu, &node))
		node = 0;
	return (uint64_t)1 << (node < NODES_MAX ? node : 0);
}

/* Its mode and nodes; of those that are not there, what is there is taken where that will do. */
static int
choose_nodes(struct provision *provision)
{
	static const enum job_numa modes[DEFINITION_NUMA_N] = {
		[DEFINITION_NUMA_ANY] = JOB_NUMA_ANY,
		[DEFINITION_NUMA_LOCAL] = JOB_NUMA_PREFERRED,
		[DEFINITION_NUMA_BIND] = JOB_NUMA_BIND,
		[DEFINITION_NUMA_INTERLEAVE] = JOB_NUMA_INTERLEAVE,
		[DEFINITION_NUMA_PREFERRED] = JOB_NUMA_PREFERRED,
	};
	const struct definition *definition = provision->definition;
	uint64_t there;

	if (definition->numa == DEFINITION_NUMA_ANY)
		return 0;
	there = nodes_there();
	provision->numa = modes[definition->numa];
	provision->nodes = definition->numa == DEFINITION_NUMA_LOCAL ? own_node(provision->holding) : definition->numa_nodes;
	/* Of a daemon on CPUs without memory, or kept from its own node's. */
	if (definition->numa == DEFINITION_NUMA_LOCAL && !(provision->nodes & there))
		provision->nodes = there & -there;
	if (!(provision->nodes & ~there))
		return 0;
	findings_nodes_missing(provision->text, sizeof(provision->text), provision->nodes, there);
	if (!provision_may_degrade(provision))
		return -ENODEV;
	provision->nodes &= there;
	if (!provision->nodes)
		provision->numa = JOB_NUMA_ANY;
	return 0;
}

/* Whether nodes that it is bound to have room: the kernel kills who asks a full node for more. */
static int
judge_nodes(struct provision *provision)
{
	uint64_t bytes = provision->data_bytes - provision->from_bytes - provision->had_bytes, room;

	if (provision->numa != JOB_NUMA_BIND || provision->page_bytes || !bytes || nodes_room(provision->nodes, &room) ||
	    room >= bytes)
		return 0;
	findings_nodes_memory(provision->text, sizeof(provision->text), provision->nodes, bytes, room);
	if (!provision_may_degrade(provision))
		return -ENOMEM;
	provision->numa = JOB_NUMA_PREFERRED;
	provision->nodes &= -provision->nodes;
	return 0;
}

/*
 * By what the kernel has not given out. Of several that are under way one or the other may be too many: whose reservation comes
 * last is told so by the kernel. Promises would not do: for a moment a page would be counted as promised and as reserved, and
 * what just fits would be refused.
 */
static int
judge_pool(struct provision *provision)
{
	const struct definition *definition = provision->definition;
	bool is_whole = backend_has(definition->backend, BACKEND_WHOLE);
	uint64_t bytes = round_up(is_whole ? definition->max_size_bytes : definition->size_bytes, provision->page_bytes);
	struct pools_room room;
	int r;

	if (provision->is_growth && is_whole)
		return 0;
	if (provision->is_growth)
		bytes = provision_pool_bytes(provision);
	r = pools_room(provision->page_bytes, provision->numa == JOB_NUMA_BIND ? provision->nodes : 0, &room);
	if (r) {
		(void)snprintf(provision->text, sizeof(provision->text), "the pool of huge pages cannot be asked: %s", strerror(-r));
		return r;
	}
	if (bytes <= room.bytes)
		return 0;
	findings_pool(provision->text, sizeof(provision->text), bytes, &room);
	return -ENOMEM;
}

static int
choose_pool(struct provision *provision)
{
	int r;

	/* What is there already has its pages. */
	if (provision->holding->object.fd >= 0)
		provision->page_bytes = provision->holding->object.page_bytes;
	else
		provision->page_bytes = definition_huge_bytes(provision->definition);
	if (!provision->page_bytes || provision->is_scrub || provision->holding->is_adopted)
		return 0;
	r = judge_pool(provision);
	if (r == 0 || provision->is_growth || !provision_may_degrade(provision))
		return r;
	provision->page_bytes = 0;
	return 0;
}

int
provision_choose_place(struct provision *provision)
{
	int r = choose_nodes(provision);

	if (r == 0)
		r = choose_pool(provision);
	return r ? r : judge_nodes(provision);
}

/* Somebody else took what the pool had. What is only preferred is done without: with another object, since it has no page yet. */
static void
provision_leave_pool(struct provision *provision)
{
	uint64_t generation = provision->holding->generation;
	int r;

	provision_keep_promises(provision);
	provision->page_bytes = 0;
	holding_release(provision->holding, &provision->provisioner->releases, false);
	provision->holding->generation = generation;
	r = provision_judge(provision);
	if (r == 0)
		r = provision_create(provision);
	if (r)
		provision_fail(provision, r);
	else
		provision_fill_all(provision);
}

static void
provision_reserved(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct provision_piece *piece = BASE_CONTAINER_OF(job, struct provision_piece, job);
	struct provision *provision = piece->provision;
	const struct job_result *result = outcome->result;

	provision->n_busy--;
	if (provision->failed) {
		provision_finish(provision, provision->failed);
		return;
	}
	if (!result) {
		provision_worker_died(provision, outcome);
		return;
	}
	if (result->status == 0) {
		provision_fill_all(provision);
		return;
	}
	if (!provision_may_degrade(provision) || provision->is_scrub || provision->holding->is_adopted) {
		provision_piece_failed(provision, result);
		return;
	}
	(void)snprintf(provision->text, sizeof(provision->text), "%s", result->text);
	provision_leave_pool(provision);
}

void
provision_reserve(struct provision *provision)
{
	struct provision_piece *piece = &provision->free_piece;
	const struct holding *holding = provision->holding;

	piece->provision = provision;
	piece->job = (struct workers_job) {
		.job = {
			.kind = JOB_RESERVE_POOL,
			.length_bytes = round_up(provision->definition->size_bytes, provision->page_bytes),
			.reserve_bytes = provision->provisioner->budget.reserve_bytes,
			.numa = provision->numa,
			.nodes = provision->nodes,
			.object = backend_object_of_job(&holding->object),
		},
		.fd = holding->object.fd,
		.uid = provision->definition->creator,
		.done = provision_reserved,
	};
	provision->n_busy++;
	workers_submit(provision_workers(provision), &piece->job, false);
}

static bool
is_spread_evenly(const struct provision *provision, uint64_t bytes)
{
	return nodes_are_even(provision->nodes, provision->node_bytes, bytes,
	    provision->huge_bytes ? max_u64(2 * MIB, provision->page_bytes) : PROVISION_PAGE_BYTES);
}

bool
provision_is_in_place(struct provision *provision)
{
	const struct definition *definition = provision->definition;
	uint64_t inside = 0, all = 0, asked = definition->numa == DEFINITION_NUMA_LOCAL ? provision->nodes : definition->numa_nodes;
	bool is_good;

	provision->holding->is_elsewhere = false;
	if (definition->numa == DEFINITION_NUMA_ANY || !provision->data_bytes)
		return true;
	for (unsigned i = 0; i < NODES_MAX; i++) {
		all += provision->node_bytes[i];
		inside += asked >> i & 1 ? provision->node_bytes[i] : 0;
	}
	is_good = inside == all && (asked & ~provision->nodes) == 0;
	if (is_good && definition->numa == DEFINITION_NUMA_INTERLEAVE)
		is_good = is_spread_evenly(provision, all);
	if (is_good)
		return true;
	provision->holding->is_elsewhere = true;
	/* Nodes that are not there, or have no room, were named before: that says more. */
	if (!provision->text[0])
		findings_nodes_spread(provision->text, sizeof(provision->text), definition_numa_names[definition->numa],
		    definition->numa_nodes, provision->node_bytes);
	return provision->numa == JOB_NUMA_PREFERRED && definition->numa != DEFINITION_NUMA_BIND;
}

void
provision_keep_place(struct provision *provision)
{
	struct holding *holding = provision->holding;
	unsigned n = NODES_MAX;

	while (n && !provision->node_bytes[n - 1])
		n--;
	free(take_ptr(holding->node_bytes));
	holding->n_nodes = 0;
	/* Where memory is short it is not known: nothing else depends on it. */
	holding->node_bytes = n ? malloc(n * sizeof(*holding->node_bytes)) : NULL;
	if (!holding->node_bytes)
		return;
	memcpy(holding->node_bytes, provision->node_bytes, n * sizeof(*holding->node_bytes));
	holding->n_nodes = n;
}
