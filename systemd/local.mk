# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += systemd/libservice.la
systemd_libservice_la_SOURCES = \
	systemd/journal.c systemd/journal.h \
	systemd/listen.c systemd/listen.h \
	systemd/notify.c systemd/notify.h
systemd_libservice_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
systemd_libservice_la_LIBADD = $(SYSTEMD_LIBS)

# The units that belong to us; where systemd looks for those says --with-systemdsystemunitdir.
EXTRA_DIST += systemd/segmentd-audit.socket systemd/segmentd-audit@.service.in
CLEANFILES += systemd/segmentd-audit@.service
if HAVE_UNIT_DIR
systemdsystemunit_DATA = systemd/segmentd-audit.socket
nodist_systemdsystemunit_DATA = systemd/segmentd-audit@.service
endif

systemd/segmentd-audit@.service: systemd/segmentd-audit@.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && \
	    sed -e 's|[@]libexecdir[@]|$(libexecdir)|g' "$(srcdir)/systemd/segmentd-audit@.service.in" >$@.tmp && mv $@.tmp $@
