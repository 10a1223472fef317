/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The library against a daemon that behaves: attaching, waiting, mappings, arguments. */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/client/served.h"
#include "tests/suite_run.h"

#define HUGE_PAGE	(2 * MIB)

#ifdef WITH_SANITIZERS
static const bool with_sanitizers = true;
#else
static const bool with_sanitizers = false;
#endif

/* What is asked for stands in the requests, and detach comes after the memory is gone. */
static void
expect_all(int listen_fd, void *arg)
{
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_assert(request.attach.access == PROTOCOL_ACCESS_READ && request.attach.flags == PROTOCOL_ATTACH_OWNED);
	fake_assert(streq(request.attach.name, "book") && streq(request.attach.layout, "book/3"));
	fake_assert(request.attach.generation == 0 && request.header.serial == 2);
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_DETACH, &request);
	fake_assert(request.detach.attachment == 9 && request.detach.generation == 5 && request.header.serial == 3);
	fake_expect(fd, PROTOCOL_CREATE, &request);
	fake_assert(streq(request.create.name, "scratch") && request.create.size_bytes == FAKE_SIZE);
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_DETACH, &request);
	fake_assert(!fake_receive(fd, &request));
}

START_TEST(attach_create_and_detach_say_what_they_mean)
{
	struct segment *segment;
	unsigned n_fds, n_mappings;
	char *data;

	served_start(expect_all, NULL);
	n_fds = count_fds();
	n_mappings = count_mappings();
	ck_assert_int_eq(segment_attach(served_client, "book", "book/3", SEGMENT_READ | SEGMENT_OWNED, &segment), 0);
	ck_assert_uint_eq(segment_size(segment), FAKE_SIZE);
	ck_assert_uint_eq(segment_generation(segment), 5);
	ck_assert_int_ge(segment_fd(segment), 3);
	ck_assert_int_eq(fcntl(segment_fd(segment), F_GETFD), FD_CLOEXEC);
	data = segment_data(segment);
	ck_assert_int_eq(data[FAKE_SIZE - 1], 0);
	ck_assert_int_eq(mprotect(data, FAKE_SIZE, PROT_READ), 0);
	ck_assert_int_eq(segment_detach(segment), 0);

	ck_assert_int_eq(segment_create(served_client, "scratch", FAKE_SIZE, 0, &segment), 0);
	data = segment_data(segment);
	memset(data, 1, FAKE_SIZE);
	ck_assert_int_eq(segment_detach(segment), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	served_stop();
}
END_TEST

START_TEST(arguments_are_checked_before_the_daemon_is_asked)
{
	char longest[130] = { 0 };
	struct segment *segment = (struct segment *)&longest;
	static const char *const bad[] = { "", ".hidden", "-x", "_x", "a/b", "a b", "a\n", "\xc3\xa4" };

	memset(longest, 'a', 129);
	served_start(served_one, NULL);
	ck_assert_int_eq(segment_connect(NULL, served_fake.path), -EINVAL);
	ck_assert_int_eq(segment_attach(NULL, "a", NULL, SEGMENT_READ, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, NULL, NULL, SEGMENT_READ, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, "a", NULL, SEGMENT_READ, NULL), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, longest, NULL, SEGMENT_READ, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, "a", longest, SEGMENT_READ, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, "a", "", SEGMENT_READ, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, "a", NULL, 0, &segment), -EINVAL);
	ck_assert_int_eq(segment_attach(served_client, "a", NULL, SEGMENT_READ | 0x100, &segment), -EINVAL);
	ck_assert_ptr_nonnull(strstr(segment_error(), "0x100"));
	ck_assert_int_eq(segment_create(NULL, "a", 1, 0, &segment), -EINVAL);
	ck_assert_int_eq(segment_create(served_client, "a", 0, 0, &segment), -EINVAL);
	ck_assert_int_eq(segment_create(served_client, "a", 1, 0, NULL), -EINVAL);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(bad); i++)
		ck_assert_int_eq(segment_attach(served_client, bad[i], NULL, SEGMENT_READ, &segment), -EINVAL);
	ck_assert_ptr_eq(segment, (struct segment *)&longest);
	ck_assert_int_eq(segment_detach(NULL), 0);
	ck_assert_ptr_null(segment_data(NULL));
	segment_disconnect(NULL);
	longest[128] = '\0';
	segment_detach(served_attach(longest, SEGMENT_READ));
	served_stop();
}
END_TEST

