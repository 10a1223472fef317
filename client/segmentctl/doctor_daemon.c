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

#define PATIENCE_NS	(2 * NS_PER_SEC)

struct meeting {
	struct doctor *doctor;
	struct segmentctl ctl;		/* the caller's, with another socket and its failures kept to itself */
	char *socket;			/* NULL: as for every other command */
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

/* Only of what has its object. */
static int
take_row(const void *data, void *arg)
{
	const struct protocol_segment *row = data;
	struct doctor *doctor = arg;
	struct doctor_held *list = doctor->held;

	if (!row_is_sound(row) || (row->state != PROTOCOL_READY && row->state != PROTOCOL_PROVISIONING))
		return 0;
	if ((doctor->n_held & (doctor->n_held - 1)) == 0)
		list = reallocarray(list, doctor->n_held ? 2 * doctor->n_held : 1, sizeof(*list));
	if (list)
		doctor->held = list;
	if (!list || !(list[doctor->n_held].name = strdup(row->name))) {
		doctor->error = -ENOMEM;
		return SEGMENTCTL_FAILED;
	}
	list[doctor->n_held].backend = row->backend;
	list[doctor->n_held].resident_bytes = row->resident_bytes;
	list[doctor->n_held++].locked_bytes = row->locked_bytes;
	return 0;
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

/* What the daemon of this configuration listens at, unless the caller says where to ask. */
static int
meeting_init(struct meeting *meeting, struct doctor *doctor)
{
	*meeting = (struct meeting) { .doctor = doctor, .ctl = *doctor->ctl };
	meeting->ctl.failure = doctor->daemon_failure;
	meeting->ctl.failure_size = sizeof(doctor->daemon_failure);
	if (meeting->ctl.socket || secure_getenv("SEGMENTD_SOCKET"))
		return 0;
	if (asprintf(&meeting->socket, "%s%s", doctor->root, doctor->conf->daemon.socket) < 0) {
		meeting->socket = NULL;
		return -ENOMEM;
	}
	meeting->ctl.socket = meeting->socket;
	return 0;
}

static void
meeting_hold(struct meeting *meeting)
{
	struct doctor *doctor = meeting->doctor;
	struct protocol_list request = { 0 };
	struct ask *ask;
	int status;

	ask = ask_new(&meeting->ctl, &status);
	if (!ask) {
		doctor->daemon_error = status == SEGMENTCTL_NO_DAEMON ? -ENOENT : -EIO;
		return;
	}
	ask->deadline_ns = clock_monotonic_ns() + PATIENCE_NS;
	doctor->has_daemon = true;
	doctor->daemon_pid = find_pid(doctor, ask->connection.fd);
	status = ask_rows(ask, PROTOCOL_LIST, &request, sizeof(request), sizeof(struct protocol_segment), take_row, doctor);
	if (status)
		doctor->daemon_error = -EIO;
	if (doctor->n_held)
		qsort(doctor->held, doctor->n_held, sizeof(*doctor->held), by_name);
	ask_free(ask);
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
	struct meeting meeting;

	if (meeting_init(&meeting, doctor) < 0)
		doctor->error = -ENOMEM;
	else
		meeting_hold(&meeting);
	free(meeting.socket);
	settle_limits(doctor);
}

void
doctor_leave_daemon(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->n_held; i++)
		free(doctor->held[i].name);
	free(doctor->held);
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
	if (n_held == n)
		(void)snprintf(text + len, sizeof(text) - len, "; it has all %zu segments already", n);
	else
		(void)snprintf(text + len, sizeof(text) - len, "; of %zu segments it has %zu already", n, n_held);
	if (n_held == n || geteuid() == 0)
		doctor_add(doctor, DOCTOR_OK, NULL, NULL, text);
	else
		doctor_add(doctor, DOCTOR_NOTE, NULL, "it shows you those that you may attach; all others count as not there, so that "
		    "less may be needed than is said here", text);
}
