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
#include "host/limits.h"
#include "host/service.h"

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

struct doctor {
	const char *root;		/* before every path that is read; "" but for tests */
	const char *file;
	bool is_named;			/* by the caller */
	bool is_valid;			/* the configuration was read, conf is it; else conf is the defaults */
	int file_error;			/* it could not be opened: the negative errno */
	struct conf_report report;
	struct conf *conf;
	struct service service;
	int service_error;		/* why service is not known: -ENOENT where there is none */
	struct limits limits;
	int limits_error;
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
void doctor_ok(struct doctor *doctor, const char *format, ...) BASE_PRINTF(2, 3);
/* What could not be read: a note. */
void doctor_unread(struct doctor *doctor, const char *what, int r);

/* They fail: a row of the level that follows from who is required. */
void doctor_add_failure(struct doctor *doctor, const struct doctor_set *set, const char *text);
/* They are not had as asked: those that require it fail, those that prefer it are ready all the same. A row each. */
void doctor_add_placement(struct doctor *doctor, const struct doctor_set *set, const char *text);

typedef bool (*doctor_filter_fn)(const struct definition *definition);

/* Adds a segment to a set; the segments that a filter picks. What memory is short for is lost, and doctor->error says so. */
void doctor_set_add(struct doctor *doctor, struct doctor_set *set, const struct definition *definition);
void doctor_select(struct doctor *doctor, doctor_filter_fn filter, struct doctor_set *ret_set);
void doctor_set_deinit(struct doctor_set *set);

/* Bytes of their pages with control memory; UINT64_MAX: no sum holds them. */
uint64_t doctor_set_bytes(const struct doctor_set *set);
uint64_t doctor_bytes(const struct definition *definition);

/*
 * Which of them find no room in left_bytes: as the daemon does it, what is required first, and what does not fit leaves its
 * room to what comes after it.
 */
void doctor_find_misfits(struct doctor *doctor, const struct doctor_set *set, uint64_t left_bytes,
    struct doctor_set *ret_misfits);

/* Whether its pages come from the host's memory and not from a pool of huge pages. */
bool doctor_is_of_memory(const struct definition *definition);

/* Prints all rows. 0 or a negative errno. */
int doctor_print(const struct segmentctl *ctl, const struct doctor *doctor);
const char *doctor_level_name(enum doctor_level level);

/* The checks, in the order of the table. */
void doctor_check_configuration(struct doctor *doctor);
void doctor_check_kernel(struct doctor *doctor);
void doctor_check_memory(struct doctor *doctor);
void doctor_check_unit_memory(struct doctor *doctor);
void doctor_check_overcommit(struct doctor *doctor);
void doctor_check_swap(struct doctor *doctor);
void doctor_check_huge(struct doctor *doctor);
void doctor_check_memlock(struct doctor *doctor);
void doctor_check_nofile(struct doctor *doctor);
void doctor_check_inotify(struct doctor *doctor);
void doctor_check_sysv(struct doctor *doctor);
void doctor_check_shm(struct doctor *doctor);
void doctor_check_disk(struct doctor *doctor);
void doctor_check_remove_ipc(struct doctor *doctor);
void doctor_check_security(struct doctor *doctor);
void doctor_check_systemd(struct doctor *doctor);

#endif
