/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * POSIX objects that a rule is about. One inotify watch of their directory tells of names that come and go and of files that
 * are closed: each close sets the rule's time going anew. What is due then is orphans_posix_ask.c's.
 *
 * Anybody may make names there, and open and close them at will: names kept are bounded, turns are short, what was spent on
 * reading is rested for, and what the kernel could not queue leads to a look at the whole directory, which has its rests too.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>

#include "base/base.h"
#include "daemon/orphans_posix.h"
#include "daemon/timer.h"

#define READ_REST_NS	(100 * NS_PER_MS)	/* between two bursts of events that are read, at least */
#define READ_AGAIN_NS	NS_PER_SEC		/* between two reads while the kernel does not tell of anything */
#define REWATCH_NS	(30 * NS_PER_SEC)	/* until a directory that went away is looked for again */

#define EVENTS		(IN_CLOSE_WRITE | IN_CLOSE_NOWRITE | IN_CREATE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_ONLYDIR)

void
orphans_posix_set_due(struct orphans_posix *posix, struct orphans_name *name, uint64_t due_ns)
{
	name->due_ns = due_ns;
	orphans_names_sort(&posix->names, name);
}

void
orphans_posix_touch(struct orphans_posix *posix, struct orphans_name *name, uint64_t now_ns, bool is_seen)
{
	name->since_ns = now_ns;
	name->is_seen = is_seen;
	name->n_tries = 0;
	if (name->is_asked)
		name->is_touched = true;
	else
		orphans_posix_set_due(posix, name, now_ns + name->rule->after_ms * NS_PER_MS);
}

void
orphans_posix_retry(struct orphans_posix *posix, struct orphans_name *name, uint64_t now_ns)
{
	orphans_posix_set_due(posix, name, now_ns + orphans_backoff_ns(name->rule, name->n_tries));
	if (name->n_tries < UINT8_MAX)
		name->n_tries++;
}

/* A name that is there, and perhaps new. */
static void
posix_add(struct orphans_posix *posix, const char *text, uint64_t now_ns, bool is_seen)
{
	const struct conf_orphan *rule = orphans_rules_of_name(posix->rules, text);
	struct orphans_name *name;

	if (!rule)
		return;
	if (posix->names.n >= posix->orphans->max_entries) {
		posix->is_full = true;
		if (!posix->is_full_told)
			log_write(MESSAGE_ORPHANS_LATER, NULL, "more than %zu objects of %s fall under a rule of orphans: the others are looked at "
			    "once there are fewer", posix->orphans->max_entries, posix->orphans->host.directory);
		posix->is_full_told = true;
		return;
	}
	name = orphans_names_add(&posix->names, text);
	if (!name) {
		posix->is_full = true;
		return;
	}
	name->rule = rule;
	orphans_posix_touch(posix, name, now_ns, is_seen);
}

void
orphans_posix_drop(struct orphans_posix *posix, struct orphans_name *name)
{
	orphans_names_remove(&posix->names, name);
	/* There is room again for what had none. */
	if (posix->is_full && posix->names.n < posix->orphans->max_entries / 8 * 7) {
		posix->is_full = false;
		posix->wants_scan = true;
	}
}

/* What the kernel told. */

static void
posix_on_name(struct orphans_posix *posix, const struct inotify_event *event, uint64_t now_ns)
{
	struct orphans_name *name = orphans_names_find(&posix->names, event->name);
	bool is_gone = event->mask & (IN_DELETE | IN_MOVED_FROM);
	bool is_come = event->mask & (IN_CREATE | IN_MOVED_TO);

	if (!name) {
		if (!is_gone)
			posix_add(posix, event->name, now_ns, true);
	} else if (name->is_asked && (is_gone || is_come)) {
		/* By the judge, who may have put it back; or by somebody else, and it may be another one. */
		name->is_gone = is_gone;
		name->is_touched = is_come;
		name->since_ns = now_ns;
	} else if (is_gone) {
		orphans_posix_drop(posix, name);
	} else if (is_come) {
		name->told_inode = 0;
		orphans_posix_touch(posix, name, now_ns, true);
	} else if (!name->is_asked || !posix->ask->is_sent || event->mask & IN_CLOSE_WRITE) {
		/* The judge opens for reading only, once it is asked: its closes are not told from others'. */
		orphans_posix_touch(posix, name, now_ns, true);
	}
}

