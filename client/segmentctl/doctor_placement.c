/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of where pages come from: the pools of huge pages, which is the first to be asked, and the nodes. */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/file.h"

static bool
is_of_2mib(const struct definition *definition)
{
	return definition->page_size == DEFINITION_PAGE_2MIB;
}

static bool
is_of_1gib(const struct definition *definition)
{
	return definition->page_size == DEFINITION_PAGE_1GIB;
}

static bool
is_sysv_of_pool(const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) && !doctor_is_of_memory(definition);
}

static bool
is_placed(const struct definition *definition)
{
	return definition->numa_nodes != 0;
}

static bool
is_bound(const struct definition *definition)
{
	return definition->numa == DEFINITION_NUMA_BIND && definition->prefault && doctor_is_of_memory(definition);
}

static bool
is_pool_bound(const struct definition *definition)
{
	return definition->numa == DEFINITION_NUMA_BIND && !doctor_is_of_memory(definition);
}

/* Of its data alone: control memory is of base pages. */
static uint64_t
data_bytes(const struct doctor *doctor, const struct definition *definition)
{
	const struct doctor_held *held = doctor_find_held(doctor, definition);

	return definition->size_bytes - (held ? min_u64(definition->size_bytes, held->resident_bytes) : 0);
}

/* Of a pool, whose pages come whole. System V memory takes all of max_size of it when it is made, and nothing later. */
static uint64_t
pool_bytes(const struct doctor *doctor, const struct definition *definition)
{
	uint64_t page_bytes = definition_huge_bytes(definition);

	if (definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS))
		return doctor_find_held(doctor, definition) ? 0 : round_up(definition->max_size_bytes, page_bytes);
	return round_up(data_bytes(doctor, definition), page_bytes);
}

/* The segments of a set that are for the same nodes as its first one are taken out of it. */
static void
take_same_nodes(struct doctor *doctor, struct doctor_set *set, struct doctor_set *ret_same)
{
	uint64_t nodes = set->list[0]->numa_nodes;
	size_t n_left = 0;

	*ret_same = (struct doctor_set) DOCTOR_SET_NULL;
	for (size_t i = 0; i < set->n; i++) {
		if (set->list[i]->numa_nodes == nodes)
			doctor_set_add(doctor, ret_same, set->list[i]);
		else
			set->list[n_left++] = set->list[i];
	}
	set->n = n_left;
}

/* What does not fit fails, or is of common memory in the end, which is judged after this. */
static void
add_pool_misfits(struct doctor *doctor, const struct doctor_set *misfits, const struct doctor_set *set,
    const struct pools_room *room)
{
	char text[FINDINGS_TEXT_SIZE];

	findings_pool(text, sizeof(text), doctor_set_bytes(doctor, set, pool_bytes), room);
	doctor_add_placement(doctor, misfits, text);
	for (size_t i = 0; i < misfits->n; i++)
		if (misfits->list[i]->placement == DEFINITION_PREFER)
			doctor_set_add(doctor, &doctor->fallen_back, misfits->list[i]);
}

static void
judge_pool(struct doctor *doctor, doctor_filter_fn filter, uint64_t page_bytes, uint64_t *ret_n_pages)
{
	char needed[TEXT_SIZE], page[TEXT_SIZE], left[TEXT_SIZE], added[TEXT_SIZE], more[2 * TEXT_SIZE + 32] = "";
	struct doctor_set set, misfits;
	struct pools_room room;
	int r = pools_room_at(doctor->root, doctor->place_pid, page_bytes, 0, &room);

	*ret_n_pages = r < 0 ? 0 : room.pool.n_pages;
	doctor_select(doctor, filter, &set);
	text_format_size(page_bytes, page);
	if (r < 0) {
		(void)snprintf(more, sizeof(more), "the pool of %s pages", page);
		doctor_unread(doctor, more, r);
	} else if (set.n) {
		doctor_find_misfits(doctor, &set, pool_bytes, room.bytes, &misfits);
		text_format_size(doctor_set_bytes(doctor, &set, pool_bytes), needed);
		text_format_size(room.bytes, left);
		text_format_size(room.added_bytes, added);
		if (room.added_bytes)
			(void)snprintf(more, sizeof(more), ", %s of them by overcommitting", added);
		if (misfits.n)
			add_pool_misfits(doctor, &misfits, &set, &room);
		else
			doctor_ok(doctor, "%s more of %s pages are needed, and %s are to be had%s", needed, page, left, more);
		doctor_set_deinit(&misfits);
	}
	doctor_set_deinit(&set);
}

