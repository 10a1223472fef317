/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every fuzz target is: a function that is given bytes as an attacker, a disk or a dying process might leave them, and that
 * ends the process where a promise is broken. Beyond what crashes, fuzz_check() says what else has to hold after every input.
 *
 * The entry points have libFuzzer's names, so that clang's -fsanitize=fuzzer drives a target (configure --enable-fuzzing). With any
 * other compiler replay.c does: it gives a target each input of its corpus, and with -t others that it makes of those itself.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include "base/base.h"

#define FUZZ_INPUT_MAX	8192	/* bytes that a target looks at, where nothing speaks for more */

/* Before anything else, once: argv[0] may say that this is to be a worker process. */
int LLVMFuzzerInitialize(int *argc, char ***argv);
/* 0. An input that is wrong for the target's own form is none of its business, and gets 0 as well. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process: the input that is being looked at is kept by whoever drives. */
_Noreturn void fuzz_fail(const char *file, int line, const char *format, ...) BASE_PRINTF(3, 4);

#define fuzz_check(condition)						\
	do {								\
		if (!(condition))					\
			fuzz_fail(__FILE__, __LINE__, "%s", #condition); \
	} while (0)

#define fuzz_check_msg(condition, ...)					\
	do {								\
		if (!(condition))					\
			fuzz_fail(__FILE__, __LINE__, __VA_ARGS__);	\
	} while (0)

/* What the code under test says on standard error goes nowhere from now on, unless $FUZZ_LOUD is set. */
void fuzz_quiet(void);

/* Memory that was not allocated by malloc, and from which all is reached that is. */
void fuzz_keep_reachable(const void *memory, size_t size);

/* An input that is read from its beginning; what it has no bytes for is 0. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

uint8_t fuzz_u8(struct fuzz_input *input);
uint16_t fuzz_u16(struct fuzz_input *input);
uint32_t fuzz_u32(struct fuzz_input *input);
uint64_t fuzz_u64(struct fuzz_input *input);
/* As many bytes as there are, at most n; what is missing is zeroed. How many there were. */
size_t fuzz_bytes(struct fuzz_input *input, void *to, size_t n);
/* A number below n, or 0 for n = 0. */
uint32_t fuzz_below(struct fuzz_input *input, uint32_t n);

/*
 * Descriptors of this process, but for pipes: a sanitizer has some once it has had a look at symbols. tells: what they are, on
 * standard error.
 */
unsigned fuzz_count_fds(bool tells);

#define FUZZ_FDS_MAX	253	/* the kernel's limit for one message */

/* One message with descriptors, which stay the caller's, as far as there is room for it. What sendmsg(2) says. */
ssize_t fuzz_send(int fd, const void *bytes, size_t size, const int *fds, unsigned n_fds);

/* A new directory of the process's own below $TMPDIR with a short name, which is removed with all that is in it when the process exits. */
const char *fuzz_dir(void);

#endif
