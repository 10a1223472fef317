/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * `orphans`: what of this host's shared memory nobody holds, and its removal. It asks segmentd-audit, and no daemon: of the
 * socket that systemd looks after where that lets the caller in, else of a program that has the caller's own rights. What may be
 * removed is decided there, by the kernel's word at that moment, and never by what was listed here a moment ago.
 */
#include "config.h"

#include "client/segmentctl/orphans.h"

#include <signal.h>

#include "base/base.h"
#include "client/segmentctl/auditing.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/report.h"
#include "client/segmentctl/text.h"

#define BATCH	((AUDIT_MESSAGE_BYTES - sizeof(struct audit_question)) / sizeof(struct audit_candidate))

/* Which objects are meant. */

static int
parse_number(const struct segmentctl *ctl, struct orphans_wanted *wanted, const char *digits, int base)
{
	unsigned long long number;
	char *end;

	errno = 0;
	number = strtoull(digits, &end, base);
	if (errno || end == digits || *end || *digits == '-' || *digits == '+' || *digits == ' ' || number > UINT32_MAX ||
	    (wanted->is_id && number > INT32_MAX))
		return report_usage(ctl, "'%s' is no %s of a System V segment; expected %s", wanted->text,
		    wanted->is_id ? "id" : "key", wanted->is_id ? "id: and a number, as in id:5" : "0x and 8 digits at most");
	if (!wanted->is_id && number == 0)
		return report_usage(ctl, "'%s' is the key of every private System V segment; expected id: and its number, as in id:5",
		    wanted->text);
	wanted->number = (uint32_t)number;
	return 0;
}

static int
parse_object(const struct segmentctl *ctl, const char *text, struct orphans_wanted *wanted)
{
	const char *name = *text == '/' ? text + 1 : text;

	*wanted = (struct orphans_wanted){ .text = text };
	if (strncmp(text, "0x", 2) == 0)
		return parse_number(ctl, wanted, text + 2, 16);
	wanted->is_id = strncmp(text, "id:", 3) == 0;
	if (wanted->is_id)
		return parse_number(ctl, wanted, text + 3, 10);
	if (!*name || strchr(name, '/') || strlen(name) >= AUDIT_NAME_SIZE || streq(name, ".") || streq(name, ".."))
		return report_usage(ctl, "'%.300s' cannot be an object: expected the name of one in /dev/shm, as in /psm_1, the key "
		    "of a System V segment, as in 0x7a2f, or its id, as in id:5", text);
	wanted->name = name;
	return 0;
}

static int
parse_objects(struct orphans *orphans, char **args, unsigned n_args)
{
	int r = 0;

	if (n_args == 0)
		return 0;
	orphans->wanted = calloc(n_args, sizeof(*orphans->wanted));
	if (!orphans->wanted)
		return report_no_memory(orphans->ctl);
	orphans->n_wanted = n_args;
	for (unsigned i = 0; i < n_args && r == 0; i++)
		r = parse_object(orphans->ctl, args[i], &orphans->wanted[i]);
	return r;
}

static bool
is_meant(const struct orphans_wanted *wanted, const struct audit_stray *stray)
{
	if (stray->what == AUDIT_POSIX)
		return wanted->name && streq(wanted->name, stray->name);
	return !wanted->name && wanted->number == (wanted->is_id ? (uint32_t)stray->shm_id : stray->key);
}

/* Whether it is named as it was printed. */
static bool
is_meant_escaped(const struct orphans_wanted *wanted, const struct audit_stray *stray)
{
	cleanup_free char *escaped = stray->what == AUDIT_POSIX && wanted->name ? text_escape(stray->name) : NULL;

	return escaped && streq(escaped, wanted->name);
}

/* Asking. */

static int
report_open(const struct segmentctl *ctl, int r)
{
	return report_failure(ctl, r == -EACCES ? SEGMENTCTL_NOT_PERMITTED : SEGMENTCTL_FAILED, "segmentd-audit cannot be started: %s. It belongs to segmentd and tells who holds "
	    "what; where it runs as a service, `systemctl start segmentd-audit.socket` brings it, for root and the socket's group",
	    strerror(-r));
}

static int
report_ask(const struct segmentctl *ctl, int r)
{
	switch (r) {
	case -ENOMEM:
		return report_no_memory(ctl);
	case -EPROTO:
		return report_failure(ctl, SEGMENTCTL_FAILED, "segmentd-audit answered what it must not (are segmentd-audit and "
		    "segmentctl of the same release?)");
	case -ETIME:
		return report_failure(ctl, SEGMENTCTL_FAILED, "segmentd-audit did not answer in time");
	case -ECONNRESET:
	case -EPIPE:
		return report_failure(ctl, SEGMENTCTL_FAILED, "segmentd-audit ended before it had answered");
	default:
		return report_failure(ctl, SEGMENTCTL_FAILED, "segmentd-audit cannot be asked: %s", strerror(-r));
	}
}