static void
posix_on_event(struct orphans_posix *posix, const struct inotify_event *event, uint64_t now_ns)
{
	if (event->mask & IN_Q_OVERFLOW) {
		posix->orphans->n_overflows++;
		posix->wants_scan = true;
	} else if (event->mask & IN_IGNORED) {
		posix->is_lost = event->wd == posix->wd;
	} else if (event->len && !(event->mask & IN_ISDIR)) {
		posix_on_name(posix, event, now_ns);
	}
}

bool
orphans_posix_read(struct orphans_posix *posix, uint64_t until_ns)
{
	char buf[8192] __attribute__((aligned(__alignof__(struct inotify_event))));
	uint64_t begun_ns = orphans_spent_ns(), now_ns = clock_monotonic_ns();
	ssize_t n;

	do {
		n = read(posix->inotify_fd, buf, sizeof(buf));
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *event = (const void *)(buf + at);

			posix_on_event(posix, event, now_ns);
			at += (ssize_t)(sizeof(*event) + event->len);
		}
		if (n > 0) {
			posix->has_read = true;
			posix->settle_bytes -= min_u64(posix->settle_bytes, (uint64_t)n);
		}
		now_ns = clock_monotonic_ns();
	} while (n > 0 && now_ns < until_ns);
	posix->read_ns += orphans_spent_ns() - begun_ns;
	if (n > 0)
		return false;
	posix->settle_bytes = 0;
	if (posix->has_read)
		posix->read_at_ns = now_ns + orphans_rest_ns(posix->read_ns, READ_REST_NS);
	posix->is_resting = posix->has_read;
	posix->has_read = false;
	posix->read_ns = 0;
	return true;
}

/* The directory as a whole. */

static void
posix_end_scan(struct orphans_posix *posix, uint64_t now_ns)
{
	posix->scan = orphans_scan_free(posix->scan);
	posix->scan_at_ns = now_ns + orphans_rest_ns(posix->scan_ns, ORPHANS_POSIX_SCAN_REST_NS);
}

/* It could not be done, and is to be done later. */
static void
posix_put_off_scan(struct orphans_posix *posix, int r, const char *text)
{
	posix->scan = orphans_scan_free(posix->scan);
	posix->wants_scan = true;
	posix->scan_at_ns = clock_monotonic_ns() + REWATCH_NS;
	/* Said once, and again only after it had worked. */
	if (!posix->is_put_off)
		log_write(MESSAGE_ORPHANS_LATER, &(struct log_about) { .error = r }, "what there is in %s cannot be listed, and what falls "
		    "under a rule of orphans there stays until it can: %s; it is tried again every %u s",
		    posix->orphans->host.directory, text, (unsigned)(REWATCH_NS / NS_PER_SEC));
	posix->is_put_off = true;
}

static void
posix_on_scan(struct orphans_scan *scan, int r, const char *text, void *arg)
{
	struct orphans_posix *posix = arg;

	if (r)
		posix_put_off_scan(posix, r, text);
	timer_add_ns(&posix->turn_event, 0);
}

/* Begins one, if that is due. Whether there are names of one. */
static bool
posix_begin_scan(struct orphans_posix *posix, uint64_t now_ns)
{
	int r;

	if (posix->scan)
		return !posix->scan->is_out;
	if (!posix->wants_scan || now_ns < posix->scan_at_ns || posix->is_lost)
		return false;
	posix->wants_scan = false;
	posix->scan_ns = 0;
	r = orphans_scan_new(&posix->orphans->scans, posix->orphans->host.workers, posix->dir_fd, posix_on_scan, posix, &posix->scan);
	if (r)
		posix_put_off_scan(posix, r, strerror(-r));
	return false;
}

