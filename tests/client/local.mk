# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
check_PROGRAMS += tests/client/check_lies tests/client/check_segment tests/client/check_daemon tests/client/check_events

tests_client_check_lies_SOURCES = tests/client/check_lies.c tests/client/fake.c tests/client/fake.h
tests_client_check_lies_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_lies_LDADD = client/libclient.la $(CHECK_LIBS)

check_PROGRAMS += tests/client/check_manylies
tests_client_check_manylies_SOURCES = tests/client/check_manylies.c tests/client/fake.c tests/client/fake.h
tests_client_check_manylies_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_manylies_LDADD = client/libclient.la $(CHECK_LIBS)

served = tests/client/served.c tests/client/served.h tests/client/fake.c tests/client/fake.h
tests_client_check_segment_SOURCES = tests/client/check_segment.c $(served)
tests_client_check_segment_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_segment_LDADD = client/libclient.la $(CHECK_LIBS)

check_PROGRAMS += tests/client/check_reconnect
tests_client_check_reconnect_SOURCES = tests/client/check_reconnect.c $(served)
tests_client_check_reconnect_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_reconnect_LDADD = client/libclient.la $(CHECK_LIBS)

check_PROGRAMS += tests/client/check_undisturbed
tests_client_check_undisturbed_SOURCES = tests/client/check_undisturbed.c
tests_client_check_undisturbed_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_undisturbed_LDADD = client/libclient.la $(HARNESS_LIBS)

tests_client_check_daemon_SOURCES = tests/client/check_daemon.c
tests_client_check_daemon_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_daemon_LDADD = client/libclient.la $(HARNESS_LIBS)

check_PROGRAMS += tests/client/check_mutex
tests_client_check_mutex_SOURCES = tests/client/check_mutex.c tests/client/locker.c tests/client/locker.h
tests_client_check_mutex_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_mutex_LDADD = client/libcontrol.la $(HARNESS_LIBS)

# Locks, against a fake daemon that hands them out.
check_PROGRAMS += tests/client/check_lock tests/client/check_lockthreads \
	tests/client/check_locklies tests/client/check_lockbell tests/client/check_lockring
fake_locks = tests/client/fake.c tests/client/fake.h tests/client/fake_locks.c tests/client/fake_locks.h
tests_client_check_lock_SOURCES = tests/client/check_lock.c $(fake_locks)
tests_client_check_lock_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_lock_LDADD = client/libclient.la $(CHECK_LIBS)
tests_client_check_lockthreads_SOURCES = tests/client/check_lockthreads.c $(fake_locks)
tests_client_check_lockthreads_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_lockthreads_LDADD = client/libclient.la $(CHECK_LIBS)
tests_client_check_lockdeath_SOURCES = tests/client/check_lockdeath.c $(fake_locks)
tests_client_check_lockdeath_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_lockdeath_LDADD = client/libclient.la $(CHECK_LIBS)
tests_client_check_locklies_SOURCES = tests/client/check_locklies.c $(fake_locks)
tests_client_check_locklies_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_locklies_LDADD = client/libclient.la $(CHECK_LIBS)
tests_client_check_lockbell_SOURCES = tests/client/check_lockbell.c tests/harness-clock.c tests/harness-clock.h $(fake_locks)
tests_client_check_lockbell_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_lockbell_LDADD = client/libclient.la $(CHECK_LIBS)
tests_client_check_lockring_SOURCES = tests/client/check_lockring.c $(fake_locks)
tests_client_check_lockring_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_lockring_LDADD = client/libclient.la $(CHECK_LIBS)

check_PROGRAMS += tests/client/check_mutexsteps
tests_client_check_mutexsteps_SOURCES = tests/client/check_mutexsteps.c tests/client/locker.c tests/client/locker.h \
	tests/client/stepper.c tests/client/stepper.h
tests_client_check_mutexsteps_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_mutexsteps_LDADD = client/libcontrol.la $(HARNESS_LIBS)

check_PROGRAMS += tests/client/check_mutexstorm
tests_client_check_mutexstorm_SOURCES = tests/client/check_mutexstorm.c tests/client/locker.c tests/client/locker.h \
	tests/client/mutexstorm.c tests/client/mutexstorm.h
tests_client_check_mutexstorm_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_client_check_mutexstorm_LDADD = client/libcontrol.la $(HARNESS_LIBS)

tests_client_check_events_SOURCES = tests/client/check_events.c tests/client/fake.c tests/client/fake.h
tests_client_check_events_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_events_LDADD = client/libclient.la $(HARNESS_LIBS)

check_PROGRAMS += tests/client/check_nowait
tests_client_check_nowait_SOURCES = tests/client/check_nowait.c
tests_client_check_nowait_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_nowait_LDADD = client/libclient.la $(HARNESS_LIBS)

check_PROGRAMS += tests/client/check_growth
tests_client_check_growth_SOURCES = tests/client/check_growth.c tests/client/fake.c tests/client/fake.h
tests_client_check_growth_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_growth_LDADD = client/libclient.la $(HARNESS_LIBS)

check_PROGRAMS += tests/client/check_ledger
tests_of_sources += tests/client/check_ledger
tests_client_check_ledger_SOURCES = tests/client/check_ledger.c
tests_client_check_ledger_CPPFLAGS = $(AM_CPPFLAGS) -DLEDGER_SOURCE='"$(abs_top_srcdir)/client/examples/ledger.c"' \
	-DLEDGER_PROGRAM='"$(abs_top_builddir)/client/examples/ledger"'
tests_client_check_ledger_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_client_check_ledger_LDADD = $(HARNESS_LIBS)
endif

check_SCRIPTS += tests/client/check-exports tests/client/check-header
EXTRA_DIST += tests/client/check-exports tests/client/check-header
