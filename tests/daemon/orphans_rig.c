/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The rig of the tests of orphans: the loop runs only while the test waits for something. */
#include "config.h"

#include "tests/daemon/orphans_rig.h"

#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

struct orphans_rig rig;

static int
judge(struct orphans_ask *ask, void *arg)
{
	if (rig.refuses)
		return rig.refuses;
	ck_assert_ptr_null(rig.ask);
	rig.ask = ask;
	rig.n_asks++;
	if (!rig.is_late)
		orphans_send(ask);
	return 0;
}

static void
forget(struct orphans_ask *ask, void *arg)
{
	ck_assert_ptr_eq(rig.ask, ask);
	rig.ask = NULL;
}

static bool
is_ours(const char *name, void *arg)
{
	return rig.ours && streq(rig.ours, name);
}

int
set_rules(const struct rule *rules, size_t n)
{
	struct conf_orphan *list = calloc(n + 1, sizeof(*list));
	int r;

	for (size_t i = 0; i < n; i++)
		list[i] = (struct conf_orphan) { .file = strdup("f.conf"), .line = (unsigned)i + 1, .posix = strdup(rules[i].posix),
			.after_ms = rules[i].after_ms, .remove = rules[i].remove };
	r = orphans_set_rules(&rig.orphans, &list, &n);
	/* Nothing, where it took them. */
	conf_orphans_free(list, n);
	return r;
}

void
begin(const struct rule *rules, size_t n)
{
	(void)strcpy(rig.dir, "/tmp/segmentd-orphans-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(rig.dir));
	rig.dir_fd = open(rig.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	rig.base = event_base_new();
	workers_init(&rig.workers, rig.base, 1);
	orphans_init(&rig.orphans, &(struct orphans_host) { .base = rig.base, .directory = rig.dir, .workers = &rig.workers,
	    .judge = judge, .forget = forget, .is_ours = is_ours });
	ck_assert_int_eq(set_rules(rules, n), 0);
}

void
end(void)
{
	DIR *dir;
	struct dirent *entry;

	orphans_deinit(&rig.orphans);
	workers_deinit(&rig.workers);
	orphans_free_scans(&rig.orphans);
	event_base_free(rig.base);
	dir = fdopendir(rig.dir_fd);
	while ((entry = readdir(dir)))
		if (unlinkat(dirfd(dir), entry->d_name, 0))
			(void)unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR);
	(void)closedir(dir);
	ck_assert_int_eq(rmdir(rig.dir), 0);
}

void
touch(const char *name, int flags)
{
	int fd = openat(rig.dir_fd, name, flags | O_CREAT | O_CLOEXEC, 0600);

	ck_assert_msg(fd >= 0, "%s: %s", name, strerror(errno));
	(void)close(fd);
}

static uint64_t
inode_of(const char *name)
{
	struct stat status;

	ck_assert_int_eq(fstatat(rig.dir_fd, name, &status, AT_SYMLINK_NOFOLLOW), 0);
	return status.st_ino;
}

void
await_ask(void)
{
	while (!rig.ask)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
}

void
expect_ask(const char *const *names, size_t n)
{
	await_ask();
	ck_assert_uint_eq(rig.ask->n, n);
	for (size_t i = 0; i < n; i++) {
		ck_assert_str_eq(rig.ask->candidates[i].name, names[i]);
		ck_assert_uint_eq(rig.ask->candidates[i].what, AUDIT_POSIX);
		ck_assert_uint_eq(rig.ask->candidates[i].inode, inode_of(names[i]));
	}
}

void
answer(enum audit_verdict verdict)
{
	struct orphans_ask *ask = take_ptr(rig.ask);
	size_t n = ask->n;

	for (size_t i = 0; i < n; i++)
		orphans_answer(ask, &(struct audit_stray) { .what = AUDIT_POSIX, .verdict = verdict, .proof = AUDIT_BY_LEASE,
		    .inode = ask->candidates[i].inode, .resident_bytes = 4096, .size_bytes = 8192, .shm_id = -1 });
	orphans_end(ask, 0, "");
	/* What is due by then may be asked about in the same turn. */
	while (ask->is_out && !rig.ask)
		ck_assert_int_eq(event_base_loop(rig.base, EVLOOP_ONCE), 0);
}

void
expect_quiet(const char *fence)
{
	const char *const names[] = { fence };

	touch(fence, O_WRONLY);
	expect_ask(names, 1);
	answer(AUDIT_HELD);
}
