# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
check_PROGRAMS += tests/service/check_notify tests/service/check_inherited \
	tests/service/check_journal tests/service/check_store
endif
check_SCRIPTS += tests/service/check-catalog tests/service/check-apparmor
EXTRA_DIST += tests/service/check-catalog tests/service/check-apparmor
noinst_HEADERS += tests/service/suite.h
service_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
service_manager = tests/service/manager.c tests/service/manager.h
service_test_libs = systemd/libservice.la $(CHECK_LIBS)

tests_service_check_notify_SOURCES = tests/service/check_notify.c $(service_manager)
tests_service_check_notify_CFLAGS = $(service_test_cflags)
tests_service_check_notify_LDADD = $(service_test_libs)

tests_service_check_inherited_SOURCES = tests/service/check_inherited.c
tests_service_check_inherited_CFLAGS = $(service_test_cflags)
tests_service_check_inherited_LDADD = $(service_test_libs)

tests_service_check_journal_SOURCES = tests/service/check_journal.c
tests_service_check_journal_CFLAGS = $(service_test_cflags)
tests_service_check_journal_LDADD = $(service_test_libs)

tests_service_check_store_SOURCES = tests/service/check_store.c $(service_manager)
tests_service_check_store_CFLAGS = $(service_test_cflags)
tests_service_check_store_LDADD = $(service_test_libs)
