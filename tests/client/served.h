/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the tests of the library share where the daemon behaves: a fake one, and a client that is connected to it. */
#ifndef TESTS_CLIENT_SERVED_H
#define TESTS_CLIENT_SERVED_H

#include "client/client.h"
#include "tests/client/fake.h"

extern struct fake served_fake;
extern struct segment_client *served_client;

void served_start(fake_fn fn, void *arg);
void served_stop(void);

/* A daemon that serves one connection. */
void served_one(int listen_fd, void *arg);

struct segment *served_attach(const char *name, unsigned flags);
/* A thread that attaches "slow" and detaches it. */
void *served_attach_slow(void *arg);

/* A forked child ended well. */
void served_await_child(pid_t pid);

#endif
