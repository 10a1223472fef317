/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* A daemon that says what a test wants it to say: honest, lying or silent. It runs in a child process. */
#ifndef TESTS_SEGMENTCTL_FAKE_H
#define TESTS_SEGMENTCTL_FAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "client/protocol.h"

struct fake {
	pid_t pid;
	char directory[32];
	char socket[64];
};

/* A connection as the fake sees it, with the request that came. */
struct fake_request {
	int fd;
	union {
		struct protocol_header header;
		struct protocol_list list;
		struct protocol_show show;
		struct protocol_holders holders;
		struct protocol_who who;
		struct protocol_clients clients;
		struct protocol_users users;
		struct protocol_wait wait;
		struct protocol_remove remove;
		struct protocol_attach attach;
		struct protocol_create create;
		struct protocol_locks locks;
		struct protocol_recover recover;
		struct protocol_plan_lines plan_lines;
		char bytes[PROTOCOL_REQUEST_MAX];
	} message;
};

/* Answers one request, HELLO excepted: by any of the functions below, or not at all. */
typedef void (*fake_handler)(const struct fake_request *request);

void fake_start(struct fake *fake, fake_handler handler);
void fake_stop(struct fake *fake);

/* A good reply: body (what follows the header) is size bytes. */
void fake_reply(const struct fake_request *request, const void *body, size_t size);
void fake_reply_more(const struct fake_request *request, const void *body, size_t size);
void fake_reply_fd(const struct fake_request *request, const void *body, size_t size, int fd);
void fake_refuse(const struct fake_request *request, int status, const char *sentence);

/* Rows as one page, behind a struct protocol_listed that says row_size of each, and n_said rows. */
void fake_reply_rows(const struct fake_request *request, const void *rows, size_t n_rows, size_t row_size,
    size_t n_said, bool more);

/* A ready segment of 1 GiB. */
void fake_fill_segment(struct protocol_segment *row, uint64_t cursor, const char *name);

#endif