/* One that is known already is as if it were not: what was told of it meanwhile is lost. */
static void
posix_scan_name(struct orphans_posix *posix, const char *text, uint64_t now_ns)
{
	struct orphans_name *name = orphans_names_find(&posix->names, text);

	if (name)
		orphans_posix_touch(posix, name, now_ns, false);
	else
		posix_add(posix, text, now_ns, false);
}

static void
posix_scan(struct orphans_posix *posix, uint64_t until_ns)
{
	uint64_t begun_ns = orphans_spent_ns(), now_ns = clock_monotonic_ns();
	const char *text;
	unsigned n = 0;

	while ((text = orphans_scan_next(posix->scan))) {
		posix_scan_name(posix, text, now_ns);
		if (++n % 16 == 0 && (now_ns = clock_monotonic_ns()) >= until_ns)
			break;
	}
	now_ns = clock_monotonic_ns();
	posix->scan_ns += orphans_spent_ns() - begun_ns;
	if (text)
		return;
	if (posix->scan->error) {
		posix_put_off_scan(posix, posix->scan->error, strerror(-posix->scan->error));
		return;
	}
	posix->is_put_off = false;
	/* The others are looked at once there are fewer. */
	posix->is_full |= posix->scan->is_cut;
	posix_end_scan(posix, now_ns);
}

/* The watch, and turns. */

static int
posix_watch(struct orphans_posix *posix)
{
	const char *path = posix->orphans->host.directory;
	cleanup_close int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
	struct stat status;
	int wd;

	if (fd < 0 || fstat(fd, &status))
		return -errno;
	wd = inotify_add_watch(posix->inotify_fd, path, EVENTS);
	if (wd < 0)
		return -errno;
	close_fd(&posix->dir_fd);
	posix->dir_fd = take_fd(&fd);
	posix->device = status.st_dev;
	posix->wd = wd;
	posix->is_lost = false;
	posix->wants_scan = true;
	return 0;
}

static void
posix_watch_again(struct orphans_posix *posix, uint64_t now_ns)
{
	if (posix->scan)
		posix_end_scan(posix, now_ns);
	if (posix_watch(posix))
		posix->rewatch_at_ns = now_ns + REWATCH_NS;
}

/* When there is something to do next. */
static uint64_t
posix_next_ns(const struct orphans_posix *posix)
{
	const struct orphans_name *first = orphans_names_first(&posix->names);
	uint64_t next_ns = posix->is_resting ? posix->read_at_ns : UINT64_MAX;

	if (posix->has_read || (posix->scan && !posix->scan->is_out) || posix->is_settling)
		return 0;
	if (posix->is_lost)
		return min_u64(next_ns, posix->rewatch_at_ns);
	/* Its worker tells when that has ended. */
	if (posix->scan)
		return next_ns;
	if (posix->wants_scan)
		return min_u64(next_ns, posix->scan_at_ns);
	/* Nothing is asked before what is queued was read. */
	if (posix->ask->is_out || posix->is_resting)
		return next_ns;
	if (posix->ask->n)
		return 0;
	return first ? min_u64(next_ns, first->due_ns) : next_ns;
}

void
orphans_posix_plan(struct orphans_posix *posix)
{
	uint64_t now_ns = clock_monotonic_ns(), next_ns;

	if (posix->is_resting || posix->is_lost) {
		(void)event_del(&posix->read_event);
	} else if (event_add(&posix->read_event, NULL)) {
		/* The kernel had no room for it: until it has, the clock says when to read. */
		posix->is_resting = true;
		posix->read_at_ns = now_ns + READ_AGAIN_NS;
	}
	next_ns = posix_next_ns(posix);
	if (next_ns == UINT64_MAX)
		(void)evtimer_del(&posix->turn_event);
	else
		timer_add_ns(&posix->turn_event, next_ns > now_ns ? next_ns - now_ns : 0);
}

