/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Another object has the name or key that a segment is to have. That is its end; but whoever is to mend it wants to know who has
 * that object, and /proc is not looked through in the loop: so segmentd-audit is asked first.
 */
#include "config.h"

#include "base/base.h"
#include "daemon/provision_steps.h"

/* The text says already what is in the way; of what we know nothing more of, it stays so. */
static void
provision_say_holders(struct provision *provision, const char *found)
{
	const struct backend *backend = backend_find(provision->definition->backend);
	size_t length = strlen(provision->text);

	if (provision->is_left_over)
		(void)snprintf(provision->text + length, sizeof(provision->text) - length, "%s%s. It is tried again when nobody "
		    "has it", found ? ": " : "", found ? found : "");
	else if (found)
		backend->inquired(provision->definition, found, provision->text, sizeof(provision->text));
}

static void
provision_inquired(struct inquiry *inquiry, const char *found)
{
	struct provision *provision = BASE_CONTAINER_OF(inquiry, struct provision, inquiry);

	provision->n_busy--;
	provision_say_holders(provision, found);
	provision_fail(provision, -EEXIST);
}

bool
provision_inquire(struct provision *provision)
{
	const struct backend *backend = backend_find(provision->definition->backend);
	struct auditor *auditor = provision->provisioner->auditor;
	struct audit_object object;

	if (!auditor || !backend->inquire || !backend->inquire(provision->definition, &object)) {
		provision_say_holders(provision, NULL);
		return false;
	}
	provision_keep_promises(provision);
	provision->n_busy++;
	inquiry_begin(&provision->inquiry, auditor, &object, provision_inquired);
	return true;
}
