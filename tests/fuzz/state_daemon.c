/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <dirent.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "client/protocol.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/state_daemon.h"

char state_daemon_socket[96], state_daemon_dir[96];
static char conf_path[96];
static int notify_fd = -1;

void
state_daemon_hear(void)
{
	union {
		char bytes[CMSG_SPACE(16 * sizeof(int))];
		struct cmsghdr align;
	} control;
	char text[4096];

	for (;;) {
		struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) };
		struct msghdr message = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
		};
		const struct cmsghdr *cmsg;

		if (recvmsg(notify_fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) < 0)
			return;
		cmsg = CMSG_FIRSTHDR(&message);
		if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			(void)close(fd);
		}
	}
}

void
state_daemon_turn(struct manager *manager)
{
	fuzz_check(event_base_loop(manager->base, EVLOOP_NONBLOCK) >= 0);
	state_daemon_hear();
}

void
state_daemon_clear(void)
{
	DIR *stream = opendir(state_daemon_dir);
	struct dirent *entry;

	if (!stream)
		return;
	while ((entry = readdir(stream)))
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(stream), entry->d_name, 0);
	(void)closedir(stream);
}

void
state_daemon_load(struct start *start)
{
	struct conf_report report = CONF_REPORT_NULL;

	*start = (struct start) START_NULL;
	start->file = conf_path;
	fuzz_check(conf_load(conf_path, &report, &start->conf) == 0);
	conf_report_deinit(&report);
}

void
state_daemon_expect_served(struct manager *manager)
{
	struct protocol_hello hello = {
		.header = { .size = sizeof(hello), .type = PROTOCOL_HELLO, .serial = 1 },
		.magic = PROTOCOL_MAGIC, .version_min = PROTOCOL_VERSION, .version_max = PROTOCOL_VERSION,
	};
	struct protocol_list list = { .header = { .size = sizeof(list), .type = PROTOCOL_LIST, .serial = 2 } };
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static char bytes[PROTOCOL_MESSAGE_MAX];
	struct protocol_header header = { 0 };

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", state_daemon_socket);
	fuzz_check(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_check(send(fd, &hello, sizeof(hello), 0) == sizeof(hello) && send(fd, &list, sizeof(list), 0) == sizeof(list));
	for (unsigned i = 0; header.serial != 2; i++) {
		fuzz_check_msg(i < 1000, "a client is not served");
		state_daemon_turn(manager);
		if (recv(fd, bytes, sizeof(bytes), 0) > 0)
			memcpy(&header, bytes, sizeof(header));
	}
	fuzz_check(header.status == 0 && header.type == PROTOCOL_LIST);
}

void
state_daemon_prepare(const char *segments)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *dir = fuzz_dir();
	FILE *file;

	(void)snprintf(conf_path, sizeof(conf_path), "%s/conf", dir);
	(void)snprintf(state_daemon_socket, sizeof(state_daemon_socket), "%s/socket", dir);
	(void)snprintf(state_daemon_dir, sizeof(state_daemon_dir), "%s/state", dir);
	file = fopen(conf_path, "we");
	fuzz_check(file && fprintf(file, "daemon = { socket = \"%s\"; state_dir = \"%s\"; admin_group = \"\"; workers = 1; "
	    "memory_reserve = \"0\"; };\n%s", state_daemon_socket, state_daemon_dir, segments) > 0 && fclose(file) == 0);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", dir);
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	fuzz_check(notify_fd >= 0 && bind(notify_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	fuzz_check(setenv("NOTIFY_SOCKET", address.sun_path, 1) == 0);
}
