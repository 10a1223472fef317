/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of memory: what is available, what the unit may use, overcommit, swap, transparent huge pages. */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/file.h"
#include "host/kernel.h"
#include "host/memory.h"

static bool
is_provisioned(const struct definition *definition)
{
	return definition->prefault;
}

/* Of common memory: of what is of a pool control memory alone, unless the pool does not have it. */
static uint64_t
common_bytes(const struct doctor *doctor, const struct definition *definition, uint64_t bytes)
{
	if (doctor_is_of_memory(definition))
		return bytes;
	for (size_t i = 0; i < doctor->fallen_back.n; i++)
		if (doctor->fallen_back.list[i] == definition)
			return bytes;
	return min_u64(bytes, doctor_control_bytes(definition));
}

static uint64_t
all_common_bytes(const struct doctor *doctor, const struct definition *definition)
{
	return common_bytes(doctor, definition, doctor_bytes(doctor, definition));
}

static uint64_t
missing_common_bytes(const struct doctor *doctor, const struct definition *definition)
{
	return common_bytes(doctor, definition, doctor_missing_bytes(doctor, definition));
}

/* The kernel commits a System V object whole when it is made; of others their pages. */
static uint64_t
committed_bytes(const struct doctor *doctor, const struct definition *definition)
{
	if (!definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) || !doctor_is_of_memory(definition))
		return missing_common_bytes(doctor, definition);
	return doctor_find_held(doctor, definition) ? 0 : doctor_object_bytes(doctor, definition);
}

static bool
is_not_locked(const struct definition *definition)
{
	return !definition->mlock && doctor_is_of_memory(definition);
}

static bool
wants_transparent(const struct definition *definition)
{
	return definition->page_size == DEFINITION_PAGE_TRANSPARENT && !definition_takes(definition, DEFINITION_TAKES_DEV_SHM);
}

static bool
wants_of_mount(const struct definition *definition)
{
	return definition->page_size == DEFINITION_PAGE_TRANSPARENT && definition_takes(definition, DEFINITION_TAKES_DEV_SHM);
}

static bool
likes_huge(const struct definition *definition)
{
	return definition->page_size == DEFINITION_PAGE_AUTO && definition->size_bytes >= 2 * MIB;
}

