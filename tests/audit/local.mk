# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
check_LTLIBRARIES += tests/audit/librig.la
tests_audit_librig_la_SOURCES = tests/audit/rig.c tests/audit/rig.h tests/audit/python.c tests/audit/python.h
tests_audit_librig_la_CPPFLAGS = $(AM_CPPFLAGS) -DRIG_AUDIT_PROGRAM='"$(abs_top_builddir)/daemon/audit/segmentd-audit"'
tests_audit_librig_la_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)

AUDIT_RIG_LIBS = tests/audit/librig.la $(HARNESS_LIBS) daemon/audit/libaudit.la host/libhost.la

check_PROGRAMS += tests/audit/check_who
tests_audit_check_who_SOURCES = tests/audit/check_who.c
tests_audit_check_who_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_audit_check_who_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_strays
tests_audit_check_strays_SOURCES = tests/audit/check_strays.c
tests_audit_check_strays_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_strays_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_quarantine
tests_audit_check_quarantine_SOURCES = tests/audit/check_quarantine.c
tests_audit_check_quarantine_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_quarantine_LDADD = $(AUDIT_RIG_LIBS)

tests_audit_check_removalstorm_SOURCES = tests/audit/check_removalstorm.c
tests_audit_check_removalstorm_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_audit_check_removalstorm_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_standstill
tests_audit_check_standstill_SOURCES = tests/audit/check_standstill.c
tests_audit_check_standstill_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_standstill_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_question
tests_audit_check_question_SOURCES = tests/audit/check_question.c
tests_audit_check_question_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_question_LDADD = $(AUDIT_RIG_LIBS)

tests_audit_check_races_SOURCES = tests/audit/check_races.c tests/audit/racing.c tests/audit/racing.h
tests_audit_check_races_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_races_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_cpus
tests_audit_check_cpus_SOURCES = tests/audit/check_cpus.c
tests_audit_check_cpus_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_cpus_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_lateopeners
tests_audit_check_lateopeners_SOURCES = tests/audit/check_lateopeners.c
tests_audit_check_lateopeners_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_lateopeners_LDADD = $(AUDIT_RIG_LIBS)

check_PROGRAMS += tests/audit/check_container
tests_audit_check_container_SOURCES = tests/audit/check_container.c
tests_audit_check_container_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_audit_check_container_LDADD = host/libhost.la $(CHECK_LIBS)
endif
