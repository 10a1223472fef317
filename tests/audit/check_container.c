/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* What the path of a cgroup says of the container that a process runs in. */
#include "config.h"

#include <check.h>

#include "base/base.h"
#include "host/container.h"
#include "tests/suite_run.h"

#define HASH	"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OTHER	"fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

static void
expect(const char *path, const char *container)
{
	char buf[80];
	bool is_in = container_of_cgroup(path, buf, sizeof(buf));

	ck_assert_msg(streq(buf, container), "of '%s': '%s' instead of '%s'", path, buf, container);
	ck_assert(is_in == (*container != '\0'));
}

START_TEST(runtimes_are_known_by_their_paths)
{
	expect("/system.slice/docker-" HASH ".scope", "docker:" HASH);
	expect("/docker/" HASH, "docker:" HASH);
	expect("/docker/" HASH "/init", "docker:" HASH);
	expect("/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" HASH ".scope", "docker:" HASH);
	expect("/machine.slice/libpod-" HASH ".scope/container", "podman:" HASH);
	expect("/machine.slice/machine-libpod_pod_" OTHER ".slice/libpod-" HASH ".scope", "podman:" HASH);
	expect("/libpod_parent/libpod-" HASH, "podman:" HASH);
	expect("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b_2c.slice/cri-containerd-" HASH ".scope",
	    "containerd:" HASH);
	expect("/kubepods.slice/kubepods-pod0a.slice/crio-" HASH ".scope", "cri-o:" HASH);
	expect("/kubepods/burstable/pod0a1b-2c/" HASH, "kubernetes:" HASH);
	expect("/system.slice/nerdctl-" HASH ".scope", "nerdctl:" HASH);
	expect("/lxc.payload.web1/system.slice/nginx.service", "lxc:web1");
	expect("/lxc/101/ns/init.scope", "lxc:101");
	expect("/machine.slice/machine-build\\x2dbox.scope/payload", "machine:build-box");
	expect("/machine.slice/systemd-nspawn@web.service/payload", "nspawn:web");
}
END_TEST

START_TEST(what_is_no_container_is_none)
{
	expect("", "");
	expect("/", "");
	expect("/init.scope", "");
	expect("/system.slice/docker.service", "");
	expect("/system.slice/containerd.service", "");
	expect("/docker/buildkit", "");
	expect("/machine.slice/libpod-conmon-" HASH ".scope", "");
	expect("/system.slice/crio-conmon-" HASH ".scope", "");
	expect("/lxc.monitor.web1", "");
	expect("/lxc.payload.", "");
	expect("/user.slice/user-1000.slice/session-1.scope", "");
	/* One digit too few, one that is none, one part too early. */
	expect("/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde", "");
	expect("/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeX", "");
	expect("/" HASH, "");
	expect("/user.slice/machine-liar.scope", "");
}
END_TEST

START_TEST(outermost_one_is_told)
{
	expect("/docker/" HASH "/kubelet/kubepods/burstable/pod1/" OTHER, "docker:" HASH);
	expect("/lxc.payload.host1/docker/" HASH, "lxc:host1");
}
END_TEST

START_TEST(hostile_paths_stay_within_bounds)
{
	char buf[80], path[4096], small[8];

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	memcpy(path, "/lxc/", 5);
	ck_assert(container_of_cgroup(path, buf, sizeof(buf)));
	ck_assert_uint_eq(strlen(buf), sizeof(buf) - 1);
	ck_assert(container_of_cgroup("/docker/" HASH, small, sizeof(small)));
	ck_assert_str_eq(small, "docker:");
	expect("/lxc/a\033[2Jb\177\xc3\xa4", "lxc:a?[2Jb???");
	expect("/machine.slice/machine-a\\x1b\\x0a\\x2.scope", "machine:a??\\x2");
	expect("///lxc////x", "lxc:x");
}
END_TEST

static void
expect_shown(const char *text, const char *shown)
{
	char buf[32];

	container_cgroup(text, buf, sizeof(buf));
	ck_assert_str_eq(buf, shown);
}

START_TEST(cgroup_that_says_most_is_shown)
{
	expect_shown("0::/system.slice/a.service\n", "/system.slice/a.service");
	expect_shown("12:memory:/x\n1:name=systemd:/y\n0::/z\n", "/z");
	expect_shown("12:memory:/x\n1:name=systemd:/y\n0::/\n", "/y");
	expect_shown("12:memory:/x\n1:name=systemd:/\n0::/\n", "/x");
	expect_shown("3:cpu:/\n0::/\n", "/");
	expect_shown("", "");
	expect_shown("nonsense\n::\n", "");
	expect_shown("0::/a\tb\n", "/a?b");
	/* 31 characters fit. */
	expect_shown("0::/234567890123456789012345678901\n", "/234567890123456789012345678901");
	expect_shown("0::/2345678901234567890123456789012\n", "...5678901234567890123456789012");
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("container");
	TCase *tests = tcase_create("container");

	tcase_add_test(tests, runtimes_are_known_by_their_paths);
	tcase_add_test(tests, what_is_no_container_is_none);
	tcase_add_test(tests, outermost_one_is_told);
	tcase_add_test(tests, hostile_paths_stay_within_bounds);
	tcase_add_test(tests, cgroup_that_says_most_is_shown);
	suite_add_tcase(suite, tests);
	return suite_run(suite);
}
