# SPDX-License-Identifier: Apache-2.0
# The program that looks into others' processes and removes what nobody holds; all but its start is a library that the tests link, too.
libexec_PROGRAMS += daemon/audit/segmentd-audit
noinst_LTLIBRARIES += daemon/audit/libaudit.la

daemon_audit_libaudit_la_CFLAGS = $(AM_CFLAGS) -pthread
daemon_audit_libaudit_la_SOURCES = \
	daemon/audit/answer.c daemon/audit/answer.h \
	daemon/audit/cpus.c daemon/audit/cpus.h \
	daemon/audit/descriptors.c daemon/audit/descriptors.h \
	daemon/audit/holder.c daemon/audit/holder.h \
	daemon/audit/maps.c daemon/audit/maps.h \
	daemon/audit/minder.c daemon/audit/minder.h \
	daemon/audit/objects.c daemon/audit/objects.h \
	daemon/audit/stray_posix.c daemon/audit/stray_posix.h \
	daemon/audit/quarantine.c daemon/audit/quarantine.h \
	daemon/audit/question.c daemon/audit/question.h \
	daemon/audit/removal.c daemon/audit/removal.h \
	daemon/audit/rights.c daemon/audit/rights.h \
	daemon/audit/strays.c daemon/audit/strays.h \
	daemon/audit/stray_sysv.c daemon/audit/stray_sysv.h \
	daemon/audit/watchdog.c daemon/audit/watchdog.h \
	daemon/audit/who.c daemon/audit/who.h
daemon_audit_libaudit_la_LIBADD = host/libhost.la

daemon_audit_segmentd_audit_SOURCES = daemon/audit/main.c
daemon_audit_segmentd_audit_CFLAGS = $(AM_CFLAGS)
daemon_audit_segmentd_audit_LDFLAGS = $(AM_LDFLAGS) $(PIE_LDFLAGS) -pthread
daemon_audit_segmentd_audit_LDADD = daemon/audit/libaudit.la
