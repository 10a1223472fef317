/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * What every backend promises: each test runs over the table, with the tests' own row at its end. A feature bit is a promise,
 * and it is held to it here; what a row has no bit for is not asked of it. A new row is tested by being in the table.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "daemon/kernelcount.h"
#include "tests/daemon/conform.h"

#define CONTENTS	"what was written"
#define NOBODY		65534

/* A client's attachment: a description of its own, and its data. */
struct client {
	int fd;
	char *data;
};

static void
client_begin(struct client *client, bool write)
{
	ck_assert_int_eq(backend_object_settle(&conform.object), 0);
	ck_assert_int_eq(conform.row->open(&conform.object, write, &client->fd), 0);
	client->data = conform_attach(client->fd, write);
	ck_assert_msg(client->data, "attaching: %s", strerror(errno));
}

static void
client_end(struct client *client)
{
	conform_detach(client->data);
	close_fd(&client->fd);
}

START_TEST(a_row_is_whole)
{
	const struct backend *row;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	row = conform.row;
	if (_i < DEFINITION_BACKEND_N)
		ck_assert_str_eq(row->name, definition_backend_name((enum definition_backend)_i));
	ck_assert(row->create && row->open && row->map && row->resident_bytes);
	ck_assert_int_eq(conform_has(BACKEND_COUNTED), row->others != NULL);
	ck_assert_int_eq(!row->errand, !row->errand_done);
	/* Who can be reached without us has a name to lose, and says who may. */
	ck_assert(!conform_has(BACKEND_NAMED) || (row->unname && row->admit));
	/* Somebody has to see who has the data. */
	ck_assert(conform_has(BACKEND_MARKS) || conform_has(BACKEND_COUNTED));
	/* Whose size a writer can change has to be asked how it is; a file's is what the kernel tells of the file. */
	ck_assert(!conform_has(BACKEND_FD) || conform_has(BACKEND_SEALED) || conform_has(BACKEND_DURABLE) || row->check);
	conform_end();
}
END_TEST

START_TEST(it_comes_without_a_page_and_goes_without_a_trace)
{
	struct conform_trace before;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	/* What is opened once and kept: /proc's folder of descriptors, a worker. */
	conform_must_create();
	conform_close();
	conform_trace(&before);
	for (unsigned i = 0; i < 3; i++) {
		conform_must_create();
		ck_assert_int_ge(conform.object.fd, 0);
		ck_assert_uint_eq(conform.object.map_bytes, CONFORM_SIZE);
		if (!conform_has(BACKEND_DURABLE))
			ck_assert_uint_eq(conform.row->resident_bytes(&conform.object), 0);
		conform_close();
		ck_assert_int_eq(conform.object.fd, -1);
		conform_expect_trace(&before, "after its end");
	}
	/* One that holds nothing. */
	backend_object_close(conform.row, &conform.object);
	conform_end();
}
END_TEST