static void
posix_turn(struct orphans_posix *posix)
{
	uint64_t now_ns = clock_monotonic_ns(), until_ns = now_ns + ORPHANS_POSIX_TURN_NS;
	struct orphans *orphans = posix->orphans;
	bool has_all = false;

	if (!posix->is_resting || now_ns >= posix->read_at_ns || posix->settle_bytes)
		has_all = orphans_posix_read(posix, until_ns);
	if (posix->is_settling && !posix->settle_bytes)
		orphans_posix_settle(posix, until_ns);
	if (posix->is_lost && now_ns >= posix->rewatch_at_ns)
		posix_watch_again(posix, now_ns);
	if (posix->rules->n_posix && posix_begin_scan(posix, now_ns))
		posix_scan(posix, until_ns);
	if (has_all)
		orphans_posix_ask(posix, until_ns);
	if (posix->rules->n_posix || posix->ask->is_out)
		orphans_posix_plan(posix);
	else
		orphans->posix = orphans_posix_free(posix);
}

static void
posix_on_turn(evutil_socket_t fd, short what, void *arg)
{
	posix_turn(arg);
}

struct orphans_posix *
orphans_posix_free(struct orphans_posix *posix)
{
	if (!posix)
		return NULL;
	posix->ask = orphans_ask_free(posix->ask);
	if (event_initialized(&posix->read_event))
		(void)event_del(&posix->read_event);
	if (event_initialized(&posix->turn_event))
		(void)event_del(&posix->turn_event);
	posix->scan = orphans_scan_free(posix->scan);
	orphans_throw_away(posix->orphans, &posix->names);
	(void)orphans_rules_unref(posix->rules);
	close_fd(&posix->dir_fd);
	close_fd(&posix->inotify_fd);
	free(posix);
	return NULL;
}

static int
posix_init(struct orphans_posix *posix)
{
	struct event_base *base = posix->orphans->host.base;
	int r = orphans_names_init(&posix->names);

	posix->ask = orphans_ask_new(posix->orphans, orphans_posix_on_end);
	posix->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (posix->inotify_fd < 0)
		return -errno;
	if (posix->ask)
		posix->ask->on_send = orphans_posix_on_send;
	if (r || !posix->ask ||
	    event_assign(&posix->read_event, base, posix->inotify_fd, EV_READ, posix_on_turn, posix) ||
	    evtimer_assign(&posix->turn_event, base, posix_on_turn, posix))
		return -ENOMEM;
	r = posix_watch(posix);
	if (r == 0)
		orphans_posix_plan(posix);
	return r;
}

int
orphans_posix_new(struct orphans *orphans, struct orphans_posix **ret_posix)
{
	struct orphans_posix *posix = calloc(1, sizeof(*posix));
	int r;

	if (!posix)
		return -ENOMEM;
	posix->orphans = orphans;
	posix->rules = orphans_rules_ref(orphans->rules);
	posix->inotify_fd = posix->dir_fd = -1;
	r = posix_init(posix);
	if (r)
		(void)orphans_posix_free(posix);
	else
		*ret_posix = posix;
	return r;
}

int
orphans_posix_renew(struct orphans_posix *posix)
{
	struct orphans *orphans = posix->orphans;
	struct orphans_names names;

	/* A removal that is under way is waited for: it is to be told. */
	if (!orphans->rules->n_posix && !posix->ask->is_out) {
		orphans->posix = orphans_posix_free(posix);
		return 0;
	}
	if (orphans_names_init(&names)) {
		orphans->posix = orphans_posix_free(posix);
		return -ENOMEM;
	}
	orphans_throw_away(orphans, &posix->names);
	posix->names = names;
	(void)orphans_rules_unref(posix->rules);
	posix->rules = orphans_rules_ref(orphans->rules);
	posix->is_full = posix->is_full_told = false;
	/* What was not asked yet is of the old ones. */
	if (!posix->ask->is_out)
		orphans_ask_clear(posix->ask);
	/* One that goes on has passed names already. */
	posix->scan = orphans_scan_free(posix->scan);
	posix->wants_scan = orphans->rules->n_posix;
	posix->scan_at_ns = 0;
	orphans_posix_plan(posix);
	return 0;
}

size_t
orphans_posix_n(const struct orphans_posix *posix)
{
	return posix ? posix->names.n : 0;
}
