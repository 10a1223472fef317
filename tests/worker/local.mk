# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
WORKER_HARNESS = tests/worker/harness.c tests/worker/harness.h tests/harness-clock.c tests/harness-clock.h
WORKER_TEST_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
WORKER_TEST_LIBS = daemon/worker/libworker.la client/libcontrol.la host/libhost.la conf/libconf.la $(CHECK_LIBS)

check_PROGRAMS += tests/worker/check_worker tests/worker/check_cgroup

tests_worker_check_worker_SOURCES = tests/worker/check_worker.c $(WORKER_HARNESS)
tests_worker_check_worker_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_worker_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_populate
tests_worker_check_populate_SOURCES = tests/worker/check_populate.c $(WORKER_HARNESS)
tests_worker_check_populate_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_populate_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_contents
tests_worker_check_contents_SOURCES = tests/worker/check_contents.c $(WORKER_HARNESS)
tests_worker_check_contents_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_contents_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_mark
tests_worker_check_mark_SOURCES = tests/worker/check_mark.c
tests_worker_check_mark_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_mark_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_cut
tests_worker_check_cut_SOURCES = tests/worker/check_cut.c $(WORKER_HARNESS)
tests_worker_check_cut_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_cut_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_cancel
tests_worker_check_cancel_SOURCES = tests/worker/check_cancel.c $(WORKER_HARNESS)
tests_worker_check_cancel_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_cancel_LDADD = $(WORKER_TEST_LIBS)

check_PROGRAMS += tests/worker/check_taken
tests_worker_check_taken_SOURCES = tests/worker/check_taken.c
tests_worker_check_taken_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_taken_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=object_map -Wl,--wrap=file_read_number
tests_worker_check_taken_LDADD = $(WORKER_TEST_LIBS)

tests_worker_check_cgroup_SOURCES = tests/worker/check_cgroup.c $(WORKER_HARNESS)
tests_worker_check_cgroup_CFLAGS = $(WORKER_TEST_CFLAGS)
tests_worker_check_cgroup_LDADD = $(WORKER_TEST_LIBS)
endif