static void
judge_memory(struct doctor *doctor, const struct memory_headroom *headroom)
{
	struct doctor_set all, misfits;
	char text[FINDINGS_TEXT_SIZE], needed[TEXT_SIZE], left[TEXT_SIZE];
	uint64_t needed_bytes;

	doctor_select(doctor, is_provisioned, &all);
	doctor_find_misfits(doctor, &all, missing_common_bytes, headroom->bytes, &misfits);
	needed_bytes = doctor_set_bytes(doctor, &all, missing_common_bytes);
	text_format_size(needed_bytes, needed);
	text_format_size(headroom->bytes, left);
	if (misfits.n) {
		findings_memory(text, sizeof(text), needed_bytes, headroom);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "%s more of memory are needed, and %s are left (%s)", needed, left,
		    headroom->limit == MEMORY_LIMIT_AVAILABLE ? "MemAvailable less memory_reserve" : headroom->where);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

void
doctor_check_memory(struct doctor *doctor)
{
	struct memory_headroom headroom;
	struct memory *memory = NULL;
	int r = memory_new_at(doctor->root, doctor->place_pid, &memory);

	if (r == 0)
		r = memory_headroom(memory, doctor->conf->daemon.memory_reserve_bytes, &headroom);
	memory_free(memory);
	if (r < 0) {
		doctor_unread(doctor, "what memory is available (/proc/meminfo)", r);
		return;
	}
	headroom.bytes -= min_u64(headroom.bytes, MEMORY_SLACK_BYTES);
	judge_memory(doctor, &headroom);
}

void
doctor_check_unit_memory(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], limit[TEXT_SIZE];
	struct doctor_set all, misfits;

	if (doctor->service_error == -ENOENT)
		return;			/* what checks a unit says so once: memlock */
	if (doctor->service_error < 0) {
		doctor_unread(doctor, "the memory limits of " SERVICE_UNIT, doctor->service_error);
		return;
	}
	if (doctor->service.memory_max_bytes == SERVICE_UNLIMITED) {
		doctor_ok(doctor, SERVICE_UNIT " sets no memory limit");
		return;
	}
	doctor_select(doctor, is_provisioned, &all);
	doctor_find_misfits(doctor, &all, all_common_bytes, doctor->service.memory_max_bytes -
	    min_u64(doctor->service.memory_max_bytes, MEMORY_SLACK_BYTES), &misfits);
	text_format_size(doctor->service.memory_max_bytes, limit);
	if (misfits.n) {
		findings_unit_memory(text, sizeof(text), doctor_set_bytes(doctor, &all, all_common_bytes), &doctor->service);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, SERVICE_UNIT " may use %s", limit);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

static bool
is_committed_whole(const struct definition *definition)
{
	return definition_takes(definition, DEFINITION_TAKES_SHM_LIMITS) && doctor_is_of_memory(definition);
}

/* Where overcommitting is not strict, the kernel asks of each object alone whether it could ever be had. */
static void
judge_objects(struct doctor *doctor, const struct kernel_overcommit *overcommit)
{
	uint64_t left_bytes = kernel_commit_left(overcommit), largest_bytes = 0;
	struct doctor_set all, misfits = DOCTOR_SET_NULL;
	char text[FINDINGS_TEXT_SIZE];

	doctor_select(doctor, is_committed_whole, &all);
	for (size_t i = 0; i < all.n; i++) {
		uint64_t bytes = committed_bytes(doctor, all.list[i]);

		if (bytes > left_bytes)
			doctor_set_add(doctor, &misfits, all.list[i]);
		largest_bytes = max_u64(largest_bytes, bytes);
	}
	if (misfits.n) {
		findings_overcommit(text, sizeof(text), largest_bytes, overcommit);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		doctor_ok(doctor, "vm.overcommit_memory is %llu, which bounds nothing here", (unsigned long long)overcommit->mode);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

/* It is, where overcommitting is strict. */
static void
judge_sum(struct doctor *doctor, const struct kernel_overcommit *overcommit)
{
	char text[FINDINGS_TEXT_SIZE], left[TEXT_SIZE];
	struct doctor_set all, misfits;

	doctor_select(doctor, is_provisioned, &all);
	doctor_find_misfits(doctor, &all, committed_bytes, kernel_commit_left(overcommit), &misfits);
	if (misfits.n) {
		findings_overcommit(text, sizeof(text), doctor_set_bytes(doctor, &all, committed_bytes), overcommit);
		doctor_add_failure(doctor, &misfits, text);
	} else {
		text_format_size(kernel_commit_left(overcommit), left);
		doctor_ok(doctor, "vm.overcommit_memory is 2, and CommitLimit leaves %s", left);
	}
	doctor_set_deinit(&misfits);
	doctor_set_deinit(&all);
}

void
doctor_check_overcommit(struct doctor *doctor)
{
	struct kernel_overcommit overcommit;
	int r = kernel_read_overcommit(doctor->root, &overcommit);

	if (r < 0)
		doctor_unread(doctor, "what may be committed (/proc/sys/vm/overcommit_memory, /proc/meminfo)", r);
	else if (overcommit.mode == 2)
		judge_sum(doctor, &overcommit);
	else
		judge_objects(doctor, &overcommit);
}

void
doctor_check_swap(struct doctor *doctor)
{
	uint64_t total_bytes, free_bytes;
	char text[FINDINGS_TEXT_SIZE], size[TEXT_SIZE];
	struct doctor_set set;
	int r = kernel_read_swap(doctor->root, &total_bytes, &free_bytes);

	if (r < 0) {
		doctor_unread(doctor, "whether there is swap (/proc/meminfo)", r);
		return;
	}
	if (!total_bytes) {
		doctor_ok(doctor, "there is no swap");
		return;
	}
	doctor_select(doctor, is_not_locked, &set);
	if (set.n) {
		findings_swap(text, sizeof(text), total_bytes);
		doctor_add(doctor, DOCTOR_NOTE, &set, "may be swapped out, and pages come back slowly", text);
	} else {
		text_format_size(total_bytes, size);
		doctor_ok(doctor, "there are %s of swap, and all segments are locked in memory", size);
	}
	doctor_set_deinit(&set);
}

/* What of the host's settings leaves shared memory without huge pages. */
static const char *
huge_reason(const char *root, char *buf, size_t size)
{
	char word[32];
	int r = file_read_choice(root, "/sys/kernel/mm/transparent_hugepage/shmem_enabled", word, sizeof(word));

	if (r < 0)
		(void)snprintf(buf, size, "/sys/kernel/mm/transparent_hugepage/shmem_enabled could not be read (%s)", strerror(-r));
	else
		(void)snprintf(buf, size, "/sys/kernel/mm/transparent_hugepage/shmem_enabled is %s%s", word,
		    streq(word, "never") ? ", and this kernel collapses none" : "");
	return buf;
}

/* POSIX objects get them as their mount says, or by collapse, which does not ask it. */
static void
judge_mount(struct doctor *doctor)
{
	static const struct kernel_feature collapse = { "MADV_COLLAPSE", 6, 1, NULL };
	char text[FINDINGS_TEXT_SIZE], release[128];
	unsigned major = 0, minor = 0;
	struct shm_mount mount;
	struct doctor_set set;

	doctor_select(doctor, wants_of_mount, &set);
	if (set.n && kernel_read_release(doctor->root, release, sizeof(release), &major, &minor) == 0 &&
	    !kernel_has(major, minor, &collapse) && shm_mount_read_at(doctor->root, &mount) == 0 &&
	    (!strstr(mount.options, "huge=") || strstr(mount.options, "huge=never"))) {
		findings_page_size_of_mount(text, sizeof(text), doctor_set_bytes(doctor, &set, doctor_bytes), 0);
		doctor_add_placement(doctor, &set, text);
	}
	doctor_set_deinit(&set);
}

void
doctor_check_huge(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE], why[256];
	struct doctor_set wanted, liked;
	uint64_t page_bytes;
	enum memory_huge huge = memory_huge_at(doctor->root, &page_bytes);

	judge_mount(doctor);
	if (huge != MEMORY_HUGE_NONE) {
		doctor_ok(doctor, "shared memory gets transparent huge pages by %s", huge == MEMORY_HUGE_ADVISE ?
		    "advice (shmem_enabled)" : "collapse (MADV_COLLAPSE), though shmem_enabled is never");
		return;
	}
	findings_no_huge(text, sizeof(text), huge_reason(doctor->root, why, sizeof(why)));
	doctor_select(doctor, wants_transparent, &wanted);
	doctor_select(doctor, likes_huge, &liked);
	if (wanted.n)
		doctor_add_placement(doctor, &wanted, text);
	if (liked.n)
		doctor_add(doctor, DOCTOR_NOTE, &liked, "will be on base pages, and are provisioned more slowly", text);
	if (!wanted.n && !liked.n)
		doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
	doctor_set_deinit(&wanted);
	doctor_set_deinit(&liked);
}
