/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The real segmentd-audit of the build tree, asked over a connection of its own; and a /dev/shm that is the test's alone. */
#ifndef TESTS_AUDIT_RIG_H
#define TESTS_AUDIT_RIG_H

#include "host/audit.h"
#include "tests/harness.h"

#define RIG_ROWS_MAX	4096

struct rig {
	int fd;
	pid_t pid;
	uint64_t serial;
	struct audit_answer end;	/* of the last answer */
	size_t n_rows;
	union {
		struct audit_holder holders[RIG_ROWS_MAX];
		struct audit_stray strays[RIG_ROWS_MAX];
	};
};

#define RIG_NULL	{ .fd = -1 }

/* A large thing: there is one. */
extern struct rig rig;

extern const char rig_program[];
void rig_start(void);
/* Hangs up; it ends with 0. */
void rig_stop(void);
void rig_kill(void);

/* The answers' rows; their number. An answer that failed fails the test. */
size_t rig_who(const struct audit_object *objects, size_t n);
size_t rig_judge(const struct audit_candidate *candidates, size_t n);
size_t rig_list(uint32_t flags);

/* Sends a question, and does not wait for its answer: for who kills what it was sent to. */
void rig_send(enum audit_kind kind, const void *rows, size_t n, size_t row_size);
/* The answer's rows, of a question that was sent so. */
void rig_receive(enum audit_kind kind);

/* Starts one that is traced, with a question to judge: it stands still before it has read it. */
void rig_begin_traced(const struct audit_candidate *candidates, size_t n);
/* Lets it go on until it is about to make this system call, or has just made it; and for good. */
void rig_run_to(long call, bool is_end);
void rig_let_go(void);

/* The one row of the last AUDIT_WHO of an object and process; NULL: there is none. */
const struct audit_holder *rig_holder(uint32_t object, pid_t pid);
/* How a process has it, without what concerns the process itself; 0: not at all. */
uint32_t rig_how(uint32_t object, pid_t pid);

struct audit_object rig_object(int fd);
struct audit_object rig_segment(int shm_id);
/* What has a name in /dev/shm now. */
struct audit_candidate rig_candidate(const char *name, uint32_t flags);
struct audit_candidate rig_sysv_candidate(int shm_id, uint32_t flags);
/* One candidate's row. */
const struct audit_stray *rig_judge_one(struct audit_candidate candidate);

/* From here on the process has a /dev/shm of its own, empty, and System V segments of its own. Skips where it may not. */
void rig_enter_private_shm(void);
/* A file there with this mode and owner, of some bytes. */
void rig_make(const char *name, uid_t uid, mode_t mode);
bool rig_exists(const char *name);
ino_t rig_inode(const char *name);
/* The number of entries there, but for those of directories. */
size_t rig_count(void);

#endif
