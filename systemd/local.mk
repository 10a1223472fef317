# SPDX-License-Identifier: Apache-2.0
noinst_LTLIBRARIES += systemd/libservice.la
systemd_libservice_la_SOURCES = \
	systemd/inherited.c systemd/inherited.h \
	systemd/journal.c systemd/journal.h \
	systemd/notify.c systemd/notify.h \
	systemd/store.c systemd/store.h
systemd_libservice_la_CFLAGS = $(AM_CFLAGS) $(SYSTEMD_CFLAGS)
systemd_libservice_la_LIBADD = $(SYSTEMD_LIBS)

# What belongs to us of a systemd; where it looks for that says --with-systemdsystemunitdir.
unit_templates = systemd/segmentd.service.in systemd/segmentd-audit@.service.in
units_made = $(unit_templates:.in=)
units = systemd/segmentd.socket systemd/segmentd-audit.socket
if KEEPS_STORE
units += systemd/segmentd-shutdown.service
endif
EXTRA_DIST += $(unit_templates) $(units) systemd/segmentd-shutdown.service systemd/segmentd.sysusers systemd/segmentd.tmpfiles \
	systemd/segmentd.catalog
CLEANFILES += $(units_made)
if HAVE_UNIT_DIR
systemdsystemunit_DATA = $(units)
nodist_systemdsystemunit_DATA = $(units_made)
endif

systemd_words = sed -e 's|[@]bindir[@]|$(bindir)|g' -e 's|[@]sbindir[@]|$(sbindir)|g' -e 's|[@]libexecdir[@]|$(libexecdir)|g' \
	-e 's|[@]sysconfdir[@]|$(sysconfdir)|g' -e 's|[@]localstatedir[@]|$(localstatedir)|g' -e '@unit_settings@'
systemd/%: systemd/%.in Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && $(systemd_words) $< >$@.tmp && mv $@.tmp $@

EXTRA_DIST += systemd/apparmor/usr.sbin.segmentd.in
CLEANFILES += systemd/apparmor/usr.sbin.segmentd
if HAVE_APPARMOR_DIR
nodist_apparmor_DATA = systemd/apparmor/usr.sbin.segmentd
else
nodist_noinst_DATA = systemd/apparmor/usr.sbin.segmentd
endif

# Named segmentd.something there, all of them.
install-data-local: install-systemd
uninstall-local: uninstall-systemd
.PHONY: install-systemd uninstall-systemd
install-systemd:
	test -z "$(systemdsystemunitdir)" || { \
		$(MKDIR_P) "$(DESTDIR)$(sysusersdir)" "$(DESTDIR)$(tmpfilesdir)" "$(DESTDIR)$(catalogdir)" && \
		$(INSTALL_DATA) $(srcdir)/systemd/segmentd.sysusers "$(DESTDIR)$(sysusersdir)/segmentd.conf" && \
		$(INSTALL_DATA) $(srcdir)/systemd/segmentd.tmpfiles "$(DESTDIR)$(tmpfilesdir)/segmentd.conf" && \
		$(INSTALL_DATA) $(srcdir)/systemd/segmentd.catalog "$(DESTDIR)$(catalogdir)/segmentd.catalog"; \
	}

uninstall-systemd:
	-test -z "$(systemdsystemunitdir)" || \
		rm -f "$(DESTDIR)$(sysusersdir)/segmentd.conf" "$(DESTDIR)$(tmpfilesdir)/segmentd.conf" \
			"$(DESTDIR)$(catalogdir)/segmentd.catalog"
