/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * segment_size() follows what the daemon tells, and the mapping stays what it is: two processes verify their bytes while the
 * segment grows under them by fifty reloads; and a daemon that lies about sizes gets nobody to leave the mapping.
 */
#include "config.h"

#include <inttypes.h>
#include <signal.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/harness.h"

#define PAGE		4096
#define N_PROCESSES	2
#define N_GROWTHS	50
#define FIRST		(MIB + 1000)
#define STEP		(301 * KIB + 77)	/* meets no boundary */
#define MAX		(FIRST + N_GROWTHS * STEP)

/* One of the processes: of every two pages one is its own. */
struct worker {
	struct segment_client *client;
	struct segment *segment;
	unsigned char *data;
	unsigned index;
	size_t n_written;		/* bytes from the start in which its pages are written */
	unsigned n_grown;
};

static unsigned char
byte_of(const struct worker *worker, size_t offset)
{
	return (unsigned char)(1 + (offset * 31 + offset / PAGE * 7 + worker->index * 101) % 255);
}

static bool
is_own(const struct worker *worker, size_t offset)
{
	return offset / PAGE % N_PROCESSES == worker->index;
}

static void
verify(const struct worker *worker)
{
	for (size_t i = 0; i < worker->n_written; i = (i / PAGE + 1) * PAGE)
		for (size_t at = i; is_own(worker, at) && at < i + PAGE && at < worker->n_written; at += 61)
			harness_assert(worker->data[at] == byte_of(worker, at), "process %u, byte %zu of %zu", worker->index, at,
			    worker->n_written);
}

/* Makes what is new its own; nobody has written there before. */
static void
extend(struct worker *worker)
{
	size_t size = segment_size(worker->segment);

	for (size_t at = worker->n_written; at < size; at++)
		if (is_own(worker, at)) {
			harness_assert(worker->data[at] == 0, "process %u, byte %zu was not new", worker->index, at);
			worker->data[at] = byte_of(worker, at);
		}
	worker->n_written = size;
}

static void
on_event(const struct segment_event *event, void *arg)
{
	struct worker *worker = arg;

	if (event->what != SEGMENT_EVENT_GROWN)
		return;
	harness_assert(streq(event->segment, "grow"), "'%s'", event->segment);
	/* In the callback it is true already. */
	harness_assert(segment_size(worker->segment) == event->size, "%zu, and it was told %llu",
	    segment_size(worker->segment), (unsigned long long)event->size);
	harness_assert(event->size == FIRST + ++worker->n_grown * STEP, "growth %u to %llu", worker->n_grown,
	    (unsigned long long)event->size);
}

static void
work(int control, void *arg)
{
	const char *path = ((const char **)arg)[0];
	struct worker worker = { .index = ((const char **)arg)[1] != NULL };
	unsigned n_maps;
	int r;

	harness_assert(segment_connect(&worker.client, path) == 0, "%s", segment_error());
	harness_assert(segment_event_fd(worker.client) >= 0, "%s", segment_error());
	r = segment_attach(worker.client, "grow", NULL, SEGMENT_WRITE, &worker.segment);
	harness_assert(r == 0, "%s", segment_error());
	worker.data = segment_data(worker.segment);
	n_maps = count_mappings();
	extend(&worker);
	harness_say(control, "attached");
	while (worker.n_grown < N_GROWTHS) {
		unsigned n = worker.n_grown;

		verify(&worker);
		r = segment_dispatch(worker.client, on_event, &worker);
		harness_assert(r >= 0, "%s", segment_error());
		if (worker.n_grown == n)
			continue;
		extend(&worker);
		harness_say(control, "seen");
	}
	verify(&worker);
	harness_assert(worker.n_written == MAX, "%zu", worker.n_written);
	harness_assert(segment_data(worker.segment) == worker.data && count_mappings() == n_maps, "it was mapped anew");
	harness_assert(segment_detach(worker.segment) == 0, "%s", segment_error());
	segment_disconnect(worker.client);
}

/* The configuration with a size. */
static const char *
body_of(uint64_t size, bool prefault)
{
	static char text[256];

	(void)snprintf(text, sizeof(text), "segments = ( { name = \"grow\"; size = %" PRIu64 "; max_size = %" PRIu64 "; "
	    "prefault = %s; mlock = false; } );", size, (uint64_t)MAX, prefault ? "true" : "false");
	return text;
}

START_TEST(two_processes_verify_their_bytes_across_fifty_growths)
{
	struct harness_daemon daemon = HARNESS_DAEMON_NULL;
	struct harness_child workers[N_PROCESSES] = { HARNESS_CHILD_NULL, HARNESS_CHILD_NULL };
	bool prefault = _i == 0;

	harness_daemon_start(&daemon, NULL, body_of(FIRST, prefault));
	for (unsigned i = 0; i < N_PROCESSES; i++) {
		const char *args[] = { daemon.socket, i ? "second" : NULL };

		harness_child_start(&workers[i], work, args);
		harness_expect(workers[i].control, "attached");
	}
	for (unsigned n = 1; n <= N_GROWTHS; n++) {
		harness_daemon_configure(&daemon, NULL, body_of(FIRST + n * STEP, prefault));
		harness_daemon_hangup(&daemon);
		for (unsigned i = 0; i < N_PROCESSES; i++)
			harness_expect(workers[i].control, "seen");
	}
	for (unsigned i = 0; i < N_PROCESSES; i++)
		harness_child_await_success(&workers[i]);
	ck_assert_ptr_nonnull(strstr(harness_daemon_log(&daemon), "segment 'grow' has grown from "));
	harness_daemon_stop(&daemon);
}
END_TEST

