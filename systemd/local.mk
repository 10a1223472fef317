# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += systemd/libservice.la
systemd_libservice_la_SOURCES = \
	systemd/journal.c systemd/journal.h \
	systemd/listen.c systemd/listen.h \
	systemd/notify.c systemd/notify.h
systemd_libservice_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
systemd_libservice_la_LIBADD = $(SYSTEMD_LIBS)