START_TEST(no_daemon_is_said_at_connect)
{
	struct segment_client *none = NULL;
	char path[200];

	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(segment_connect(&none, path), -ENAMETOOLONG);
	ck_assert_int_eq(segment_connect(&none, "/nonexistent/segmentd.sock"), -ENOENT);
	ck_assert_ptr_nonnull(strstr(segment_error(), "/nonexistent/segmentd.sock"));
	ck_assert_int_eq(setenv("SEGMENTD_SOCKET", "/nonexistent/other.sock", 1), 0);
	ck_assert_int_eq(segment_connect(&none, NULL), -ENOENT);
	ck_assert_ptr_nonnull(strstr(segment_error(), "/nonexistent/other.sock"));
	ck_assert_ptr_null(none);
}
END_TEST

/* Waiting */

static void
provision(int listen_fd, void *arg)
{
	struct fake_request slow, wait, request;
	struct protocol_waited waited = { .header = { .flags = PROTOCOL_REPLY, .type = PROTOCOL_WAIT }, .state = PROTOCOL_READY };
	int fd, wait_fd;

	fd = fake_accept(listen_fd);
	fake_expect(fd, PROTOCOL_ATTACH, &slow);
	fake_refuse(fd, &slow, -EAGAIN, "'slow' is being provisioned");
	wait_fd = fake_accept(listen_fd);
	fake_expect(wait_fd, PROTOCOL_WAIT, &wait);
	fake_assert(streq(wait.wait.name, "slow") && wait.wait.progress_bytes == PROTOCOL_WAIT_STATE);
	/* While that thread waits, another attaches and detaches. */
	fake_tell();
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_assert(streq(request.attach.name, "fast"));
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_DETACH, &request);
	waited.header.size = sizeof(waited);
	waited.header.serial = wait.header.serial;
	fake_send(wait_fd, &waited, sizeof(waited), NULL, 0);
	fake_assert(!fake_receive(wait_fd, &wait));
	fake_serve(fd);
}

START_TEST(waiting_thread_holds_nobody_up)
{
	pthread_t thread;
	unsigned n_fds;

	served_start(provision, NULL);
	n_fds = count_fds();
	ck_assert_int_eq(pthread_create(&thread, NULL, served_attach_slow, NULL), 0);
	fake_await(&served_fake);
	segment_detach(served_attach("fast", SEGMENT_WRITE));
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	served_stop();
}
END_TEST

static void
never_ready(int listen_fd, void *arg)
{
	struct fake_request request;
	int fd = fake_accept(listen_fd);

	while (fake_receive(fd, &request))
		fake_refuse(fd, &request, -EAGAIN, "it is being provisioned: 10 of 20 MiB");
}

START_TEST(nowait_does_not_wait)
{
	struct segment *segment;

	served_start(never_ready, NULL);
	ck_assert_int_eq(segment_attach(served_client, "slow", NULL, SEGMENT_READ | SEGMENT_NOWAIT, &segment), -EAGAIN);
	ck_assert_str_eq(segment_error(), "it is being provisioned: 10 of 20 MiB");
	ck_assert_int_eq(segment_create(served_client, "slow", 1, SEGMENT_NOWAIT, &segment), -EAGAIN);
	served_stop();
}
END_TEST

static void
create_slowly(int listen_fd, void *arg)
{
	struct fake_request create, wait, request;
	int fd = fake_accept(listen_fd), wait_fd;

	fake_expect(fd, PROTOCOL_CREATE, &create);
	fake_refuse(fd, &create, -EAGAIN, "it is being provisioned");
	wait_fd = fake_accept(listen_fd);
	fake_expect(wait_fd, PROTOCOL_WAIT, &wait);
	fake_refuse(wait_fd, &wait, -ENOENT, "it went away");
	fake_serve(wait_fd);
	(void)close(wait_fd);
	fake_expect(fd, PROTOCOL_CREATE, &create);
	fake_refuse(fd, &create, -EAGAIN, "it is being provisioned");
	wait_fd = fake_accept(listen_fd);
	fake_expect(wait_fd, PROTOCOL_WAIT, &wait);
	fake_send(wait_fd, &(struct protocol_waited){ .header = { .size = sizeof(struct protocol_waited),
	    .flags = PROTOCOL_REPLY, .type = PROTOCOL_WAIT, .serial = wait.header.serial }, .state = PROTOCOL_FAILED },
	    sizeof(struct protocol_waited), NULL, 0);
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_assert(request.attach.access == (PROTOCOL_ACCESS_READ | PROTOCOL_ACCESS_WRITE));
	fake_refuse(fd, &request, -EIO, "no memory for it");
	fake_serve(fd);
}

