/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What an earlier daemon had ready is in use, and stays so: its memory is there. What ended with that daemon is its mapping, and
 * with it what mlock had locked. So the same steps are gone through once more, beside its clients: populating what is there changes
 * nothing and tells what it is and where, then it is locked in slices. Nothing is given back where that fails.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/provision_steps.h"

bool
provision_must_revive(const struct definition *definition, const struct holding *holding)
{
	if (definition->mlock)
		return true;
	/* What a file has in memory is the kernel's to decide. */
	return !holding->object.is_file && definition->prefault && (definition->numa != DEFINITION_NUMA_ANY ||
	    definition->page_size == DEFINITION_PAGE_TRANSPARENT || definition->page_size == DEFINITION_PAGE_BASE);
}

int
provision_revive(struct provisioner *provisioner, struct definition *definition, struct holding *holding,
    provision_done_fn done, provision_progress_fn progress, void *owner, struct provision **ret_provision, char *text,
    size_t text_size)
{
	struct provision *provision;
	int r = backend_object_settle(&holding->object);

	provision = r ? NULL : provision_new(provisioner, definition, holding);
	if (!provision) {
		(void)snprintf(text, text_size, "the daemon is out of %s", r ? "file descriptors" : "memory");
		return r ? r : -ENOMEM;
	}
	provision->is_growth = true;
	provision->is_revival = true;
	provision->done = done;
	provision->progress = progress;
	provision->owner = owner;
	provision->page_bytes = holding->object.page_bytes;
	/* Its pages are where they are; whoever was asked for is judged by that alone. */
	provision->nodes = UINT64_MAX;
	provision->had_bytes = provision->total_bytes;
	r = provision_judge(provision);
	if (r) {
		(void)snprintf(text, text_size, "%s", provision->text);
		(void)provision_free(provision);
		return r;
	}
	*ret_provision = provision;
	provision_begin(provision);
	return 0;
}
