/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include "tests/client/fake_locks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define CLIENTS_MAX	64

static struct protocol_lock *
add_row(struct fake_locks *locks, const char *name)
{
	struct protocol_lock *row = &locks->rows[locks->n_locks++];

	ck_assert_uint_le(locks->n_locks, FAKE_LOCKS_MAX);
	*row = (struct protocol_lock){ .cursor = locks->n_locks };
	(void)snprintf(row->name, sizeof(row->name), "%s", name);
	return row;
}

void
fake_locks_add(struct fake_locks *locks, const char *name, uint64_t offset_bytes, uint64_t length_bytes,
    uint32_t log_bytes, enum control_on_death on_death)
{
	struct protocol_lock *row = add_row(locks, name);

	if (locks->control_bytes == 0)
		locks->control_bytes = FAKE_LOCKS_MAX * CONTROL_RECORD_BYTES;
	row->kind = PROTOCOL_LOCK_OURS;
	row->offset_bytes = offset_bytes;
	row->length_bytes = length_bytes;
	row->at_bytes = locks->control_bytes;
	row->log_bytes = log_bytes;
	row->on_death = (uint8_t)on_death;
	locks->control_bytes += log_bytes;
}

void
fake_locks_add_mutex(struct fake_locks *locks, const char *name, uint64_t at_bytes)
{
	struct protocol_lock *row = add_row(locks, name);

	row->kind = PROTOCOL_LOCK_MUTEX;
	row->at_bytes = at_bytes;
	row->on_death = CONTROL_KEEP;
}

int
fake_reopen(int fd, int flags)
{
	char path[40];
	int again;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	fake_assert(again >= 0);
	return again;
}

bool
fake_mark(int fd, uint32_t id)
{
	struct flock lock = {
		.l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = PROTOCOL_MARK_BASE + (off_t)id, .l_len = 1,
	};

	return fcntl(fd, F_OFD_SETLK, &lock) == 0;
}

/* The attachment, with its rows if they come with it. */
static void
send_attachment(struct fake_locks *locks, int fd, const struct fake_request *request)
{
	static uint32_t last_id;
	char message[PROTOCOL_MESSAGE_MAX];
	struct protocol_attached attached = fake_attached(request);
	int flags = request->attach.access & PROTOCOL_ACCESS_WRITE ? O_RDWR : O_RDONLY;
	int fds[] = { fake_reopen(locks->data_fd, flags), fake_reopen(locks->control_fd, flags) };

	attached.attachment = ++last_id;
	attached.n_locks = locks->n_locks;
	attached.control_bytes = locks->control_bytes;
	if (locks->n_rows_max)
		attached.header.flags |= PROTOCOL_MORE;
	else
		attached.header.size += (uint32_t)(locks->n_locks * sizeof(locks->rows[0]));
	fake_assert(attached.header.size <= sizeof(message));
	memcpy(message, &attached, sizeof(attached));
	memcpy(message + sizeof(attached), locks->rows, attached.header.size - sizeof(attached));
	(void)fake_mark(fds[0], last_id);
	fake_send(fd, message, attached.header.size, fds, locks->n_locks ? 2 : 1);
	(void)close(fds[0]);
	(void)close(fds[1]);
}

static void
send_rows(const struct fake_locks *locks, int fd, const struct fake_request *request)
{
	struct protocol_locks locks_request;
	char message[PROTOCOL_MESSAGE_MAX];
	struct protocol_listed listed = { .header = request->header, .row_size = sizeof(locks->rows[0]) };
	uint64_t first;

	memcpy(&locks_request, request, sizeof(locks_request));
	first = locks_request.cursor;
	fake_assert(first < locks->n_locks && locks_request.generation == 5 && streq(locks_request.name, "bank"));
	listed.n_rows = (uint32_t)min_u64(locks->n_rows_max, locks->n_locks - first);
	listed.header.size = (uint32_t)(sizeof(listed) + listed.n_rows * sizeof(locks->rows[0]));
	listed.header.flags = PROTOCOL_REPLY | (first + listed.n_rows < locks->n_locks ? PROTOCOL_MORE : 0);
	memcpy(message, &listed, sizeof(listed));
	memcpy(message + sizeof(listed), locks->rows + first, listed.n_rows * sizeof(locks->rows[0]));
	fake_send(fd, message, listed.header.size, NULL, 0);
}

