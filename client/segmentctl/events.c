/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `events`: follows what happens, until it is interrupted or nobody reads it any more. The daemon keeps a bounded number of
 * events for us and counts what it could not keep; we keep none. A daemon that goes is waited for: who follows a deployment
 * wants to see it come back.
 */
#include "config.h"

#include <poll.h>
#include <signal.h>

#include "base/base.h"
#include "client/segmentctl/ask.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/event.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/table.h"

#define LINE_MAX_BYTES	8192		/* what one line may have, so that it leaves in one piece */
#define DELAY_MIN_MS	50		/* between two tries to connect again */
#define DELAY_MAX_MS	1000
#define ANSWER_NS	(5 * NS_PER_SEC)	/* that a daemon has for its answer then */

struct follower {
	const struct segmentctl *ctl;
	struct ask *ask;
	struct event_style style;
	uint32_t kinds;			/* a bit each */
	char **names;			/* n_names of them; 0: all */
	unsigned n_names;
};

/* A line leaves by one write: so there is nothing to be tidied up. */
static void
on_end(int sig)
{
	_exit(SEGMENTCTL_DONE);
}

static void
listen_for_end(int sig)
{
	/* Whoever had it ignored, for a program in the background, still wants that. */
	if (signal(sig, on_end) == SIG_IGN)
		(void)signal(sig, SIG_IGN);
}

/* Says which names nobody knows now: they may come, or be misspelt. An exit status, failures told. */
static int
look_for_names(struct follower *follower)
{
	struct protocol_show request;
	int r;

	for (unsigned i = 0; i < follower->n_names; i++) {
		request = (struct protocol_show){ 0 };
		ask_set_name(request.name, follower->names[i]);
		r = ask_try(follower->ask, PROTOCOL_SHOW, &request.header, sizeof(request), sizeof(request.header));
		if (r == -ENOENT)
			fprintf(stderr, "segmentctl: there is no segment '%s' now; it is waited for\n", follower->names[i]);
		else if (r < 0)
			return ask_report(follower->ask, r);
	}
	return 0;
}

/* A negative errno, which is not told. */
static int
subscribe(struct follower *follower)
{
	struct protocol_subscribe request = { .flags = PROTOCOL_SUBSCRIBE_ON | PROTOCOL_SUBSCRIBE_ALL };

	return ask_try(follower->ask, PROTOCOL_SUBSCRIBE, &request.header, sizeof(request), sizeof(request.header));
}

static bool
is_wanted(const struct follower *follower, const struct protocol_event *event)
{
	if (event->kind < PROTOCOL_EVENT_N ? !(follower->kinds >> event->kind & 1) : follower->ctl->kinds != NULL)
		return false;
	for (unsigned i = 0; i < follower->n_names; i++)
		if (streq(follower->names[i], event->segment))
			return true;
	return follower->n_names == 0;
}

/* Prints what is there. -EAGAIN: that was all; another negative errno of the connection; or an exit status, told. */
static int
print_events(struct follower *follower)
{
	struct connection *connection = &follower->ask->connection;
	struct protocol_event event;
	int r;

	for (;;) {
		r = connection_receive_pushed(connection, PROTOCOL_EVENT, &event, sizeof(event));
		if (r < 0)
			return r;
		if (!event_is_sound(&event))
			return report_protocol(follower->ctl, "a name in an event has no end");
		/* Of all segments, since who reads too late is not told of which. */
		if (event.lost)
			r = event_print_lost(&follower->style, event.time_ns, event.lost);
		if (r == 0 && event.kind != PROTOCOL_EVENT_LOST && is_wanted(follower, &event))
			r = event_print(&follower->style, &event);
		if (r < 0)
			return report_output(follower->ctl, r);
	}
}

/*
 * Waits for events, or for ms if there is no connection; -1: without a limit. An exit status if nobody reads our output any
 * more, so that `events | head -1` ends, else -1.
 */
static int
wait_for_events(const struct follower *follower, int ms)
{
	struct pollfd fds[] = {
		{ .fd = follower->ask->connection.fd, .events = POLLIN },
		{ .fd = STDOUT_FILENO },		/* errors alone */
	};

	if (poll(fds, BASE_ARRAY_SIZE(fds), ms) > 0 && fds[1].revents)
		return SEGMENTCTL_FAILED;
	return -1;
}

/* Whether a daemon may come, or answer, that does not now. */
static bool
is_away(int r)
{
	return r == -ENOTCONN || r == -ENOENT || r == -ECONNREFUSED || r == -EAGAIN || r == -ETIMEDOUT;
}

/* The daemon is gone: tries until it is there again. -1: it is; or an exit status, told. */
static int
connect_again(struct follower *follower)
{
	struct connection *connection = &follower->ask->connection;
	int delay_ms = DELAY_MIN_MS, status, r;

	fputs("segmentctl: segmentd is gone; waiting until it is there again\n", stderr);
	for (;;) {
		connection_close(connection);
		status = wait_for_events(follower, delay_ms);
		if (status >= 0)
			return status;
		follower->ask->deadline_ns = clock_monotonic_ns() + ANSWER_NS;
		r = connection_open(connection, follower->ctl->socket);
		if (r == 0)
			r = subscribe(follower);
		if (r == 0)
			break;
		if (!is_away(r))
			return ask_report(follower->ask, r);
		delay_ms = min_u64(2 * delay_ms, DELAY_MAX_MS);
	}
	r = event_print_lost(&follower->style, clock_realtime_ns(), EVENT_LOST_UNKNOWN);
	return r < 0 ? report_output(follower->ctl, r) : -1;
}

static int
follow(struct follower *follower)
{
	int r;

	for (;;) {
		r = print_events(follower);
		if (r == -ENOTCONN)
			r = connect_again(follower);
		else if (r == -EAGAIN)
			r = wait_for_events(follower, -1);
		else if (r < 0)
			return ask_report(follower->ask, r);
		if (r >= 0)
			return r;
	}
}

static int
parse_kinds(struct follower *follower)
{
	const char *list = follower->ctl->kinds, *unknown;
	char all[256];
	size_t length;

	follower->kinds = UINT32_MAX;
	unknown = list ? event_parse_kinds(list, &follower->kinds, &length) : NULL;
	return unknown ? report_usage(follower->ctl, "--kinds: '%.*s' is none; expected some of %s, with commas between",
	    (int)min_u64(length, 64), unknown, event_all_kinds(all, sizeof(all))) : 0;
}

int
events_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	static char buffer[LINE_MAX_BYTES];
	struct follower follower = { .ctl = ctl, .names = args, .n_names = n_args };
	int r = parse_kinds(&follower);

	for (unsigned i = 0; i < n_args && r == 0; i++)
		r = ask_check_name(ctl, args[i]);
	if (r != 0)
		return r;
	follower.style = (struct event_style){ .json = ctl->json, .has_color = !ctl->json && table_wants_color() };
	(void)setvbuf(stdout, buffer, _IOFBF, sizeof(buffer));
	listen_for_end(SIGINT);
	listen_for_end(SIGTERM);
	follower.ask = ask_new(ctl, &r);
	if (!follower.ask)
		return r;
	r = look_for_names(&follower);
	if (r == 0) {
		r = subscribe(&follower);
		r = r < 0 ? ask_report(follower.ask, r) : follow(&follower);
	}
	ask_free(follower.ask);
	return r;
}
