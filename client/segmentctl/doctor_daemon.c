/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * doctor and the daemon that runs: what it has already is not needed once more, and its limits count before those of its unit,
 * which may have been changed since. None is needed; and whether it shows us all of its segments is its own matter.
 */
#include "config.h"

#include <sys/socket.h>

#include "client/segmentctl/ask.h"
#include "client/segmentctl/doctor.h"
#include "client/segmentctl/row.h"
#include "host/process.h"

#define PATIENCE_NS	(2 * NS_PER_SEC)

struct meeting {
	struct doctor *doctor;
	struct segmentctl ctl;		/* the caller's, with another socket and its failures kept to itself */
	char *socket;
};

static int
by_name(const void *a, const void *b)
{
	const struct doctor_held *x = a, *y = b;

	return strcmp(x->name, y->name);
}

const struct doctor_held *
doctor_find_held(const struct doctor *doctor, const struct definition *definition)
{
	const struct doctor_held key = { .name = definition->name };
	const struct doctor_held *held = NULL;

	if (doctor->n_held)
		held = bsearch(&key, doctor->held, doctor->n_held, sizeof(key), by_name);
	return held && held->backend == definition->backend ? held : NULL;
}

void
doctor_hold(struct doctor *doctor, const char *name, unsigned backend, uint64_t resident_bytes, uint64_t locked_bytes)
{
	struct doctor_held *list = doctor->held, held = { .backend = backend, .resident_bytes = resident_bytes,
		.locked_bytes = locked_bytes };

	if ((doctor->n_held & (doctor->n_held - 1)) == 0)
		list = reallocarray(list, doctor->n_held ? 2 * doctor->n_held : 1, sizeof(*list));
	if (list)
		doctor->held = list;
	held.name = list ? strdup(name) : NULL;
	if (held.name)
		list[doctor->n_held++] = held;
	else
		doctor->error = -ENOMEM;
}

void
doctor_sort_held(struct doctor *doctor)
{
	if (doctor->n_held)
		qsort(doctor->held, doctor->n_held, sizeof(*doctor->held), by_name);
}

/* Only of what has its object. */
static int
take_row(const void *data, void *arg)
{
	const struct protocol_segment *row = data;
	struct doctor *doctor = arg;

	if (row_is_sound(row) && (row->state == PROTOCOL_READY || row->state == PROTOCOL_PROVISIONING))
		doctor_hold(doctor, row->name, row->backend, row->resident_bytes, row->locked_bytes);
	return doctor->error ? SEGMENTCTL_FAILED : 0;
}

/* A segment that is not shown, and whose object is to be seen all the same: by what it is the daemon's. */
static void
presume_held(struct doctor *doctor, const struct definition *definition, const struct sysv_row *rows, size_t n_rows)
{
	cleanup_free char *path = NULL;
	bool is_file = definition_takes(definition, DEFINITION_TAKES_DISK);
	struct stat st;

	for (size_t i = 0; definition->has_key && i < n_rows; i++)
		if (rows[i].key == definition->key && rows[i].creator_pid == doctor->daemon_pid) {
			doctor_hold(doctor, definition->name, definition->backend, rows[i].resident_bytes,
			    rows[i].mode & SYSV_LOCKED ? rows[i].resident_bytes : 0);
			return;
		}
	if (!is_file && !definition_takes(definition, DEFINITION_TAKES_DEV_SHM))
		return;
	if ((is_file ? asprintf(&path, "%s%s" FINDINGS_MARK_SUFFIX, doctor->root, definition->path) :
	    asprintf(&path, "%s/dev/shm%s", doctor->root, definition->object)) < 0) {
		path = NULL;
		return;
	}
	if (lstat(path, &st))
		return;
	if (is_file && process_lock_holder(doctor->root, &st) == doctor->daemon_pid)
		doctor_hold(doctor, definition->name, definition->backend, definition->size_bytes, definition->size_bytes);
	else if (!is_file && S_ISREG(st.st_mode) && st.st_uid == doctor->limits.uid)
		doctor_hold(doctor, definition->name, definition->backend, (uint64_t)st.st_blocks * 512, (uint64_t)st.st_blocks * 512);
}

