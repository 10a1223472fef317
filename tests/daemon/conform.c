/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/stat.h>

#include "daemon/procfd.h"
#include "tests/daemon/conform.h"
#include "tests/daemon/null.h"
#include "tests/harness-clock.h"
#include "tests/suite_run.h"

#define SOON_MS	2000		/* by then what is counted seldom was counted again */
#define HUGE_BYTES	(2 * MIB)

struct conform conform = { .object = BACKEND_OBJECT_NULL, .result_fd = -1 };

/* Names that nobody else has: of this process. */
static char object_name[64];
static key_t object_key;

static uint64_t
pool_bytes(enum definition_page_size page_size)
{
	switch (page_size) {
	case DEFINITION_PAGE_2MIB:
		return 2 * MIB;
	case DEFINITION_PAGE_1GIB:
		return GIB;
	default:
		return 0;
	}
}

/* All that any row may need, and none of what only some allow. */
static struct definition *
define(int row, enum definition_page_size page_size)
{
	struct definition *definition = definition_new();
	char path[128];

	ck_assert_ptr_nonnull(definition);
	(void)snprintf(object_name, sizeof(object_name), "/segmentd-conform-%ld", (long)getpid());
	(void)snprintf(path, sizeof(path), "%s/contents", conform.dir);
	/* Where it can have a namespace of its own, a test that fails leaves no System V memory behind. */
	if (!object_key)
		(void)unshare(CLONE_NEWIPC);
	object_key = (key_t)(0x5e000000 | (getpid() & 0xffffff));
	definition->name = strdup("conform");
	definition->size_bytes = definition->max_size_bytes = max_u64(CONFORM_SIZE, pool_bytes(page_size));
	definition->backend = (enum definition_backend)row;
	definition->page_size = page_size;
	definition->mode = 0600;
	definition->prefault = true;
	definition->object = strdup(object_name);
	definition->path = strdup(path);
	definition->has_key = true;
	definition->key = (uint32_t)object_key;
	definition->on_unclean = DEFINITION_UNCLEAN_KEEP;
	return definition;
}

static bool
skip(const char *name, const char *why)
{
	(void)printf("SKIP: %s: %s\n", name, why);
	return false;
}

