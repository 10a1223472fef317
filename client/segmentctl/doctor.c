/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* `doctor [FILE]`: what of a configuration will not fit this host, why, and what mends it. The table of checks is here. */
#include "config.h"

#include "client/segmentctl/doctor.h"

#include <stdarg.h>

#include "client/control.h"
#include "client/segmentctl/commands.h"
#include "client/segmentctl/report.h"

#define PAGE_BYTES	((uint64_t)4096)	/* of what is provisioned */

const char *doctor_root = "";

static const struct {
	const char *name;
	doctor_check_fn run;
} checks[] = {
	{ "configuration", doctor_check_configuration },
	{ "daemon", doctor_check_daemon },
	{ "record", doctor_check_record },
	{ "kernel", doctor_check_kernel },
	{ "hugetlb", doctor_check_pools },
	{ "nodes", doctor_check_nodes },
	{ "memory", doctor_check_memory },
	{ "unit-memory", doctor_check_unit_memory },
	{ "overcommit", doctor_check_overcommit },
	{ "swap", doctor_check_swap },
	{ "huge-pages", doctor_check_huge },
	{ "memlock", doctor_check_memlock },
	{ "descriptors", doctor_check_nofile },
	{ "inotify", doctor_check_inotify },
	{ "sysv", doctor_check_sysv },
	{ "dev-shm", doctor_check_shm },
	{ "files", doctor_check_files },
	{ "remove-ipc", doctor_check_remove_ipc },
	{ "orphans", doctor_check_orphans },
	{ "security", doctor_check_security },
	{ "systemd", doctor_check_systemd },
};

void
doctor_set_deinit(struct doctor_set *set)
{
	free(set->list);
	*set = (struct doctor_set) DOCTOR_SET_NULL;
}

void
doctor_set_add(struct doctor *doctor, struct doctor_set *set, const struct definition *definition)
{
	const struct definition **list = set->list;

	/* Room grows by the half: with each power of two. */
	if ((set->n & (set->n - 1)) == 0)
		list = reallocarray(set->list, set->n ? 2 * set->n : 1, sizeof(*list));
	if (!list) {
		doctor->error = -ENOMEM;
		return;
	}
	set->list = list;
	set->list[set->n++] = definition;
}

void
doctor_select(struct doctor *doctor, doctor_filter_fn filter, struct doctor_set *ret_set)
{
	*ret_set = (struct doctor_set) DOCTOR_SET_NULL;
	for (size_t i = 0; i < doctor->conf->n_segments; i++)
		if (filter(doctor->conf->segments[i]))
			doctor_set_add(doctor, ret_set, doctor->conf->segments[i]);
}

void
doctor_select_new(struct doctor *doctor, doctor_filter_fn filter, struct doctor_set *ret_set)
{
	struct doctor_set all;

	doctor_select(doctor, filter, &all);
	*ret_set = (struct doctor_set) DOCTOR_SET_NULL;
	for (size_t i = 0; i < all.n; i++)
		if (!doctor_find_held(doctor, all.list[i]))
			doctor_set_add(doctor, ret_set, all.list[i]);
	doctor_set_deinit(&all);
}

bool
doctor_is_of_memory(const struct definition *definition)
{
	return definition_huge_bytes(definition) == 0;
}

/* No size is so large that this overflows: conf/ refuses more than an object can have. */
static uint64_t
pages_bytes(uint64_t bytes)
{
	return round_up(min_u64(bytes, UINT64_MAX / 4), PAGE_BYTES);
}

uint64_t
doctor_control_bytes(const struct definition *definition)
{
	return pages_bytes(definition_control_bytes(definition, CONTROL_RECORD_BYTES, CONTROL_ENTRY_UNIT));
}

uint64_t
doctor_object_bytes(const struct doctor *doctor, const struct definition *definition)
{
	return pages_bytes(definition->max_size_bytes);
}

uint64_t
doctor_bytes(const struct doctor *doctor, const struct definition *definition)
{
	return pages_bytes(definition->size_bytes) + doctor_control_bytes(definition);
}

uint64_t
doctor_missing_bytes(const struct doctor *doctor, const struct definition *definition)
{
	const struct doctor_held *held = doctor_find_held(doctor, definition);
	uint64_t bytes = doctor_bytes(doctor, definition);

	/* The daemon counts data: with all of that there, control memory is, too. */
	if (held && held->resident_bytes >= definition->size_bytes)
		return 0;
	return bytes - (held ? min_u64(bytes, held->resident_bytes) : 0);
}

