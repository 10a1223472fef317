/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>

#include "tests/daemon/box_rig.h"

#define UID_FIRST	2000000000

#define SETTLE_TURNS	100000

struct harness_manager box_rig_manager;

/*
 * What lies in flight counts against its sender's uid, whichever process sent it: thousands of ours would have other tests' daemons
 * wait. So the real uid, by which the kernel goes, is one that nobody else has.
 */
static void
become_nobody_else(void)
{
	const uid_t uid = UID_FIRST + (uid_t)getpid();

	if (geteuid() == 0)
		ck_assert_int_eq(setresuid(uid, (uid_t)-1, (uid_t)-1), 0);
}

void
box_rig_prepare_manager(void)
{
	become_nobody_else();
	harness_manager_prepare(&box_rig_manager, NULL, "");
	ck_assert_int_eq(setenv("NOTIFY_SOCKET", box_rig_manager.daemon.notify, 1), 0);
}

static void
rig_fill(struct box *box, void *arg)
{
	struct box_rig *rig = arg;

	for (unsigned i = 0; i < rig->n; i++) {
		if (rig->items[i].lives)
			(void)box_put(box, &rig->items[i].label, rig->items[i].fd);
	}
}

void
box_rig_init(struct box_rig *rig)
{
	struct box_rig_item *items = rig->items;

	*rig = (struct box_rig) { .items = items, .inherited = INHERITED_NULL };
	if (!items)
		rig->items = calloc(BOX_RIG_MAX, sizeof(*rig->items));
	ck_assert_ptr_nonnull(rig->items);
	rig->base = event_base_new();
	ck_assert_ptr_nonnull(rig->base);
	ck_assert_int_eq(box_init(&rig->box, rig->base, rig_fill, rig), 0);
}

void
box_rig_kill(struct box_rig *rig)
{
	box_deinit(&rig->box);
	inherited_deinit(&rig->inherited);
	event_base_free(rig->base);
	for (unsigned i = 0; i < rig->n; i++)
		close_fd(&rig->items[i].fd);
}

struct box_rig_item *
box_rig_make(struct box_rig *rig, uint32_t kind, uint64_t id)
{
	struct box_rig_item *item = &rig->items[rig->n];
	struct stat status;

	ck_assert_uint_lt(rig->n, BOX_RIG_MAX);
	*item = (struct box_rig_item) { .label = { .kind = kind, .id = id }, .lives = true };
	item->fd = memfd_create("item", MFD_CLOEXEC);
	harness_assert(item->fd >= 0 && fstat(item->fd, &status) == 0, "memfd: %s", strerror(errno));
	item->inode = status.st_ino;
	rig->n++;
	return item;
}

void
box_rig_make_many(struct box_rig *rig, uint64_t first, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		(void)box_rig_make(rig, BOX_SEGMENT_DATA, first + i);
}

int
box_rig_put(struct box_rig *rig, struct box_rig_item *item)
{
	return box_put(&rig->box, &item->label, item->fd);
}

void
box_rig_end(struct box_rig *rig, struct box_rig_item *item, bool soon)
{
	item->lives = false;
	close_fd(&item->fd);
	box_dead(&rig->box, soon);
}

static bool
has_work(const struct box_rig *rig)
{
	const struct box *box = &rig->box;

	/* A renewal that is shunned is for much later. */
	return box->barrier_fd >= 0 || evtimer_pending(&box->send_event, NULL) ||
	    (evtimer_pending(&box->renew_event, NULL) && box->shun_until_ns <= clock_monotonic_ns());
}

void
box_rig_settle(struct box_rig *rig)
{
	for (unsigned i = 0; i < SETTLE_TURNS; i++) {
		harness_manager_hear(&box_rig_manager);
		(void)event_base_loop(rig->base, EVLOOP_NONBLOCK);
		if (!has_work(rig)) {
			harness_manager_hear(&box_rig_manager);
			(void)event_base_loop(rig->base, EVLOOP_NONBLOCK);
			if (!has_work(rig))
				return;
		}
		/* A timer: nothing else is to come. */
		if (rig->box.barrier_fd < 0)
			(void)event_base_loop(rig->base, EVLOOP_ONCE);
	}
	harness_fail("the box does not come to rest");
}

