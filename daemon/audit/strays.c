/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The whole host's objects, or those that are named; POSIX and System V in one answer. */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>

#include "daemon/audit/answer.h"
#include "daemon/audit/quarantine.h"
#include "daemon/audit/stray_posix.h"
#include "daemon/audit/question.h"
#include "daemon/audit/removal.h"
#include "daemon/audit/rights.h"
#include "daemon/audit/strays.h"
#include "daemon/audit/stray_sysv.h"

#define LOOKS_A_CLOCK	64		/* objects between two looks at the clock */

static void
close_directory(DIR **dir)
{
	if (*dir)
		(void)closedir(*dir);
}

static void
free_resident(struct stray_sysv_resident **resident)
{
	*resident = stray_sysv_resident_free(*resident);
}

static int
add(struct answer *answer, const struct audit_stray *stray)
{
	answer->head.n_seen++;
	if (stray->verdict == AUDIT_UNKNOWN || (stray->verdict == AUDIT_KEPT && stray->error == -EPERM))
		answer->head.n_hidden++;
	return answer_add(answer, stray);
}

static int
end(struct answer *answer, uint64_t wanted)
{
	char missing[128];

	if (answer->head.n_hidden) {
		(void)rights_missing(wanted, missing, sizeof(missing));
		(void)snprintf(answer->head.text, sizeof(answer->head.text), "%u of %u objects could not be judged%s%s%s",
		    answer->head.n_hidden, answer->head.n_seen,
		    *missing ? ": that takes " : ", although we have the capabilities for it: their errors say why", missing,
		    *missing ? "; start segmentd-audit.socket, or ask as root" : "");
	}
	return answer_end(answer);
}

/* Listing. */

struct listing {
	const struct question *question;
	struct answer *answer;
};

static int
take_quarantined(const struct audit_stray *stray, void *arg)
{
	const struct listing *listing = arg;

	if (question_is_late(listing->question))
		return -ETIME;
	return stray ? add(listing->answer, stray) : 0;
}

/* 0, or the negative errno with which the asker went away. */
static int
list_quarantine(const struct question *question, struct answer *answer, int dir_fd, const char *name)
{
	struct listing listing = { question, answer };
	int r = quarantine_list(dir_fd, name, take_quarantined, &listing);

	if (r == -ETIME)
		answer->head.flags |= AUDIT_INCOMPLETE;
	return r == -ETIME ? 0 : r;
}

static int
list_posix(const struct question *question, struct answer *answer)
{
	__attribute__((cleanup(close_directory))) DIR *dir = NULL;
	const struct dirent *entry;
	unsigned n = 0;
	int fd, r = stray_posix_open_directory(&fd);

	if (r < 0)
		return r;
	removal_settle(fd);
	dir = fdopendir(fd);
	if (!dir) {
		(void)close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (errno = 0, entry = readdir(dir))) {
		struct audit_stray stray;

		if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
			continue;
		if (n++ % LOOKS_A_CLOCK == 0 && question_is_late(question)) {
			answer->head.flags |= AUDIT_INCOMPLETE;
			break;
		}
		stray_posix_judge(dirfd(dir), entry->d_name, &stray, NULL);
		/* Of a quarantine what is in it, but a file of such a name itself; what went away meanwhile is not there to be listed. */
		if (S_ISDIR(stray.mode) && stray_posix_is_quarantine(entry->d_name))
			r = list_quarantine(question, answer, dirfd(dir), entry->d_name);
		else if (stray.verdict != AUDIT_GONE)
			r = add(answer, &stray);
	}
	/* At its end there is no error. */
	if (r == 0 && !entry && errno)
		answer->head.flags |= AUDIT_INCOMPLETE;
	if (removal_has_leftovers())
		answer->head.flags |= AUDIT_UNSETTLED;
	return 0;
}

static void
list_sysv(const struct question *question, struct answer *answer)
{
	__attribute__((cleanup(free_resident))) struct stray_sysv_resident *resident = stray_sysv_resident_new();
	int last = stray_sysv_last();

	if (last < 0)
		answer->head.flags |= AUDIT_INCOMPLETE;
	for (int place = 0; place <= last; place++) {
		struct audit_stray stray;
		int r;

		if (place % LOOKS_A_CLOCK == 0 && question_is_late(question)) {
			answer->head.flags |= AUDIT_INCOMPLETE;
			return;
		}
		r = stray_sysv_at(resident, place, &stray);
		if (r < 0 && r != -ENOENT)
			answer->head.flags |= AUDIT_INCOMPLETE;
		if (r == 0 && add(answer, &stray) < 0)
			return;
	}
}