/* False: the client has hung up. */
static bool
serve_once(struct fake_locks *locks, int fd)
{
	struct fake_request request;

	if (!fake_receive(fd, &request))
		return false;
	if (request.header.type == PROTOCOL_ATTACH)
		send_attachment(locks, fd, &request);
	else if (request.header.type == PROTOCOL_LOCKS)
		send_rows(locks, fd, &request);
	else
		fake_assert(request.header.type == PROTOCOL_DETACH);
	return true;
}

static void
serve_locks(int listen_fd, void *arg)
{
	struct fake_locks *locks = arg;
	struct pollfd polled[CLIENTS_MAX] = {
		{ .fd = locks->stop_fd, .events = POLLIN }, { .fd = listen_fd, .events = POLLIN },
	};
	nfds_t n = 2;

	for (;;) {
		fake_assert(poll(polled, n, -1) > 0 || errno == EINTR);
		if (polled[0].revents)
			return;
		for (nfds_t i = 2; i < n; i++) {
			if (polled[i].revents && !serve_once(locks, polled[i].fd)) {
				(void)close(polled[i].fd);
				polled[i--] = polled[--n];
			}
		}
		if (polled[1].revents) {
			fake_assert(n < CLIENTS_MAX);
			polled[n++] = (struct pollfd){ .fd = fake_accept(listen_fd), .events = POLLIN };
		}
	}
}

void
fake_locks_start(struct fake_locks *locks)
{
	int stop[2];

	/* A socket: what closes it is a shutdown by the test alone, not the last of the processes that have a copy. */
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stop), 0);
	locks->data_fd = fake_object(FAKE_SIZE);
	locks->control_fd = fake_object(max_u64(locks->control_bytes, 4096));
	locks->data = mmap(NULL, FAKE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, locks->data_fd, 0);
	locks->control = mmap(NULL, max_u64(locks->control_bytes, 4096), PROT_READ | PROT_WRITE, MAP_SHARED, locks->control_fd, 0);
	ck_assert(locks->data != MAP_FAILED && locks->control != MAP_FAILED);
	locks->stop_fd = stop[1];
	fake_start(&locks->fake, serve_locks, locks);
	(void)close(stop[1]);
	locks->stop_fd = stop[0];
}

void
fake_locks_stop(struct fake_locks *locks)
{
	(void)shutdown(locks->stop_fd, SHUT_RDWR);
	(void)close(locks->stop_fd);
	if (locks->fake.pid > 0)
		fake_stop(&locks->fake);
	(void)close(locks->data_fd);
	(void)close(locks->control_fd);
	(void)munmap(locks->data, FAKE_SIZE);
	(void)munmap(locks->control, max_u64(locks->control_bytes, 4096));
}

void
fake_locks_kill(struct fake_locks *locks)
{
	ck_assert_int_eq(kill(locks->fake.pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(locks->fake.pid, NULL, 0), locks->fake.pid);
	locks->fake.pid = -1;
	(void)close(locks->fake.told_fd);
	(void)unlink(locks->fake.path);
	(void)rmdir(locks->fake.dir);
}

uint32_t
fake_word(const struct fake_locks *locks, int lock)
{
	return control_word(atomic_load(&locks->control[lock].state));
}

uint32_t
fake_owner(const struct fake_locks *locks, int lock)
{
	return fake_word(locks, lock) & CONTROL_ID_MASK;
}

void
fake_await_waiter(const struct fake_locks *locks, int lock)
{
	while (!(fake_word(locks, lock) & CONTROL_WAITERS))
		lock_pause();
}

void
child_start(struct child *child, child_fn fn, struct fake_locks *locks)
{
	int ends[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	child->pid = fork();
	ck_assert_int_ge(child->pid, 0);
	if (child->pid == 0) {
		struct child self = { .pid = getpid(), .to_fd = ends[1], .from_fd = ends[1] };

		(void)close(ends[0]);
		fn(&self, locks);
		_exit(0);
	}
	(void)close(ends[1]);
	child->to_fd = ends[0];
	child->from_fd = ends[0];
}

void
child_kill(struct child *child)
{
	(void)kill(child->pid, SIGKILL);
	(void)waitpid(child->pid, NULL, 0);
	(void)close(child->to_fd);
}

void
child_end(struct child *child)
{
	int status;

	ck_assert_int_eq(waitpid(child->pid, &status, 0), child->pid);
	(void)close(child->to_fd);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a process of the test failed: status 0x%x", status);
}

void
child_say(const struct child *child)
{
	fake_assert(send(child->to_fd, "x", 1, MSG_NOSIGNAL) == 1);
}

void
child_hear(const struct child *child)
{
	char c;

	fake_assert(recv(child->from_fd, &c, 1, 0) == 1);
}