/* Of a whole question that failed. */
static int
report_end(const struct segmentctl *ctl, const struct audit_answer *end)
{
	bool is_rights = end->result == -EPERM || end->result == -EACCES;

	return report_failure(ctl, is_rights ? SEGMENTCTL_NOT_PERMITTED : SEGMENTCTL_FAILED, "segmentd-audit: %s",
	    *end->text ? end->text : strerror(-end->result));
}

static int
take_row(const void *row, void *arg)
{
	const struct audit_stray *stray = row;
	struct orphans *orphans = arg;

	if (stray->verdict == AUDIT_GONE)
		return 0;
	if (orphans->n == orphans->size) {
		size_t size = orphans->size ? 2 * orphans->size : 256;
		struct orphan *rows = reallocarray(orphans->rows, size, sizeof(*rows));

		if (!rows)
			return -ENOMEM;
		orphans->rows = rows;
		orphans->size = size;
	}
	orphans->rows[orphans->n++] = (struct orphan){ .stray = *stray };
	return 0;
}

/* One question on a connection of its own. As audit_ask. */
static int
list_by(struct orphans *orphans, const char *socket, bool *ret_is_service)
{
	struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_LIST, .serial = 1,
		.flags = AUDIT_QUESTION_POSIX | AUDIT_QUESTION_SYSV };
	pid_t pid;
	int r, fd = audit_open(socket, &pid);

	*ret_is_service = false;
	if (fd < 0)
		return report_open(orphans->ctl, fd);
	*ret_is_service = pid == 0;
	r = audit_ask(fd, &question, NULL, take_row, orphans, &orphans->end);
	audit_close(fd, pid);
	return r;
}

/* All objects of the host. An exit status, failures told. */
static int
list(struct orphans *orphans)
{
	bool is_service;
	int r = list_by(orphans, auditing_socket(), &is_service);

	/* A unit that does not start answers by hanging up: then as if it were not there. */
	if ((r == -ECONNRESET || r == -EPIPE) && is_service && orphans->n == 0)
		r = list_by(orphans, NULL, &is_service);
	if (r != 0)
		return r < 0 ? report_ask(orphans->ctl, r) : r;
	return orphans->end.result < 0 ? report_end(orphans->ctl, &orphans->end) : 0;
}

/* Choosing. */

static void
mark(struct orphans *orphans, struct orphans_wanted *wanted,
    bool (*is_meant_by)(const struct orphans_wanted *wanted, const struct audit_stray *stray))
{
	for (size_t i = 0; i < orphans->n; i++)
		if (is_meant_by(wanted, &orphans->rows[i].stray)) {
			orphans->rows[i].is_meant = true;
			wanted->is_found = true;
		}
}

/* Marks what is named. An exit status, failures told: of something that is not there nothing else is done either. */
static int
find_wanted(struct orphans *orphans)
{
	for (unsigned i = 0; i < orphans->n_wanted; i++) {
		struct orphans_wanted *wanted = &orphans->wanted[i];

		mark(orphans, wanted, is_meant);
		if (!wanted->is_found)
			mark(orphans, wanted, is_meant_escaped);
		if (!wanted->is_found)
			return report_failure(orphans->ctl, SEGMENTCTL_NO_SEGMENT, "there is no object '%s' %s", wanted->text,
			    wanted->name ? "in /dev/shm" : "among the System V segments");
	}
	return 0;
}

static bool
is_shown(const struct orphans *orphans, const struct orphan *row)
{
	if (orphans->n_wanted)
		return row->is_meant;
	return row->stray.verdict == AUDIT_UNHELD || row->stray.verdict == AUDIT_KEPT || orphans->ctl->options & SEGMENTCTL_OPTION_ALL;
}

static int
compare(const void *left, const void *right)
{
	const struct audit_stray *a = &((const struct orphan *)left)->stray, *b = &((const struct orphan *)right)->stray;
	bool a_is_held = a->verdict != AUDIT_UNHELD, b_is_held = b->verdict != AUDIT_UNHELD;

	if (a_is_held != b_is_held)
		return a_is_held - b_is_held;
	if (a->resident_bytes != b->resident_bytes)
		return a->resident_bytes > b->resident_bytes ? -1 : 1;
	if (a->what != b->what)
		return a->what < b->what ? -1 : 1;
	if (a->what == AUDIT_SYSV)
		return (a->shm_id > b->shm_id) - (a->shm_id < b->shm_id);
	return strcmp(a->name, b->name);
}