/* Root is shown everything. */
static void
presume_all(struct doctor *doctor)
{
	struct sysv_row *rows = NULL;
	size_t n_rows = 0, n_shown = doctor->n_held;

	if (!doctor->daemon_pid || geteuid() == 0)
		return;
	(void)sysv_read_rows(doctor->root, &rows, &n_rows);
	for (size_t i = 0; i < doctor->conf->n_segments; i++) {
		size_t n_held = doctor->n_held;
		bool is_shown;

		/* Those that were shown are sorted; of the others each is one segment's. */
		doctor->n_held = n_shown;
		is_shown = doctor_find_held(doctor, doctor->conf->segments[i]) != NULL;
		doctor->n_held = n_held;
		if (!is_shown)
			presume_held(doctor, doctor->conf->segments[i], rows, n_rows);
	}
	free(rows);
	doctor_sort_held(doctor);
}

/* Who made the socket listen. That is the manager where it did so for the daemon, which it knows by its unit. */
static pid_t
find_pid(const struct doctor *doctor, int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && peer.pid > 1)
		return peer.pid;
	return doctor->service_error == 0 ? doctor->service.main_pid : 0;
}

static void
meeting_init(struct meeting *meeting, struct doctor *doctor)
{
	*meeting = (struct meeting) { .doctor = doctor, .ctl = *doctor->ctl };
	meeting->ctl.failure = doctor->daemon_failure;
	meeting->ctl.failure_size = sizeof(doctor->daemon_failure);
}

/* Whether a daemon is there, which is asked then. */
static bool
meeting_hold(struct meeting *meeting)
{
	struct doctor *doctor = meeting->doctor;
	struct protocol_list request = { 0 };
	struct ask *ask;
	int status;

	ask = ask_new(&meeting->ctl, &status);
	if (!ask) {
		doctor->daemon_error = status == SEGMENTCTL_NO_DAEMON ? -ENOENT : -EIO;
		return doctor->daemon_error != -ENOENT;
	}
	doctor->daemon_error = 0;
	ask->deadline_ns = clock_monotonic_ns() + PATIENCE_NS;
	doctor->has_daemon = true;
	doctor->daemon_pid = find_pid(doctor, ask->connection.fd);
	status = ask_rows(ask, PROTOCOL_LIST, &request, sizeof(request), sizeof(struct protocol_segment), take_row, doctor);
	if (status)
		doctor->daemon_error = -EIO;
	if (status && clock_monotonic_ns() >= ask->deadline_ns)
		(void)snprintf(doctor->daemon_failure, sizeof(doctor->daemon_failure), "it has not answered for %llu seconds",
		    (unsigned long long)(PATIENCE_NS / NS_PER_SEC));
	doctor_sort_held(doctor);
	ask_free(ask);
	return true;
}

static bool
meeting_hold_at(struct meeting *meeting, const char *socket)
{
	bool is_held;

	if (asprintf(&meeting->socket, "%s%s", meeting->doctor->root, socket) < 0) {
		meeting->socket = NULL;
		meeting->doctor->error = -ENOMEM;
		return true;
	}
	meeting->ctl.socket = meeting->socket;
	is_held = meeting_hold(meeting);
	free(take_ptr(meeting->socket));
	return is_held;
}

/*
 * Where the caller says, or where the daemon of this configuration listens. Where that is left open it depends on who runs the
 * daemon: on us, or on the system.
 */
static void
find_daemon(struct doctor *doctor)
{
	const char *socket = doctor->conf->daemon.socket;
	struct conf *defaults = NULL;
	struct meeting meeting;
	bool is_open;

	meeting_init(&meeting, doctor);
	if (meeting.ctl.socket || secure_getenv("SEGMENTD_SOCKET")) {
		(void)meeting_hold(&meeting);
		return;
	}
	is_open = conf_new_default(&defaults) == 0 && streq(socket, defaults->daemon.socket);
	conf_free(defaults);
	if (!meeting_hold_at(&meeting, socket) && is_open && !streq(socket, CONNECTION_DEFAULT_SOCKET))
		(void)meeting_hold_at(&meeting, CONNECTION_DEFAULT_SOCKET);
}