uint64_t
doctor_unlocked_bytes(const struct doctor *doctor, const struct definition *definition)
{
	const struct doctor_held *held = doctor_find_held(doctor, definition);
	uint64_t bytes = doctor_bytes(doctor, definition);

	return bytes - (held ? min_u64(bytes, held->locked_bytes) : 0);
}

uint64_t
doctor_set_bytes(const struct doctor *doctor, const struct doctor_set *set, doctor_bytes_fn bytes)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < set->n; i++)
		if (!checked_add(sum, bytes(doctor, set->list[i]), &sum))
			return UINT64_MAX;
	return sum;
}

void
doctor_find_misfits(struct doctor *doctor, const struct doctor_set *set, doctor_bytes_fn bytes, uint64_t left_bytes,
    struct doctor_set *ret_misfits)
{
	*ret_misfits = (struct doctor_set) DOCTOR_SET_NULL;
	for (unsigned pass = 0; pass < 2; pass++)
		for (size_t i = 0; i < set->n; i++) {
			uint64_t needed = bytes(doctor, set->list[i]);

			if (set->list[i]->required != (pass == 0))
				continue;
			if (needed <= left_bytes)
				left_bytes -= needed;
			else
				doctor_set_add(doctor, ret_misfits, set->list[i]);
		}
}

static void
row_deinit(struct doctor_row *row)
{
	for (size_t i = 0; i < row->n_segments; i++)
		free(row->segments[i]);
	free(row->segments);
	free(row->what);
	free(row->means);
	free(row->remedy);
}

/* Names are copied: a row outlives the definitions. */
static int
row_name(struct doctor_row *row, const struct doctor_set *set)
{
	row->segments = calloc(set->n + 1, sizeof(*row->segments));
	if (!row->segments)
		return -ENOMEM;
	for (; row->n_segments < set->n; row->n_segments++) {
		row->segments[row->n_segments] = strdup(set->list[row->n_segments]->name);
		if (!row->segments[row->n_segments])
			return -ENOMEM;
	}
	return 0;
}

static int
row_init(struct doctor_row *row, const struct doctor_set *set, const char *means, const char *text)
{
	const char *remedy;

	row->what = strdup(text);
	if (!row->what)
		return -ENOMEM;
	if (findings_split(row->what, &remedy)) {
		row->remedy = strdup(remedy);
		if (!row->remedy)
			return -ENOMEM;
	}
	if (means) {
		row->means = strdup(means);
		if (!row->means)
			return -ENOMEM;
	}
	return set ? row_name(row, set) : 0;
}

void
doctor_add(struct doctor *doctor, enum doctor_level level, const struct doctor_set *set, const char *means,
    const char *text)
{
	struct doctor_row row = { .level = level, .check = doctor->check }, *rows;

	rows = reallocarray(doctor->rows, doctor->n_rows + 1, sizeof(*rows));
	if (rows)
		doctor->rows = rows;
	if (!rows || row_init(&row, set, means, text) < 0) {
		row_deinit(&row);
		doctor->error = -ENOMEM;
		return;
	}
	doctor->rows[doctor->n_rows++] = row;
}

void
doctor_ok(struct doctor *doctor, const char *format, ...)
{
	char text[FINDINGS_TEXT_SIZE];
	va_list args;

	va_start(args, format);
	(void)vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	doctor_add(doctor, DOCTOR_OK, NULL, NULL, text);
}

void
doctor_unread(struct doctor *doctor, const char *what, int r)
{
	char text[FINDINGS_TEXT_SIZE];

	findings_unread(text, sizeof(text), what, r);
	doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
}

/* Where not all of them are required: those that are; of many the first ones. */
static void
name_required(char *buf, size_t size, const struct doctor_set *set)
{
	size_t len = (size_t)snprintf(buf, size, "will fail; and the start, which requires");
	const char *comma = "";

	for (size_t i = 0; i < set->n; i++) {
		if (!set->list[i]->required)
			continue;
		if (len + DEFINITION_NAME_MAX + sizeof(", ...") >= size) {
			(void)stpcpy(buf + len, ", ...");
			return;
		}
		len += (size_t)snprintf(buf + len, size - len, "%s %s", comma, set->list[i]->name);
		comma = ",";
	}
}

