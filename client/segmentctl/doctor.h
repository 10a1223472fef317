/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `doctor`: checks of the host against a configuration. A check is a function that adds rows, and a row of the table in
 * doctor.c. What a host has is host/'s to find out, and sentences are host/findings.h's: provisioning says the same.
 */
#ifndef CLIENT_SEGMENTCTL_DOCTOR_H
#define CLIENT_SEGMENTCTL_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"
#include "client/segmentctl/segmentctl.h"
#include "conf/load.h"
#include "host/findings.h"
#include "host/lease.h"
#include "host/limits.h"
#include "host/record.h"
#include "host/service.h"
#include "host/sysv.h"

enum doctor_level {
	DOCTOR_OK,
	DOCTOR_NOTE,			/* worth knowing; nothing fails */
	DOCTOR_PROBLEM,			/* a segment fails or is not as asked, and the start goes on */
	DOCTOR_REQUIRED,		/* a required segment fails, and with it the start */
	DOCTOR_LEVEL_N
};

/* Segments that something is about, in the configuration's order. */
struct doctor_set {
	const struct definition **list;
	size_t n;
};

#define DOCTOR_SET_NULL	{ 0 }

struct doctor_row {
	enum doctor_level level;
	const char *check;		/* the table's name of it */
	char *what;
	char *means;			/* for the segments; or NULL */
	char *remedy;			/* or NULL */
	char **segments;
	size_t n_segments;
};

/* What the daemon that runs has of a segment already, or the next one finds of it. */
struct doctor_held {
	char *name;
	unsigned backend;		/* enum definition_backend */
	uint64_t resident_bytes;
	uint64_t locked_bytes;
};

struct doctor {
	const struct segmentctl *ctl;
	const char *root;		/* before every path that is read; "" but for tests */
	const char *file;
	bool is_named;			/* by the caller */
	bool is_valid;			/* the configuration was read, conf is it; else conf is the defaults */
	int file_error;			/* it could not be opened: the negative errno */
	struct conf_report report;
	struct conf *conf;
	struct service service;
	int service_error;		/* why service is not known: -ENOENT where there is none */
	bool has_daemon;		/* one answers at the socket */
	pid_t daemon_pid;		/* 0: it is not known */
	int daemon_error;		/* it did not say what it has: -ENOENT where there is none */
	char daemon_failure[512];	/* and why */
	pid_t place_pid;		/* in whose cgroups and on whose nodes memory is to be had; 0: this process's */
	struct doctor_set fallen_back;	/* from a pool that does not have them to common memory */
	struct doctor_held *held;	/* by name */
	size_t n_held;
	struct limits limits;		/* of the daemon that runs, else of its unit, else of this process */
	int limits_error;
	char whose[64];			/* they are, as in "segmentd (pid 17)" */
	const char *check;		/* the one that runs */
	struct doctor_row *rows;
	size_t n_rows;
	int error;			/* -ENOMEM: a row was lost, and so is the run */
};

typedef void (*doctor_check_fn)(struct doctor *doctor);

/* What the root is for all runs in this process; tests set it. */
extern const char *doctor_root;

/*
 * Adds a row. set: whom it is about, or NULL; means: what it means for them, or NULL; text: as findings write it, with its
 * remedy behind FINDINGS_REMEDY if it has one.
 */
void doctor_add(struct doctor *doctor, enum doctor_level level, const struct doctor_set *set, const char *means,
    const char *text);
void doctor_drop_rows(struct doctor *doctor);
void doctor_ok(struct doctor *doctor, const char *format, ...) BASE_PRINTF(2, 3);
/* What could not be read: a note. */
void doctor_unread(struct doctor *doctor, const char *what, int r);

/* They fail: a row of the level that follows from who is required. */
void doctor_add_failure(struct doctor *doctor, const struct doctor_set *set, const char *text);
/* What they need is somebody's with this uid: a failure, unless it may be the daemon's that runs, and does not show us all. */
void doctor_add_taken(struct doctor *doctor, const struct doctor_set *set, uint32_t uid, const char *text);
/* They are not had as asked: those that require it fail, those that prefer it are ready all the same. A row each. */
void doctor_add_placement(struct doctor *doctor, const struct doctor_set *set, const char *text);

typedef bool (*doctor_filter_fn)(const struct definition *definition);