/* The parts of a pool on the nodes that segments are bound to. */
static void
judge_pool_nodes(struct doctor *doctor, doctor_filter_fn filter, uint64_t page_bytes)
{
	struct doctor_set bound, of_size = DOCTOR_SET_NULL, same, misfits;
	struct pools_room room;

	doctor_select(doctor, is_pool_bound, &bound);
	for (size_t i = 0; i < bound.n; i++)
		if (filter(bound.list[i]))
			doctor_set_add(doctor, &of_size, bound.list[i]);
	while (of_size.n && doctor->error == 0) {
		uint64_t nodes = of_size.list[0]->numa_nodes;

		take_same_nodes(doctor, &of_size, &same);
		/* What the whole pool has not was said before. */
		if (pools_room_at(doctor->root, doctor->place_pid, page_bytes, nodes, &room) == 0 && room.limit == POOLS_LIMIT_NODES) {
			doctor_find_misfits(doctor, &same, pool_bytes, room.bytes, &misfits);
			if (misfits.n)
				add_pool_misfits(doctor, &misfits, &same, &room);
			doctor_set_deinit(&misfits);
		}
		doctor_set_deinit(&same);
	}
	doctor_set_deinit(&of_size);
	doctor_set_deinit(&bound);
}

/* System V memory of a pool is not for everybody. Further groups of the daemon's are not known here. */
static void
judge_pool_group(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE];
	struct doctor_set set;
	uint64_t gid;

	doctor_select_new(doctor, is_sysv_of_pool, &set);
	if (set.n && doctor->limits_error == 0 && !doctor->limits.has_ipc_lock &&
	    file_read_number(doctor->root, "/proc/sys/vm/hugetlb_shm_group", &gid) == 0 && gid != doctor->limits.gid) {
		findings_pool_group(text, sizeof(text), doctor->limits.gid);
		doctor_add_placement(doctor, &set, text);
	}
	doctor_set_deinit(&set);
}

void
doctor_check_pools(struct doctor *doctor)
{
	uint64_t n_2mib, n_1gib;
	struct doctor_set of_2mib, of_1gib;

	doctor_select(doctor, is_of_2mib, &of_2mib);
	doctor_select(doctor, is_of_1gib, &of_1gib);
	judge_pool(doctor, is_of_2mib, 2 * MIB, &n_2mib);
	judge_pool(doctor, is_of_1gib, GIB, &n_1gib);
	if (!of_2mib.n && !of_1gib.n)
		doctor_ok(doctor, "no segment asks for pages of the hugetlb pools; they have %llu of 2 MiB and %llu of 1 GiB",
		    (unsigned long long)n_2mib, (unsigned long long)n_1gib);
	judge_pool_nodes(doctor, is_of_2mib, 2 * MIB);
	judge_pool_nodes(doctor, is_of_1gib, GIB);
	judge_pool_group(doctor);
	doctor_set_deinit(&of_2mib);
	doctor_set_deinit(&of_1gib);
}

static void
judge_missing_nodes(struct doctor *doctor, struct doctor_set *set, uint64_t there)
{
	char text[FINDINGS_TEXT_SIZE];
	struct doctor_set same;

	while (set->n && doctor->error == 0) {
		uint64_t nodes = set->list[0]->numa_nodes;

		take_same_nodes(doctor, set, &same);
		if (nodes & ~there) {
			findings_nodes_missing(text, sizeof(text), nodes, there);
			doctor_add_placement(doctor, &same, text);
		}
		doctor_set_deinit(&same);
	}
}

/* Nodes that are not there have no room either: that was said. */
static void
judge_bound(struct doctor *doctor, uint64_t there)
{
	struct doctor_set bound, same, misfits;
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], left[TEXT_SIZE], names[NODES_TEXT_SIZE];
	uint64_t room;

	doctor_select(doctor, is_bound, &bound);
	while (bound.n && doctor->error == 0) {
		uint64_t nodes = bound.list[0]->numa_nodes, needed_bytes;

		take_same_nodes(doctor, &bound, &same);
		needed_bytes = doctor_set_bytes(doctor, &same, data_bytes);
		if (!(nodes & ~there) && nodes_room_at(doctor->root, nodes, &room) == 0) {
			doctor_find_misfits(doctor, &same, data_bytes, room, &misfits);
			text_format_size(needed_bytes, needed);
			text_format_size(room, left);
			if (misfits.n) {
				findings_nodes_memory(text, sizeof(text), nodes, needed_bytes, room);
				doctor_add_placement(doctor, &misfits, text);
			} else {
				doctor_ok(doctor, "%s more are needed on node %s, and %s are left there", needed,
				    nodes_format(names, sizeof(names), nodes), left);
			}
			doctor_set_deinit(&misfits);
		}
		doctor_set_deinit(&same);
	}
	doctor_set_deinit(&bound);
}

void
doctor_check_nodes(struct doctor *doctor)
{
	uint64_t there = nodes_there_at(doctor->root, doctor->place_pid);
	char names[NODES_TEXT_SIZE];
	struct doctor_set set;

	doctor_select(doctor, is_placed, &set);
	(void)nodes_format(names, sizeof(names), there);
	if (!set.n)
		doctor_ok(doctor, "no segment asks for nodes; the nodes with memory are %s", names);
	else
		doctor_ok(doctor, "%zu segment%s for nodes; those with memory are %s", set.n, set.n == 1 ? " asks" : "s ask", names);
	judge_missing_nodes(doctor, &set, there);
	judge_bound(doctor, there);
	doctor_set_deinit(&set);
}