/* What the fake tells, and what is to be believed of it. */
static const struct {
	uint64_t generation, size_bytes, believed_bytes;
} tellings[] = {
	{ 5, 2 * FAKE_SIZE, 2 * FAKE_SIZE },
	{ 5, FAKE_SIZE + 1, 2 * FAKE_SIZE },		/* late: of less */
	{ 6, 3 * FAKE_SIZE, 2 * FAKE_SIZE },		/* another segment */
	{ 5, 4 * FAKE_SIZE + 1, 2 * FAKE_SIZE },	/* more than is mapped */
	{ 5, UINT64_MAX, 2 * FAKE_SIZE },
	{ 5, 0, 2 * FAKE_SIZE },
	{ 5, 3 * FAKE_SIZE - 5, 3 * FAKE_SIZE - 5 },
};

static void
hand_out(int fd, uint64_t size_bytes)
{
	struct fake_request request;
	struct protocol_attached reply;
	cleanup_close int object = fake_object(4 * FAKE_SIZE);

	fake_expect(fd, PROTOCOL_ATTACH, &request);
	reply = fake_attached(&request);
	reply.size_bytes = size_bytes;
	reply.map_bytes = 4 * FAKE_SIZE;
	fake_send(fd, &reply, sizeof(reply), &object, 1);
}

static void
tell_sizes(int listen_fd, void *arg)
{
	struct fake_request request;
	int main_fd = fake_accept(listen_fd), fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_SUBSCRIBE, &request);
	fake_answer(fd, &request);
	for (int i = 0; i < 2; i++)
		hand_out(main_fd, FAKE_SIZE);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(tellings); i++) {
		struct protocol_event event = {
			.header = {
				.size = sizeof(event), .type = PROTOCOL_EVENT, .flags = PROTOCOL_REPLY | PROTOCOL_PUSHED,
			},
			.kind = PROTOCOL_EVENT_GROWN, .lock = -1, .generation = tellings[i].generation,
			.value = tellings[i].size_bytes, .segment = "grow",
		};

		fake_send(fd, &event, sizeof(event), NULL, 0);
	}
	/* An answer from before the last event, and one of after the next. */
	hand_out(main_fd, FAKE_SIZE);
	hand_out(main_fd, 4 * FAKE_SIZE);
	while (fake_receive(main_fd, &request))
		;
}

struct seen {
	struct segment *segments[4];
	unsigned n;
};

static void
compare(const struct segment_event *event, void *arg)
{
	struct seen *seen = arg;

	ck_assert_int_eq(event->what, SEGMENT_EVENT_GROWN);
	ck_assert_uint_eq(event->size, tellings[seen->n].size_bytes);
	for (int i = 0; i < 2; i++)
		ck_assert_uint_eq(segment_size(seen->segments[i]), tellings[seen->n].believed_bytes);
	seen->n++;
}

START_TEST(sizes_are_believed_up_to_the_mapping)
{
	struct seen seen = { .n = 0 };
	struct segment_client *client;
	struct fake fake;

	fake_start(&fake, tell_sizes, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	ck_assert_int_ge(segment_event_fd(client), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(segment_attach(client, "grow", NULL, SEGMENT_WRITE, &seen.segments[i]), 0);
	while (seen.n < BASE_ARRAY_SIZE(tellings)) {
		harness_await_readable(segment_event_fd(client), "an event");
		ck_assert_int_ge(segment_dispatch(client, compare, &seen), 0);
	}
	ck_assert_int_eq(segment_attach(client, "grow", NULL, SEGMENT_WRITE, &seen.segments[2]), 0);
	ck_assert_uint_eq(segment_size(seen.segments[2]), 3 * FAKE_SIZE - 5);
	ck_assert_int_eq(segment_attach(client, "grow", NULL, SEGMENT_WRITE, &seen.segments[3]), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(segment_size(seen.segments[i]), 4 * FAKE_SIZE);
	/* All of it is there, whatever the order in which they go. */
	((char *)segment_data(seen.segments[2]))[4 * FAKE_SIZE - 1] = 1;
	ck_assert_int_eq(segment_detach(seen.segments[1]), 0);
	ck_assert_int_eq(segment_detach(seen.segments[0]), 0);
	ck_assert_int_eq(segment_detach(seen.segments[3]), 0);
	ck_assert_int_eq(segment_detach(seen.segments[2]), 0);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("growth");
	TCase *tcase = tcase_create("growth");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_loop_test(tcase, two_processes_verify_their_bytes_across_fifty_growths, 0, 2);
	tcase_add_test(tcase, sizes_are_believed_up_to_the_mapping);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