START_TEST(what_one_writes_all_read)
{
	struct client writer, reader;
	char *map;

	if (!conform_start(_i))
		return;
	map = conform_map();
	client_begin(&writer, true);
	client_begin(&reader, false);
	memcpy(writer.data + CONFORM_SIZE - 4096, CONTENTS, sizeof(CONTENTS));
	ck_assert_str_eq(reader.data + CONFORM_SIZE - 4096, CONTENTS);
	ck_assert_str_eq(map + CONFORM_SIZE - 4096, CONTENTS);
	map[0] = 'x';
	ck_assert_int_eq(reader.data[0], 'x');
	/* Descriptions of their own: each has its own mode. */
	ck_assert_int_eq(fcntl(writer.fd, F_GETFL) & O_ACCMODE, O_RDWR);
	ck_assert_int_eq(fcntl(reader.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	ck_assert_int_eq(mprotect(reader.data, 4096, PROT_READ | PROT_WRITE), -1);
	if (conform_has(BACKEND_FD))
		ck_assert_ptr_eq(conform_attach(reader.fd, true), NULL);
	client_end(&reader);
	client_end(&writer);
	conform_unmap(map);
	conform_finish();
}
END_TEST

START_TEST(workers_make_pages_and_give_them_back)
{
	char *map;

	if (!conform_start(_i))
		return;
	ck_assert_msg(conform_work(JOB_POPULATE, CONFORM_SIZE) == 0, "%s", conform.text);
	ck_assert_uint_eq(conform.result.resident_bytes, CONFORM_SIZE);
	conform_expect_resident(CONFORM_SIZE);
	if (!conform_has(BACKEND_HUGE))
		ck_assert_uint_eq(conform.result.huge_bytes, 0);
	map = conform_map();
	memcpy(map, CONTENTS, sizeof(CONTENTS));
	/* Contents that are to stay are not given back. */
	if (!conform_has(BACKEND_DURABLE)) {
		ck_assert_msg(conform_work(JOB_FREE, CONFORM_SIZE) == 0, "%s", conform.text);
		conform_expect_resident(0);
		if (conform.row->reset)
			conform.row->reset(&conform.object);
		ck_assert_int_eq(map[0], 0);
	}
	conform_unmap(map);
	conform_finish();
}
END_TEST

/* Whether a client's description says that its size can be changed. */
static bool
can_resize(int fd)
{
	struct stat status;
	bool can = ftruncate(fd, CONFORM_SIZE / 2) == 0 || ftruncate(fd, 2 * CONFORM_SIZE) == 0;

	ck_assert_int_eq(fstat(fd, &status), 0);
	ck_assert_int_eq(can, (uint64_t)status.st_size != conform.object.map_bytes);
	return can;
}

START_TEST(sealed_is_sealed)
{
	struct client writer;

	if (!conform_start(_i))
		return;
	client_begin(&writer, true);
	if (conform_has(BACKEND_FD))
		ck_assert_int_ne(can_resize(writer.fd), conform_has(BACKEND_SEALED));
	/* What stands in for data cannot be changed either: a mark is on it, and a mapping. */
	else
		ck_assert(ftruncate(writer.fd, 0) && ftruncate(writer.fd, 2 * CONFORM_SIZE));
	if (conform_has(BACKEND_SEALED)) {
		writer.data[CONFORM_SIZE - 1] = 'x';
		ck_assert_int_eq(writer.data[CONFORM_SIZE - 1], 'x');
	} else if (conform.row->check) {
		ck_assert_int_ne(conform.row->check(&conform.object, conform.text, sizeof(conform.text)), 0);
		ck_assert_int_ne(conform.text[0], '\0');
	}
	client_end(&writer);
	conform_finish();
}
END_TEST

START_TEST(nobody_has_changed_it_at_first)
{
	if (!conform_start(_i))
		return;
	if (conform.row->check)
		ck_assert_msg(conform.row->check(&conform.object, conform.text, sizeof(conform.text)) == 0, "%s", conform.text);
	conform_finish();
}
END_TEST

/* An attachment is held as long as its description or a mapping of it is, in whatever process. */
START_TEST(marks_tell_until_the_last_mapping_ends)
{
	struct client client;
	void *kept;

	if (!conform_start(_i))
		return;
	client_begin(&client, true);
	/* Where data is no file, a page stands in for it, and is mapped for as long as data is attached. */
	kept = mmap(NULL, 4096, PROT_NONE, MAP_SHARED, client.fd, 0);
	ck_assert_ptr_ne(kept, MAP_FAILED);
	ck_assert(!kernelcount_held(conform.object.fd, 7, true));
	ck_assert_int_eq(kernelcount_mark(client.fd, 7), 0);
	ck_assert(kernelcount_held(conform.object.fd, 7, false));
	ck_assert(!kernelcount_alone(conform.object.fd));
	client_end(&client);
	ck_assert(kernelcount_held(conform.object.fd, 7, false));
	ck_assert(!kernelcount_alone(conform.object.fd));
	ck_assert_int_eq(munmap(kept, 4096), 0);
	ck_assert(!kernelcount_held(conform.object.fd, 7, true));
	ck_assert(kernelcount_alone(conform.object.fd));
	conform_finish();
}
END_TEST

/*
 * A process that has nothing of us: it begins before there is an object, and when it is told to, reaches that by its name, and
 * stays until it is killed.
 */
struct outsider {
	pid_t pid;
	int socket;
};

static void
outsider_run(int socket, uid_t uid)
{
	char word;

	if (uid != geteuid() && (setgid(uid) || setuid(uid)))
		_exit(1);
	while (read(socket, &word, 1) == 1) {
		word = conform_reach(true) ? 'y' : 'n';
		if (write(socket, &word, 1) != 1)
			break;
	}
	_exit(0);
}

static void
outsider_begin(struct outsider *outsider, uid_t uid)
{
	int pair[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	outsider->pid = fork();
	ck_assert_int_ge(outsider->pid, 0);
	if (outsider->pid == 0) {
		(void)close(pair[0]);
		outsider_run(pair[1], uid);
	}
	(void)close(pair[1]);
	outsider->socket = pair[0];
}

static bool
outsider_reaches(struct outsider *outsider)
{
	char word = 'g';

	ck_assert_int_eq(write(outsider->socket, &word, 1), 1);
	ck_assert_int_eq(read(outsider->socket, &word, 1), 1);
	return word == 'y';
}

static void
outsider_end(struct outsider *outsider)
{
	ck_assert_int_eq(kill(outsider->pid, SIGKILL), 0);
	ck_assert_int_eq(waitpid(outsider->pid, NULL, 0), outsider->pid);
	close_fd(&outsider->socket);
}

/* Who comes by the name is seen by the lease, or counted by the kernel; until he dies. */
START_TEST(who_comes_by_its_name_is_seen)
{
	struct outsider outsider;
	char *map;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	outsider_begin(&outsider, geteuid());
	conform_must_create();
	ck_assert_int_eq(backend_object_settle(&conform.object), 0);
	map = conform_map();
	ck_assert_int_eq(outsider_reaches(&outsider), conform_has(BACKEND_NAMED));
	if (conform_has(BACKEND_COUNTED))
		ck_assert_uint_eq(conform.row->others(&conform.object, 1), conform_has(BACKEND_NAMED));
	conform_unmap(map);
	if (conform_has(BACKEND_COUNTED))
		ck_assert_uint_eq(conform.row->others(&conform.object, 0), conform_has(BACKEND_NAMED));
	if (conform_has(BACKEND_MARKS))
		ck_assert_int_ne(kernelcount_alone(conform.object.fd), conform_has(BACKEND_NAMED));
	outsider_end(&outsider);
	if (conform_has(BACKEND_COUNTED))
		ck_assert_uint_eq(conform.row->others(&conform.object, 0), 0);
	ck_assert(kernelcount_alone(conform.object.fd));
	conform_finish();
}
END_TEST

static int
admit(const struct definition *definition)
{
	return conform.row->admit(&conform.object, definition, conform.text, sizeof(conform.text));
}

START_TEST(only_who_is_admitted_comes_by_its_name)
{
	struct definition *open;
	struct outsider nobody;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	if (!conform_has(BACKEND_NAMED) || geteuid()) {
		(void)printf("SKIP: %s: %s\n", conform.row->name, geteuid() ? "only root can be somebody else" :
		    "nobody comes to it but through us");
		conform_end();
		return;
	}
	outsider_begin(&nobody, NOBODY);
	conform_must_create();
	ck_assert(!outsider_reaches(&nobody));
	open = definition_copy(conform.definition);
	open->mode = 0666;
	ck_assert_msg(admit(open) == 0, "%s", conform.text);
	ck_assert(outsider_reaches(&nobody));
	/* As before it gets new pages. */
	ck_assert_msg(admit(NULL) == 0, "%s", conform.text);
	ck_assert(!outsider_reaches(&nobody));
	/* Nor by what is less than that. */
	open->mode = 0644;
	ck_assert_msg(admit(open) == 0, "%s", conform.text);
	ck_assert(!outsider_reaches(&nobody));
	outsider_end(&nobody);
	(void)definition_unref(open);
	conform_finish();
}
END_TEST

START_TEST(without_its_name_it_stays_with_who_has_it)
{
	struct client client;

	if (!conform_start(_i))
		return;
	if (!conform.row->unname) {
		(void)printf("SKIP: %s: it has no name, or keeps it\n", conform.row->name);
		conform_finish();
		return;
	}
	client_begin(&client, true);
	memcpy(client.data, CONTENTS, sizeof(CONTENTS));
	conform.row->unname(&conform.object);
	conform.row->unname(&conform.object);
	ck_assert_ptr_eq(conform_reach(false), NULL);
	ck_assert_str_eq(client.data, CONTENTS);
	ck_assert_int_eq(conform.row->resident_bytes(&conform.object) > 0, 1);
	/* Another one can be made, and the end of the first leaves it alone. */
	if (conform_has(BACKEND_NAMED)) {
		struct backend_object first = conform.object;

		conform_must_create();
		backend_object_close(conform.row, &first);
		ck_assert_str_eq(client.data, CONTENTS);
		conform_detach(conform_reach(false));
	}
	client_end(&client);
	conform_finish();
}
END_TEST

START_TEST(it_is_made_once_or_is_another_one)
{
	struct backend_object other;
	struct conform_trace before;
	struct client client;
	int r;

	if (!conform_start(_i))
		return;
	client_begin(&client, true);
	memcpy(client.data, CONTENTS, sizeof(CONTENTS));
	conform_trace(&before);
	r = conform_create_another(&other);
	if (conform_is_exclusive()) {
		ck_assert_int_lt(r, 0);
		ck_assert_int_ne(conform.text[0], '\0');
	} else {
		char *mine, *map = conform_map();
		struct backend_object first = conform.object;

		ck_assert_msg(r == 0, "%s", conform.text);
		conform.object = other;
		mine = conform_map();
		ck_assert_int_eq(mine[0], 0);
		mine[0] = 'x';
		conform_unmap(mine);
		conform_close();
		conform.object = first;
		ck_assert_str_eq(map, CONTENTS);
		conform_unmap(map);
	}
	conform_expect_trace(&before, "after the second one");
	ck_assert_str_eq(client.data, CONTENTS);
	client_end(&client);
	conform_finish();
}
END_TEST

START_TEST(what_others_made_is_left_alone)
{
	struct conform_trace before;
	int r;

	if (!conform_begin(_i, DEFINITION_PAGE_AUTO))
		return;
	if (!conform_take_name()) {
		(void)printf("SKIP: %s: an object of ours cannot be made: %s\n", conform.row->name, strerror(errno));
		conform_end();
		return;
	}
	conform_trace(&before);
	r = conform.row->probe ? conform.row->probe(conform.definition, conform.text, sizeof(conform.text)) : 0;
	if (r == 0)
		r = conform_create();
	if (conform_has(BACKEND_NAMED)) {
		ck_assert_int_eq(r, -EEXIST);
		ck_assert_int_ne(conform.text[0], '\0');
		/* Also without the look before. */
		conform.text[0] = '\0';
		ck_assert_int_eq(conform_create(), -EEXIST);
		ck_assert_int_ne(conform.text[0], '\0');
		conform_expect_trace(&before, "after it was refused");
	} else {
		ck_assert_int_eq(r, 0);
		conform_close();
	}
	ck_assert(conform_name_is_as_taken());
	conform_give_name_back();
	conform_end();
}
END_TEST

START_TEST(contents_last_as_long_as_promised)
{
	char *map;

	if (!conform_start(_i))
		return;
	map = conform_map();
	ck_assert_int_eq(map[5000], 0);
	ck_assert(!conform.object.has_contents);
	memcpy(map + 5000, CONTENTS, sizeof(CONTENTS));
	conform_unmap(map);
	conform_close();
	conform_must_create();
	map = conform_map();
	ck_assert_int_eq(conform.object.has_contents, conform_has(BACKEND_DURABLE));
	ck_assert_str_eq(map + 5000, conform_has(BACKEND_DURABLE) ? CONTENTS : "");
	conform_unmap(map);
	conform_finish();
}
END_TEST

static Suite *
conformance_suite(void)
{
	const TTest *const tests[] = {
		a_row_is_whole,
		it_comes_without_a_page_and_goes_without_a_trace,
		what_one_writes_all_read,
		workers_make_pages_and_give_them_back,
		sealed_is_sealed,
		nobody_has_changed_it_at_first,
		marks_tell_until_the_last_mapping_ends,
		who_comes_by_its_name_is_seen,
		only_who_is_admitted_comes_by_its_name,
		without_its_name_it_stays_with_who_has_it,
		it_is_made_once_or_is_another_one,
		what_others_made_is_left_alone,
		contents_last_as_long_as_promised,
	};
	Suite *suite = suite_create("conformance");
	TCase *tcase = tcase_create("backend");

	for (size_t i = 0; i < BASE_ARRAY_SIZE(tests); i++)
		tcase_add_loop_test(tcase, tests[i], 0, CONFORM_ROWS);
	suite_add_tcase(suite, tcase);
	return suite;
}

int
main(int argc, char **argv)
{
	return conform_main(argc, argv, conformance_suite);
}
