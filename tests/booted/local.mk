# SPDX-License-Identifier: Apache-2.0
# Tests in a booted systemd: tests/booted/boot says how. What is tested is what `make install` installs.
booted_payloads = tests/booted/payload.sh tests/booted/units.sh
EXTRA_DIST += tests/booted/boot tests/booted/check-units $(booted_payloads)

booted_installed = tests/booted/installed
if HAVE_UNIT_DIR
if SANITIZERS
# Their runtime takes more than the unit allows.
else
check_SCRIPTS += tests/booted/check-units
check_DATA = $(booted_installed)
endif
endif
AM_TESTS_ENVIRONMENT += BOOTED_PATH='$(sbindir):$(bindir)'; export BOOTED_PATH; BOOTED_STAGE='$(abs_builddir)/tests/booted/stage'; export BOOTED_STAGE;

$(booted_installed): $(bin_PROGRAMS) $(sbin_PROGRAMS) $(libexec_PROGRAMS) $(lib_LTLIBRARIES) $(dist_man_MANS) $(EXTRA_DIST) Makefile
	$(AM_V_GEN)rm -rf tests/booted/stage && $(MKDIR_P) tests/booted/stage && \
	if $(srcdir)/tests/booted/boot -l >/dev/null 2>&1; then \
		(cd tests/booted/stage && mkdir -p usr/bin usr/sbin usr/lib && ln -s usr/bin usr/sbin usr/lib .) && \
		$(MAKE) $(AM_MAKEFLAGS) install DESTDIR='$(abs_builddir)/tests/booted/stage' >tests/booted/stage.log 2>&1; \
	fi && touch $@

clean-local: clean-booted
.PHONY: clean-booted
clean-booted:
	rm -rf tests/booted/stage tests/booted/stage.log $(booted_installed)