void
box_rig_inherit(struct box_rig *rig)
{
	struct harness_manager *manager = &box_rig_manager;

	harness_manager_hear(manager);
	rig->inherited = (struct inherited) { .listen_fd = -1, .n = manager->n_stored };
	rig->inherited.entries = calloc(manager->n_stored + 1, sizeof(*rig->inherited.entries));
	ck_assert_ptr_nonnull(rig->inherited.entries);
	for (unsigned i = 0; i < manager->n_stored; i++) {
		rig->inherited.entries[i].fd = fcntl(manager->stored[i].fd, F_DUPFD_CLOEXEC, 3);
		ck_assert_int_ge(rig->inherited.entries[i].fd, 0);
		(void)snprintf(rig->inherited.entries[i].name, INHERITED_NAME_SIZE, "%s", manager->stored[i].name);
	}
}

static struct box_rig_item *
find(struct box_rig *rig, const struct box_label *label, unsigned guess)
{
	for (unsigned i = 0; i < rig->n; i++) {
		struct box_rig_item *item = &rig->items[(guess + i) % rig->n];

		if (item->label.kind == label->kind && item->label.id == label->id)
			return item;
	}
	return NULL;
}

static int
on_take(const struct box_label *label, int fd, void *arg)
{
	struct box_rig *rig = arg;
	struct box_rig_item *item = find(rig, label, (unsigned)rig->n_taken);
	cleanup_close int own = fd;
	struct stat status;

	ck_assert_int_eq(fcntl(fd, F_GETFD), FD_CLOEXEC);
	ck_assert_uint_eq(label->zero, 0);
	rig->n_taken++;
	if (!item) {
		rig->n_strange++;
		return 0;
	}
	ck_assert_int_eq(fstat(fd, &status), 0);
	harness_assert(status.st_ino == item->inode, "item %u/%ju came back as another object", label->kind, (uintmax_t)label->id);
	item->n_taken++;
	if (item->fd < 0)
		item->fd = take_fd(&own);
	return 0;
}

static void
on_tell(const char *text, void *arg)
{
	struct box_rig *rig = arg;
	size_t len = strlen(rig->told);

	rig->n_told++;
	(void)snprintf(rig->told + len, sizeof(rig->told) - len, "%s\n", text);
}

int
box_rig_peek(struct box_rig *rig)
{
	rig->n_taken = rig->n_strange = rig->n_told = 0;
	rig->told[0] = '\0';
	for (unsigned i = 0; i < rig->n; i++)
		rig->items[i].n_taken = 0;
	return box_peek(&rig->box, &rig->inherited, on_take, on_tell, rig);
}

void
box_rig_expect_all(struct box_rig *rig, bool may_have_dead)
{
	unsigned n_dead = 0;

	for (unsigned i = 0; i < rig->n; i++) {
		const struct box_rig_item *item = &rig->items[i];

		n_dead += !item->lives && item->n_taken;
		harness_assert(item->n_taken == 1 || (!item->lives && item->n_taken == 0),
		    "item %u/%ju was there %u times; told: %s", item->label.kind, (uintmax_t)item->label.id, item->n_taken, rig->told);
	}
	harness_assert(may_have_dead || n_dead == 0, "%u that are gone are in the box", n_dead);
	harness_assert(rig->n_strange == 0, "%u strange items", rig->n_strange);
}

void
box_rig_expect_told(const struct box_rig *rig, const char *words)
{
	harness_assert(strstr(rig->told, words), "'%s' was not told, but: %s", words, rig->told);
}

size_t
box_rig_count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t n = 0;

	ck_assert_ptr_nonnull(dir);
	while (readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}
