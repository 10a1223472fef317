/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The sweep races programs that never heard of it, for 1,000 rounds: what they leave is found and removed; what they have is
 * never taken from them, and nobody ends with an object that others do not find.
 */
#include "config.h"

#include <dirent.h>
#include <signal.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "tests/audit/racing.h"
#include "tests/audit/rig.h"

#define N_ROUNDS	1000
#define N_QUICK		100
#define N_PROGRAMS	6
#define N_KILL		10		/* rounds between two kills of a program */
#define N_LAST		20		/* questions that what is left in the end may take */

static struct audit_candidate candidates[RACING_NAMES];
static uint64_t n_verdicts[AUDIT_KEPT + 1];

static unsigned
n_rounds(void)
{
	if (harness_is_full())
		return N_ROUNDS;
	printf("LEFT OUT: %d rounds instead of %d; CHECK_FULL=1 has them all\n", N_QUICK, N_ROUNDS);
	return N_QUICK;
}

/* Programs remove them at any time. */
static bool
find_posix(unsigned i, struct audit_candidate *ret_candidate)
{
	char path[64];
	struct stat status;

	(void)snprintf(path, sizeof(path), "/dev/shm/" RACING_PREFIX "%u", i);
	if (lstat(path, &status))
		return false;
	*ret_candidate = (struct audit_candidate) {
		.what = AUDIT_POSIX, .flags = AUDIT_CANDIDATE_REMOVE, .device = status.st_dev, .inode = status.st_ino, .shm_id = -1,
	};
	(void)snprintf(ret_candidate->name, sizeof(ret_candidate->name), RACING_PREFIX "%u", i);
	return true;
}

static bool
find_sysv(unsigned i, struct audit_candidate *ret_candidate)
{
	int id = shmget(RACING_KEY + (key_t)i, 0, 0);
	struct shmid_ds shm;

	if (id < 0 || shmctl(id, IPC_STAT, &shm))
		return false;
	*ret_candidate = (struct audit_candidate) {
		.what = AUDIT_SYSV, .flags = AUDIT_CANDIDATE_REMOVE, .shm_id = id, .key = (uint32_t)shm.shm_perm.__key,
		.attached_s = shm.shm_atime, .detached_s = shm.shm_dtime, .changed_s = shm.shm_ctime,
		.creator = (uint32_t)shm.shm_cpid,
	};
	return true;
}

static size_t
sweep(bool is_sysv)
{
	size_t n = 0;

	for (unsigned i = 0; i < RACING_NAMES; i++)
		n += is_sysv ? find_sysv(i, &candidates[n]) : find_posix(i, &candidates[n]);
	if (n && rig_judge(candidates, n) != n)
		harness_fail("not all were judged");
	for (size_t i = 0; i < n; i++)
		n_verdicts[rig.strays[i].verdict]++;
	return n;
}

static void
race(bool is_sysv)
{
	struct racing_program programs[N_PROGRAMS];
	struct racing *racing = racing_new();
	unsigned n = n_rounds(), n_left = N_LAST;

	rig_start();
	for (unsigned i = 0; i < N_PROGRAMS; i++)
		racing_start(&programs[i], racing, (enum racing_role)(i % RACING_ROLE_N), is_sysv);
	for (unsigned round = 0; round < n; round++) {
		racing_turn(racing);
		(void)sweep(is_sysv);
		racing_turn(racing);
		/* Not who unlinks: another one would unlink what it does not know. */
		if (round % N_KILL == N_KILL - 1) {
			unsigned i = round / N_KILL % RACING_UNLINKER;

			harness_child_kill(&programs[i].child);
			racing_start(&programs[i], racing, (enum racing_role)i, is_sysv);
		}
	}
	racing_end(racing, programs, N_PROGRAMS);
	while (sweep(is_sysv))
		harness_assert(n_left-- > 0, "what nobody has is not removed");
	rig_stop();
	printf("%u rounds: %ju times one was had, %ju made, %u unlinked by a program; the sweep removed %ju, met %ju held, %ju changed "
	    "and %ju kept; %ju opens waited, %ju objects were kept aside, %ju keys were lost in attaching\n", n,
	    (uintmax_t)racing->n_had, (uintmax_t)racing->n_made, racing->n_gone, (uintmax_t)n_verdicts[AUDIT_REMOVED],
	    (uintmax_t)n_verdicts[AUDIT_HELD], (uintmax_t)n_verdicts[AUDIT_CHANGED], (uintmax_t)n_verdicts[AUDIT_KEPT],
	    (uintmax_t)racing->n_waited, (uintmax_t)racing->n_aside, (uintmax_t)racing->n_keys_lost);
	harness_assert(n_verdicts[AUDIT_REMOVED] && n_verdicts[AUDIT_HELD], "there was no race");
}

START_TEST(programs_with_posix_objects_race_the_sweep)
{
	DIR *dir;
	struct dirent *entry;

	rig_enter_private_shm();
	race(false);
	dir = opendir("/dev/shm");
	ck_assert_ptr_nonnull(dir);
	while ((entry = readdir(dir)))
		harness_assert(streq(entry->d_name, ".") || streq(entry->d_name, ".."), "'%s' is left", entry->d_name);
	(void)closedir(dir);
}
END_TEST

START_TEST(programs_with_system_v_memory_race_the_sweep)
{
	rig_enter_private_shm();
	race(true);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("races");
	TCase *tcase = tcase_create("races");

	tcase_set_timeout(tcase, HARNESS_TEST_TIMEOUT_S);
	tcase_add_test(tcase, programs_with_posix_objects_race_the_sweep);
	tcase_add_test(tcase, programs_with_system_v_memory_race_the_sweep);
	suite_add_tcase(suite, tcase);
	return harness_run(suite);
}
