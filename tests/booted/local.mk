# SPDX-License-Identifier: Apache-2.0
# Tests in a booted systemd: tests/booted/boot says how. What is tested is what `make install` installs.
booted_payloads = tests/booted/payload.sh tests/booted/units.sh tests/booted/packages.sh
EXTRA_DIST += tests/booted/boot tests/booted/check-boot tests/booted/packages tests/booted/check-units tests/booted/check-packages $(booted_payloads)
EXTRA_DIST += tests/booted/check-survive tests/booted/survive.sh

booted_installed = tests/booted/installed
if HAVE_UNIT_DIR
if SANITIZERS
# Their runtime takes more than the unit allows.
else
check_SCRIPTS += tests/booted/check-boot tests/booted/check-units tests/booted/check-packages
check_SCRIPTS += tests/booted/check-survive
check_DATA = $(booted_installed) tests/booted/survivor$(EXEEXT)
endif
endif
# The clients of survive.sh, which are no test by themselves.
EXTRA_PROGRAMS += tests/booted/survivor
CLEANFILES += tests/booted/survivor$(EXEEXT)
tests_booted_survivor_SOURCES = tests/booted/survivor.c tests/booted/survivor.h tests/booted/survivor_work.c
tests_booted_survivor_LDADD = client/libclient.la
AM_TESTS_ENVIRONMENT += BOOTED_PATH='$(sbindir):$(bindir)'; export BOOTED_PATH; BOOTED_STAGE='$(abs_builddir)/tests/booted/stage'; export BOOTED_STAGE; \
	BOOTED_PACKAGES='$(abs_builddir)/tests/booted/debs'; export BOOTED_PACKAGES;

$(booted_installed): $(bin_PROGRAMS) $(sbin_PROGRAMS) $(libexec_PROGRAMS) $(lib_LTLIBRARIES) $(dist_man_MANS) $(EXTRA_DIST) Makefile
	$(AM_V_GEN)rm -rf tests/booted/stage && $(MKDIR_P) tests/booted/stage && \
	if $(srcdir)/tests/booted/boot -l >/dev/null 2>&1; then \
		(cd tests/booted/stage && mkdir -p usr/bin usr/sbin usr/lib && ln -s usr/bin usr/sbin usr/lib .) && \
		$(MAKE) $(AM_MAKEFLAGS) install DESTDIR='$(abs_builddir)/tests/booted/stage' >tests/booted/stage.log 2>&1; \
	fi && touch $@

# The packages, of a full check only: they are built from what a release has. $(BOOTED_PACKAGES) has them, and what was said is
# in packages.log there.
booted_packages = tests/booted/debs/packages.log
$(booted_installed): $(if $(CHECK_FULL),$(booted_packages))
$(booted_packages): $(bin_PROGRAMS) $(sbin_PROGRAMS) $(libexec_PROGRAMS) $(lib_LTLIBRARIES) $(dist_man_MANS) $(EXTRA_DIST) Makefile
	$(AM_V_GEN)rm -rf tests/booted/debs && $(MKDIR_P) tests/booted/debs/source && \
	if $(srcdir)/tests/booted/boot -l >/dev/null 2>&1 && command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then \
		$(MAKE) $(AM_MAKEFLAGS) distdir distdir=tests/booted/debs/source/$(PACKAGE)-$(VERSION) >$@.tmp 2>&1 && \
		env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u CHECK_FULL $(srcdir)/tests/booted/packages \
			tests/booted/debs/source/$(PACKAGE)-$(VERSION) tests/booted/debs >>$@.tmp 2>&1 || cat $@.tmp; \
	else \
		echo 'packages cannot be built or installed here (Debian: dpkg-dev, debhelper, systemd-container)' >$@.tmp; \
	fi && rm -rf tests/booted/debs/source && mv $@.tmp $@

clean-local: clean-booted
.PHONY: clean-booted
clean-booted:
	rm -rf tests/booted/stage tests/booted/debs tests/booted/stage.log $(booted_installed)
