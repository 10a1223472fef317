/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The one source of sentences about what a host does not give: the cause, the limit that bit with its figures, and the
 * remedy. Provisioning prints them as a segment's reason, doctor as rows.
 */
#ifndef HOST_FINDINGS_H
#define HOST_FINDINGS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "conf/definition.h"
#include "host/kernel.h"
#include "host/mark.h"
#include "host/memory.h"
#include "host/nodes.h"
#include "host/pools.h"
#include "host/service.h"
#include "host/shm.h"
#include "host/sysv.h"

#define FINDINGS_TEXT_SIZE	768

/* Each is a cause, and behind these words what mends it; commands stand between backticks. */
#define FINDINGS_REMEDY	". Remedy: "

/* Cuts the remedy off, in place. False: the sentence has none. */
bool findings_split(char *text, const char **ret_remedy);

/* Not enough memory for needed_bytes more: which limit leaves how much, and how to raise it. */
void findings_memory(char *buf, size_t size, uint64_t needed_bytes, const struct memory_headroom *headroom);

/* mlock would exceed RLIMIT_MEMLOCK: needed and left, and the unit's line or the shell's command that raises it. */
void findings_memlock(char *buf, size_t size, uint64_t needed_bytes, uint64_t left_bytes);

/* The same of "this process" or a unit, whose limit is given. */
void findings_memlock_of(char *buf, size_t size, const char *who, uint64_t limit_bytes, uint64_t needed_bytes,
    uint64_t left_bytes);

/* SHM_LOCK would exceed what the uid may lock like that: it counts per user. */
void findings_sysv_unlocked(char *buf, size_t size, uint32_t uid, uint64_t limit_bytes, uint64_t needed_bytes);

/* A worker was killed while it allocated (signal as waitid says): most likely the out-of-memory killer at a limit. */
void findings_worker_killed(char *buf, size_t size, int signal, const struct memory_headroom *headroom);

/* Asked for huge pages (page_size as in the configuration), had huge_bytes of size_bytes. */
void findings_page_size(char *buf, size_t size, const char *page_size, uint64_t size_bytes, uint64_t huge_bytes);

/* No huge pages are to be had for shared memory, as far as the host's settings say; why: which one. */
void findings_no_huge(char *buf, size_t size, const char *why);

/* needed descriptors are more than who may have. */
void findings_nofile_of(char *buf, size_t size, const char *who, uint64_t limit, uint64_t needed);

/* The sentence about pages for page_size transparent of an object in /dev/shm, whose mount says what it gives. */
void findings_page_size_of_mount(char *buf, size_t size, uint64_t size_bytes, uint64_t huge_bytes);

/* Asked for base pages, had huge ones. */
void findings_page_size_base(char *buf, size_t size, uint64_t huge_bytes);

/* Not enough huge pages of a pool for needed_bytes more: which limit leaves how much, and what raises it. */
void findings_pool(char *buf, size_t size, uint64_t needed_bytes, const struct pools_room *room);

/* System V memory of a pool is refused to a daemon without the capability, whose group this is. */
void findings_pool_group(char *buf, size_t size, uint32_t gid);

/* Nodes that are not there: which, and those that are. Too little memory on nodes. Memory that is not as numa says. */
void findings_nodes_missing(char *buf, size_t size, uint64_t asked, uint64_t there);
void findings_nodes_memory(char *buf, size_t size, uint64_t nodes, uint64_t needed_bytes, uint64_t left_bytes);
void findings_nodes_spread(char *buf, size_t size, const char *numa, uint64_t nodes, const uint64_t *node_bytes);

/* Out of descriptors: the limit, and how to raise it. */
void findings_nofile(char *buf, size_t size);

/*
 * The limit stands against System V segments: needed_bytes is what it is held against (SHM_LIMIT_MAX: of one segment,
 * SHM_LIMIT_ALL: of all that are still to be made), needed_count how many they are.
 */
void findings_sysv(char *buf, size_t size, enum shm_limit limit, uint64_t needed_bytes, uint64_t needed_count,
    const struct shm_limits *limits);

