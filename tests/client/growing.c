/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <inttypes.h>
#include <signal.h>
#include <sys/socket.h>

#include "base/base.h"
#include "daemon/listener.h"
#include "daemon/requests.h"
#include "tests/client/growing.h"

static struct {
	struct event_base *base;
	struct accounts accounts;
	struct workers workers;
	struct provisioner provisioner;
	struct kernelcount kernelcount;
	struct recovery recovery;
	struct registry registry;
	struct events events;
	struct deaths deaths;
	struct session_host sessions;
	struct listener listener;
	struct requests requests;
	struct event *control_event;
	int control;
} host;

static void
on_change(struct segment *segment, void *arg)
{
	harness_assert(segment->state != PROTOCOL_FAILED, "%s", segment->reason);
	if (segment->state == PROTOCOL_READY)
		harness_say(host.control, "ready");
}

static void
on_grown(struct segment *segment, uint64_t was_bytes, int r, void *arg)
{
	harness_say(host.control, r ? "failed" : "grown");
}

static void
on_recovery(const struct lock *lock, const struct locks_dead *dead, enum recovery_outcome outcome, void *arg)
{
	harness_fail("the segment has no locks");
}

static void
on_control(evutil_socket_t fd, short what, void *arg)
{
	struct segment *segment = TAILQ_FIRST(&host.registry.in_order);
	struct definition *next;
	char word[64] = "";
	ssize_t n = recv(fd, word, sizeof(word) - 1, 0);

	harness_assert(n > 0, "the test hung up");
	if (streq(word, "end")) {
		(void)event_base_loopbreak(host.base);
		return;
	}
	next = definition_copy(segment->definition);
	harness_assert(next, "memory ran out");
	next->size_bytes = strtoull(word, NULL, 10);
	harness_assert(segment_grow(segment, next) == 0, "%s: %s", word, segment->growth_reason);
	(void)definition_unref(next);
}

static void
host_init(const struct conf *conf)
{
	host.base = event_base_new();
	accounts_init(&host.accounts, &conf->daemon.limits);
	workers_init(&host.workers, host.base, 2);
	host.sessions = (struct session_host) {
		.base = host.base, .accounts = &host.accounts, .dispatch = requests_dispatch,
		.on_end = requests_on_session_end, .on_room = requests_on_room, .arg = &host.requests,
	};
	TAILQ_INIT(&host.sessions.sessions);
	host.requests = (struct requests) {
		.registry = &host.registry, .sessions = &host.sessions, .workers = &host.workers,
		.kernelcount = &host.kernelcount, .provisioner = &host.provisioner, .events = &host.events,
		.deaths = &host.deaths,
	};
	harness_assert(events_init(&host.events, host.base, requests_send_event) == 0, "events");
	deaths_init(&host.deaths, host.base, &host.registry);
	harness_assert(provisioner_init(&host.provisioner, host.base, &host.workers, 0) == 0, "provisioner");
	harness_assert(kernelcount_init(&host.kernelcount, host.base) == 0, "kernelcount");
	harness_assert(recovery_init(&host.recovery, host.base, &host.workers, 0, on_recovery, NULL) == 0, "recovery");
	harness_assert(registry_init(&host.registry, host.base, &host.kernelcount, &host.provisioner, &host.recovery,
	    &host.accounts, on_change, NULL) == 0, "registry");
	host.registry.host.events = &host.events;
	host.registry.host.on_grown = on_grown;
	harness_assert(listener_init(&host.listener, &host.sessions, &conf->daemon) == 0 &&
	    listener_start(&host.listener) == 0, "listener");
	host.control_event = event_new(host.base, host.control, EV_READ | EV_PERSIST, on_control, NULL);
	harness_assert(host.control_event && event_add(host.control_event, NULL) == 0, "control");
}

static void
host_deinit(void)
{
	struct session *session;

	event_free(host.control_event);
	listener_deinit(&host.listener);
	while ((session = TAILQ_FIRST(&host.sessions.sessions))) {
		requests_on_session_end(session, &host.requests);
		(void)session_free(session);
	}
	deaths_deinit(&host.deaths);
	events_deinit(&host.events);
	workers_deinit(&host.workers);
	releases_close(&host.provisioner.releases);
	registry_deinit(&host.registry);
	recovery_deinit(&host.recovery);
	kernelcount_deinit(&host.kernelcount);
	provisioner_deinit(&host.provisioner);
	accounts_deinit(&host.accounts);
	event_base_free(host.base);
	libevent_global_shutdown();
}

void
growing_daemon(int control, void *arg)
{
	const struct growing *growing = arg;
	char socket_path[96], state[96];
	struct definition *definition = definition_new();
	struct conf conf = {
		.daemon = {
			.socket = socket_path, .socket_mode = 0666, .state_dir = state,
			.limits = { .clients = 64, .attachments = 64, .bytes = GIB },
		},
		.segments = &definition, .n_segments = 1,
	};

	harness_assert(definition && (definition->name = strdup("grow")), "memory ran out");
	definition->size_bytes = growing->size_bytes;
	definition->max_size_bytes = growing->max_size_bytes;
	definition->prefault = growing->prefault;
	definition->dump = true;
	definition->mode = 0600;
	(void)snprintf(socket_path, sizeof(socket_path), "%s/socket", growing->dir);
	(void)snprintf(state, sizeof(state), "%s/state", growing->dir);
	(void)signal(SIGPIPE, SIG_IGN);
	(void)signal(SIGIO, SIG_IGN);
	host.control = control;
	host_init(&conf);
	harness_assert(registry_declare(&host.registry, &conf) == 0, "declare");
	harness_assert(event_base_dispatch(host.base) == 0, "dispatch");
	host_deinit();
	(void)definition_unref(definition);
}

void
growing_main(int argc, char **argv)
{
	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		exit(worker_main());
}

void
growing_grow(const struct harness_child *child, uint64_t size_bytes)
{
	char word[32];

	(void)snprintf(word, sizeof(word), "%" PRIu64, size_bytes);
	harness_say(child->control, word);
	harness_expect(child->control, "grown");
}
