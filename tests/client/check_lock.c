/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* One process's sections: what they change, what they refuse and how, roll back, and tell. */
#include "config.h"

#include <sys/wait.h>

#include "tests/client/fake_locks.h"
#include "tests/suite_run.h"

#define RANGE	4096	/* what each lock protects */
#define LOG	256

enum { LOCK_BOOK, LOCK_KEEP, LOCK_ZERO, LOCK_POISON, LOCK_BARE, LOCK_MUTEX, N_LOCKS };

static struct fake_locks locks;
static struct segment_client *client;
static struct segment *segment;

static struct segment *
attach(unsigned flags)
{
	struct segment *attached = NULL;
	int r = segment_attach(client, "bank", NULL, flags, &attached);

	ck_assert_msg(r == 0, "attaching: %d: %s", r, segment_error());
	return attached;
}

static void
setup(void)
{
	locks = (struct fake_locks){ 0 };
	fake_locks_add(&locks, "book", 0, RANGE, LOG, CONTROL_ROLLBACK);
	fake_locks_add(&locks, "keep", RANGE, RANGE, LOG, CONTROL_KEEP);
	fake_locks_add(&locks, "zero", 2 * RANGE, RANGE, LOG, CONTROL_ZERO);
	fake_locks_add(&locks, "poison", 3 * RANGE, RANGE, LOG, CONTROL_POISON);
	fake_locks_add(&locks, "bare", 4 * RANGE, RANGE, 0, CONTROL_KEEP);
	fake_locks_add_mutex(&locks, "mutex", 5 * RANGE);
	fake_locks_start(&locks);
	ck_assert_int_eq(segment_connect(&client, locks.fake.path), 0);
	segment = attach(SEGMENT_WRITE);
}

static void
teardown(void)
{
	ck_assert_int_eq(segment_detach(segment), 0);
	segment_disconnect(client);
	fake_locks_stop(&locks);
}

static unsigned char *
bytes_of(int lock)
{
	return (unsigned char *)segment_data(segment) + lock * RANGE;
}

#define assert_error(call, error, part)						\
	do {									\
		int got = (call);						\
		ck_assert_msg(got == (error), "%s: %d, not %d: %s", #call, got, (error), segment_error()); \
		ck_assert_msg(strstr(segment_error(), (part)), "%s: '%s'", #call, segment_error()); \
	} while (0)

START_TEST(locks_are_found_by_name)
{
	ck_assert_int_eq(segment_find_lock(segment, "book"), LOCK_BOOK);
	ck_assert_int_eq(segment_find_lock(segment, "poison"), LOCK_POISON);
	ck_assert_int_eq(segment_find_lock(segment, "mutex"), LOCK_MUTEX);
	assert_error(segment_find_lock(segment, "boo"), -ENOENT, "'boo'");
	assert_error(segment_find_lock(segment, NULL), -EINVAL, "name");
	assert_error(segment_find_lock(NULL, "book"), -EINVAL, "segment");
}
END_TEST

START_TEST(section_changes_bytes_and_leaves_the_lock_free)
{
	unsigned char *book = bytes_of(LOCK_BOOK);
	uint32_t begun;

	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_uint_eq(fake_word(&locks, LOCK_BOOK), segment->attachment);
	ck_assert(!segment_recovered(segment, LOCK_BOOK));
	begun = segment_read_begin(segment, LOCK_BOOK);
	ck_assert(!segment_read_retry(segment, LOCK_BOOK, begun));
	ck_assert_int_eq(segment_modify(segment, LOCK_BOOK, book + 8, 4), 0);
	ck_assert(segment_read_retry(segment, LOCK_BOOK, begun));
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].sequence) & 1, 1);
	memcpy(book + 8, "abcd", 4);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book + RANGE - 2, "yz", 2), 0);
	ck_assert_int_eq(segment_modify(segment, LOCK_BOOK, book + RANGE, 0), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_uint_eq(fake_word(&locks, LOCK_BOOK), 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].used_bytes), 0);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_BOOK), begun + 2);
	ck_assert(memcmp(locks.data + 8, "abcd", 4) == 0 && memcmp(locks.data + RANGE - 2, "yz", 2) == 0);
	/* One that changed nothing does not disturb readers. */
	ck_assert_int_eq(segment_trylock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_BOOK), begun + 2);
}
END_TEST