/* Leaves what is shown, what can be removed first, the largest first. */
static void
choose(struct orphans *orphans)
{
	size_t n = 0;

	for (size_t i = 0; i < orphans->n; i++) {
		const struct orphan *row = &orphans->rows[i];

		if (row->stray.verdict == AUDIT_UNKNOWN && (!orphans->n_wanted || row->is_meant))
			orphans->n_unknown++;
		if (!is_shown(orphans, row))
			continue;
		if (row->stray.verdict == AUDIT_UNHELD) {
			orphans->n_unheld++;
			orphans->resident_bytes += row->stray.resident_bytes;
		}
		orphans->n_kept += row->stray.verdict == AUDIT_KEPT;
		orphans->rows[n++] = *row;
		/* What is named and cannot be removed is told like what was not. */
		if (row->is_meant && row->stray.verdict != AUDIT_UNHELD) {
			orphans->rows[n - 1].is_tried = true;
			orphans->rows[n - 1].result = row->stray.verdict;
			orphans->rows[n - 1].error = row->stray.error;
		}
	}
	orphans->n = n;
	if (!orphans->n_wanted)
		orphans->n_unknown = max_u64(orphans->n_unknown, orphans->end.n_hidden);
	if (n)
		qsort(orphans->rows, n, sizeof(*orphans->rows), compare);
}

/* Removing. */

/* Whether they are to be removed. False also where the terminal has no answer. */
static bool
confirm(const struct orphans *orphans)
{
	char size[TEXT_SIZE], answer[16] = "";

	if (orphans->ctl->options & SEGMENTCTL_OPTION_YES)
		return true;
	text_format_size(orphans->resident_bytes, size);
	printf("Remove %s %zu object%s (%s)? Their contents are lost. [y/N] ", orphans->n_unheld == 1 ? "this" : "these",
	    orphans->n_unheld, orphans->n_unheld == 1 ? "" : "s", size);
	(void)fflush(stdout);
	if (!fgets(answer, sizeof(answer), stdin))
		putchar('\n');
	answer[strcspn(answer, "\n")] = '\0';
	return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

static struct audit_candidate
candidate_of(const struct audit_stray *stray)
{
	struct audit_candidate candidate = {
		.what = stray->what,
		.flags = AUDIT_CANDIDATE_REMOVE,
		.device = stray->device,
		.inode = stray->inode,
		.shm_id = stray->shm_id,
		.key = stray->key,
		.attached_s = stray->attached_s,
		.detached_s = stray->detached_s,
		.changed_s = stray->changed_s,
		.creator = (uint32_t)stray->creator,
	};

	memcpy(candidate.name, stray->name, sizeof(candidate.name));
	return candidate;
}

static int
take_result(const void *data, void *arg)
{
	const struct audit_stray *stray = data;
	struct orphan **next = arg;

	(*next)->is_tried = true;
	(*next)->result = stray->verdict;
	(*next)->error = stray->error;
	(*next)->n_attached = stray->n_attached;
	(*next)++;
	return 0;
}

/* As many as a message has room for, from first on. As audit_ask. */
static int
remove_batch(struct orphans *orphans, int fd, size_t first, size_t n)
{
	struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_JUDGE, .serial = first + 2, .n_rows = (uint32_t)n };
	cleanup_free struct audit_candidate *candidates = calloc(n, sizeof(*candidates));
	struct orphan *next = &orphans->rows[first];

	if (!candidates)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		candidates[i] = candidate_of(&orphans->rows[first + i].stray);
	return audit_ask(fd, &question, candidates, take_result, &next, &orphans->end);
}

/*
 * Signals that would end us wait until a batch is done and told: segmentd-audit dies with us, and what it was about to remove
 * would wait in quarantine for the next who asks it.
 */
static int
remove_batches(struct orphans *orphans, int fd)
{
	sigset_t ends, before;
	int r = 0;

	(void)sigemptyset(&ends);
	(void)sigaddset(&ends, SIGINT);
	(void)sigaddset(&ends, SIGTERM);
	(void)sigaddset(&ends, SIGHUP);
	for (size_t first = 0; r == 0 && first < orphans->n_unheld; first += BATCH) {
		size_t n = min_u64(BATCH, orphans->n_unheld - first);

		(void)sigprocmask(SIG_BLOCK, &ends, &before);
		r = remove_batch(orphans, fd, first, n);
		orphans->is_cut_off = r == -ECONNRESET || r == -EPIPE || r == -ETIME || r == -EPROTO;
		if (!orphans->ctl->json)
			orphans_print_results(orphans, first, n);
		(void)fflush(stdout);
		(void)sigprocmask(SIG_SETMASK, &before, NULL);
		if (r == 0 && orphans->end.result < 0)
			return report_end(orphans->ctl, &orphans->end);
	}
	return r < 0 ? report_ask(orphans->ctl, r) : 0;
}

