/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/*
 * The daemon's door while nobody may come in: what was left by those who have gone is more than is let go of at once. That cannot be
 * had for long from a whole daemon, which lets go of it.
 */
#include "config.h"

#include <check.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/listener.h"
#include "tests/suite_run.h"

#define N_RESTS		3

/* What went to standard error, which the caller has made a file. */
static unsigned
count_told(const char *text)
{
	static char log[16384];
	ssize_t n = pread(STDERR_FILENO, log, sizeof(log) - 1, 0);
	unsigned n_told = 0;

	log[n > 0 ? n : 0] = 0;
	for (const char *at = log; (at = strstr(at, text)); at += strlen(text))
		n_told++;
	return n_told;
}

START_TEST(who_waits_at_the_door_is_counted_and_told)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct inherited inherited = { .listen_fd = -1 };
	char dir[] = "/tmp/segmentd-door-XXXXXX", state_dir[64], lock[80];
	struct conf_daemon conf = { .socket = address.sun_path, .state_dir = state_dir, .socket_mode = 0600 };
	cleanup_close int fd = -1, log = -1, errors = dup(STDERR_FILENO);
	struct session_host host = { .base = event_base_new() };
	struct listener listener;

	ck_assert_ptr_nonnull(host.base);
	ck_assert_ptr_nonnull(mkdtemp(dir));
	(void)snprintf(state_dir, sizeof(state_dir), "%s", dir);
	(void)snprintf(lock, sizeof(lock), "%s/lock", dir);
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/socket", dir);
	log = open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	ck_assert_int_ge(log, 0);
	ck_assert_int_eq(dup2(log, STDERR_FILENO), STDERR_FILENO);
	ck_assert_int_eq(listener_init(&listener, &host, &inherited, &conf), 0);
	ck_assert_int_eq(listener_start(&listener), 0);
	host.parcels.graves.n = GRAVES_FDS;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	while (host.n_crowded < N_RESTS)
		(void)event_base_loop(host.base, EVLOOP_ONCE);
	ck_assert_uint_eq(count_told("no client is accepted before"), 1);
	(void)dup2(errors, STDERR_FILENO);
	ck_assert_uint_eq(host.n_connections, 0);
	listener_deinit(&listener);
	listener_unlock(&listener);
	event_base_free(host.base);
	(void)unlink(lock);
	ck_assert_int_eq(rmdir(dir), 0);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("listener");
	TCase *tcase = tcase_create("listener");

	tcase_add_test(tcase, who_waits_at_the_door_is_counted_and_told);
	suite_add_tcase(suite, tcase);
	return suite_run(suite);
}