START_TEST(created_segment_is_waited_for_and_its_failure_told)
{
	struct segment *segment;

	served_start(create_slowly, NULL);
	ck_assert_int_eq(segment_create(served_client, "new", FAKE_SIZE, 0, &segment), -ENOENT);
	ck_assert_str_eq(segment_error(), "it went away");
	ck_assert_int_eq(segment_create(served_client, "new", FAKE_SIZE, 0, &segment), -EIO);
	ck_assert_str_eq(segment_error(), "no memory for it");
	served_stop();
}
END_TEST

/* Mappings */

struct shape {
	uint64_t map_bytes, size_bytes, alignment_bytes;
	uint32_t flags;
};

static void
serve_shape(int listen_fd, void *arg)
{
	const struct shape *shape = arg;
	struct fake_request request;
	int fd = fake_accept(listen_fd);
	int object = fake_object(shape->map_bytes);

	while (fake_receive(fd, &request)) {
		struct protocol_attached reply = fake_attached(&request);

		if (request.header.type == PROTOCOL_DETACH)
			continue;
		reply.map_bytes = shape->map_bytes;
		reply.size_bytes = shape->size_bytes;
		reply.alignment_bytes = shape->alignment_bytes;
		reply.flags = shape->flags;
		fake_send(fd, &reply, sizeof(reply), &object, 1);
	}
}

/* The bytes of the address space that this process uses. */
static uint64_t
address_space(void)
{
	cleanup_fclose FILE *f = fopen("/proc/self/statm", "re");
	unsigned long pages;

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%lu", &pages), 1);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

START_TEST(mapping_is_aligned_and_reserves_no_more)
{
	static const struct shape shapes[] = {
		{ 8 * MIB, 8 * MIB, HUGE_PAGE, 0 },
		{ HUGE_PAGE, HUGE_PAGE, HUGE_PAGE, 0 },
		{ 9 * MIB + 4096, 3 * MIB, HUGE_PAGE, 0 },
		{ 5 * MIB + 100, 5 * MIB + 100, HUGE_PAGE, 0 },
		{ 1 * GIB, 1 * GIB, GIB, 0 },
		{ 1 * MIB, 1 * MIB, HUGE_PAGE, 0 },
		{ 100, 100, 4096, 0 },
		{ 100, 100, 1, 0 },
	};
	struct shape shape = shapes[_i];
	struct segment *segments[5];
	unsigned n_mappings;
	uint64_t before;

	served_start(serve_shape, &shape);
	n_mappings = count_mappings();
	before = address_space();
	for (size_t i = 0; i < BASE_ARRAY_SIZE(segments); i++) {
		segments[i] = served_attach("shaped", SEGMENT_WRITE);
		ck_assert_uint_eq(segment_size(segments[i]), shape.size_bytes);
		if (shape.map_bytes >= shape.alignment_bytes)
			ck_assert_uint_eq((uintptr_t)segment_data(segments[i]) % shape.alignment_bytes, 0);
		((char *)segment_data(segments[i]))[shape.map_bytes - 1] = 1;
		/* Neighbours at odd places, so that the next one is not aligned by chance. */
		ck_assert_ptr_ne(mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), MAP_FAILED);
	}
	if (!with_sanitizers)
		ck_assert_uint_le(address_space() - before, 5 * (round_up(shape.map_bytes, 4096) + 4096) + MIB);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(segments); i++)
		ck_assert_int_eq(segment_detach(segments[i]), 0);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	served_stop();
}
END_TEST