void
doctor_add_failure(struct doctor *doctor, const struct doctor_set *set, const char *text)
{
	char means[512];
	size_t n_required = 0;

	for (size_t i = 0; i < set->n; i++)
		n_required += set->list[i]->required;
	if (!n_required)
		(void)snprintf(means, sizeof(means), "will fail; the start goes on without");
	else if (n_required == set->n)
		(void)snprintf(means, sizeof(means), "will fail, and the start with %s", set->n == 1 ? "it" : "them");
	else
		name_required(means, sizeof(means), set);
	doctor_add(doctor, n_required ? DOCTOR_REQUIRED : DOCTOR_PROBLEM, set, means, text);
}

void
doctor_add_taken(struct doctor *doctor, const struct doctor_set *set, uint32_t uid, const char *text)
{
	char what[FINDINGS_TEXT_SIZE];
	const char *remedy;

	/* Root is shown everything. */
	if (!doctor->has_daemon || uid != doctor->limits.uid || geteuid() == 0) {
		doctor_add_failure(doctor, set, text);
		return;
	}
	/* What mends it otherwise would be the end of what is well. */
	(void)snprintf(what, sizeof(what), "%s", text);
	(void)findings_split(what, &remedy);
	doctor_add(doctor, DOCTOR_NOTE, set, "it may be segmentd's own, which shows you only what you may attach", what);
}

void
doctor_add_placement(struct doctor *doctor, const struct doctor_set *set, const char *text)
{
	struct doctor_set fail = DOCTOR_SET_NULL, degrade = DOCTOR_SET_NULL;

	for (size_t i = 0; i < set->n; i++)
		doctor_set_add(doctor, set->list[i]->placement == DEFINITION_REQUIRE ? &fail : &degrade, set->list[i]);
	if (fail.n)
		doctor_add_failure(doctor, &fail, text);
	if (degrade.n)
		doctor_add(doctor, DOCTOR_PROBLEM, &degrade, "will be ready without it, since placement is \"prefer\"", text);
	doctor_set_deinit(&fail);
	doctor_set_deinit(&degrade);
}

/* A configuration that cannot be had is a finding like others: the host is looked at all the same. */
static int
doctor_load(struct doctor *doctor)
{
	int r;

	if (access(doctor->file, R_OK) < 0) {
		doctor->file_error = -errno;
		return conf_new_default(&doctor->conf);
	}
	r = conf_load(doctor->file, &doctor->report, &doctor->conf);
	if (r < 0)
		return r;
	doctor->is_valid = r == 0;
	return r == 0 ? 0 : conf_new_default(&doctor->conf);
}

static void
doctor_examine(struct doctor *doctor)
{
	doctor->service_error = service_read(doctor->root, &doctor->service);
	doctor_meet_daemon(doctor);
	for (size_t i = 0; i < BASE_ARRAY_SIZE(checks); i++) {
		doctor->check = checks[i].name;
		checks[i].run(doctor);
	}
}

static int
doctor_status(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->n_rows; i++)
		if (doctor->rows[i].level == DOCTOR_REQUIRED)
			return SEGMENTCTL_FAILED;
	return SEGMENTCTL_DONE;
}

void
doctor_drop_rows(struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->n_rows; i++)
		row_deinit(&doctor->rows[i]);
	free(take_ptr(doctor->rows));
	doctor->n_rows = 0;
}

static void
doctor_deinit(struct doctor *doctor)
{
	doctor_drop_rows(doctor);
	doctor_leave_daemon(doctor);
	doctor_set_deinit(&doctor->fallen_back);
	conf_free(doctor->conf);
	conf_report_deinit(&doctor->report);
}

int
doctor_run(const struct segmentctl *ctl, char **args, unsigned n_args)
{
	struct doctor doctor = {
		.ctl = ctl, .root = doctor_root, .file = n_args ? args[0] : CONF_DEFAULT_FILE, .is_named = n_args > 0,
		.report = CONF_REPORT_NULL,
	};
	int r = doctor_load(&doctor);

	if (r < 0) {
		r = report_failure(ctl, SEGMENTCTL_FAILED, "reading '%s' failed: %s", doctor.file, strerror(-r));
	} else {
		doctor_examine(&doctor);
		if (doctor.error < 0)
			r = report_no_memory(ctl);
		else
			r = report_output(ctl, doctor_print(ctl, &doctor));
		if (r == SEGMENTCTL_DONE)
			r = doctor_status(&doctor);
	}
	doctor_deinit(&doctor);
	return r;
}