/* A key is taken, by what. uid: of who wants it. */
void findings_sysv_taken(char *buf, size_t size, const struct sysv_row *row, uint32_t uid);

/* /dev/shm is no tmpfs, is read-only, has no inode, or no room for needed_bytes more. */
void findings_shm(char *buf, size_t size, uint64_t needed_bytes, const struct shm_mount *mount);

/* It cannot be looked at: the negative errno. */
void findings_shm_unreachable(char *buf, size_t size, int r);

/*
 * An object's name is taken. uid: of who wants it. who: who has it (host/audit_brief.h); NULL: it is of that uid, and nobody has
 * it at all.
 */
void findings_posix_taken(char *buf, size_t size, const char *object, const struct stat *st, uint32_t uid, const char *who);

/* Less than needed_bytes may be committed: in all, or where overcommitting is not strict by one System V object. */
void findings_overcommit(char *buf, size_t size, uint64_t needed_bytes, const struct kernel_overcommit *overcommit);

/* The unit's own memory limit is less than needed_bytes. */
void findings_unit_memory(char *buf, size_t size, uint64_t needed_bytes, const struct service *service);

/* What is not locked may be swapped out to swap_bytes. */
void findings_swap(char *buf, size_t size, uint64_t swap_bytes);

/* Of what was populated resident_bytes are left in memory. */
void findings_swapped(char *buf, size_t size, uint64_t size_bytes, uint64_t resident_bytes);

/* SELinux enforces a policy. */
void findings_selinux(char *buf, size_t size);

/* One watch a segment that is attached, and one instance. */
void findings_inotify(char *buf, size_t size, uint64_t needed, const struct kernel_inotify *inotify);

/* logind removes objects of this user at logout; where: the file that says so, or "". */
void findings_remove_ipc(char *buf, size_t size, const char *user, const char *where);

/* A kernel of this release lacks the feature. */
void findings_feature(char *buf, size_t size, const char *release, const struct kernel_feature *feature);

/* What a stop of the unit drops under a systemd of this version. */
void findings_systemd(char *buf, size_t size, unsigned version);

/* The profile is installed in file, but AppArmor has not loaded it. */
void findings_profile(char *buf, size_t size, const char *file);

/* needed_bytes more are to be had on the file system of path, and it has free_bytes. */
void findings_disk(char *buf, size_t size, const char *path, uint64_t needed_bytes, uint64_t free_bytes);

/* Beside a file that holds a segment lies its mark, of this name. */
#define FINDINGS_MARK_SUFFIX	".segmentd"

/* What is there, as in "a directory". */
const char *findings_kind(mode_t mode);

/* The directory of a file that is to hold a segment cannot be opened: the negative errno. */
void findings_file_unreachable(char *buf, size_t size, const char *path, uint32_t uid, int error);

/*
 * What is at the path cannot hold a segment of the daemon with this uid: it is no regular file, somebody else's, has other
 * names, or is open to others. 0: it can, and nothing was written; or a negative errno. part: "", or ": its mark beside it".
 */
int findings_file_refused(char *buf, size_t size, const char *path, const char *part, const struct stat *st, uint32_t uid);

/* It has another size than it is to have. */
void findings_file_size(char *buf, size_t size, const char *path, uint64_t has_bytes, uint64_t max_bytes);

/* A writer has made it larger than its segment is: it is cut back. */
void findings_file_enlarged(char *buf, size_t size, const char *path, uint64_t has_bytes, uint64_t max_bytes);

/* Its mark says that its last use did not end well, and in which state; and what becomes of it. */
void findings_file_unclean(char *buf, size_t size, const char *path, enum mark_state state,
    enum definition_on_unclean on_unclean);

/* Another process has it: its pid, or 0, and its command, or "". */
void findings_file_busy(char *buf, size_t size, const char *path, int pid, const char *command);

/* What could not be read, and the negative errno that says why. */
void findings_unread(char *buf, size_t size, const char *what, int r);

/* A size for people: "12 GiB", "1.5 MiB", "17 B". Returns buf. */
const char *findings_size(char *buf, size_t size, uint64_t bytes);

#endif
