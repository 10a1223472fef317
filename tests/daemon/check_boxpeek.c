/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Reading a box that is not as a segmentd would leave it: foreign bytes, a newer version, descriptors and labels that do not
 * match, labels twice, ends missing or of another kind, names that are no names; and more descriptors than there may be.
 */
#include "config.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "tests/daemon/box_rig.h"
#include "tests/system/lacking.h"

static struct box_rig rig;

static void
setup(void)
{
	box_rig_prepare_manager();
	box_rig_init(&rig);
}

static void
teardown(void)
{
	harness_manager_remove(&box_rig_manager);
}

/* A pair that an earlier daemon has stored. */
static struct box_pair *
make_pair(uint64_t n)
{
	char name[BOX_PAIR_NAME_SIZE];
	struct box_pair *pair;

	ck_assert_int_eq(box_pair_new(n, &pair), 0);
	for (unsigned side = 0; side < BOX_SIDE_N; side++) {
		box_pair_name(n, side, name);
		harness_manager_store(&box_rig_manager, name, pair->ends[side]);
	}
	return pair;
}

static void
put_into(const struct box_pair *pair, enum box_side side, const struct box_rig_item *item)
{
	ck_assert_int_eq(box_pair_send(pair, side, &item->label, &item->fd, 1), 0);
}

/* Any bytes, with n descriptors. */
static void
send_bytes(const struct box_pair *pair, const void *bytes, size_t size, unsigned n)
{
	int fds[BOX_MESSAGE_FDS];

	for (unsigned i = 0; i < n; i++)
		fds[i] = rig.items[0].fd;
	ck_assert_int_ge(harness_send(pair->ends[BOX_A], bytes, size, fds, n), 0);
}

static void
read_all(void)
{
	box_rig_inherit(&rig);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
}

static bool
is_left(uint64_t n)
{
	char name[BOX_PAIR_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "box-%" PRIu64 "-", n);
	return harness_manager_count(&box_rig_manager, name) > 0;
}

static void
begin(void)
{
	box_begin(&rig.box);
	box_rig_settle(&rig);
}

START_TEST(foreign_bytes_are_left_out)
{
	static char bytes[70000];
	struct box_wire_header header = { .magic = BOX_WIRE_MAGIC, .version = BOX_WIRE_VERSION, .n_labels = 1 };
	struct box_pair *pair;
	size_t n_fds;

	box_rig_make_many(&rig, 1, 2);
	pair = make_pair(3);
	put_into(pair, BOX_A, &rig.items[0]);
	send_bytes(pair, "", 0, 0);
	send_bytes(pair, "x", 1, 253);
	send_bytes(pair, bytes, sizeof(bytes), 3);
	send_bytes(pair, &header, sizeof(header), 1);		/* a label is missing */
	send_bytes(pair, &header, sizeof(header) - 1, 1);
	memcpy(bytes, &header, sizeof(header));
	send_bytes(pair, bytes, sizeof(header) + 13, 1);
	send_bytes(pair, bytes, sizeof(bytes), 1);
	header.n_labels = UINT16_MAX;
	send_bytes(pair, &header, sizeof(header), 1);
	header.n_labels = BOX_MESSAGE_FDS + 1;
	memcpy(bytes, &header, sizeof(header));
	send_bytes(pair, bytes, sizeof(header) + (BOX_MESSAGE_FDS + 1) * sizeof(struct box_wire_label), 1);
	header.n_labels = 0;
	send_bytes(pair, &header, sizeof(header), 1);
	header = (struct box_wire_header) { .magic = BOX_WIRE_MAGIC, .n_labels = 1 };
	memcpy(bytes, &header, sizeof(header));
	send_bytes(pair, bytes, sizeof(header) + sizeof(struct box_wire_label), 1);
	put_into(pair, BOX_A, &rig.items[1]);
	(void)box_pair_free(pair);
	box_rig_inherit(&rig);
	n_fds = box_rig_count_fds();
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	ck_assert_uint_eq(box_rig_count_fds(), n_fds);
	ck_assert_uint_eq(rig.n_taken, 2);
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_told, 1);
	box_rig_expect_told(&rig, "'box-3-b' has 11 messages that no segmentd has written");
	begin();
	ck_assert(!is_left(3));
	ck_assert(is_left(4));
}
END_TEST

