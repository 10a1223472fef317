/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * Closing the last reference to 4 GiB of base pages takes 177 ms, and unmapping them 122. So pages that nobody else holds
 * are punched out by a worker first; what is left to unmap and close then is empty.
 */
#include "config.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "base/base.h"
#include "daemon/holding.h"
#include "daemon/kernelcount.h"
#include "daemon/log.h"
#include "daemon/procfd.h"
#include "daemon/timer.h"

#define HUGE_BYTES	(2 * MIB)
#define PAGE_BYTES	4096
#define CLOSE_SECONDS	600		/* of a disk to which much is to be written; nobody waits for it but a stop, which has a limit */
#define LOOK_MIN_MS	10		/* at what others have still */
#define LOOK_MAX_MS	2000
#define SMALL_BYTES	(2 * MIB)	/* resident: freed in less than a millisecond */

/* A holding on its way out; owns it and itself. */
struct release {
	struct releases *releases;
	struct holding holding;
	struct workers_job job;
	struct slices slices;
	struct event look_event;	/* while others have it */
	unsigned look_ms;
	bool runs_errand;
	bool was_busy;			/* it was to be given back once already */
	LIST_ENTRY(release) entry;
};

uint64_t
holding_locked_bytes(const struct holding *holding)
{
	if (!holding->object.page_bytes || holding->object.fd < 0)
		return holding->locked_bytes;
	return holding_control_locked_bytes(holding) + holding->backend->resident_bytes(&holding->object);
}

/* What is smaller than a huge page is never mapped by one: thousands of such share page tables, and are unmapped as fast. */
static uint64_t
map_alignment(const struct holding *holding)
{
	return max_u64(holding->object.map_bytes < HUGE_BYTES ? PAGE_BYTES : HUGE_BYTES, holding->object.page_bytes);
}

