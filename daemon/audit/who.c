/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * All processes of /proc, one after the other: their mappings, and the descriptors of each of their tables. Each is looked at
 * through a descriptor of its directory: if it ends meanwhile there is nothing more to see, whoever has its pid then.
 *
 * A process may make the look at it long: each has a time of its own, and what is left out then is said. It may even make it
 * endless, by page faults under which its map of memory is locked and which its own file system never serves: so a child looks,
 * and is killed where it stands still.
 */
#include "config.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "daemon/audit/answer.h"
#include "daemon/audit/descriptors.h"
#include "daemon/audit/holder.h"
#include "daemon/audit/maps.h"
#include "daemon/audit/minder.h"
#include "daemon/audit/objects.h"
#include "daemon/audit/question.h"
#include "daemon/audit/rights.h"
#include "daemon/audit/who.h"

#define PROCESS_NS	(500 * NS_PER_MS)	/* for one process, all of its mappings, threads and descriptors together */
#define STUCK_NS	NS_PER_SEC	/* and then it is given up */
#define TABLES_MAX	16		/* of descriptors that one process's threads share among them, to be told apart */

struct who {
	const struct question *question;
	struct answer *answer;
	struct objects objects;
	struct holder_self self;
	struct maps maps;
	pid_t own;			/* this program's, which is not told of */
	struct minder_progress *progress;	/* by pid */
	pid_t pid;			/* that is being looked at */
	int process_fd;
	uint64_t until_ns;		/* for this process */
	bool is_hidden;			/* something of it is not for us to see */
};