/* What became of it all: not permitted is what nothing else went wrong with. */
static int
judge_results(const struct orphans *orphans)
{
	int status = SEGMENTCTL_DONE;

	for (size_t i = 0; i < orphans->n; i++) {
		const struct orphan *row = &orphans->rows[i];
		if (!row->is_tried || row->result == AUDIT_REMOVED || row->result == AUDIT_GONE)
			continue;
		if (row->error != -EPERM && row->error != -EACCES)
			return SEGMENTCTL_FAILED;
		status = SEGMENTCTL_NOT_PERMITTED;
	}
	return status;
}

/* Who is asked about nothing answers with no row. */
static int
take_nothing(const void *row, void *arg)
{
	return -EPROTO;
}

/* Who is asked to judge anything settles first what has no name since whoever was asked before ended over it. */
static void
settle(struct orphans *orphans)
{
	struct audit_question question = { .version = AUDIT_VERSION, .kind = AUDIT_JUDGE, .serial = 1 };
	pid_t pid;
	int r, fd = audit_open(auditing_socket(), &pid);

	r = fd < 0 ? fd : audit_ask(fd, &question, NULL, take_nothing, NULL, &orphans->end);
	if (fd >= 0)
		audit_close(fd, pid);
	if (r < 0 || orphans->end.result < 0 || orphans->end.flags & AUDIT_UNSETTLED)
		fputs("segmentctl: what it was removing may wait without its name in " AUDIT_QUARANTINES " until segmentd-audit is asked "
		    "again: `segmentctl orphans` does\n", stderr);
}

/* On a connection of its own: who was asked took their time. An exit status, failures told. */
static int
carry_out(struct orphans *orphans)
{
	pid_t pid;
	int r, fd = audit_open(auditing_socket(), &pid);

	if (fd < 0)
		return report_open(orphans->ctl, fd);
	r = remove_batches(orphans, fd);
	audit_close(fd, pid);
	if (orphans->is_cut_off)
		settle(orphans);
	return r;
}

static int
remove_and_print(struct orphans *orphans)
{
	bool is_json = orphans->ctl->json;
	int r = 0;

	if (orphans->n_unheld && !confirm(orphans)) {
		fputs("segmentctl: nothing was removed\n", stderr);
		return SEGMENTCTL_FAILED;
	}
	if (orphans->n_unheld)
		r = carry_out(orphans);
	if (r != 0)
		return r;
	if (!is_json) {
		orphans_print_results(orphans, orphans->n_unheld, orphans->n - orphans->n_unheld);
		if (orphans->n_unheld)
			orphans_print_sum(orphans);
	}
	r = report_output(orphans->ctl, is_json ? orphans_print_json(orphans) : 0);
	return r == 0 ? judge_results(orphans) : r;
}

static int
check_options(const struct segmentctl *ctl)
{
	if (!(ctl->options & SEGMENTCTL_OPTION_REMOVE))
		return ctl->options & SEGMENTCTL_OPTION_YES ? report_usage(ctl, "--yes answers what --remove asks, which is not given") : 0;
	if (ctl->options & SEGMENTCTL_OPTION_YES)
		return 0;
	if (ctl->json)
		return report_usage(ctl, "--remove asks before it removes, which a document cannot; expected --yes besides");
	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
		return report_usage(ctl, "--remove asks before it removes, and there is no terminal; expected --yes besides");
	return 0;
}

static int
run(struct orphans *orphans)
{
	const struct segmentctl *ctl = orphans->ctl;
	bool remove = ctl->options & SEGMENTCTL_OPTION_REMOVE;
	int r = list(orphans);

	if (r == 0)
		r = find_wanted(orphans);
	if (r != 0)
		return r;
	choose(orphans);
	if (!ctl->json)
		r = report_output(ctl, orphans_print(orphans));
	else if (!remove)
		r = report_output(ctl, orphans_print_json(orphans));
	return r == 0 && remove ? remove_and_print(orphans) : r;
}

int
orphans_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct orphans orphans = { .ctl = ctl };
	int r = check_options(ctl);

	if (r == 0)
		r = parse_objects(&orphans, args, n_args);
	if (r == 0)
		r = run(&orphans);
	free(orphans.wanted);
	free(orphans.rows);
	return r;
}
