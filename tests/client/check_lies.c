/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * A daemon that lies: whatever it answers, the library returns an error with a sentence, maps nothing, leaks no fd and no
 * mapping, and attaches through a new connection afterwards.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "client/client.h"
#include "tests/client/fake.h"
#include "tests/suite_run.h"

struct lie {
	const char *name;
	void (*tell)(int fd, const struct fake_request *request);
	int r;				/* what the caller gets */
	const char *sentence;		/* a part of it */
	bool in_hello;			/* told in place of the welcome */
	bool keeps;			/* the connection stays */
};

/* System V memory that ends with this process. Its number. */
static int
fake_shm(size_t size_bytes)
{
	int id = shmget(IPC_PRIVATE, size_bytes, IPC_CREAT | 0600);

	fake_assert(id >= 0 && shmat(id, NULL, 0) != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
	return id;
}

/* The same of another uid, which lets everybody have it. Who is not root cannot make that: it is gone, then. */
static int
fake_foreign_shm(void)
{
	int id = INT32_MAX, status, ids[2];
	pid_t pid;

	if (geteuid() != 0)
		return id;
	fake_assert(pipe(ids) == 0);
	pid = fork();
	if (pid == 0) {
		id = setresuid(65534, 65534, 65534) == 0 ? shmget(IPC_PRIVATE, FAKE_SIZE, IPC_CREAT | 0666) : -1;
		_exit(write(ids[1], &id, sizeof(id)) != sizeof(id));
	}
	fake_assert(pid > 0 && read(ids[0], &id, sizeof(id)) == sizeof(id) && waitpid(pid, &status, 0) == pid && status == 0);
	fake_assert(id >= 0 && shmat(id, NULL, 0) != (void *)-1 && shmctl(id, IPC_RMID, NULL) == 0);
	return id;
}

/* A good answer with one thing changed, and one fd of a good object. */
#define ATTACHED_LIE(lie_name, change)						\
static void									\
lie_name(int fd, const struct fake_request *request)				\
{										\
	struct protocol_attached reply = fake_attached(request);		\
	cleanup_close int object = fake_object(FAKE_SIZE);			\
										\
	change;									\
	fake_send(fd, &reply, sizeof(reply), &object, 1);			\
}

ATTACHED_LIE(lie_map_smaller, reply.map_bytes = FAKE_SIZE - 4096)
ATTACHED_LIE(lie_map_larger, reply.map_bytes = FAKE_SIZE + 4096)
ATTACHED_LIE(lie_map_absurd, reply.map_bytes = UINT64_MAX; reply.size_bytes = UINT64_MAX)
ATTACHED_LIE(lie_map_half, reply.map_bytes = UINT64_C(1) << 63)
ATTACHED_LIE(lie_size_none, reply.size_bytes = 0)
ATTACHED_LIE(lie_alignment_none, reply.alignment_bytes = 0)
ATTACHED_LIE(lie_alignment_odd, reply.alignment_bytes = 4096 * 3)
ATTACHED_LIE(lie_alignment_huge, reply.alignment_bytes = 2 * GIB)
ATTACHED_LIE(lie_access, reply.access = PROTOCOL_ACCESS_READ)
ATTACHED_LIE(lie_type, reply.header.type = PROTOCOL_DETACH)
ATTACHED_LIE(lie_no_reply, reply.header.flags = 0)
ATTACHED_LIE(lie_flags, reply.header.flags |= 0x100)
ATTACHED_LIE(lie_zero, reply.header.zero = 1)
ATTACHED_LIE(lie_serial_ahead, reply.header.serial += 1)
ATTACHED_LIE(lie_serial_none, reply.header.serial = 0)
ATTACHED_LIE(lie_status_positive, reply.header.status = 1)
ATTACHED_LIE(lie_status_absurd, reply.header.status = INT32_MIN)
ATTACHED_LIE(lie_size_field, reply.header.size += 1)
ATTACHED_LIE(lie_refusal_with_fd, reply.header.status = -EACCES)

#define AS_SHM(id)	reply.flags = PROTOCOL_ATTACHED_SHM; reply.shm_id = (id)

ATTACHED_LIE(lie_shm_none, AS_SHM(-1))
ATTACHED_LIE(lie_shm_gone, AS_SHM(INT32_MAX))
ATTACHED_LIE(lie_shm_elsewhere, AS_SHM(0); reply.ipc_namespace = 1)
ATTACHED_LIE(lie_shm_foreign, AS_SHM(fake_foreign_shm()))
ATTACHED_LIE(lie_shm_larger, AS_SHM(fake_shm(2 * FAKE_SIZE)))
ATTACHED_LIE(lie_shm_smaller, AS_SHM(fake_shm(FAKE_SIZE / 2)))

static void
lie_short(int fd, const struct fake_request *request)
{
	fake_send(fd, "short", 5, NULL, 0);
}

static void
lie_header_alone(int fd, const struct fake_request *request)
{
	fake_answer(fd, request);
}

static void
lie_short_attached(int fd, const struct fake_request *request)
{
	struct protocol_attached reply = fake_attached(request);
	cleanup_close int object = fake_object(FAKE_SIZE);

	reply.header.size = sizeof(reply) - 8;
	fake_send(fd, &reply, reply.header.size, &object, 1);
}

static void
lie_long_attached(int fd, const struct fake_request *request)
{
	struct {
		struct protocol_attached attached;
		char more[64];
	} reply = { .attached = fake_attached(request) };
	cleanup_close int object = fake_object(FAKE_SIZE);

	reply.attached.header.size = sizeof(reply);
	fake_send(fd, &reply, sizeof(reply), &object, 1);
}

static void
lie_oversize(int fd, const struct fake_request *request)
{
	char *message = calloc(1, PROTOCOL_MESSAGE_MAX + 1);
	struct protocol_header header = request->header;

	fake_assert(message);
	header.size = PROTOCOL_MESSAGE_MAX + 1;
	header.flags = PROTOCOL_REPLY;
	memcpy(message, &header, sizeof(header));
	fake_send(fd, message, PROTOCOL_MESSAGE_MAX + 1, NULL, 0);
	free(message);
}

static void
send_objects(int fd, const struct fake_request *request, unsigned n)
{
	struct protocol_attached reply = fake_attached(request);
	int fds[16];

	for (unsigned i = 0; i < n; i++)
		fds[i] = fake_object(FAKE_SIZE);
	fake_send(fd, &reply, sizeof(reply), fds, n);
	for (unsigned i = 0; i < n; i++)
		(void)close(fds[i]);
}

static void
lie_no_fd(int fd, const struct fake_request *request)
{
	send_objects(fd, request, 0);
}

static void
lie_two_fds(int fd, const struct fake_request *request)
{
	send_objects(fd, request, 2);
}

static void
lie_many_fds(int fd, const struct fake_request *request)
{
	send_objects(fd, request, 16);
}

static void
lie_small_object(int fd, const struct fake_request *request)
{
	struct protocol_attached reply = fake_attached(request);
	cleanup_close int object = fake_object(FAKE_SIZE / 2);

	fake_send(fd, &reply, sizeof(reply), &object, 1);
}

static void
lie_pipe(int fd, const struct fake_request *request)
{
	struct protocol_attached reply = fake_attached(request);
	int ends[2];

	fake_assert(pipe(ends) == 0);
	fake_send(fd, &reply, sizeof(reply), ends, 1);
	(void)close(ends[0]);
	(void)close(ends[1]);
}

/* A writable mapping of a read-only fd: mmap itself refuses. */
static void
lie_read_only_fd(int fd, const struct fake_request *request)
{
	struct protocol_attached reply = fake_attached(request);
	cleanup_close int object = fake_object(FAKE_SIZE);
	cleanup_close int again = -1;
	char path[40];

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", object);
	again = open(path, O_RDONLY | O_CLOEXEC);
	fake_assert(again >= 0);
	fake_send(fd, &reply, sizeof(reply), &again, 1);
}

static void
lie_no_sentence(int fd, const struct fake_request *request)
{
	struct protocol_header reply = request->header;

	reply.size = sizeof(reply);
	reply.flags = PROTOCOL_REPLY;
	reply.status = -EACCES;
	fake_send(fd, &reply, sizeof(reply), NULL, 0);
}

static void
lie_unterminated(int fd, const struct fake_request *request)
{
	struct {
		struct protocol_header header;
		char text[8];
	} reply = { .header = request->header, .text = { 'n', 'o', ' ', 'e', 'n', 'd', '.', '.' } };

	reply.header.size = sizeof(reply);
	reply.header.flags = PROTOCOL_REPLY;
	reply.header.status = -EACCES;
	fake_send(fd, &reply, sizeof(reply), NULL, 0);
}

static void
refuse_with_controls(int fd, const struct fake_request *request)
{
	fake_refuse(fd, request, -EACCES, "not\033[2Jyours");
}

static void
scold(int fd, const struct fake_request *request)
{
	fake_refuse(fd, NULL, -EPROTO, "you broke a rule");
}

static void
hello_refused(int fd, const struct fake_request *request)
{
	fake_refuse(fd, request, -EPROTONOSUPPORT, "this daemon speaks version 9");
}

static void
hello_version(int fd, const struct fake_request *request)
{
	struct protocol_welcome welcome = { .header = request->header, .version = 9 };

	welcome.header.size = sizeof(welcome);
	welcome.header.flags = PROTOCOL_REPLY;
	fake_send(fd, &welcome, sizeof(welcome), NULL, 0);
}

static void
hello_short(int fd, const struct fake_request *request)
{
	fake_answer(fd, request);
}

static void
hello_with_fd(int fd, const struct fake_request *request)
{
	struct protocol_welcome welcome = { .header = request->header, .version = 9 };
	cleanup_close int object = fake_object(FAKE_SIZE);

	welcome.header.size = sizeof(welcome);
	welcome.header.flags = PROTOCOL_REPLY;
	fake_send(fd, &welcome, sizeof(welcome), &object, 1);
}

/* Too many clients: said at accept, before anything was read, and hung up. */
static void
hello_turned_away(int fd, const struct fake_request *request)
{
	fake_refuse(fd, NULL, -EDQUOT, "uid 0 has 4096 clients already");
}

static const struct lie lies[] = {
	{ "map smaller than size", lie_map_smaller, -EPROTO, "cannot be right" },
	{ "map larger than object", lie_map_larger, -EPROTO, "smaller than" },
	{ "absurd sizes", lie_map_absurd, -EPROTO, "address space" },
	{ "half of all", lie_map_half, -EPROTO, "address space" },
	{ "no size", lie_size_none, -EPROTO, "size" },
	{ "no alignment", lie_alignment_none, -EPROTO, "alignment" },
	{ "odd alignment", lie_alignment_odd, -EPROTO, "alignment" },
	{ "huge alignment", lie_alignment_huge, -EPROTO, "alignment" },
	{ "less access", lie_access, -EPROTO, "access" },
	{ "other type", lie_type, -EPROTO, "type" },
	{ "no reply flag", lie_no_reply, -EPROTO, "no reply" },
	{ "unknown flag", lie_flags, -EPROTO, "no reply" },
	{ "padding", lie_zero, -EPROTO, "no reply" },
	{ "serial ahead", lie_serial_ahead, -EPROTO, "was asked" },
	{ "serial 0", lie_serial_none, -EPROTO, "was asked" },
	{ "positive status", lie_status_positive, -EPROTO, "no errno" },
	{ "absurd status", lie_status_absurd, -EPROTO, "fds" },
	{ "size in header", lie_size_field, -EPROTO, "says that it has" },
	{ "refusal with fd", lie_refusal_with_fd, -EPROTO, "fds" },
	{ "short", lie_short, -EPROTO, "shorter" },
	{ "header alone", lie_header_alone, -EPROTO, "cut off" },
	{ "short attachment", lie_short_attached, -EPROTO, "cut off" },
	{ "long attachment", lie_long_attached, -EPROTO, "has no locks" },
	{ "oversize", lie_oversize, -EPROTO, "longer" },
	{ "no fd", lie_no_fd, -EPROTO, "no fd" },
	{ "two fds", lie_two_fds, -EPROTO, "has no locks" },
	{ "sixteen fds", lie_many_fds, -EPROTO, "fds" },
	{ "small object", lie_small_object, -EPROTO, "smaller" },
	{ "pipe", lie_pipe, -EPROTO, "no memory object" },
	{ "read-only fd", lie_read_only_fd, -EACCES, "mapping", .keeps = true },
	{ "no System V memory", lie_shm_none, -EPROTO, "its id of System V memory is none" },
	{ "System V memory that is gone", lie_shm_gone, -ESTALE, "is gone", .keeps = true },
	{ "System V memory of another namespace", lie_shm_elsewhere, -EXDEV, "IPC namespace", .keeps = true },
	{ "System V memory of somebody else", lie_shm_foreign, -ESTALE, "is gone", .keeps = true },
	{ "System V memory that is larger", lie_shm_larger, -EPROTO, "not of the size" },
	{ "System V memory that is smaller", lie_shm_smaller, -EPROTO, "not of the size" },
	{ "no sentence", lie_no_sentence, -EPROTO, "sentence" },
	{ "unterminated", lie_unterminated, -EPROTO, "sentence" },
	{ "controls", refuse_with_controls, -EACCES, "not?[2Jyours", .keeps = true },
	{ "scolded", scold, -EPROTO, "you broke a rule" },
	{ "hello refused", hello_refused, -EPROTONOSUPPORT, "version 9", .in_hello = true },
	{ "hello with another version", hello_version, -EPROTO, "version 9", .in_hello = true },
	{ "hello too short", hello_short, -EPROTO, "welcome", .in_hello = true },
	{ "hello with fd", hello_with_fd, -EPROTO, "version 9", .in_hello = true },
	{ "turned away", hello_turned_away, -EDQUOT, "4096 clients", .in_hello = true },
};

static void
tell_lie(int listen_fd, void *arg)
{
	const struct lie *lie = arg;
	struct fake_request request;
	int fd = fake_accept_silent(listen_fd);

	if (lie->in_hello) {
		request.header = (struct protocol_header){ .type = PROTOCOL_HELLO, .serial = 1 };
		lie->tell(fd, &request);
	} else {
		fake_welcome(fd);
		fake_expect(fd, PROTOCOL_ATTACH, &request);
		lie->tell(fd, &request);
	}
	if (!lie->keeps) {
		/* The client hangs up; a request that it had sent before it read the lie is not answered. */
		while (fake_receive(fd, &request))
			continue;
		(void)close(fd);
		fd = fake_accept(listen_fd);
	}
	fake_serve(fd);
}

START_TEST(lie_is_an_error_and_leaves_nothing)
{
	struct lie lie = lies[_i];
	struct segment_client *client;
	struct segment *segment = NULL;
	struct fake fake;
	unsigned n_fds, n_mappings;
	int r;

	fake_start(&fake, tell_lie, &lie);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	n_mappings = count_mappings();
	r = segment_attach(client, "book", NULL, SEGMENT_WRITE, &segment);
	ck_assert_msg(r == lie.r, "%s: %d, not %d: %s", lie.name, r, lie.r, segment_error());
	ck_assert_msg(strstr(segment_error(), lie.sentence), "%s: '%s'", lie.name, segment_error());
	ck_assert_ptr_null(segment);
	ck_assert_msg(count_fds() == n_fds - (lie.keeps ? 0 : 1), "%s: %u fds, %u before", lie.name, count_fds(), n_fds);
	ck_assert_uint_eq(count_mappings(), n_mappings);

	ck_assert_int_eq(segment_attach(client, "book", NULL, SEGMENT_WRITE, &segment), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	ck_assert_uint_eq(count_fds(), n_fds - 1);
	ck_assert_uint_eq(count_mappings(), n_mappings);
	fake_stop(&fake);
}
END_TEST

static void
serve_one(int listen_fd, void *arg)
{
	fake_serve(fake_accept(listen_fd));
}

START_TEST(exhausted_descriptors_are_named)
{
	struct segment_client *client;
	struct segment *segment = NULL;
	struct rlimit limit, small;
	struct fake fake;
	unsigned n_fds;
	int last;

	fake_start(&fake, serve_one, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	last = dup(0);
	(void)close(last);
	small = (struct rlimit){ .rlim_cur = (rlim_t)last, .rlim_max = limit.rlim_max };
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &small), 0);
	ck_assert_int_eq(segment_attach(client, "book", NULL, SEGMENT_READ, &segment), -EMFILE);
	ck_assert_ptr_nonnull(strstr(segment_error(), "RLIMIT_NOFILE"));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(count_fds(), n_fds);

	ck_assert_int_eq(segment_attach(client, "book", NULL, SEGMENT_READ, &segment), 0);
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

/* A daemon that was restarted answers at least once: copies of old replies, with fds, come before the right one. */
static void
repeat_replies(int listen_fd, void *arg)
{
	struct fake_request first, request;
	int fd = fake_accept(listen_fd);

	fake_expect(fd, PROTOCOL_ATTACH, &first);
	fake_attach(fd, &first);
	fake_expect(fd, PROTOCOL_ATTACH, &request);
	fake_welcome(fd);
	fake_attach(fd, &first);
	fake_attach(fd, &request);
	fake_expect(fd, PROTOCOL_DETACH, &first);
	fake_attach(fd, &request);
	fake_answer(fd, &first);
	fake_expect(fd, PROTOCOL_DETACH, &first);
	fake_expect(fd, PROTOCOL_ATTACH, &first);
	fake_attach(fd, &request);
	fake_refuse(fd, &first, -EACCES, "not you");
	fake_serve(fd);
}

START_TEST(stale_replies_are_dropped_with_their_fds)
{
	struct segment_client *client;
	struct segment *first, *second;
	struct fake fake;
	unsigned n_fds;

	fake_start(&fake, repeat_replies, NULL);
	ck_assert_int_eq(segment_connect(&client, fake.path), 0);
	n_fds = count_fds();
	ck_assert_int_eq(segment_attach(client, "one", NULL, SEGMENT_READ, &first), 0);
	ck_assert_int_eq(segment_attach(client, "two", NULL, SEGMENT_READ, &second), 0);
	ck_assert_uint_eq(count_fds(), n_fds + 2);
	ck_assert_int_eq(segment_detach(first), 0);
	ck_assert_int_eq(segment_detach(second), 0);
	ck_assert_uint_eq(count_fds(), n_fds);
	ck_assert_int_eq(segment_attach(client, "three", NULL, SEGMENT_READ, &first), -EACCES);
	ck_assert_str_eq(segment_error(), "not you");
	ck_assert_uint_eq(count_fds(), n_fds);
	segment_disconnect(client);
	fake_stop(&fake);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lies");
	TCase *tcase = tcase_create("lies");

	tcase_add_loop_test(tcase, lie_is_an_error_and_leaves_nothing, 0, BASE_ARRAY_SIZE(lies));
	tcase_add_test(tcase, exhausted_descriptors_are_named);
	tcase_add_test(tcase, stale_replies_are_dropped_with_their_fds);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