int
holding_map(struct holding *holding)
{
	uint64_t length = holding->object.map_bytes, alignment = map_alignment(holding);
	uint64_t reserve;
	char *reserved, *aligned;
	int r;

	/* The kernel aligns to a page by itself. */
	if (!checked_add(length, alignment - PAGE_BYTES, &reserve) || reserve > SIZE_MAX)
		return -ENOMEM;
	reserved = mmap(NULL, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return -errno;
	aligned = (char *)(uintptr_t)round_up((uintptr_t)reserved, alignment);
	r = holding->backend->map(&holding->object, aligned);
	if (r) {
		(void)munmap(reserved, reserve);
		return r;
	}
	if (aligned > reserved)
		(void)munmap(reserved, (size_t)(aligned - reserved));
	if (reserved + reserve > aligned + length)
		(void)munmap(aligned + length, (size_t)(reserved + reserve - (aligned + length)));
	(void)madvise(aligned, length, MADV_DONTDUMP);
	holding->map = aligned;
	return 0;
}

static struct holding_control *
control_free(struct holding_control *control)
{
	if (!control)
		return NULL;
	if (control->map)
		(void)munmap(control->map, control->object.map_bytes);
	close_fd(&control->object.fd);
	close_fd(&control->read_fd);
	free(control);
	return NULL;
}

static int
control_fail(int r, const char *step, char *text, size_t text_size)
{
	(void)snprintf(text, text_size, "%s control memory failed: %s", step, strerror(-r));
	return r;
}

/* Its object is there: what the daemon has of it besides. */
static int
control_equip(struct holding_control *control, char *text, size_t text_size)
{
	int r = backend_object_settle(&control->object);

	if (r == 0)
		r = procfd_reopen(control->object.fd, O_RDONLY, &control->read_fd);
	if (r)
		return control_fail(r, "opening", text, text_size);
	control->map = mmap(NULL, control->object.map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, control->object.fd, 0);
	if (control->map == MAP_FAILED) {
		control->map = NULL;
		return control_fail(-errno, "mapping", text, text_size);
	}
	(void)madvise(control->map, control->object.map_bytes, MADV_DONTDUMP);
	return 0;
}

static struct holding_control *
control_new(char *text, size_t text_size)
{
	struct holding_control *control = malloc(sizeof(*control));

	if (control)
		*control = (struct holding_control) { .object = BACKEND_OBJECT_NULL, .read_fd = -1 };
	else
		(void)control_fail(-ENOMEM, "making", text, text_size);
	return control;
}

int
holding_add_control(struct holding *holding, const char *name, uint64_t size_bytes, char *text, size_t text_size)
{
	struct holding_control *control = control_new(text, text_size);
	int r;

	if (!control)
		return -ENOMEM;
	r = memfd_object_new(name, size_bytes, &control->object, text, text_size);
	if (r == 0)
		r = control_equip(control, text, text_size);
	if (r)
		(void)control_free(control);
	else
		holding->control = control;
	return r;
}

int
holding_revive_control(struct holding *holding, int *fd, uint64_t size_bytes, char *text, size_t text_size)
{
	struct holding_control *control = control_new(text, text_size);
	int r;

	if (!control)
		return -ENOMEM;
	r = memfd_object_revive(fd, round_up(size_bytes, PAGE_BYTES), 0, &control->object, text, text_size);
	if (r == 0)
		r = control_equip(control, text, text_size);
	if (r)
		(void)control_free(control);
	else
		holding->control = control;
	return r;
}

static void
holding_pay_back(struct holding *holding)
{
	for (size_t i = 0; i < HOLDING_CHARGE_N; i++)
		charge_deinit(&holding->charges[i]);
}

static void
holding_close(struct holding *holding)
{
	holding_pay_back(holding);
	if (holding->map)
		(void)munmap(holding->map, holding->object.map_bytes);
	backend_object_close(holding->backend, &holding->object);
	(void)control_free(holding->control);
	free(holding->node_bytes);
	*holding = (struct holding) HOLDING_NULL;
}

void
holding_leave(struct holding *holding)
{
	holding_pay_back(holding);
	if (holding->map)
		(void)munmap(holding->map, holding->object.map_bytes);
	if (holding->backend && holding->backend->leave) {
		holding->backend->leave(&holding->object);
	} else {
		if (holding->object.entry)
			holding->object.entry->record = NULL;
		if (holding->backend && holding->backend->close)
			holding->backend->close(&holding->object);
		close_fd(&holding->object.fd);
	}
	(void)control_free(holding->control);
	free(holding->node_bytes);
	*holding = (struct holding) HOLDING_NULL;
}

uint64_t
holding_others(const struct holding *holding)
{
	if (holding->object.fd < 0 || !holding->backend->others)
		return 0;
	return holding->backend->others(&holding->object, holding->map ? 1 : 0);
}

bool
holding_is_alone(struct holding *holding)
{
	holding->asks_again = false;
	if (holding->object.fd < 0)
		return true;
	/* No descriptor to ask by: but then nobody was ever given one of it. */
	if (backend_object_settle(&holding->object))
		return true;
	if (holding_others(holding)) {
		holding->asks_again = true;
		return false;
	}
	if (kernelcount_alone(holding->object.fd))
		return true;
	/* EAGAIN: somebody has it. */
	holding->asks_again = errno != EAGAIN && error_is_passing(errno);
	return false;
}

static void
release_end(struct release *release)
{
	struct releases *releases = release->releases;

	slices_stop(&release->slices);
	if (event_initialized(&release->look_event))
		(void)event_del(&release->look_event);
	holding_close(&release->holding);
	LIST_REMOVE(release, entry);
	free(release);
	if (releases->on_end && !releases->is_closing)
		releases->on_end(releases);
}

static int
release_unmap_step(struct slices *slices, uint64_t offset_bytes, uint64_t length_bytes)
{
	struct release *release = BASE_CONTAINER_OF(slices, struct release, slices);

	(void)munmap((char *)release->holding.map + offset_bytes, length_bytes);
	return 0;
}

static void
release_unmapped(struct slices *slices, int r)
{
	struct release *release = BASE_CONTAINER_OF(slices, struct release, slices);

	release->holding.map = NULL;
	release_end(release);
}

static void
release_unmap(struct release *release)
{
	struct holding *holding = &release->holding;

	/* A slice must not end within a page. Of those that are larger than a slice even 1 TiB is but 1,024. */
	if (holding->map && holding->object.page_bytes > SLICES_UNIT) {
		(void)munmap(holding->map, holding->object.map_bytes);
		holding->map = NULL;
	}
	slices_start(&release->slices, 0, holding->map ? holding->object.map_bytes : 0);
}

static void
release_closed(struct workers_job *job, const struct workers_outcome *outcome)
{
	if (!outcome->result)
		log_write(MESSAGE_FILE_UNWRITTEN, NULL, "a worker did not come to its end at closing a file: its mark beside it stays");
	else if (outcome->result->status)
		log_write(MESSAGE_FILE_UNWRITTEN, NULL, "%s", outcome->result->text);
	BASE_CONTAINER_OF(job, struct release, job)->runs_errand = false;
	release_unmap(BASE_CONTAINER_OF(job, struct release, job));
}

/* What a worker has to do before it can be closed. False: nothing. */
static bool
release_run_errand(struct release *release)
{
	struct holding *holding = &release->holding;
	struct backend_errand errand;
	enum backend_stage stage;

	if (!holding->backend->errand)
		return false;
	stage = holding_is_alone(holding) ? BACKEND_STAGE_CLOSE_ALONE : BACKEND_STAGE_CLOSE;
	if (!holding->backend->errand(&holding->object, stage, &errand))
		return false;
	release->job = (struct workers_job) {
		.job = errand.job,
		.fd = errand.fds[0],
		.control_fd = errand.fds[1],
		.third_fd = errand.fds[2],
		.uid = release->holding.creator,
		.patience_seconds = CLOSE_SECONDS,
		.done = release_closed,
	};
	release->runs_errand = true;
	workers_submit(release->releases->io, &release->job, false);
	return true;
}

bool
holding_is_small(const struct holding *holding)
{
	return !(holding->backend->features & BACKEND_DURABLE) && holding->backend->resident_bytes(&holding->object) <= SMALL_BYTES;
}

static void
release_freed(struct workers_job *job, const struct workers_outcome *outcome)
{
	struct release *release = BASE_CONTAINER_OF(job, struct release, job);

	/* Somebody had it for a moment: as who takes its name away does. */
	if (outcome->result && outcome->result->status == -EBUSY && !release->was_busy && holding_is_alone(&release->holding)) {
		release->was_busy = true;
		workers_submit(release->releases->workers, job, false);
		return;
	}
	/* Whatever became of the job: unmapping and closing frees what it left, only not as gently. */
	release_unmap(release);
}

/* Consumes *holding. NULL: there is no memory for it, and *holding is as it was. */
static struct release *
release_new(struct holding *holding, struct releases *releases)
{
	struct release *release = calloc(1, sizeof(*release));

	if (!release)
		return NULL;
	release->releases = releases;
	release->holding = *holding;
	*holding = (struct holding) HOLDING_NULL;
	slices_init(&release->slices, releases->workers->base, release_unmap_step, release_unmapped);
	return release;
}

/* Gives it back. It is in the list. */
static void
release_begin(struct release *release, bool first)
{
	struct releases *releases = release->releases;

	if (release_run_errand(release))
		return;
	if (release->holding.backend->features & BACKEND_DURABLE || !holding_is_alone(&release->holding)) {
		/* Memory is never taken from who maps it, and a file keeps what is in it. */
		release_unmap(release);
		return;
	}
	release->job = (struct workers_job) {
		.job = {
			.kind = JOB_FREE,
			.length_bytes = release->holding.object.map_bytes,
			.object = backend_object_to_free(release->holding.backend, &release->holding.object,
			    release->holding.map ? 1 : 0),
			.limit_bytes = release->holding.object.map_bytes,
		},
		.fd = release->holding.object.fd,
		.uid = release->holding.creator,
		.done = release_freed,
	};
	workers_submit(releases->workers, &release->job, first);
}

static void
release_look_later(struct release *release)
{
	timer_add_ns(&release->look_event, release->look_ms * NS_PER_MS);
	release->look_ms = (unsigned)min_u64(2 * (uint64_t)release->look_ms, LOOK_MAX_MS);
}

static void
release_on_look(evutil_socket_t fd, short what, void *arg)
{
	struct release *release = arg;

	if (!holding_is_alone(&release->holding)) {
		release_look_later(release);
		return;
	}
	holding_pay_back(&release->holding);
	LIST_REMOVE(release, entry);
	LIST_INSERT_HEAD(&release->releases->list, release, entry);
	if (holding_is_small(&release->holding))
		release_end(release);
	else
		release_begin(release, false);
}

/* Others have what is charged for: it stays until they let go. False: not so, or there is no memory for that. */
static bool
release_hold(struct holding *holding, struct releases *releases)
{
	struct release *release;

	if (!holding->charges[HOLDING_BYTES].account || releases->is_closing || holding_is_alone(holding))
		return false;
	release = release_new(holding, releases);
	if (!release)
		return false;
	LIST_INSERT_HEAD(&releases->held, release, entry);
	(void)evtimer_assign(&release->look_event, releases->workers->base, release_on_look, release);
	release->look_ms = LOOK_MIN_MS;
	release_look_later(release);
	return true;
}

void
holding_release(struct holding *holding, struct releases *releases, bool first)
{
	struct release *release = NULL;

	/* Nobody asks a backend about what it could not make. */
	if (holding->object.fd < 0 && !holding->object.own) {
		holding->backend = NULL;
		return;
	}
	holding_release_control(holding, releases);
	/* It was not closed as it should have been, and we come to that no more. */
	if (holding->took_row && releases->is_closing)
		holding->object.entry->record = NULL;
	if ((holding->is_adopted || holding->took_row) && releases->keep && !releases->is_closing) {
		holding_pay_back(holding);
		releases->keep(holding, releases->keep_arg);
		return;
	}
	/* Whoever looks for it from now on finds another one, or none. */
	if (holding->backend->unname)
		holding->backend->unname(&holding->object);
	if (release_hold(holding, releases))
		return;
	holding_pay_back(holding);
	if (!releases->is_closing && !holding_is_small(holding))
		release = release_new(holding, releases);
	if (!release) {
		holding_close(holding);
		return;
	}
	LIST_INSERT_HEAD(&releases->list, release, entry);
	release_begin(release, first);
}

/* What is charged for both is for each of them from now on: others may have the one without the other. */
static void
holding_share_charges(struct holding *holding, struct holding *control)
{
	struct charge *bytes = &holding->charges[HOLDING_BYTES];
	uint64_t amount = min_u64(bytes->amount, control->object.map_bytes);
	uint32_t uid;

	if (!bytes->account)
		return;
	uid = bytes->account->uid;
	if (accounts_charge_again(bytes->accounts, uid, ACCOUNTS_BYTES, amount, &control->charges[HOLDING_BYTES]) == 0)
		(void)charge_resize(bytes, bytes->amount - amount);
	(void)accounts_charge_again(bytes->accounts, uid, ACCOUNTS_SEGMENTS, 1, &control->charges[HOLDING_SEGMENT]);
}

void
holding_release_control(struct holding *holding, struct releases *releases)
{
	struct holding control = HOLDING_NULL;

	if (!holding->control)
		return;
	control.backend = &backend_of_control;
	control.object = holding->control->object;
	control.map = take_ptr(holding->control->map);
	holding->control->object = (struct backend_object) BACKEND_OBJECT_NULL;
	holding->control = control_free(holding->control);
	holding_share_charges(holding, &control);
	holding_release(&control, releases, false);
}

void
releases_init(struct releases *releases, struct workers *workers)
{
	*releases = (struct releases) { .workers = workers, .io = workers, .names = workers };
	LIST_INIT(&releases->list);
	LIST_INIT(&releases->held);
}

bool
releases_run_errands(const struct releases *releases)
{
	const struct release *release;

	LIST_FOREACH(release, &releases->list, entry)
		if (release->runs_errand)
			return true;
	return false;
}

void
releases_close(struct releases *releases)
{
	struct release *release;

	releases->is_closing = true;
	while ((release = LIST_FIRST(&releases->list)) || (release = LIST_FIRST(&releases->held)))
		release_end(release);
}
