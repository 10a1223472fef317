/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Trees of files below /tmp, removed with all that tests left in them. */
#include "config.h"

#include "tests/host/tree.h"

#include <check.h>
#include <ftw.h>
#include <stdarg.h>
#include <sys/stat.h>

static char top[] = "/tmp/segmentd-tree.XXXXXX";
char tree_root[64];

void
tree_make_top(void)
{
	ck_assert_ptr_nonnull(mkdtemp(top));
	ck_assert_int_eq(chmod(top, 0755), 0);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
tree_remove_top(void)
{
	(void)nftw(top, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

void
tree_make(void)
{
	(void)snprintf(tree_root, sizeof(tree_root), "%s/%ld", top, (long)getpid());
	ck_assert_int_eq(mkdir(tree_root, 0755), 0);
}

/* Makes the directories above a path of the file system. */
static void
make_above(char *full)
{
	for (char *p = strchr(full + strlen(tree_root) + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(full, 0755);
		*p = '/';
	}
}

void
tree_put(const char *path, const char *format, ...)
{
	char full[512];
	FILE *f;
	va_list args;

	(void)snprintf(full, sizeof(full), "%s%s", tree_root, path);
	make_above(full);
	f = fopen(full, "we");
	ck_assert_msg(f, "%s: %s", full, strerror(errno));
	va_start(args, format);
	ck_assert_int_ge(vfprintf(f, format, args), 0);
	va_end(args);
	ck_assert_int_eq(fclose(f), 0);
}

void
tree_make_dir(const char *path)
{
	char full[512];

	(void)snprintf(full, sizeof(full), "%s%s/", tree_root, path);
	make_above(full);
}

void
tree_remove(const char *path)
{
	char full[512];

	(void)snprintf(full, sizeof(full), "%s%s", tree_root, path);
	(void)nftw(full, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
