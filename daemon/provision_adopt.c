/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * An object that is there already, with what is in it: an earlier daemon's, which the record proves. What it has of memory is not
 * judged again; what it lacks is populated as of any other.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/leftovers.h"
#include "daemon/provision_steps.h"

int
provision_adopt(struct provision *provision)
{
	struct leftovers *leftovers = provision->provisioner->leftovers;
	struct holding *holding = provision->holding;
	int r = LEFTOVERS_E_NONE;

	if (leftovers)
		r = leftovers_adopt(leftovers, provision->definition, holding, provision->text, sizeof(provision->text));
	if (r == LEFTOVERS_E_NONE)
		return 0;
	provision->is_left_over = r == LEFTOVERS_E_HELD;
	if (r)
		return r == LEFTOVERS_E_HELD ? -EEXIST : r;
	provision->had_bytes = min_u64(holding->backend->resident_bytes(&holding->object), provision->data_bytes);
	if (!holding->backend->room)
		return 0;
	return holding->backend->room(&holding->object, provision->data_bytes, provision->text, sizeof(provision->text));
}
