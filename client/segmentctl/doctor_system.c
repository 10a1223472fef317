/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* doctor's checks of what stands around: the configuration itself, the kernel's version, security modules, systemd. */
#include "config.h"

#include "client/segmentctl/doctor.h"
#include "client/segmentctl/text.h"
#include "host/file.h"
#include "host/kernel.h"

static bool
is_in_memory(const struct definition *definition)
{
	return !definition_takes(definition, DEFINITION_TAKES_DISK);
}

static void
tell_unreadable(struct doctor *doctor)
{
	char text[FINDINGS_TEXT_SIZE];

	(void)snprintf(text, sizeof(text), "the configuration %s cannot be read: %s. Remedy: `segmentctl doctor FILE` takes "
	    "another one", doctor->file, strerror(-doctor->file_error));
	doctor_add(doctor, doctor->is_named ? DOCTOR_REQUIRED : DOCTOR_NOTE, NULL, "the host is judged without segments", text);
}

static void
tell_invalid(struct doctor *doctor)
{
	size_t n = doctor->report.n_problems + doctor->report.n_left_out;
	char text[FINDINGS_TEXT_SIZE], first[256] = "";

	if (doctor->report.n_problems)
		(void)conf_problem_format(&doctor->report.problems[0], first, sizeof(first));
	(void)snprintf(text, sizeof(text), "the configuration is not valid, %zu problem%s: %s. Remedy: `segmentctl check %s` tells "
	    "all of them", n, n == 1 ? "" : "s", first, doctor->file);
	doctor_add(doctor, DOCTOR_REQUIRED, NULL, "the daemon does not start with it; the host is judged without segments", text);
}

void
doctor_check_configuration(struct doctor *doctor)
{
	struct doctor_set all;
	char size[TEXT_SIZE];

	if (doctor->file_error < 0) {
		tell_unreadable(doctor);
		return;
	}
	if (!doctor->is_valid) {
		tell_invalid(doctor);
		return;
	}
	all = (struct doctor_set) { .list = (const struct definition **)doctor->conf->segments, .n = doctor->conf->n_segments };
	text_format_size(doctor_set_bytes(doctor, &all, doctor_bytes), size);
	doctor_ok(doctor, "%s: %zu segment%s (%s), %zu template%s", doctor->file, all.n, all.n == 1 ? "" : "s", size,
	    doctor->conf->n_templates, doctor->conf->n_templates == 1 ? "" : "s");
}

void
doctor_check_kernel(struct doctor *doctor)
{
	char release[128], text[FINDINGS_TEXT_SIZE];
	unsigned major, minor;
	bool has_all = true;
	int r = kernel_read_release(doctor->root, release, sizeof(release), &major, &minor);

	if (r < 0) {
		doctor_unread(doctor, "the kernel's version (/proc/sys/kernel/osrelease)", r);
		return;
	}
	for (size_t i = 0; i < kernel_n_features; i++) {
		if (kernel_has(major, minor, &kernel_features[i]))
			continue;
		has_all = false;
		findings_feature(text, sizeof(text), release, &kernel_features[i]);
		doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
	}
	if (has_all)
		doctor_ok(doctor, "Linux %s has all that is used", release);
}

/* Where a profile of ours would be installed. */
static const char *
find_profile_file(const char *root)
{
	static const char *const files[] = { "/etc/apparmor.d/usr.sbin.segmentd", "/etc/apparmor.d/segmentd" };

	for (size_t i = 0; i < BASE_ARRAY_SIZE(files); i++)
		if (file_exists(root, files[i]))
			return files[i];
	return NULL;
}

static void
judge_apparmor(struct doctor *doctor, const char *modules)
{
	const char *file = find_profile_file(doctor->root);
	char text[FINDINGS_TEXT_SIZE];
	bool by_path = false, by_name = false;
	int r = kernel_has_profile(doctor->root, "/usr/sbin/segmentd", &by_path);

	if (r == 0)
		r = kernel_has_profile(doctor->root, "segmentd", &by_name);
	if (r < 0) {
		doctor_unread(doctor, "which profiles AppArmor has (/sys/kernel/security/apparmor/profiles)", r);
	} else if (by_path || by_name) {
		doctor_ok(doctor, "security modules: %s; AppArmor has segmentd's profile", modules);
	} else if (file) {
		findings_profile(text, sizeof(text), file);
		doctor_add(doctor, DOCTOR_NOTE, NULL, "the daemon runs unconfined", text);
	} else {
		doctor_ok(doctor, "security modules: %s; no profile of segmentd is installed", modules);
	}
}

void
doctor_check_security(struct doctor *doctor)
{
	char modules[256], text[FINDINGS_TEXT_SIZE];
	uint64_t enforces = 0;
	int r = kernel_read_lsm(doctor->root, modules, sizeof(modules));

	if (r < 0) {
		doctor_unread(doctor, "which security modules are on (/sys/kernel/security/lsm)", r);
		return;
	}
	if (strstr(modules, "apparmor"))
		judge_apparmor(doctor, modules);
	else if (file_read_number(doctor->root, "/sys/fs/selinux/enforce", &enforces) < 0 || !enforces)
		doctor_ok(doctor, "security modules: %s", modules);
	if (enforces) {
		findings_selinux(text, sizeof(text));
		doctor_add(doctor, DOCTOR_NOTE, NULL, NULL, text);
	}
}

void
doctor_check_systemd(struct doctor *doctor)
{
	unsigned version = service_systemd_version(doctor->root);
	char text[FINDINGS_TEXT_SIZE];
	struct doctor_set set;

	if (!service_has_systemd(doctor->root)) {
		doctor_ok(doctor, "systemd does not run this host");
		return;
	}
	if (!version) {
		doctor_unread(doctor, "systemd's version (libsystemd-shared-*.so)", -ENOENT);
		return;
	}
	doctor_select(doctor, is_in_memory, &set);
	findings_systemd(text, sizeof(text), version);
	if (set.n)
		doctor_add(doctor, DOCTOR_NOTE, &set, "lose their contents when the unit is stopped", text);
	else
		doctor_ok(doctor, "systemd %u; no segment would lose its contents with a stop", version);
	doctor_set_deinit(&set);
}