bool
conform_begin(int row, enum definition_page_size page_size)
{
	conform.row = row == DEFINITION_BACKEND_N ? &null_backend : backend_find((enum definition_backend)row);
	if (!conform.row)
		return skip(definition_backend_name((enum definition_backend)row), "there is no such row in the table");
	if (pool_bytes(page_size) && !(conform.row->features & BACKEND_HUGETLB))
		return skip(conform.row->name, "its features say that it has no pages of a hugetlb pool");
	(void)strcpy(conform.dir, "/tmp/segmentd-conform-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(conform.dir));
	conform.definition = define(row, page_size);
	conform.base = event_base_new();
	workers_init(&conform.workers, conform.base, 1);
	/* Opened at first use, and kept. */
	ck_assert_int_eq(procfd_prepare(), 0);
	if (conform.row->probe && conform.row->probe(conform.definition, conform.text, sizeof(conform.text))) {
		(void)skip(conform.row->name, conform.text);
		conform_end();
		return false;
	}
	return true;
}

void
conform_end(void)
{
	char path[400];
	struct dirent *entry;
	DIR *dir = opendir(conform.dir);

	ck_assert_ptr_nonnull(dir);
	workers_deinit(&conform.workers);
	event_base_free(conform.base);
	libevent_global_shutdown();
	(void)definition_unref(conform.definition);
	while ((entry = readdir(dir))) {
		(void)snprintf(path, sizeof(path), "%s/%s", conform.dir, entry->d_name);
		(void)unlink(path);
	}
	(void)closedir(dir);
	ck_assert_int_eq(rmdir(conform.dir), 0);
}

static void
on_done(struct workers_job *job, const struct workers_outcome *outcome)
{
	ck_assert_msg(outcome->result, "a worker died");
	conform.result = *outcome->result;
	conform.result_fd = outcome->fd ? take_fd(outcome->fd) : -1;
	conform.is_done = true;
}

static int
run(const struct job *job, const int *fds)
{
	conform.job = (struct workers_job) {
		.job = *job, .fd = fds[0], .control_fd = fds[1], .third_fd = fds[2], .done = on_done,
	};
	conform.is_done = false;
	workers_submit(&conform.workers, &conform.job, false);
	while (!conform.is_done)
		ck_assert_int_eq(event_base_loop(conform.base, EVLOOP_ONCE), 0);
	if (conform.result.status)
		memcpy(conform.text, conform.result.text, sizeof(conform.result.text));
	return conform.result.status;
}

/* All errands of a stage, until one fails. */
static int
run_errands(struct backend_object *object, enum backend_stage stage)
{
	struct backend_errand errand;
	int r = 0;

	while (r == 0 && conform.row->errand && conform.row->errand(object, stage, &errand)) {
		r = run(&errand.job, errand.fds);
		/* What is closed has no more to say. */
		if (r == 0 && stage < BACKEND_STAGE_SYNC)
			r = conform.row->errand_done(object, &conform.result, &conform.result_fd, conform.text,
			    sizeof(conform.text));
		close_fd(&conform.result_fd);
		if (stage == BACKEND_STAGE_SYNC)
			break;
	}
	return r;
}

static void
close_object(struct backend_object *object)
{
	int saved = errno;

	if (object->fd < 0 && !object->own)
		return;
	(void)run_errands(object, BACKEND_STAGE_CLOSE_ALONE);
	backend_object_close(conform.row, object);
	errno = saved;
}

int
conform_create_another(struct backend_object *ret_object)
{
	const struct backend_birth birth = { .record = NULL };
	char why[FINDINGS_TEXT_SIZE];
	int r;

	*ret_object = (struct backend_object) BACKEND_OBJECT_NULL;
	conform.text[0] = '\0';
	r = conform.row->create(conform.definition, &birth, ret_object, conform.text, sizeof(conform.text));
	if (r)
		return r;
	r = run_errands(ret_object, BACKEND_STAGE_OPEN);
	if (r == 0)
		r = run_errands(ret_object, BACKEND_STAGE_USE);
	if (r) {
		memcpy(why, conform.text, sizeof(why));
		close_object(ret_object);
		memcpy(conform.text, why, sizeof(why));
	}
	return r;
}

int
conform_create(void)
{
	return conform_create_another(&conform.object);
}

void
conform_close(void)
{
	close_object(&conform.object);
}

int
conform_work(enum job_kind kind, uint64_t length_bytes)
{
	const int fds[JOB_FDS_MAX] = { conform.object.fd, -1, -1 };
	const struct job job = {
		.kind = kind,
		.pages = JOB_PAGES_AUTO,
		.length_bytes = length_bytes,
		.object = backend_object_of_job(&conform.object),
	};

	return run(&job, fds);
}

/* As holding_map(): the address space is reserved, and aligned for huge pages. */
char *
conform_map(void)
{
	uint64_t length = conform.object.map_bytes, unit = max_u64(HUGE_BYTES, conform.object.page_bytes);
	char *area = mmap(NULL, length + unit, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *start;

	ck_assert_ptr_ne(area, MAP_FAILED);
	start = (char *)(uintptr_t)round_up((uintptr_t)area, unit);
	ck_assert_int_eq(conform.row->map(&conform.object, start), 0);
	if (start > area)
		(void)munmap(area, (size_t)(start - area));
	(void)munmap(start + length, (size_t)(area + unit - start));
	return start;
}

void
conform_unmap(char *map)
{
	ck_assert_int_eq(munmap(map, conform.object.map_bytes), 0);
}

void *
conform_attach(int fd, bool write)
{
	void *data;

	if (conform.row->features & BACKEND_FD)
		data = mmap(NULL, conform.object.map_bytes, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	else
		data = shmat(conform.object.shm_id, NULL, write ? 0 : SHM_RDONLY);
	return data == (void *)-1 ? NULL : data;
}

void
conform_detach(void *data)
{
	/* Of System V memory, too: a mapping that ends is detached. */
	ck_assert_int_eq(munmap(data, conform.object.map_bytes), 0);
}

void *
conform_reach(bool write)
{
	int id = shmget(object_key, 0, 0);
	void *data = MAP_FAILED;
	cleanup_close int fd = -1;

	if (id >= 0) {
		data = shmat(id, NULL, write ? 0 : SHM_RDONLY);
	} else {
		fd = shm_open(object_name, write ? O_RDWR : O_RDONLY, 0);
		if (fd >= 0)
			data = mmap(NULL, conform.definition->max_size_bytes, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED,
			    fd, 0);
	}
	return data == MAP_FAILED ? NULL : data;
}

bool
conform_take_name(void)
{
	cleanup_close int fd = shm_open(object_name, O_RDWR | O_CREAT | O_EXCL, 0600);
	int id = shmget(object_key, 4321, IPC_CREAT | IPC_EXCL | 0600);

	return fd >= 0 && id >= 0 && ftruncate(fd, 4321) == 0;
}

bool
conform_name_is_as_taken(void)
{
	cleanup_close int fd = shm_open(object_name, O_RDWR, 0);
	struct shmid_ds shm;
	struct stat status;
	int id = shmget(object_key, 0, 0);

	return fd >= 0 && fstat(fd, &status) == 0 && status.st_size == 4321 && id >= 0 && shmctl(id, IPC_STAT, &shm) == 0 &&
	    shm.shm_segsz == 4321 && shm.shm_cpid == getpid();
}

void
conform_give_name_back(void)
{
	ck_assert_int_eq(shm_unlink(object_name), 0);
	ck_assert_int_eq(shmctl(shmget(object_key, 0, 0), IPC_RMID, NULL), 0);
}

/* Entries of a directory whose names begin like that. */
static size_t
count_entries(const char *path, const char *prefix)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t n = 0;

	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		n += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
	(void)closedir(dir);
	return n;
}

static size_t
count_shm(void)
{
	cleanup_fclose FILE *f = fopen("/proc/sysvipc/shm", "re");
	char line[512];
	long cpid;
	size_t n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += sscanf(line, "%*d %*d %*o %*u %ld", &cpid) == 1 && cpid == (long)getpid();
	return n;
}

/* Mappings that are of an object: others come and go with the allocator. */
static size_t
count_maps(void)
{
	cleanup_fclose FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	size_t n = 0;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "/SYSV") || strstr(line, "memfd:") || strstr(line, object_name) || strstr(line, conform.dir);
	return n;
}

void
conform_trace(struct conform_trace *ret_trace)
{
	*ret_trace = (struct conform_trace) {
		.n_fds = count_entries("/proc/self/fd", ""),
		.n_maps = count_maps(),
		.n_shm = count_shm(),
		.n_names = count_entries("/dev/shm", object_name + 1),
		.n_files = count_entries(conform.dir, ""),
	};
}

void
conform_expect_trace(const struct conform_trace *before, const char *when)
{
	struct conform_trace now;

	conform_trace(&now);
	ck_assert_msg(now.n_fds == before->n_fds, "%s: %zu descriptors, and %zu before", when, now.n_fds, before->n_fds);
	ck_assert_msg(now.n_maps == before->n_maps, "%s: %zu mappings, and %zu before", when, now.n_maps, before->n_maps);
	ck_assert_msg(now.n_shm == before->n_shm, "%s: %zu System V segments, and %zu before", when, now.n_shm, before->n_shm);
	ck_assert_msg(now.n_names == before->n_names, "%s: %zu names, and %zu before", when, now.n_names, before->n_names);
	ck_assert_msg(now.n_files == before->n_files, "%s: %zu files, and %zu before", when, now.n_files, before->n_files);
}

int
conform_main(int argc, char **argv, Suite *(*suite)(void))
{

	if (argc > 0 && streq(argv[0], JOB_ARGV0))
		return worker_main();
	return suite_run(suite());
}

bool
conform_has(unsigned features)
{
	return (conform.row->features & features) == features;
}

bool
conform_is_exclusive(void)
{
	return conform_has(BACKEND_NAMED) || conform_has(BACKEND_DURABLE);
}

void
conform_must_create(void)
{
	int r = conform_create();

	ck_assert_msg(r == 0, "%s: %s: %s", conform.row->name, strerror(r < 0 ? -r : 0), conform.text);
}

bool
conform_start(int row)
{
	if (!conform_begin(row, DEFINITION_PAGE_AUTO))
		return false;
	conform_must_create();
	return true;
}

void
conform_finish(void)
{
	conform_close();
	conform_end();
}

/* Counting may have its price, and is then not done for each who asks. */
void
conform_expect_resident(uint64_t bytes)
{
	uint64_t until_ns = harness_clock_ns() + SOON_MS * NS_PER_MS;

	while (conform.row->resident_bytes(&conform.object) != bytes && harness_clock_ns() < until_ns)
		;
	ck_assert_uint_eq(conform.row->resident_bytes(&conform.object), bytes);
}