int
strays_list(const struct question *question, struct answer *answer)
{
	int r = 0;

	if (question->head->flags & AUDIT_QUESTION_POSIX)
		r = list_posix(question, answer);
	if (r < 0)
		return answer_fail(answer, r, STRAY_POSIX_DIR " cannot be read: %s", strerror(-r));
	if (question->head->flags & AUDIT_QUESTION_SYSV)
		list_sysv(question, answer);
	return end(answer, RIGHTS_JUDGE);
}

/* Judging. */

/* Without looking. */
static void
leave_out(const struct audit_candidate *candidate, int error, struct audit_stray *ret_stray)
{
	*ret_stray = (struct audit_stray) {
		.what = candidate->what,
		.verdict = AUDIT_UNKNOWN,
		.error = error,
		.shm_id = candidate->what == AUDIT_SYSV ? candidate->shm_id : -1,
	};
	if (candidate->what == AUDIT_POSIX)
		(void)snprintf(ret_stray->name, sizeof(ret_stray->name), "%s", candidate->name);
}

static void
judge_posix(int dir_fd, const struct audit_candidate *candidate, struct audit_stray *ret_stray)
{
	stray_posix_judge(dir_fd, candidate->name, ret_stray, NULL);
	if (ret_stray->verdict != AUDIT_GONE &&
	    (ret_stray->device != candidate->device || ret_stray->inode != candidate->inode))
		ret_stray->verdict = AUDIT_CHANGED;
}

struct judging {
	const struct question *question;
	struct audit_stray strays[REMOVAL_MAX];
	struct removal_item removals[REMOVAL_MAX];
	size_t n_removals;
	bool is_incomplete;
	bool is_unsettled;
};

/* Those that are not to be removed; the others are gathered. */
static void
judge_all_posix(struct judging *judging)
{
	const struct audit_candidate *candidates = judging->question->rows;
	cleanup_close int dir_fd = -1;
	int r = stray_posix_open_directory(&dir_fd);

	if (r == 0)
		removal_settle(dir_fd);
	for (uint32_t i = 0; i < judging->question->head->n_rows; i++) {
		struct audit_stray *stray = &judging->strays[i];

		if (candidates[i].what != AUDIT_POSIX)
			continue;
		if (r < 0)
			leave_out(&candidates[i], r, stray);
		else if (candidates[i].flags & AUDIT_CANDIDATE_REMOVE)
			judging->removals[judging->n_removals++] = (struct removal_item) { &candidates[i], stray };
		else
			judge_posix(dir_fd, &candidates[i], stray);
	}
	if (judging->n_removals)
		removal_run(dir_fd, judging->removals, judging->n_removals);
	judging->is_unsettled = r == 0 && removal_has_leftovers();
}

static void
judge_all_sysv(struct judging *judging)
{
	const struct audit_candidate *candidates = judging->question->rows;
	__attribute__((cleanup(free_resident))) struct stray_sysv_resident *resident = NULL;

	for (uint32_t i = 0; i < judging->question->head->n_rows; i++) {
		if (candidates[i].what != AUDIT_SYSV)
			continue;
		if (!resident)
			resident = stray_sysv_resident_new();
		if (question_is_late(judging->question)) {
			judging->is_incomplete = true;
			leave_out(&candidates[i], -ETIME, &judging->strays[i]);
		} else {
			stray_sysv_serve(resident, &candidates[i], &judging->strays[i]);
		}
	}
}

int
strays_judge(const struct question *question, struct answer *answer)
{
	static struct judging judging;
	int r = 0;

	judging.question = question;
	judging.n_removals = 0;
	judging.is_incomplete = false;
	judge_all_posix(&judging);
	judge_all_sysv(&judging);
	if (judging.is_incomplete)
		answer->head.flags |= AUDIT_INCOMPLETE;
	if (judging.is_unsettled)
		answer->head.flags |= AUDIT_UNSETTLED;
	for (uint32_t i = 0; r == 0 && i < question->head->n_rows; i++)
		r = add(answer, &judging.strays[i]);
	return r < 0 ? r : end(answer, RIGHTS_JUDGE | RIGHTS_REMOVE);
}
