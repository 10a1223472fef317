/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon with a segment "book", and what it says of who has that, on a host that has no processes but the test's.
 */
#ifndef TESTS_SYSTEM_LOOKING_H
#define TESTS_SYSTEM_LOOKING_H

#include "tests/system/keeper.h"
#include "tests/system/suite.h"
#include "tests/system/world.h"

#define LOOKING_SIZE	(64 * KIB)
#define LOOKING_ROWS	600
#define LOOKING_KEY	0x5e67d6

#define LOOKING_MAP	(PROTOCOL_HAS_MAP_READ | PROTOCOL_HAS_MAP_WRITE)
#define LOOKING_FD	(PROTOCOL_HAS_FD_READ | PROTOCOL_HAS_FD_WRITE)

/* How a process has it, and nothing else of it. */
#define LOOKING_HELD(how)	((how) & ~(PROTOCOL_HAS_STOPPED | PROTOCOL_HAS_PID_NAMESPACE | PROTOCOL_HAS_IPC_NAMESPACE))

/* Configurations: of a memfd, of System V memory with the key, of /book in /dev/shm. */
extern const char looking_book[];
extern const char looking_key[];
extern const char looking_object[];

struct looking {
	struct harness_daemon daemon;
	struct harness_conn conn;
	struct protocol_told told;	/* what was said last, and what it says more */
	struct protocol_process rows[LOOKING_ROWS];
	char text[512];
};

extern struct looking looking;

#define LOOKING_TEST(name)						\
	static void name##_body(void);					\
	START_TEST(name)						\
	{								\
		world_on_own_host(name##_body);			\
	}								\
	END_TEST							\
	static void name##_body(void)

/* is_served: segmentd-audit has the test's rights; else the daemon's. */
void looking_begin(const char *body, bool is_served);
void looking_end(void);

/* Asks. A negative status, or the number of rows. */
int looking_who(void);
/* Asks: all was looked at, and n processes have it. */
void looking_expect(int n);
/* So many the kernel counts, and no process shows. Others on the real host may be hidden from the test: then nothing is known. */
void looking_expect_unseen(uint32_t n);
/* What was said of a process; and what is expected of that. */
const struct protocol_process *looking_row(pid_t pid);
void looking_expect_row(pid_t pid, uint32_t how, uint32_t n_maps, uint32_t n_fds);

/* The only attachment's row; likewise when it has lost its session. */
struct protocol_holder looking_holder(void);
struct protocol_holder looking_unsupervised(void);

#endif
