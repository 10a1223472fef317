/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What System V memory asks of the other keys: the kernel judges whoever attaches it, and knows less than we do. */
#include "config.h"

#include "conf/check_sysv.h"

static config_setting_t *
member(config_setting_t *group, const char *key)
{
	return config_setting_get_member(group, key);
}

/* What the kernel knows of who may attach System V memory: its maker, who is the daemon, a group, and all others. */
void
check_sysv(struct reader *reader, config_setting_t *group, const struct definition *definition)
{
	static const char who[] = "the kernel itself judges who attaches System V memory, and knows one owner, who could remove it: "
	    "the daemon's user. Remove it, and let group and mode say who may attach";

	if (member(group, "owner"))
		read_problem(reader, member(group, "owner"), NULL, "contradicts backend \"sysv\": %s", who);
	if (definition->n_allow)
		read_problem(reader, member(group, "allow"), NULL, "contradicts backend \"sysv\": %s", who);
	/* Its creator is not its owner: the group has to let them have it, which is the creator's where nothing is said. */
	if (definition->is_template && (definition->mode & 060) != 060)
		read_problem(reader, member(group, "mode") ? member(group, "mode") : group, member(group, "mode") ? NULL : "mode",
		    "is %04o, which lets nobody have what they create: a segment of backend \"sysv\" belongs to the daemon's user, and "
		    "its creator is of its group; expected \"0660\", or more", definition->mode);
}