START_TEST(rollback_restores_newest_first)
{
	unsigned char *book = bytes_of(LOCK_BOOK);

	memcpy(book, "old old old", 11);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book, "new", 3), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book, "newer newer", 11), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book + 4, "!", 1), 0);
	ck_assert_int_eq(segment_rollback(segment, LOCK_BOOK), 0);
	ck_assert(memcmp(book, "old old old", 11) == 0);
	ck_assert_uint_eq(fake_word(&locks, LOCK_BOOK), 0);
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_BOOK) & 1, 0);
	/* Where a death would keep the bytes, the program can still change its mind. */
	ck_assert_int_eq(segment_lock(segment, LOCK_KEEP), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_KEEP, bytes_of(LOCK_KEEP), "new", 3), 0);
	ck_assert_int_eq(segment_rollback(segment, LOCK_KEEP), 0);
	ck_assert_uint_eq(*bytes_of(LOCK_KEEP), 0);
	/* With no log there is nothing to roll back by, and the section goes on. */
	ck_assert_int_eq(segment_lock(segment, LOCK_BARE), 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BARE, bytes_of(LOCK_BARE), "new", 3), 0);
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BARE].sequence) & 1, 1);
	assert_error(segment_rollback(segment, LOCK_BARE), -EOPNOTSUPP, "'bare'");
	ck_assert_int_eq(segment_unlock(segment, LOCK_BARE), 0);
	ck_assert_uint_eq(*bytes_of(LOCK_BARE), 'n');
}
END_TEST

START_TEST(full_log_changes_nothing_and_rolls_back)
{
	unsigned char *book = bytes_of(LOCK_BOOK);
	char text[LOG] = "text";

	memcpy(book, "old", 3);
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	assert_error(segment_set(segment, LOCK_BOOK, book, text, LOG), -ENOSPC, "0 of 256");
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book, "new", 3), 0);
	assert_error(segment_set(segment, LOCK_BOOK, book + 100, text, LOG - 24 - 15), -ENOSPC, "24 of 256");
	ck_assert_uint_eq(book[100], 0);
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book + 100, text, LOG - 24 - 16), 0);
	assert_error(segment_modify(segment, LOCK_BOOK, book + 50, 1), -ENOSPC, "'book'");
	ck_assert_int_eq(segment_rollback(segment, LOCK_BOOK), 0);
	ck_assert(memcmp(book, "old", 4) == 0 && book[100] == 0);
}
END_TEST

