/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the tests of segments in files share: a directory with one, its mark, and a daemon that comes and goes. */
#ifndef TESTS_SYSTEM_FILING_H
#define TESTS_SYSTEM_FILING_H

#include "tests/system/suite.h"

#define FILING_SIZE	(3 * MIB + 4097)	/* of "s": no whole page at the end */

struct filing {
	pid_t pid;			/* of the test */
	char dir[64];
	char path[80];			/* of the segment's file */
	char mark[96];			/* of what lies beside it */
	char body[2048];
	struct harness_daemon daemon;
	struct harness_conn conn;
};

/* A fixture's: a directory without anything in it, which goes with all that is in it, at the latest when the test ends. */
void filing_setup(void);
void filing_teardown(void);
extern struct filing filing;

/* Segments "s", with the file and more keys, and "other", which has none. */
const char *filing_body(uint64_t size, uint64_t max_size, const char *keys);

/* The daemon is there with that; its segments are ready, or have failed. */
void filing_begin(uint64_t size, uint64_t max_size, const char *keys);
/* It ends as on SIGTERM, or is killed; and comes again. */
void filing_stop(void);
void filing_kill(void);
void filing_restart(void);
/* Stopped for good: its directory is gone. */
void filing_end(void);
/* Another configuration is carried out. */
void filing_reload(uint64_t size, uint64_t max_size, const char *keys);

/* A file of so many bytes at the path, zeros. */
void filing_make(uint64_t size);
bool filing_exists(const char *path);

/* Stores to the whole segment, what is another at each offset and for each seed; or looks for it. */
void filing_store(int fd, uint64_t size, unsigned seed);
void filing_expect(int fd, uint64_t size, unsigned seed);
/* The same by attaching, and detaching. */
void filing_write(uint64_t size, unsigned seed);
void filing_read(uint64_t size, unsigned seed);

/* The segment has failed, and its reason has these texts; or is as it is, and has them. NULL ends them. */
void filing_expect_failed(const char *const *texts);
void filing_expect_reason(const char *text);
/* RETRY. */
void filing_retry(void);

/* As after another start of the machine: the mark is of another boot. */
void filing_crash(void);

/* SHOW, until all that was stored before (nanoseconds since 1970) was written back. */
void filing_await_synced(uint64_t since_ns);

/* Makes a file with that text. */
void filing_write_text(const char *path, const char *text);

#endif
