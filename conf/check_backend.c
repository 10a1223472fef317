/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Combinations of keys that no host could provide, whatever it has: refused here, where file and line are known, and not
 * when the segment is made. What some hosts have and others do not is no matter of the configuration: the segment fails there,
 * with its reason.
 */
#include "config.h"

#include "conf/check_backend.h"

#include "conf/check_sysv.h"
#include "conf/units.h"


static config_setting_t *
member(config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key);
}

/*
 * An object's name is one segment's: what is made from a template has none to be found by. And what is not made before it is
 * ready may not be to be had when a client touches it.
 */
static void
check_posix(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	if (definition->is_template) {
		read_problem(reader, member(group, "backend"), NULL,
		    "\"posix\" is for segments: all that are made from a template would have one object; expected another "
		    "backend, or a segment for each object");
		return;
	}
	if (!member(group, "object"))
		read_problem(reader, group, "object",
		    "is missing; backend \"posix\" requires it: the name that other programs open, as in \"/order-book\"");
	if (!definition->prefault)
		read_problem(reader, member(group, "prefault"), NULL, "false contradicts backend \"posix\": /dev/shm has a size, "
		    "and a client that touches a page which it has no room for dies of it; set prefault = true");
}

static void
check_multiple(struct reader *reader, config_setting_t *setting, uint64_t bytes, uint64_t page_bytes,
    const char *page_size)
{
	char found[32], below[32], above[32];
	uint64_t rest;

	if (!setting || !page_bytes)
		return;
	rest = bytes % page_bytes;
	if (!rest)
		return;
	(void)units_format_size(found, sizeof(found), bytes);
	(void)units_format_size(below, sizeof(below), bytes - rest);
	(void)units_format_size(above, sizeof(above), bytes - rest + page_bytes);
	if (bytes < page_bytes)
		read_problem(reader, setting, NULL, "%s is no multiple of page_size = \"%s\": such pages come whole; expected %s, "
		    "or a smaller page_size", found, page_size, above);
	else
		read_problem(reader, setting, NULL, "%s is no multiple of page_size = \"%s\": such pages come whole; expected %s "
		    "or %s, or a smaller page_size", found, page_size, below, above);
}

/*
 * Pages of the pools. Of those that are not there when they are touched a client would die: they are made before it is ready,
 * or not asked for.
 */
static void
check_pool_pages(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	config_setting_t *setting = member(group, "page_size");
	const char *page_size = definition_page_size_name(definition->page_size);
	uint64_t page_bytes = definition_huge_bytes(definition);

	if (!page_bytes)
		return;
	if (definition->backend == DEFINITION_POSIX) {
		read_problem(reader, setting, NULL, "\"%s\" is not to be had of backend \"posix\": /dev/shm has no pages of the "
		    "hugetlb pools; expected \"auto\", \"base\" or \"transparent\", or backend \"memfd\" or \"sysv\"", page_size);
		return;
	}
	/* What was refused as a size is 0, which is a multiple; a max_size that is left out is size. */
	check_multiple(reader, member(group, "size"), definition->size_bytes, page_bytes, page_size);
	check_multiple(reader, member(group, "max_size"), definition->max_size_bytes, page_bytes, page_size);
	if (!definition->prefault)
		read_problem(reader, setting, NULL, "\"%s\" contradicts prefault = false: a client that touches a page which the "
		    "pool does not have dies of it; set prefault = true, or another page_size", page_size);
}

static void
check_numa(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	config_setting_t *setting = member(group, "numa");
	uint64_t nodes = definition->numa_nodes;

	if (definition->numa == DEFINITION_NUMA_ANY)
		return;
	if (definition->numa == DEFINITION_NUMA_INTERLEAVE && nodes && !(nodes & (nodes - 1)))
		read_problem(reader, setting, NULL, "interleaves one node, %d; expected two or more, or \"bind:%d\"",
		    __builtin_ctzll(nodes), __builtin_ctzll(nodes));
	if (!definition->prefault)
		read_problem(reader, setting, NULL, "contradicts prefault = false: memory is placed when it is made, and what "
		    "clients make of it themselves is wherever they run; set prefault = true, or numa = \"any\"");
}

void
check_backend(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	if (definition->backend == DEFINITION_POSIX)
		check_posix(reader, group, definition);
	if (definition->backend == DEFINITION_SYSV)
		check_sysv(reader, group, definition);
	/* A file has other words for it: check_file.c. */
	if (definition->backend != DEFINITION_FILE)
		check_pool_pages(reader, group, definition);
	check_numa(reader, group, definition);
}