START_TEST(misuse_is_an_error_with_a_sentence)
{
	unsigned char *book = bytes_of(LOCK_BOOK);
	struct timespec past = { 0 }, never = { .tv_nsec = 1000000000 }, ancient = { .tv_sec = -5 };
	int bad[] = { -1, N_LOCKS, INT32_MAX, INT32_MIN };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(bad); i++) {
		assert_error(segment_lock(segment, bad[i]), -EINVAL, "no lock");
		assert_error(segment_trylock(segment, bad[i]), -EINVAL, "no lock");
		assert_error(segment_unlock(segment, bad[i]), -EINVAL, "no lock");
		assert_error(segment_modify(segment, bad[i], book, 1), -EINVAL, "no lock");
		ck_assert_uint_eq(segment_read_begin(segment, bad[i]) & 1, 1);
		ck_assert(segment_read_retry(segment, bad[i], 0));
	}
	assert_error(segment_lock(NULL, 0), -EINVAL, "NULL");
	assert_error(segment_timedlock(segment, LOCK_BOOK, NULL), -EINVAL, "deadline");
	assert_error(segment_timedlock(segment, LOCK_BOOK, &never), -EINVAL, "second");
	assert_error(segment_unlock(segment, LOCK_BOOK), -EPERM, "'book'");
	assert_error(segment_rollback(segment, LOCK_BOOK), -EPERM, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, book, 1), -EPERM, "'book'");
	assert_error(segment_set(segment, LOCK_BOOK, book, "x", 1), -EPERM, "'book'");
	ck_assert(!segment_recovered(segment, LOCK_BOOK));
	ck_assert_ptr_nonnull(strstr(segment_error(), "not held"));
	assert_error(segment_lock(segment, LOCK_MUTEX), -EINVAL, "pthread_mutex_lock");
	assert_error(segment_trylock(segment, LOCK_MUTEX), -EINVAL, "pthread_mutex_lock");
	assert_error(segment_unlock(segment, LOCK_MUTEX), -EINVAL, "pthread_mutex_lock");
	ck_assert_uint_eq(segment_read_begin(segment, LOCK_MUTEX) & 1, 1);

	/* A lock that is free is had whatever the deadline. */
	ck_assert_int_eq(segment_timedlock(segment, LOCK_BOOK, &past), 0);
	assert_error(segment_lock(segment, LOCK_BOOK), -EDEADLK, "already");
	assert_error(segment_timedlock(segment, LOCK_BOOK, &past), -EDEADLK, "already");
	assert_error(segment_trylock(segment, LOCK_BOOK), -EBUSY, "not free");
	assert_error(segment_set(segment, LOCK_BOOK, book, NULL, 1), -EINVAL, "missing");
	assert_error(segment_modify(segment, LOCK_BOOK, book - 1, 1), -ERANGE, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, book + RANGE, 1), -ERANGE, "4096 bytes at offset 0");
	assert_error(segment_modify(segment, LOCK_BOOK, book + 1, RANGE), -ERANGE, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, book + 1, SIZE_MAX), -ERANGE, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, book + 1, SIZE_MAX - 1), -ERANGE, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, NULL, 1), -ERANGE, "'book'");
	assert_error(segment_modify(segment, LOCK_BOOK, &past, 1), -ERANGE, "'book'");
	ck_assert_uint_eq(atomic_load(&locks.control[LOCK_BOOK].used_bytes), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	assert_error(segment_unlock(segment, LOCK_BOOK), -EPERM, "'book'");
	ck_assert_int_eq(segment_timedlock(segment, LOCK_BOOK, &ancient), 0);
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
}
END_TEST

START_TEST(reader_looks_on_and_does_not_lock)
{
	struct segment *reader = attach(SEGMENT_READ);
	int lock = segment_find_lock(reader, "book");
	unsigned char *book = bytes_of(LOCK_BOOK);
	uint32_t begun;

	ck_assert_int_eq(lock, LOCK_BOOK);
	assert_error(segment_lock(reader, lock), -EACCES, "for reading");
	assert_error(segment_trylock(reader, lock), -EACCES, "for reading");
	assert_error(segment_unlock(reader, lock), -EACCES, "for reading");
	assert_error(segment_modify(reader, lock, segment_data(reader), 1), -EACCES, "for reading");
	assert_error(segment_rollback(reader, lock), -EACCES, "for reading");
	begun = segment_read_begin(reader, lock);
	ck_assert_uint_eq(begun & 1, 0);
	ck_assert(!segment_read_retry(reader, lock, begun));
	ck_assert_int_eq(segment_lock(segment, LOCK_BOOK), 0);
	ck_assert(!segment_read_retry(reader, lock, begun));
	ck_assert_int_eq(segment_set(segment, LOCK_BOOK, book, "x", 1), 0);
	ck_assert(segment_read_retry(reader, lock, begun));
	ck_assert_int_eq(segment_unlock(segment, LOCK_BOOK), 0);
	ck_assert(segment_read_retry(reader, lock, begun));
	begun = segment_read_begin(reader, lock);
	ck_assert(!segment_read_retry(reader, lock, begun));
	ck_assert_int_eq(segment_detach(reader), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("lock");
	TCase *tcase = tcase_create("lock");

	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, locks_are_found_by_name);
	tcase_add_test(tcase, section_changes_bytes_and_leaves_the_lock_free);
	tcase_add_test(tcase, rollback_restores_newest_first);
	tcase_add_test(tcase, full_log_changes_nothing_and_rolls_back);
	tcase_add_test(tcase, misuse_is_an_error_with_a_sentence);
	tcase_add_test(tcase, reader_looks_on_and_does_not_lock);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
