# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += conf/libconf.la
conf_libconf_la_SOURCES = \
	conf/check.c conf/check.h \
	conf/check_backend.c conf/check_backend.h \
	conf/check_file.c conf/check_file.h \
	conf/check_locks.c conf/check_locks.h \
	conf/check_sysv.c conf/check_sysv.h \
	conf/check_unique.c conf/check_unique.h \
	conf/definition.c conf/definition.h \
	conf/describe.c \
	conf/field.c conf/field.h \
	conf/file.c conf/file.h \
	conf/files.c conf/files.h \
	conf/gather.c conf/gather.h \
	conf/grammar.c conf/grammar.h \
	conf/keys.c conf/keys.h \
	conf/load.c conf/load.h \
	conf/nearest.c \
	conf/origin.c conf/origin.h \
	conf/pack.c conf/pack.h \
	conf/pack_bytes.c conf/pack_bytes.h \
	conf/pack_check.c conf/pack_check.h \
	conf/pack_group.c conf/pack_group.h \
	conf/pack_known.c conf/pack_known.h \
	conf/pack_whole.c \
	conf/plan.c conf/plan.h \
	conf/plan_list.c conf/plan_list.h \
	conf/read.c conf/read.h \
	conf/report.c conf/report.h \
	conf/source.c conf/source.h \
	conf/units.c conf/units.h \
	conf/value.c conf/value.h
conf_libconf_la_CPPFLAGS = $(AM_CPPFLAGS) $(CONFIG_CFLAGS) -DCONF_SYSCONFDIR='"$(sysconfdir)"'
conf_libconf_la_LIBADD = $(CONFIG_LIBS)

dist_man_MANS += doc/segmentd.conf.5
EXTRA_DIST += conf/segmentd.conf conf/segments.d.README

# A configuration that is there already is its administrator's, and stays as it is.
install-data-local: install-conf
.PHONY: install-conf uninstall-conf
install-conf:
	$(MKDIR_P) "$(DESTDIR)$(sysconfdir)/segmentd/segments.d"
	test -e "$(DESTDIR)$(sysconfdir)/segmentd/segmentd.conf" || \
		$(INSTALL_DATA) $(srcdir)/conf/segmentd.conf "$(DESTDIR)$(sysconfdir)/segmentd/segmentd.conf"
	$(INSTALL_DATA) $(srcdir)/conf/segments.d.README "$(DESTDIR)$(sysconfdir)/segmentd/segments.d/README"

# Removed only as long as it is the one that was shipped.
uninstall-local: uninstall-conf
uninstall-conf:
	-! cmp -s $(srcdir)/conf/segmentd.conf "$(DESTDIR)$(sysconfdir)/segmentd/segmentd.conf" || \
		rm -f "$(DESTDIR)$(sysconfdir)/segmentd/segmentd.conf"
	-rm -f "$(DESTDIR)$(sysconfdir)/segmentd/segments.d/README"
	-rmdir "$(DESTDIR)$(sysconfdir)/segmentd/segments.d" "$(DESTDIR)$(sysconfdir)/segmentd"
