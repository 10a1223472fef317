/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* Sentences about the kernel's settings, systemd and what else stands around the daemon. */
#include "config.h"

#include "base/base.h"
#include "host/findings.h"

#define SIZE_TEXT	32

/* Of CommitLimit: what swap does not give, as percents of memory, rounded up. */
static unsigned long long
enough_ratio(uint64_t needed_bytes, const struct kernel_overcommit *overcommit)
{
	uint64_t sum, hundredth = max_u64(overcommit->total_bytes / 100, 1);

	if (!checked_add(overcommit->used_bytes, needed_bytes, &sum))
		sum = UINT64_MAX;
	return (sum - min_u64(sum, overcommit->swap_bytes)) / hundredth + 1;
}

void
findings_overcommit(char *buf, size_t size, uint64_t needed_bytes, const struct kernel_overcommit *overcommit)
{
	char needed[SIZE_TEXT], left[SIZE_TEXT], limit[SIZE_TEXT];

	if (overcommit->mode != 2) {
		(void)snprintf(buf, size, "%s are needed at once, as System V memory of that max_size is, but memory and swap together "
		    "are %s, and vm.overcommit_memory is 0. Remedy: a smaller max_size, or `sysctl -w vm.overcommit_memory=1`, and the "
		    "same in /etc/sysctl.d/segmentd.conf for the next start", findings_size(needed, sizeof(needed), needed_bytes),
		    findings_size(left, sizeof(left), kernel_commit_left(overcommit)));
		return;
	}
	(void)snprintf(buf, size, "%s of memory are needed, but %s may be committed: vm.overcommit_memory is 2, and of a "
	    "CommitLimit of %s the rest is committed. Remedy: `sysctl -w vm.overcommit_memory=0`, or `sysctl -w "
	    "vm.overcommit_ratio=%llu`; and the same in /etc/sysctl.d/segmentd.conf for the next start",
	    findings_size(needed, sizeof(needed), needed_bytes),
	    findings_size(left, sizeof(left), kernel_commit_left(overcommit)),
	    findings_size(limit, sizeof(limit), overcommit->limit_bytes), enough_ratio(needed_bytes, overcommit));
}

void
findings_unit_memory(char *buf, size_t size, uint64_t needed_bytes, const struct service *service)
{
	const char *name = service->is_high ? "MemoryHigh" : "MemoryMax";
	char needed[SIZE_TEXT], limit[SIZE_TEXT];
	uint64_t sum;

	if (!checked_add(needed_bytes, 64 * MIB, &sum))
		sum = UINT64_MAX;
	(void)snprintf(buf, size, "%s of memory are needed, but " SERVICE_UNIT " has %s=%s. Remedy: %s=%lluM in the unit "
	    "(`systemctl edit " SERVICE_UNIT "`, below [Service])", findings_size(needed, sizeof(needed), needed_bytes), name,
	    findings_size(limit, sizeof(limit), service->memory_max_bytes), name, (unsigned long long)(sum / MIB + 1));
}

void
findings_swap(char *buf, size_t size, uint64_t swap_bytes)
{
	char swap[SIZE_TEXT];

	(void)snprintf(buf, size, "there are %s of swap, to which memory that is not locked may go. Remedy: mlock = true, or "
	    "`swapoff -a`", findings_size(swap, sizeof(swap), swap_bytes));
}

void
findings_swapped(char *buf, size_t size, uint64_t size_bytes, uint64_t resident_bytes)
{
	char had[SIZE_TEXT], asked[SIZE_TEXT];

	(void)snprintf(buf, size, "only %s of %s stayed in memory: the host swaps. Remedy: mlock = true, `swapoff -a`, or more memory",
	    findings_size(had, sizeof(had), resident_bytes), findings_size(asked, sizeof(asked), size_bytes));
}

void
findings_selinux(char *buf, size_t size)
{
	(void)snprintf(buf, size, "SELinux is enforcing, and descriptors that its policy does not let pass arrive as none. Remedy: "
	    "`ausearch -m avc -c segmentd` shows what was denied");
}

void
findings_inotify(char *buf, size_t size, uint64_t needed, const struct kernel_inotify *inotify)
{
	unsigned long long enough = max_u64(needed > UINT64_MAX / 2 ? UINT64_MAX : needed * 2, 8192);

	if (!inotify->instances) {
		(void)snprintf(buf, size, "fs.inotify.max_user_instances is 0, and the daemon needs one to start. Remedy: "
		    "`sysctl -w fs.inotify.max_user_instances=128`, and the same in /etc/sysctl.d/segmentd.conf for the next "
		    "start");
		return;
	}
	(void)snprintf(buf, size, "%llu segments may be attached at once, each watched by inotify, but a user may have %llu "
	    "watches. Remedy: `sysctl -w fs.inotify.max_user_watches=%llu`, and the same in /etc/sysctl.d/segmentd.conf for "
	    "the next start", (unsigned long long)needed, (unsigned long long)inotify->watches, enough);
}

void
findings_remove_ipc(char *buf, size_t size, const char *user, const char *where)
{
	(void)snprintf(buf, size, "logind removes POSIX objects and System V segments of '%s', who is no system user, when "
	    "that user's last session ends: RemoveIPC is yes (%s). Remedy: RemoveIPC=no below [Login] in "
	    "/etc/systemd/logind.conf.d/segmentd.conf, then `systemctl restart systemd-logind.service`; or run the daemon as "
	    "a system user", user, *where ? where : "the default");
}

void
findings_feature(char *buf, size_t size, const char *release, const struct kernel_feature *feature)
{
	(void)snprintf(buf, size, "Linux %s has no %s: %s. Remedy: Linux %u.%u or later", release, feature->name,
	    feature->lack, feature->major, feature->minor);
}

void
findings_systemd(char *buf, size_t size, unsigned version)
{
	(void)snprintf(buf, size, "systemd %u %s: what is in memory goes with a stop. Remedy: backend = \"file\" for contents that "
	    "are to outlive a stop, or init for those that can be made anew", version, version < SERVICE_VERSION_PRESERVE ?
	    "keeps no descriptors over a stop of a unit (FileDescriptorStorePreserve= came with 254)" :
	    "can keep descriptors over a stop of a unit, but this segmentd stores none there");
}

void
findings_profile(char *buf, size_t size, const char *file)
{
	(void)snprintf(buf, size, "AppArmor is on, but has no profile of segmentd loaded, though there is one. Remedy: "
	    "`apparmor_parser -r %s`", file);
}

void
findings_unread(char *buf, size_t size, const char *what, int r)
{
	(void)snprintf(buf, size, "%s could not be read (%s), and is not judged", what, strerror(-r));
}