/* A field of the mapping's entry in smaps. */
static void
smaps_field(const void *address, const char *field, char *ret_value, size_t size)
{
	cleanup_fclose FILE *f = fopen("/proc/self/smaps", "re");
	char line[4096], start_of[32];
	bool within = false;

	ck_assert_ptr_nonnull(f);
	(void)snprintf(start_of, sizeof(start_of), "%lx-", (unsigned long)(uintptr_t)address);
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, start_of, strlen(start_of)) == 0)
			within = true;
		if (within && strncmp(line, field, strlen(field)) == 0) {
			(void)snprintf(ret_value, size, "%s", line + strlen(field));
			return;
		}
	}
	ck_abort_msg("no %s of the mapping", field);
}

#ifndef WITH_SANITIZERS		/* they have memory of their own for each page, which faults */
/* How often the kernel had to step in while each page was written. */
static long
faults_of_stores(char *data, size_t size)
{
	struct rusage before, after;

	ck_assert_int_eq(getrusage(RUSAGE_THREAD, &before), 0);
	for (size_t i = 0; i < size; i += 4096)
		((volatile char *)data)[i] = 1;
	ck_assert_int_eq(getrusage(RUSAGE_THREAD, &after), 0);
	return after.ru_minflt - before.ru_minflt + after.ru_majflt - before.ru_majflt;
}
#endif

START_TEST(flags_of_a_mapping_are_had)
{
	struct shape shape = { 8 * MIB, 4 * MIB, HUGE_PAGE, PROTOCOL_ATTACHED_DONTDUMP };
	struct segment *segment;
	char value[256];

	served_start(serve_shape, &shape);
	segment = served_attach("plain", SEGMENT_WRITE);
	smaps_field(segment_data(segment), "Rss:", value, sizeof(value));
	ck_assert_int_eq(atoi(value), 0);
	smaps_field(segment_data(segment), "VmFlags:", value, sizeof(value));
	ck_assert_ptr_nonnull(strstr(value, " dd"));
	ck_assert_ptr_null(strstr(value, " dc"));
	segment_detach(segment);

	segment = served_attach("populated", SEGMENT_WRITE | SEGMENT_POPULATE | SEGMENT_DONTFORK);
	smaps_field(segment_data(segment), "Rss:", value, sizeof(value));
	ck_assert_int_eq(atoi(value), 4096);
#ifndef WITH_SANITIZERS
	ck_assert_int_eq(faults_of_stores(segment_data(segment), segment_size(segment)), 0);
#endif
	smaps_field(segment_data(segment), "VmFlags:", value, sizeof(value));
	ck_assert_ptr_nonnull(strstr(value, " dc"));
	segment_detach(segment);

	segment = served_attach("read", SEGMENT_READ | SEGMENT_POPULATE);
	smaps_field(segment_data(segment), "Rss:", value, sizeof(value));
	ck_assert_int_eq(atoi(value), 4096);
	segment_detach(segment);
	served_stop();
}
END_TEST

/* A program without standard streams gets no segment and no socket in their place. */
START_TEST(standard_streams_are_left_free)
{
	pid_t pid;

	fake_start(&served_fake, served_one, NULL);
	pid = fork();
	if (pid == 0) {
		struct segment *segment;

		(void)close(0);
		(void)close(1);
		if (segment_connect(&served_client, served_fake.path) < 0 ||
		    segment_attach(served_client, "book", NULL, SEGMENT_READ, &segment) < 0)
			_exit(2);
		_exit(segment_fd(segment) >= 3 && fcntl(0, F_GETFD) < 0 && fcntl(1, F_GETFD) < 0 ? 0 : 3);
	}
	served_await_child(pid);
	fake_stop(&served_fake);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("segment");
	TCase *tcase = tcase_create("segment");

	tcase_set_timeout(tcase, 120);
	tcase_add_test(tcase, attach_create_and_detach_say_what_they_mean);
	tcase_add_test(tcase, arguments_are_checked_before_the_daemon_is_asked);
	tcase_add_test(tcase, no_daemon_is_said_at_connect);
	tcase_add_test(tcase, waiting_thread_holds_nobody_up);
	tcase_add_test(tcase, nowait_does_not_wait);
	tcase_add_test(tcase, created_segment_is_waited_for_and_its_failure_told);
	tcase_add_loop_test(tcase, mapping_is_aligned_and_reserves_no_more, 0, 8);
	tcase_add_test(tcase, flags_of_a_mapping_are_had);
	tcase_add_test(tcase, standard_streams_are_left_free);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
