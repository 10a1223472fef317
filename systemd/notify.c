/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Tells the service manager how we are: ready, what we are at, alive, stopping. It refuses to become a fault: whether a
 * message arrives is the manager's business, and a daemon without one runs all the same.
 */
#include "config.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include <systemd/sd-daemon.h>

#include "systemd/notify.h"

#define STATUS_PREFIX		"STATUS="
#define STATUS_CUT		"..."
#define STATUS_TEXT_BYTES	1024	/* of the sentence as we are given it */
#define STATUS_MESSAGE_BYTES	1024	/* of the message, so that it is a line to read in `systemctl status` */

static bool ready_sent;

bool
notify_present(void)
{
	const char *socket = getenv("NOTIFY_SOCKET");

	return socket && socket[0] != '\0';
}

/* The manager's address. Its length, or 0 where it is none that we can send to. */
static socklen_t
notify_address(struct sockaddr_un *address)
{
	const char *socket = getenv("NOTIFY_SOCKET");
	size_t len = strlen(socket);

	if ((socket[0] != '/' && socket[0] != '@') || len >= sizeof(address->sun_path))
		return 0;
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(address->sun_path, socket, len);
	if (socket[0] == '@')
		address->sun_path[0] = '\0';
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (socket[0] == '/'));
}

/* What a moment later may well go. A word that is lost for good would be waited for: that it is ready, of all. */
static int
notify_error(void)
{
	switch (errno) {
	case EWOULDBLOCK:
	case EINTR:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case ETOOMANYREFS:
		return -EAGAIN;
	default:
		return -errno;
	}
}

/*
 * Not by sd_notify(), which waits for ever for a manager that does not read, and the loop with it.
 */
int
notify_post(const char *message, int fd)
{
	static int socket_fd = -1;
	struct iovec text = { (void *)(uintptr_t)message, strlen(message) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct sockaddr_un address;
	struct msghdr msg = { .msg_name = &address, .msg_iov = &text, .msg_iovlen = 1 };

	if (!notify_present())
		return -ENOENT;
	msg.msg_namelen = notify_address(&address);
	if (msg.msg_namelen == 0)
		return -EAFNOSUPPORT;
	if (socket_fd < 0)
		socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (socket_fd < 0)
		return notify_error();
	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	if (sendmsg(socket_fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return notify_error();
}

/*
 * False: the manager's queue is full, or the kernel has no room, and the message was left out. Other failures are nobody's to mend, least of all this
 * process's.
 */
static bool
notify_send(const char *message)
{
	return notify_post(message, -1) != -EAGAIN;
}

bool
notify_ready(void)
{
	if (ready_sent || !notify_present())
		return true;
	ready_sent = notify_send("READY=1");
	return ready_sent;
}

void
notify_reloading(void)
{
	char message[96];

	if (!notify_present())
		return;
	/* The time tells this message from an older one; Type=notify-reload asks for it. */
	(void)snprintf(message, sizeof(message), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64, clock_monotonic_ns() / 1000);
	/* One that was not sent makes nobody wait for the end. */
	if (notify_send(message))
		ready_sent = false;
}

/* Takes a trailing UTF-8 sequence away that ends before its last byte: the manager drops a status that is not UTF-8. */
static size_t
status_whole_length(const char *text, size_t len)
{
	size_t start = len, wanted;
	unsigned char lead;

	while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return len;
	lead = (unsigned char)text[start - 1];
	wanted = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	return len - start + 1 < wanted ? start - 1 : len;
}

/*
 * Writes the message for text. A newline would begin a field of its own: a name or path that holds one could say
 * READY=1 or MAINPID= in our name. So control characters go out as \n or \xNN.
 */
static void
status_write_message(char *message, size_t size, const char *text)
{
	size_t len = strlen(STATUS_PREFIX), limit = size - sizeof(STATUS_CUT), n;

	memcpy(message, STATUS_PREFIX, len);
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;
		char piece[5];

		if (c == '\n')
			(void)snprintf(piece, sizeof(piece), "\\n");
		else if (c < 0x20 || c == 0x7f)
			(void)snprintf(piece, sizeof(piece), "\\x%02x", (unsigned)c);
		else
			(void)snprintf(piece, sizeof(piece), "%c", c);
		n = strlen(piece);
		if (len + n > limit) {
			len = status_whole_length(message, len);
			memcpy(message + len, STATUS_CUT, strlen(STATUS_CUT));
			len += strlen(STATUS_CUT);
			break;
		}
		memcpy(message + len, piece, n);
		len += n;
	}
	message[len] = '\0';
}

void
notify_status(const char *format, ...)
{
	char text[STATUS_TEXT_BYTES + 1], message[STATUS_MESSAGE_BYTES];
	va_list args;
	int r;

	if (!notify_present())
		return;
	va_start(args, format);
	r = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (r < 0)
		return;
	status_write_message(message, sizeof(message), text);
	(void)notify_send(message);
}

void
notify_stopping(void)
{
	if (notify_present())
		(void)notify_send("STOPPING=1");
}

void
notify_extend(unsigned seconds)
{
	char message[64];

	if (!notify_present())
		return;
	(void)snprintf(message, sizeof(message), "EXTEND_TIMEOUT_USEC=%u000000", seconds);
	(void)notify_send(message);
}

void
notify_watchdog(void)
{
	if (notify_present())
		(void)notify_send("WATCHDOG=1");
}

uint64_t
notify_watchdog_interval_ms(void)
{
	uint64_t usec = 0;

	/* It also says no where $WATCHDOG_PID names another process than this one. */
	if (!notify_present() || sd_watchdog_enabled(0, &usec) <= 0)
		return 0;
	return max_u64(usec / 2 / 1000, 1);
}
