/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Accepts in small batches; out of descriptors it tells one peer so with the one held in reserve, and rests a moment. */
#include "config.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/base.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/procfd.h"
#include "daemon/timer.h"

#define BACKLOG		4096
#define TURN_ACCEPTS	2		/* each costs as much as some requests, which are heard of in between */
#define REST_MS		100
#define LOCK_TRIES	100		/* at the lock of a daemon that is gone, */
#define LOCK_MS		10		/* one after the other */

static const struct timeval listener_rest = { .tv_usec = REST_MS * 1000 };

/* Makes the directory and those above it that are missing, with the mode. */
static int
listener_make_dir(const char *path, mode_t mode)
{
	cleanup_free char *copy = strdup(path);

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	if (mkdir(copy, mode) && errno != EEXIST)
		return -errno;
	return 0;
}

static void
listener_write_pid(int fd)
{
	char pid[32];
	int n = snprintf(pid, sizeof(pid), "%d\n", (int)getpid());

	/* Only to be read by people: the lock is what counts. */
	if (ftruncate(fd, 0) == 0)
		(void)!pwrite(fd, pid, (size_t)n, 0);
}

/*
 * A daemon that was killed may have left a child on its way to being a worker, which has the lock as well until its exec: that
 * is waited for. Who lives and has it is not. 0 or a negative errno; ret_pid: who, as the file says, or "".
 */
static int
listener_take_lock(int fd, char *ret_pid, size_t size)
{
	for (unsigned i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		int r = -errno;
		ssize_t n = pread(fd, ret_pid, size - 1, 0);
		long pid;

		ret_pid[n > 0 ? n : 0] = '\0';
		ret_pid[strcspn(ret_pid, "\n")] = '\0';
		pid = strtol(ret_pid, NULL, 10);
		if (r != -EWOULDBLOCK || i == LOCK_TRIES || pid <= 0 || kill((pid_t)pid, 0) == 0 || errno != ESRCH)
			return r;
		(void)poll(NULL, 0, LOCK_MS);
	}
	return 0;
}

static int
listener_lock(struct listener *listener, const struct conf_daemon *conf)
{
	cleanup_free char *path = NULL;
	char pid[32];
	int r = listener_make_dir(conf->state_dir, 0755);

	if (r) {
		log_write(MESSAGE_STATE, &(struct log_about) { .error = r }, "cannot make state_dir '%s'", conf->state_dir);
		return r;
	}
	if (asprintf(&path, "%s/lock", conf->state_dir) < 0) {
		path = NULL;
		return -ENOMEM;
	}
	listener->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	if (listener->lock_fd < 0) {
		r = -errno;
		log_write(MESSAGE_STATE, &(struct log_about) { .error = r }, "cannot open '%s'", path);
		return r;
	}
	r = listener_take_lock(listener->lock_fd, pid, sizeof(pid));
	if (r) {
		log_write(MESSAGE_STATE, NULL, "state_dir '%s' is locked by another segmentd (pid %s): stop it, or give this "
		    "one a state_dir and a socket of its own", conf->state_dir, *pid ? pid : "unknown");
		return r;
	}
	listener_write_pid(listener->lock_fd);
	return 0;
}

/* Whether somebody listens at the address. */
static bool
listener_is_live(const struct sockaddr_un *address)
{
	cleanup_close int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return true;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0)
		return true;
	/* EPROTOTYPE: somebody listens, with a socket of another type. EAGAIN: with a full backlog. */
	return errno != ECONNREFUSED && errno != ENOENT;
}

static int
listener_clear_path(const struct sockaddr_un *address)
{
	struct stat status;

	if (lstat(address->sun_path, &status))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(status.st_mode)) {
		log_write(MESSAGE_SOCKET, NULL, "'%s' exists and is no socket: remove it, or set daemon.socket to another path",
		    address->sun_path);
		return -EEXIST;
	}
	if (listener_is_live(address)) {
		log_write(MESSAGE_SOCKET, NULL, "somebody listens on '%s' already: stop it, or set daemon.socket to another path",
		    address->sun_path);
		return -EADDRINUSE;
	}
	/* Left by a dead daemon, and the lock says that no other is about to take it over. */
	return unlink(address->sun_path) ? -errno : 0;
}

static int
listener_bind(struct listener *listener, const struct conf_daemon *conf)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	cleanup_free char *dir = strdup(conf->socket);
	char *slash = dir ? strrchr(dir, '/') : NULL;
	int r;

	if (!dir)
		return -ENOMEM;
	if (slash && slash != dir) {
		*slash = '\0';
		r = listener_make_dir(dir, 0755);
		if (r) {
			log_write(MESSAGE_SOCKET, &(struct log_about) { .error = r }, "cannot make '%s'", dir);
			return r;
		}
	}
	if (strlen(conf->socket) >= sizeof(address.sun_path)) {
		log_write(MESSAGE_SOCKET, NULL, "daemon.socket '%s' is longer than the %zu bytes of a socket's address",
		    conf->socket, sizeof(address.sun_path) - 1);
		return -ENAMETOOLONG;
	}
	memcpy(address.sun_path, conf->socket, strlen(conf->socket) + 1);
	r = listener_clear_path(&address);
	if (r)
		return r;
	listener->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return -errno;
	/* Nobody comes in before the mode is set: who connects before listen() is refused. */
	if (bind(listener->fd, (const struct sockaddr *)&address, sizeof(address)) ||
	    chmod(conf->socket, conf->socket_mode) || listen(listener->fd, BACKLOG)) {
		r = -errno;
		log_write(MESSAGE_SOCKET, &(struct log_about) { .error = r }, "cannot listen on '%s'", conf->socket);
		return r;
	}
	listener->path = strdup(conf->socket);
	return listener->path ? 0 : -ENOMEM;
}