START_TEST(a_newer_version_stays)
{
	struct {
		struct box_wire_header header;
		char rest[5000];
	} newer = { .header = { .magic = BOX_WIRE_MAGIC, .version = 7, .n_labels = 7777 } };
	struct box_pair *pair;

	box_rig_make_many(&rig, 1, 3);
	pair = make_pair(5);
	put_into(pair, BOX_A, &rig.items[0]);
	send_bytes(pair, &newer, sizeof(newer), 253);
	send_bytes(pair, &newer, sizeof(newer.header), 0);
	put_into(pair, BOX_A, &rig.items[1]);
	(void)box_pair_free(pair);
	pair = make_pair(4);
	put_into(pair, BOX_A, &rig.items[2]);
	(void)box_pair_free(pair);
	read_all();
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_told, 1);
	box_rig_expect_told(&rig, "'box-5-b' is of a newer segmentd (version 7, this one reads up to 1)");
	begin();
	ck_assert(is_left(5));
	ck_assert(!is_left(4));
	ck_assert(is_left(6));
	/* Nothing is put into it. */
	rig.items[0].lives = false;
	box_dead(&rig.box, true);
	box_rig_settle(&rig);
	ck_assert(is_left(5));
	ck_assert_uint_eq(harness_manager_count(&box_rig_manager, "box-"), 4);
	/* The next one reads it again, and has each item once. */
	box_rig_kill(&rig);
	unsigned n = rig.n;

	box_rig_init(&rig);
	rig.n = n;
	read_all();
	box_rig_expect_all(&rig, true);
}
END_TEST

START_TEST(of_a_label_twice_the_newer_counts)
{
	struct box_pair *old = make_pair(9), *young = make_pair(10);
	struct box_rig_item *wrong, *item;
	size_t n_fds;

	wrong = box_rig_make(&rig, BOX_SEGMENT_DATA, 1);
	item = box_rig_make(&rig, BOX_SEGMENT_DATA, 1);
	/* The number counts, not the order in the store, nor that of digits. */
	put_into(young, BOX_B, wrong);		/* what a filling was */
	put_into(young, BOX_A, wrong);
	put_into(young, BOX_A, item);
	put_into(old, BOX_A, wrong);
	put_into(old, BOX_B, wrong);
	wrong->label.id = 2;
	wrong->lives = false;
	(void)box_pair_free(old);
	(void)box_pair_free(young);
	box_rig_inherit(&rig);
	n_fds = box_rig_count_fds();
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	ck_assert_uint_eq(rig.n_taken, 1);
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(box_rig_count_fds(), n_fds);
	begin();
	ck_assert(is_left(11));
	ck_assert_uint_eq(harness_manager_count(&box_rig_manager, "box-"), 2);
}
END_TEST

static void
send_uneven(const struct box_pair *pair, unsigned n_labels, unsigned n_fds)
{
	struct {
		struct box_wire_header header;
		struct box_wire_label labels[8];
	} message = { .header = { .magic = BOX_WIRE_MAGIC, .version = BOX_WIRE_VERSION, .n_labels = (uint16_t)n_labels } };
	int fds[8];

	for (unsigned i = 0; i < 8; i++) {
		message.labels[i] = (struct box_wire_label) { BOX_SESSION, 100 + i, 0 };
		fds[i] = rig.items[i].fd;
	}
	ck_assert_int_gt(harness_send(pair->ends[BOX_A], &message, sizeof(message.header) + n_labels * sizeof(message.labels[0]), fds,
	    n_fds), 0);
}

START_TEST(what_has_both_label_and_descriptor_is_taken)
{
	struct box_pair *pair = make_pair(1);

	for (unsigned i = 0; i < 8; i++)
		(void)box_rig_make(&rig, BOX_SESSION, 100 + i);
	send_uneven(pair, 5, 3);
	send_uneven(pair, 2, 8);
	send_uneven(pair, 4, 0);
	(void)box_pair_free(pair);
	for (unsigned i = 3; i < 8; i++)
		rig.items[i].lives = false;
	read_all();
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_taken, 3);
	box_rig_expect_told(&rig, "'box-1-b' has 3 messages with other descriptors than labels");
}
END_TEST

START_TEST(an_end_alone_is_read)
{
	struct box_pair *pair = make_pair(1), *other = make_pair(2), *twin = make_pair(2);

	box_rig_make_many(&rig, 1, 5);
	put_into(pair, BOX_A, &rig.items[0]);
	put_into(other, BOX_B, &rig.items[1]);
	put_into(other, BOX_A, &rig.items[2]);
	put_into(twin, BOX_A, &rig.items[3]);
	put_into(twin, BOX_B, &rig.items[4]);
	(void)box_pair_free(pair);
	(void)box_pair_free(other);
	(void)box_pair_free(twin);
	harness_manager_drop(&box_rig_manager, "box-1-a");
	read_all();
	/* Of one name there are two ends: both are read. */
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_told, 0);
	begin();
	ck_assert_uint_eq(harness_manager_count(&box_rig_manager, "box-"), 2);
}
END_TEST