/* The daemon's, which it has; else those that its unit will give it; else ours, which it inherits. */
static void
settle_limits(struct doctor *doctor)
{
	const struct service *service = &doctor->service;

	if (doctor->daemon_pid && limits_read(doctor->root, doctor->daemon_pid, &doctor->limits) == 0) {
		(void)snprintf(doctor->whose, sizeof(doctor->whose), "segmentd (pid %d)", (int)doctor->daemon_pid);
		doctor->place_pid = doctor->daemon_pid;
		return;
	}
	doctor->daemon_pid = 0;
	if (doctor->service_error == 0) {
		/* Not below the caller's cgroups, but below its manager's. */
		doctor->place_pid = 1;
		doctor->limits = (struct limits) { .memlock_bytes = service->has_ipc_lock ? LIMITS_UNLIMITED : service->memlock_bytes,
			.has_ipc_lock = service->has_ipc_lock, .nofile = service->nofile };
		(void)service_find_user(service, &doctor->limits.uid, &doctor->limits.gid);
		(void)stpcpy(doctor->whose, SERVICE_UNIT);
		return;
	}
	doctor->limits_error = limits_read(doctor->root, 0, &doctor->limits);
	(void)stpcpy(doctor->whose, "this process");
}

void
doctor_meet_daemon(struct doctor *doctor)
{
	find_daemon(doctor);
	settle_limits(doctor);
	presume_all(doctor);
}

void
doctor_leave_daemon(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->n_held; i++)
		free(doctor->held[i].name);
	free(take_ptr(doctor->held));
	doctor->n_held = 0;
}

static size_t
count_held(const struct doctor *doctor)
{
	size_t n = 0;

	for (size_t i = 0; i < doctor->conf->n_segments; i++)
		n += doctor_find_held(doctor, doctor->conf->segments[i]) != NULL;
	return n;
}

static void
tell_limits(const struct doctor *doctor, char *buf, size_t size)
{
	if (doctor->daemon_pid)
		(void)snprintf(buf, size, "its own limits count");
	else if (doctor->service_error == 0)
		(void)snprintf(buf, size, "the limits of " SERVICE_UNIT " count");
	else
		(void)snprintf(buf, size, "there is no " SERVICE_UNIT ", and the limits of this process (uid %u) count, which a segmentd "
		    "started here gets", (unsigned)doctor->limits.uid);
}

void
doctor_check_daemon(struct doctor *doctor)
{
	char limits[160], text[FINDINGS_TEXT_SIZE];
	size_t n = doctor->conf->n_segments, n_held = count_held(doctor), len;

	tell_limits(doctor, limits, sizeof(limits));
	if (doctor->daemon_error == -ENOENT) {
		doctor_ok(doctor, "no segmentd runs; %s", limits);
		return;
	}
	if (doctor->daemon_error < 0) {
		(void)snprintf(text, sizeof(text), "what segmentd has already is not known, and counts as not there: %s",
		    doctor->daemon_failure);
		doctor_add(doctor, DOCTOR_NOTE, NULL, limits, text);
		return;
	}
	if (doctor->daemon_pid)
		(void)snprintf(text, sizeof(text), "segmentd runs (pid %d); %s", (int)doctor->daemon_pid, limits);
	else
		(void)snprintf(text, sizeof(text), "segmentd runs, and its process is not to be seen from here; %s", limits);
	len = strlen(text);
	if (n_held == n && n)
		(void)snprintf(text + len, sizeof(text) - len, "; it has all %zu segments already", n);
	else if (n && geteuid() == 0)
		(void)snprintf(text + len, sizeof(text) - len, "; of %zu segments it has %zu already", n, n_held);
	else if (n)
		(void)snprintf(text + len, sizeof(text) - len, "; of %zu segments it has %zu already, as far as you may see", n, n_held);
	if (n_held == n || geteuid() == 0)
		doctor_add(doctor, DOCTOR_OK, NULL, NULL, text);
	else
		doctor_add(doctor, DOCTOR_NOTE, NULL, "it shows you those that you may attach; others may count as not there, so that less "
		    "is needed than is said here", text);
}