/* Adds a segment to a set; the segments that a filter picks. What memory is short for is lost, and doctor->error says so. */
void doctor_set_add(struct doctor *doctor, struct doctor_set *set, const struct definition *definition);
void doctor_select(struct doctor *doctor, doctor_filter_fn filter, struct doctor_set *ret_set);
/* The same of those that no daemon has yet. */
void doctor_select_new(struct doctor *doctor, doctor_filter_fn filter, struct doctor_set *ret_set);
void doctor_set_deinit(struct doctor_set *set);

/* Bytes of one segment that something is needed for. */
typedef uint64_t (*doctor_bytes_fn)(const struct doctor *doctor, const struct definition *definition);

/* Of its control memory; and of the object that holds its data, which has room for max_size. */
uint64_t doctor_control_bytes(const struct definition *definition);
uint64_t doctor_object_bytes(const struct doctor *doctor, const struct definition *definition);

/* What is to be made of its pages with control memory; of it those that are not there yet; and that are not locked yet. */
uint64_t doctor_bytes(const struct doctor *doctor, const struct definition *definition);
uint64_t doctor_missing_bytes(const struct doctor *doctor, const struct definition *definition);
uint64_t doctor_unlocked_bytes(const struct doctor *doctor, const struct definition *definition);

/* The sum; UINT64_MAX: no sum holds them. */
uint64_t doctor_set_bytes(const struct doctor *doctor, const struct doctor_set *set, doctor_bytes_fn bytes);

/* What the daemon has of it, with this backend; NULL: nothing, or nothing that the caller may know of. */
const struct doctor_held *doctor_find_held(const struct doctor *doctor, const struct definition *definition);

/*
 * Which of them find no room in left_bytes: as the daemon does it, what is required first, and what does not fit leaves its
 * room to what comes after it.
 */
void doctor_find_misfits(struct doctor *doctor, const struct doctor_set *set, doctor_bytes_fn bytes, uint64_t left_bytes,
    struct doctor_set *ret_misfits);

/* Whether its pages come from the host's memory and not from a pool of huge pages. */
bool doctor_is_of_memory(const struct definition *definition);

/* Asks the daemon that runs, if one does, and settles whose limits count. Before the checks. */
void doctor_meet_daemon(struct doctor *doctor);
void doctor_leave_daemon(struct doctor *doctor);

/* What stands at the name or the key of a segment that is to be made: a file, or else shm. */
struct doctor_there {
	const char *path;
	const struct stat *st;
	const struct sysv_row *shm;
	enum lease lease;		/* of a file only that is of the daemon's uid */
};

/* Who has the file, by a sentence, where there is time left for looking through all processes. */
void doctor_describe_holders(const struct doctor *doctor, const struct doctor_there *there, uint64_t until_ns, char *buf, size_t size);

/* The segment has its object already. Before the next look at what is held: doctor_sort_held(). */
void doctor_hold(struct doctor *doctor, const char *name, unsigned backend, uint64_t resident_bytes, uint64_t locked_bytes);
void doctor_sort_held(struct doctor *doctor);

/* Prints all rows. 0 or a negative errno. */
int doctor_print(const struct segmentctl *ctl, const struct doctor *doctor);
const char *doctor_level_name(enum doctor_level level);

/* The checks, in the order of the table. */
void doctor_check_configuration(struct doctor *doctor);
void doctor_check_daemon(struct doctor *doctor);
void doctor_check_kernel(struct doctor *doctor);
void doctor_check_pools(struct doctor *doctor);
void doctor_check_nodes(struct doctor *doctor);
void doctor_check_memory(struct doctor *doctor);
void doctor_check_unit_memory(struct doctor *doctor);
void doctor_check_overcommit(struct doctor *doctor);
void doctor_check_swap(struct doctor *doctor);
void doctor_check_huge(struct doctor *doctor);
void doctor_check_memlock(struct doctor *doctor);
void doctor_check_nofile(struct doctor *doctor);
void doctor_check_inotify(struct doctor *doctor);
void doctor_check_record(struct doctor *doctor);
void doctor_check_sysv(struct doctor *doctor);
void doctor_check_shm(struct doctor *doctor);
void doctor_check_files(struct doctor *doctor);
void doctor_check_remove_ipc(struct doctor *doctor);
void doctor_check_orphans(struct doctor *doctor);
void doctor_check_security(struct doctor *doctor);
void doctor_check_systemd(struct doctor *doctor);

#endif