static unsigned n_dropped;

static void
on_drop(const char *text, void *arg)
{
	n_dropped++;
}

START_TEST(other_things_by_our_names_are_not_taken)
{
	static const char *const names[] = {
		"box-1-c", "box-1-", "box-1", "box--a", "box-01-a", "box-0-a", "box-1-aa", "box-+1-a", "box-1 -a", "Box-1-a",
		"box-1000000000000000000-a", "box-99999999999999999999999999-a", "box-", "box",
	};
	struct box_pair *pair = make_pair(999999999999999999);
	int file = open("/dev/null", O_RDWR | O_CLOEXEC), stream[2], listening = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream), 0);
	ck_assert_int_eq(bind(listening, &(struct sockaddr) { .sa_family = AF_UNIX }, sizeof(sa_family_t)), 0);
	ck_assert_int_eq(listen(listening, 1), 0);
	box_rig_make_many(&rig, 1, 1);
	put_into(pair, BOX_A, &rig.items[0]);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(names); i++)
		harness_manager_store(&box_rig_manager, names[i], pair->ends[BOX_B]);
	harness_manager_store(&box_rig_manager, "box-7-a", file);
	harness_manager_store(&box_rig_manager, "box-7-b", stream[0]);
	harness_manager_store(&box_rig_manager, "box-8-b", listening);
	read_all();
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_told, 3);
	box_rig_expect_told(&rig, "'box-8-b' is no end of a box");
	inherited_drop(&rig.inherited, on_drop, NULL);
	ck_assert_uint_eq(n_dropped, BASE_ARRAY_SIZE(names) + 3);
	/* Numbers have run out: nothing is done any more, and nothing is lost. */
	begin();
	ck_assert(is_left(999999999999999999));
	(void)box_pair_free(pair);
}
END_TEST

static int
refuse(const struct box_label *label, int fd, void *arg)
{
	unsigned *n = arg;

	(void)close(fd);
	return ++*n == 3 ? -EOVERFLOW : 0;
}

START_TEST(who_takes_may_end_it)
{
	struct box_pair *pair = make_pair(1);
	unsigned n = 0;
	size_t n_fds;

	box_rig_make_many(&rig, 1, 100);
	for (unsigned i = 0; i < 100; i++)
		put_into(pair, BOX_A, &rig.items[i]);
	(void)box_pair_free(pair);
	box_rig_inherit(&rig);
	n_fds = box_rig_count_fds();
	ck_assert_int_eq(box_peek(&rig.box, &rig.inherited, refuse, NULL, &n), -EOVERFLOW);
	ck_assert_uint_eq(n, 3);
	ck_assert_uint_eq(box_rig_count_fds(), n_fds);
}
END_TEST

START_TEST(what_is_too_much_stays)
{
	struct rlimit limit, low = { 700, 0 };
	unsigned n = 1000;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	box_rig_make_many(&rig, 1, n);
	begin();
	box_rig_kill(&rig);
	box_rig_init(&rig);
	rig.n = n;
	box_rig_inherit(&rig);
	low.rlim_max = limit.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	ck_assert_uint_ge(rig.n_taken, 500);
	ck_assert_uint_le(rig.n_taken, 700 - 64);
	ck_assert_uint_eq(rig.n_told, 1);
	box_rig_expect_told(&rig, "could not be taken over, since this one may have no more than 700 open: LimitNOFILE= of the service");
	/* The daemon lives, with what it has, and the rest is not gone. */
	for (unsigned i = 0; i < n; i++)
		rig.items[i].lives = rig.items[i].fd >= 0;
	begin();
	ck_assert(is_left(1));
	/* Where more lies in flight than this may have open, an ordinary user can send nothing, and has the old pair alone. */
	ck_assert_uint_ge(harness_manager_count(&box_rig_manager, "box-"), geteuid() == 0 ? 4 : 2);
	box_rig_kill(&rig);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	box_rig_init(&rig);
	rig.n = n;
	read_all();
	ck_assert_uint_eq(rig.n_told, 0);
	for (unsigned i = 0; i < n; i++)
		rig.items[i].lives = true;
	box_rig_expect_all(&rig, false);
	begin();
	ck_assert(!is_left(1));
	ck_assert_uint_eq(harness_manager_count(&box_rig_manager, "box-"), 2);
}
END_TEST