/* There may be none to be had now: then it is tried again before the next one is accepted. */
static void
listener_open_reserve(struct listener *listener)
{
	if (listener->reserve_fd < 0)
		listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void
listener_pause(struct listener *listener)
{
	(void)event_del(&listener->event);
	timer_add(&listener->resume_event, &listener_rest);
}

static void
listener_on_resume(evutil_socket_t fd, short what, void *arg)
{
	struct listener *listener = arg;

	listener_open_reserve(listener);
	if (event_add(&listener->event, NULL))
		timer_add(&listener->resume_event, &listener_rest);
}

/* With the descriptor in reserve one peer is accepted, told, and closed; the others wait in the backlog. */
static void
listener_refuse(struct listener *listener, int error)
{
	static struct log_limit limit = LOG_LIMIT(3);
	struct {
		struct protocol_header header;
		char text[96];
	} farewell = { .text = SESSION_OUT_OF_FDS };
	int fd;

	if (log_allowed(&limit))
		log_write(MESSAGE_CLIENTS_REFUSED, &(struct log_about) { .error = -error },
		    "cannot accept a client; raise LimitNOFILE of the service, or lower limits.clients");
	close_fd(&listener->reserve_fd);
	fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		listener->host->n_connections++;
		listener->host->n_turned_away++;
		farewell.header = (struct protocol_header) {
			.size = (uint32_t)(sizeof(farewell.header) + strlen(farewell.text) + 1),
			.flags = PROTOCOL_REPLY,
			.status = -ENFILE,
		};
		(void)send(fd, &farewell, farewell.header.size, MSG_DONTWAIT | MSG_NOSIGNAL);
		session_hang_up(&listener->host->parcels, &fd);
	}
	listener_open_reserve(listener);
	listener_pause(listener);
}

/* Nobody is refused for it: who comes lies in the kernel's queue, and would not be heard of in any other way. */
static void
listener_wait(struct listener *listener)
{
	static struct log_limit limit = { .interval_ns = 60 * NS_PER_SEC, .burst = 3 };

	listener->host->n_crowded++;
	if (!listener->is_crowded && log_allowed(&limit))
		log_write(MESSAGE_CLIENTS_WAIT, NULL, "no client is accepted before some of the connections are gone that have ended with "
		    "descriptors in their queues, of users who have left more of those than are read away; it is tried again every "
		    "%d ms", REST_MS);
	listener->is_crowded = true;
	listener_pause(listener);
}

static void
listener_on_accept(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *listener = arg;

	for (int i = 0; i < TURN_ACCEPTS; i++) {
		int fd, r;

		/* Else somebody who is refused could leave us with as many descriptors as it connects times. */
		if (parcels_are_crowded(&listener->host->parcels)) {
			listener_wait(listener);
			return;
		}
		listener->is_crowded = false;
		fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
				listener_refuse(listener, errno);
			return;
		}
		listener->host->n_connections++;
		r = session_new(listener->host, fd);
		if (r)
			listener->host->n_turned_away++;
		if (r == -EMFILE || r == -ENFILE) {
			listener_refuse(listener, -r);
			return;
		}
	}
}

int
listener_init(struct listener *listener, struct session_host *host, struct inherited *inherited,
    const struct conf_daemon *conf)
{
	int r;

	*listener = (struct listener) { .host = host, .lock_fd = -1, .fd = -1, .reserve_fd = -1 };
	r = listener_lock(listener, conf);
	if (r)
		return r;
	listener->fd = take_fd(&inherited->listen_fd);
	listener->is_inherited = listener->fd >= 0;
	if (!listener->is_inherited)
		r = listener_bind(listener, conf);
	if (r)
		return r;
	listener->reserve_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (listener->reserve_fd < 0)
		return -errno;
	if (event_assign(&listener->event, host->base, listener->fd, EV_READ | EV_PERSIST, listener_on_accept, listener) ||
	    evtimer_assign(&listener->resume_event, host->base, listener_on_resume, listener))
		return -ENOMEM;
	return 0;
}

int
listener_start(struct listener *listener)
{
	return event_add(&listener->event, NULL) ? -ENOMEM : 0;
}

int
listener_set_mode(struct listener *listener, uint16_t mode)
{
	return listener->path && chmod(listener->path, mode) ? -errno : 0;
}

void
listener_stop(struct listener *listener)
{
	if (event_initialized(&listener->event))
		(void)event_del(&listener->event);
	if (event_initialized(&listener->resume_event))
		(void)event_del(&listener->resume_event);
}

void
listener_deinit(struct listener *listener)
{
	listener_stop(listener);
	/* Under the lock still: nobody else's socket can be at the path. */
	if (listener->path)
		(void)unlink(listener->path);
	free(listener->path);
	listener->path = NULL;
	close_fd(&listener->fd);
	close_fd(&listener->reserve_fd);
}

int
listener_open_lock(const struct listener *listener)
{
	int fd;

	return procfd_reopen(listener->lock_fd, O_RDWR, &fd) ? -1 : fd;
}

void
listener_unlock(struct listener *listener)
{
	close_fd(&listener->lock_fd);
}
