/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Owner, group, mode and allow as an access control list. The object stays the daemon's, since its owner could change all of
 * this, and logind removes what belongs to a user at that one's logout; so the definition's owner is an entry like others.
 *
 * In a definition the class and allow add up, in a list one entry decides. Where that differs, the list gives less and never
 * more: whom allow names gets what allow says, even where the group would give more.
 *
 * The list is written as the kernel's own attribute, whose layout is its interface: it is 24 lines, and no library.
 */
#include "config.h"

#include <endian.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/access.h"
#include "daemon/backend/posix.h"
#include "host/object.h"

#define RIGHTS		6u		/* rw: what mode and allow are of */

struct acl {
	struct posix_acl_xattr_header header;
	struct posix_acl_xattr_entry entries[POSIX_ACCESS_ENTRIES_MAX];
	size_t n;
};

/* The classes that every file has. */
struct classes {
	unsigned group, other;		/* rw bits; the owner's are always both: the daemon opens it anew for each client */
};

static void
acl_add(struct acl *acl, unsigned tag, unsigned bits, uint32_t id)
{
	for (size_t i = 0; i < acl->n; i++)
		if (le16toh(acl->entries[i].e_tag) == tag && le32toh(acl->entries[i].e_id) == id) {
			acl->entries[i].e_perm |= htole16((uint16_t)bits);
			return;
		}
	acl->entries[acl->n++] = (struct posix_acl_xattr_entry) {
		.e_tag = htole16((uint16_t)tag), .e_perm = htole16((uint16_t)bits), .e_id = htole32(id),
	};
}

static void
acl_add_users(struct acl *acl, const struct definition *definition, uid_t uid)
{
	/* Of allow: at least what everybody has, as far as a member of the group has it, too. */
	unsigned everybody = definition->mode & definition->mode >> 3 & RIGHTS;

	if (access_owner(definition) != uid)
		acl_add(acl, ACL_USER, definition->mode >> 6 & RIGHTS, access_owner(definition));
	for (size_t i = 0; i < definition->n_allow; i++) {
		const struct definition_allow *allow = &definition->allow[i];

		if (!allow->is_group && allow->id != uid)
			acl_add(acl, ACL_USER, (allow->write ? 6u : 4u) |
			    (allow->id == access_owner(definition) ? 0 : everybody), allow->id);
	}
}

static void
acl_add_groups(struct acl *acl, const struct definition *definition, gid_t gid, const struct classes *classes)
{
	unsigned everybody = definition->mode & definition->mode >> 3 & RIGHTS;

	acl_add(acl, ACL_GROUP_OBJ, classes->group, ACL_UNDEFINED_ID);
	if (access_group(definition) != gid)
		acl_add(acl, ACL_GROUP, definition->mode >> 3 & RIGHTS, access_group(definition));
	for (size_t i = 0; i < definition->n_allow; i++) {
		const struct definition_allow *allow = &definition->allow[i];

		if (allow->is_group && allow->id == gid)
			acl_add(acl, ACL_GROUP_OBJ, allow->write ? 6 : 4, ACL_UNDEFINED_ID);
		else if (allow->is_group)
			acl_add(acl, ACL_GROUP, (allow->write ? 6u : 4u) |
			    (allow->id == access_group(definition) ? 0 : everybody), allow->id);
	}
}

/* The kernel wants the entries in the order of their tags. A list of the three classes alone is a mode, and kept as one. */
static void
acl_make(struct acl *acl, const struct definition *definition, const struct stat *status)
{
	struct classes classes = {
		.group = access_group(definition) == status->st_gid ? definition->mode >> 3 & RIGHTS :
		    definition->mode & definition->mode >> 3 & RIGHTS,
		.other = definition->mode & RIGHTS,
	};

	acl->header.a_version = htole32(POSIX_ACL_XATTR_VERSION);
	acl->n = 0;
	acl_add(acl, ACL_USER_OBJ, RIGHTS, ACL_UNDEFINED_ID);
	acl_add_users(acl, definition, status->st_uid);
	acl_add_groups(acl, definition, status->st_gid, &classes);
	if (acl->n > 2)
		acl_add(acl, ACL_MASK, RIGHTS, ACL_UNDEFINED_ID);
	acl_add(acl, ACL_OTHER, classes.other, ACL_UNDEFINED_ID);
}

static mode_t
acl_mode(const struct acl *acl)
{
	return (mode_t)(0600 | le16toh(acl->entries[1].e_perm) << 3 | le16toh(acl->entries[2].e_perm));
}

int
posix_access_make(int fd, const char *path, const struct definition *definition, struct posix_access *ret_access, char *text,
    size_t text_size)
{
	static const struct definition nobody = { .mode = 0600 };
	struct acl acl;
	struct stat status;

	if (fstat(fd, &status)) {
		int r = -errno;

		(void)snprintf(text, text_size, "%s cannot be looked at: %s", path, strerror(-r));
		return r;
	}
	acl_make(&acl, definition ? definition : &nobody, &status);
	ret_access->mode = acl.n == 3 ? acl_mode(&acl) : 0;
	ret_access->size = sizeof(acl.header) + acl.n * sizeof(acl.entries[0]);
	static_assert(sizeof(ret_access->list) == sizeof(acl.header) + sizeof(acl.entries), "it is all of it");
	memcpy(ret_access->list, &acl.header, ret_access->size);
	return 0;
}

int
posix_access_tell(int r, const char *path, char *text, size_t text_size)
{
	if (r == -EOPNOTSUPP)
		(void)snprintf(text, text_size, "who may open %s by name cannot be said: an owner, a group or an allow that is not "
		    "the daemon's own needs access control lists, which %s has not (the kernel's CONFIG_TMPFS_POSIX_ACL). "
		    "Remedy: leave owner, group and allow out, and have mode say it", path, POSIX_DIR);
	else if (r)
		(void)snprintf(text, text_size, "who may open %s by name cannot be said: setting its access control list failed: "
		    "%s", path, strerror(-r));
	return r;
}

int
posix_access_store(int fd, const char *path, const struct posix_access *access, char *text, size_t text_size)
{
	return posix_access_tell(object_set_access(fd, access->list, access->size, access->mode), path, text, text_size);
}

int
posix_access_set(int fd, const char *path, const struct definition *definition, char *text, size_t text_size)
{
	struct posix_access access;
	int r = posix_access_make(fd, path, definition, &access, text, text_size);

	return r ? r : posix_access_store(fd, path, &access, text, text_size);
}
