/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's wire as a bench speaks it: the messages of client/protocol.h and nothing of the library, so that what is
 * timed is the daemon. A refusal ends the program, for there is nothing to measure then.
 */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/un.h>

#include "client/protocol.h"

void wire_address(const char *path, struct sockaddr_un *ret_address);
int wire_connect(const char *path);

/* One message, and the fds that came with it, or -1 in place of each that did not. The result is recvmsg's. */
ssize_t wire_receive(int fd, void *message, size_t size, int *ret_fd);
ssize_t wire_receive_fds(int fd, void *message, size_t size, int ret_fds[PROTOCOL_ATTACH_FDS]);

void wire_hello(int fd);			/* sends it; its reply is the first to arrive */
void wire_attach_init(struct protocol_attach *attach, const char *name);	/* for reading and writing */
void wire_send(int fd, struct protocol_header *request, uint64_t serial);	/* size and type are in the header */

/* Receives the reply to HELLO. */
void wire_welcome(int fd);

/* Receives the reply to an ATTACH: its fd. */
int wire_attached(int fd);

/* The reply to an ATTACH of a segment with locks, whole. */
struct wire_locked {
	struct protocol_attached attached;
	struct protocol_lock first;		/* of its locks */
	int fd;
	int control_fd;
};
void wire_attached_locked(int fd, struct wire_locked *ret_locked);

/* Connects, attaches and receives that. Its connection. */
int wire_attach_locked(const char *path, const char *name, uint32_t access, struct wire_locked *ret_locked);

/* The daemon's row of a segment. */
void wire_show(int fd, uint64_t serial, const char *name, struct protocol_segment *ret_row);

/* Receives either of the two: an fd, or -1 when it was the reply to HELLO. */
int wire_either(int fd);

/* Asks and waits for a reply of at most size bytes; its status, which is 0 or negative. */
int wire_request(int fd, struct protocol_header *request, uint64_t serial, void *reply, size_t size);

#endif
