/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that does as the test says: a forked process that speaks the wire over a real socket, or breaks its rules.
 * What fails in it is printed and ends it with FAKE_EXIT_FAILED, which fake_stop() in the test takes for a failure.
 */
#ifndef TESTS_CLIENT_FAKE_H
#define TESTS_CLIENT_FAKE_H

#include <check.h>
#include <sys/types.h>

#include "base/base.h"
#include "client/protocol.h"

#define FAKE_EXIT_FAILED	99
#define FAKE_SIZE		(UINT64_C(1) << 20)	/* of the segments that fake_attached() hands out */

struct fake {
	char dir[32];
	char path[48];			/* the socket */
	pid_t pid;
	int told_fd;			/* reads the bytes that fake_tell() writes */
};

/* A request as the fake received it. */
struct fake_request {
	union {
		struct protocol_header header;
		struct protocol_attach attach;
		struct protocol_create create;
		struct protocol_detach detach;
		struct protocol_wait wait;
		struct protocol_hello hello;
		struct protocol_subscribe subscribe;
		char bytes[PROTOCOL_REQUEST_MAX];
	};
};

/* What a fake does with its listening socket; it ends when this returns. */
typedef void (*fake_fn)(int listen_fd, void *arg);

void fake_start(struct fake *fake, fake_fn fn, void *arg);
/* Waits for its end, which must be a good one, and removes its socket. */
void fake_stop(struct fake *fake);
/* In the test: waits until the fake told something. */
void fake_await(struct fake *fake);

/* In the fake. */

#define fake_assert(condition) \
	do {								\
		if (!(condition)) {					\
			fprintf(stderr, "fake: %s:%d: %s (errno %d)\n", __FILE__, __LINE__, #condition, errno); \
			_exit(FAKE_EXIT_FAILED);			\
		}							\
	} while (0)

void fake_tell(void);
int fake_accept(int listen_fd);			/* and answers HELLO */
int fake_accept_silent(int listen_fd);		/* and reads HELLO */
void fake_welcome(int fd);
bool fake_receive(int fd, struct fake_request *ret_request);	/* false: end of file */
void fake_expect(int fd, enum protocol_type type, struct fake_request *ret_request);
void fake_send(int fd, const void *message, size_t size, const int *fds, unsigned n_fds);
void fake_refuse(int fd, const struct fake_request *request, int status, const char *sentence);
void fake_answer(int fd, const struct fake_request *request);	/* a header alone */
/* The good reply to ATTACH or CREATE, and a memory object that goes with it. */
struct protocol_attached fake_attached(const struct fake_request *request);
int fake_object(uint64_t size_bytes);
void fake_attach(int fd, const struct fake_request *request);	/* sends both */
/* Answers ATTACH and CREATE, and takes DETACH, until the end of file. */
void fake_serve(int fd);

/* Of this process. */
unsigned count_fds(void);
unsigned count_mappings(void);		/* of memory objects */

#endif
