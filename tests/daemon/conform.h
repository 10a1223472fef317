/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What the suite of backends stands on: a row of the table, a definition that has for every row what it needs, real workers for
 * what workers do, and a trace of what this process has in the kernel. Nothing here knows one row from another but by its
 * features and operations.
 */
#ifndef TESTS_DAEMON_CONFORM_H
#define TESTS_DAEMON_CONFORM_H

#include <check.h>

#include "base/base.h"
#include "daemon/backend/backend.h"
#include "daemon/workers.h"
#include "host/findings.h"

#define CONFORM_SIZE	(4 * MIB)

/* All rows of the table, and the tests' own. */
#define CONFORM_ROWS	(DEFINITION_BACKEND_N + 1)

/* What is there of ours: in this process, and under names that only this test has. */
struct conform_trace {
	size_t n_fds;
	size_t n_maps;
	size_t n_shm;			/* System V segments that this process made */
	size_t n_names;			/* in /dev/shm */
	size_t n_files;			/* in the test's directory */
};

struct conform {
	const struct backend *row;
	struct definition *definition;
	struct backend_object object;
	char dir[64];
	struct event_base *base;
	struct workers workers;
	struct workers_job job;
	struct job_result result;
	int result_fd;
	bool is_done;
	char text[FINDINGS_TEXT_SIZE];	/* of the last operation that failed */
};

extern struct conform conform;

/* Begins with a row. False: there is none, or this host cannot have it; the reason was printed. */
bool conform_begin(int row, enum definition_page_size page_size);
void conform_end(void);

/* Makes the object as the daemon does, with what workers have to do for it. 0, or a negative errno with conform.text. */
int conform_create(void);
/* As at the end of a segment that nobody has: with what workers have to do; has_died: as when the daemon had died. */
void conform_close(void);
/* Both, of another object beside it; the first one stays in conform.object. */
int conform_create_another(struct backend_object *ret_object);

/* A worker does a job with the object's data. Its status. */
int conform_work(enum job_kind kind, uint64_t length_bytes);

/* Maps all of it, as the daemon does. */
char *conform_map(void);
void conform_unmap(char *map);

/* Attaches as a client does that has got this description: its data, for reading or writing. NULL: errno says why not. */
void *conform_attach(int fd, bool write);
void conform_detach(void *data);

/* As a program does that knows nothing of us, by the name or the key; also its own, where it makes one. */
void *conform_reach(bool write);
bool conform_take_name(void);
bool conform_name_is_as_taken(void);
void conform_give_name_back(void);

void conform_trace(struct conform_trace *ret_trace);
void conform_expect_trace(const struct conform_trace *before, const char *when);

int conform_main(int argc, char **argv, Suite *(*suite)(void));

/* Whether its row promises all of that. */
bool conform_has(unsigned features);
/* Whether contents were there before it, or what is written to one object is seen by another of the same definition. */
bool conform_is_exclusive(void);
/* What it takes is known to be had. */
void conform_must_create(void);
/* conform_begin with an object, and its end. False: the row has nothing to be tested here. */
bool conform_start(int row);
void conform_finish(void);
/* The kernel's count of it comes to that. */
void conform_expect_resident(uint64_t bytes);

#endif