static void
close_directory(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

/* What is not there any more has nothing to show. */
static void
note(struct who *who, int r)
{
	if (r == -EACCES || r == -EPERM)
		who->is_hidden = true;
	else if (r < 0 && r != -ESRCH && r != -ENOENT)
		who->answer->head.flags |= AUDIT_INCOMPLETE;
}

/* Mappings. */

/*
 * Some file systems say another device to stat(2) than to whom they are mapped (btrfs, overlayfs). What the mapping is of says
 * stat(2) then, where we may ask; the file system is not.
 */
static bool
is_of_other_device(struct who *who, const struct objects_slot *slot, const struct maps_mapping *mapping)
{
	struct statx status;
	char path[64];

	(void)snprintf(path, sizeof(path), "map_files/%jx-%jx", (uintmax_t)mapping->start, (uintmax_t)mapping->end);
	if (statx(who->process_fd, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_INO, &status)) {
		objects_note(&who->objects, errno);
		return false;
	}
	return status.stx_ino == slot->inode && makedev(status.stx_dev_major, status.stx_dev_minor) == slot->device;
}

static bool
is_slots(struct who *who, const struct objects_slot *slot, const struct maps_mapping *mapping)
{
	char name[MAPS_NAME_SIZE];

	if (!objects_is_internal(&who->objects, mapping->device))
		return !slot->is_sysv &&
		    (slot->device == mapping->device || is_of_other_device(who, slot, mapping));
	if (!slot->is_sysv && slot->device != mapping->device)
		return false;
	maps_name(&who->maps, mapping, name, sizeof(name));
	return objects_name_fits(slot, name);
}

static void
count_mapping(struct who *who, const struct maps_mapping *mapping)
{
	struct objects_slot *slot = objects_find(&who->objects, mapping->inode);

	for (; slot; slot = objects_next(&who->objects, slot)) {
		struct objects_tally *tally;

		if (!is_slots(who, slot, mapping))
			continue;
		tally = objects_touch(&who->objects, slot);
		tally->how |= AUDIT_MAPS_READ | (mapping->is_writable ? AUDIT_MAPS_WRITE : 0);
		tally->n_maps++;
		tally->mapped_bytes += mapping->end - mapping->start;
	}
}

/* 0, or a negative errno: -ESRCH for what has no memory, which may have other threads that have. */
static int
look_at_maps(struct who *who, const char *path)
{
	struct maps_mapping mapping;
	unsigned n = 0;
	int r = maps_open(&who->maps, who->process_fd, path, true);

	if (r < 0)
		return r;
	while ((r = maps_next(&who->maps, &mapping)) > 0) {
		count_mapping(who, &mapping);
		if (++n % 256 == 0 && clock_monotonic_ns() > who->until_ns) {
			r = -ETIME;
			break;
		}
	}
	maps_close(&who->maps);
	return r;
}

/* Threads. */

/* How many threads it has: a process's directory of them has as many links beyond its own two. */
static bool
has_threads(struct who *who)
{
	struct stat status;

	if (fstatat(who->process_fd, "task", &status, AT_SYMLINK_NOFOLLOW) == 0)
		return status.st_nlink > 3;
	note(who, -errno);
	return false;
}

struct tables {
	pid_t owners[TABLES_MAX];	/* a thread of each */
	size_t n;
};

/* Whether a thread's table of descriptors is none of those that were looked at. */
static bool
tables_add(struct tables *tables, pid_t tid)
{
	/* From the last: neighbours are alike. Where it cannot be told (no kcmp, a thread that ended) it counts as another. */
	for (size_t i = tables->n; i-- > 0;)
		if (syscall(SYS_kcmp, tables->owners[i], tid, KCMP_FILES, 0, 0) == 0)
			return false;
	if (tables->n < TABLES_MAX)
		tables->owners[tables->n++] = tid;
	return true;
}

/*
 * Threads share memory, and nearly always descriptors; unshare(CLONE_FILES) gives one a table of its own. And the first thread may
 * have ended while others go on: then it has nothing to show, and they have.
 */
static void
look_at_threads(struct who *who, bool has_memory)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	struct tables tables = { .n = 0 };
	const struct dirent *entry;
	int fd = openat(who->process_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (!dir) {
		note(who, -errno);
		close_fd(&fd);
		return;
	}
	if (has_memory)
		(void)tables_add(&tables, who->pid);
	while ((errno = 0, entry = readdir(dir))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		char path[48];

		if (!isdigit((unsigned char)entry->d_name[0]) || tid == who->pid)
			continue;
		if (clock_monotonic_ns() > who->until_ns) {
			note(who, -ETIME);
			return;
		}
		if (!has_memory) {
			int r;

			(void)snprintf(path, sizeof(path), "task/%d/maps", (int)tid);
			r = look_at_maps(who, path);
			has_memory = r != -ESRCH && r != -ENOENT;
			note(who, r);
		}
		if (!tables_add(&tables, tid))
			continue;
		(void)snprintf(path, sizeof(path), "task/%d/", (int)tid);
		note(who, descriptors_look(&who->objects, who->process_fd, path, who->until_ns));
	}
	note(who, -errno);
}

/* Processes. */

static int
tell(struct who *who)
{
	struct audit_holder holder = { .pid = who->pid };
	int r = 0;

	if (!who->objects.n_touched)
		return 0;
	holder_describe(&who->self, who->process_fd, &holder);
	minder_end(who->progress);
	for (size_t i = 0; r == 0 && i < who->objects.n_touched; i++) {
		const struct objects_slot *slot = &who->objects.slots[who->objects.touched[i]];
		struct audit_holder row = holder;

		row.object = slot->index;
		row.how |= slot->tally.how;
		row.n_maps = slot->tally.n_maps;
		row.n_fds = slot->tally.n_fds;
		row.mapped_bytes = slot->tally.mapped_bytes;
		r = answer_add(who->answer, &row);
	}
	objects_forget(&who->objects);
	return r;
}

/* 0, or the negative errno with which the asker went away. */
static int
look_at_process(struct who *who, int proc_fd, const char *name)
{
	cleanup_close int fd = openat(proc_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	bool has_memory;
	int r;

	who->is_hidden = false;
	if (fd < 0) {
		note(who, -errno);
		who->answer->head.n_hidden += who->is_hidden;
		return 0;
	}
	who->process_fd = fd;
	who->until_ns = clock_monotonic_ns() + PROCESS_NS;
	minder_begin(who->progress, (uint64_t)who->pid);
	who->answer->head.n_seen++;
	r = look_at_maps(who, "maps");
	has_memory = r != -ESRCH;
	note(who, r);
	/* Both take the same right. */
	r = who->is_hidden ? 0 : descriptors_look(&who->objects, fd, "", who->until_ns);
	/* What has no memory is the kernel's own, which holds nothing and is hidden from nobody, or has ended or is about to. */
	if (has_memory)
		note(who, r);
	if (!who->is_hidden && has_threads(who))
		look_at_threads(who, has_memory);
	if (who->is_hidden)
		who->answer->head.n_hidden++;
	r = tell(who);
	if (who->objects.is_incomplete || who->self.is_incomplete)
		who->answer->head.flags |= AUDIT_INCOMPLETE;
	minder_end(who->progress);
	return r;
}

/* Whether others' processes are left out of /proc (hidepid=): then it cannot be told how many. */
static bool
is_partial(int proc_fd)
{
	return faccessat(proc_fd, "1", F_OK, 0) != 0 && !error_is_passing(errno);
}

static void
say_hidden(struct audit_answer *head, bool is_partial)
{
	char missing[128];

	if (is_partial)
		head->n_hidden++;
	if (!head->n_hidden)
		return;
	(void)rights_missing(RIGHTS_LOOK, missing, sizeof(missing));
	/* Who is told may be somebody for whom another asked: to be root would not help them. */
	(void)snprintf(head->text, sizeof(head->text), "%s%u of %u processes could not be looked into%s%s%s",
	    is_partial ? "/proc hides other users' processes (hidepid); at least " : "", head->n_hidden, head->n_seen + is_partial,
	    *missing ? ": that takes " : ", although we have the capabilities for it: a security module, a user namespace or the "
	    "process itself keeps us from it", missing, *missing ? "; start segmentd-audit.socket" : "");
}

/* Whether /proc counts processes as we do, who are told by their pids: 0; -EXDEV: not; or why that cannot be told. */
static int
check_proc(int proc_fd)
{
	char link[32];
	ssize_t n = readlinkat(proc_fd, "self", link, sizeof(link) - 1);

	if (n < 0 && errno != ENOENT)
		return -errno;
	link[n > 0 ? n : 0] = '\0';
	return strtol(link, NULL, 10) == (long)getpid() ? 0 : -EXDEV;
}

/* The kernel lists them by their pids, so that one who begins again goes on behind the last. */
static int
look_at_all(struct who *who, DIR *proc)
{
	uint64_t done = who->progress->step;
	const struct dirent *entry = NULL;
	int r = 0;

	while (r == 0 && (errno = 0, entry = readdir(proc))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		who->pid = (pid_t)strtol(entry->d_name, NULL, 10);
		if ((uint64_t)who->pid <= done || who->pid == who->own || who->pid == getpid())
			continue;
		if (question_is_late(who->question)) {
			who->answer->head.flags |= AUDIT_INCOMPLETE;
			break;
		}
		r = look_at_process(who, dirfd(proc), entry->d_name);
	}
	if (r == 0 && !entry && errno)
		who->answer->head.flags |= AUDIT_INCOMPLETE;
	return r;
}

static int
look(void *arg)
{
	__attribute__((cleanup(close_directory))) DIR *proc = opendir("/proc");
	struct who *who = arg;
	int r;

	if (!proc)
		return answer_fail(who->answer, -errno, "/proc cannot be read: %s", strerror(errno));
	r = look_at_all(who, proc);
	if (r < 0)
		return r;
	say_hidden(&who->answer->head, is_partial(dirfd(proc)));
	return answer_end(who->answer);
}

/* It was seen, in vain. */
static void
give_up(void *arg)
{
	struct who *who = arg;

	who->answer->head.n_hidden++;
}

static int
prepare(struct who *who)
{
	static struct minder_progress *progress;
	cleanup_close int proc_fd = -1;
	int r;

	if (!progress)
		progress = minder_share(sizeof(*progress));
	if (!progress)
		return -ENOMEM;
	*progress = (struct minder_progress) { 0 };
	who->progress = progress;
	who->own = getpid();
	holder_self_init(&who->self);
	proc_fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = proc_fd < 0 ? -errno : check_proc(proc_fd);
	if (r)
		return r;
	return objects_init(&who->objects, who->question->rows, who->question->head->n_rows);
}

int
who_serve(const struct question *question, struct answer *answer)
{
	static struct who who;
	int r;

	who = (struct who) { .question = question, .answer = answer, .maps = MAPS_NULL, .process_fd = -1 };
	r = prepare(&who);
	if (r == -EXDEV)
		return answer_fail(answer, r, "/proc is not that of our pid namespace: mount it there (mount -t proc proc /proc)");
	if (r < 0)
		return answer_fail(answer, r, "%u objects cannot be looked for: %s", question->head->n_rows, strerror(-r));
	r = minder_run(who.progress, STUCK_NS, look, give_up, &who);
	objects_deinit(&who.objects);
	return r;
}