/* Of daemons that were killed before they had removed what was before theirs. */
START_TEST(what_is_there_often_takes_no_more_descriptors)
{
	struct rlimit limit, low;
	unsigned n = 400;

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = 2 * n;		/* half of them is the test's own */
	box_rig_make_many(&rig, 1, n);
	for (unsigned i = 1; i <= 3; i++) {
		struct box_pair *pair = make_pair(i);

		for (unsigned k = 0; k < n; k++)
			put_into(pair, k % 2 ? BOX_A : BOX_B, &rig.items[(k * i) % n]);
		(void)box_pair_free(pair);
	}
	box_rig_inherit(&rig);
	low.rlim_cur += box_rig_count_fds() - n + 8;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	box_rig_expect_all(&rig, false);
	ck_assert_uint_eq(rig.n_taken, n);
	ck_assert_uint_eq(rig.n_told, 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
}
END_TEST

/* Of each message of the older pair one item has ended since: what comes with it is there already. */
START_TEST(what_has_ended_since_brings_nothing_else_twice)
{
	struct rlimit limit, low;
	unsigned n = BOX_MESSAGE_FDS, n_dead = 6;
	struct box_label labels[BOX_MESSAGE_FDS];
	struct box_pair *old, *young;
	int fds[BOX_MESSAGE_FDS];

	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	box_rig_make_many(&rig, 1, n + n_dead);
	old = make_pair(1);
	young = make_pair(2);
	for (unsigned i = 0; i <= n_dead; i++) {
		for (unsigned k = 0; k < n; k++) {
			const struct box_rig_item *item = &rig.items[k == 0 && i < n_dead ? n + i : k];

			labels[k] = item->label;
			fds[k] = item->fd;
		}
		ck_assert_int_eq(box_pair_send(i < n_dead ? old : young, BOX_A, labels, fds, n), 0);
	}
	(void)box_pair_free(old);
	(void)box_pair_free(young);
	for (unsigned i = 0; i < n_dead; i++)
		rig.items[n + i].lives = false;
	box_rig_inherit(&rig);
	low = limit;
	low.rlim_cur = box_rig_count_fds() + 2 * n + n_dead + 8;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	box_rig_expect_all(&rig, true);
	ck_assert_uint_eq(rig.n_taken, n + n_dead);
	ck_assert_uint_eq(rig.n_told, 0);
}
END_TEST

/* A profile or a filter that is too narrow: nothing is taken over, and nothing is gone once it is mended. */
START_TEST(what_nobody_may_read_ends_the_start)
{
	struct lacking peeking = { SYS_setsockopt, 2, SO_PEEK_OFF, false, EACCES };
	struct box_pair *pair = make_pair(1);
	int status;
	pid_t pid;

	box_rig_make_many(&rig, 1, 3);
	for (unsigned i = 0; i < 3; i++)
		put_into(pair, BOX_A, &rig.items[i]);
	(void)box_pair_free(pair);
	box_rig_inherit(&rig);
	pid = harness_fork();
	if (pid == 0) {
		lacking_deny(&peeking);
		harness_assert(box_rig_peek(&rig) == -EACCES && rig.n_taken == 0, "%ju were read", (uintmax_t)rig.n_taken);
		box_rig_expect_told(&rig, "'box-1-a' cannot be read: Permission denied; a security module or a filter");
		_exit(0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_int_eq(box_rig_peek(&rig), 0);
	box_rig_expect_all(&rig, false);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("boxpeek");
	TCase *tcase = tcase_create("boxpeek");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, foreign_bytes_are_left_out);
	tcase_add_test(tcase, a_newer_version_stays);
	tcase_add_test(tcase, of_a_label_twice_the_newer_counts);
	tcase_add_test(tcase, what_has_both_label_and_descriptor_is_taken);
	tcase_add_test(tcase, an_end_alone_is_read);
	tcase_add_test(tcase, other_things_by_our_names_are_not_taken);
	tcase_add_test(tcase, who_takes_may_end_it);
	tcase_add_test(tcase, what_is_too_much_stays);
	tcase_add_test(tcase, what_is_there_often_takes_no_more_descriptors);
	tcase_add_test(tcase, what_has_ended_since_brings_nothing_else_twice);
	tcase_add_test(tcase, what_nobody_may_read_ends_the_start);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
