# SPDX-License-Identifier: Apache-2.0
# What three tools say of the sources without running them: `make -k check-static`, or one of the three. No part of `make check`:
# ./bootstrap check has it done beside its tests. STATIC_ONLY='daemon/*' looks at those sources alone, STATIC_JOBS=4 at so many
# at once, STATIC_ANY=1 by whatever version of the tools there is, and STATIC_QUICK=1 leaves out what takes clang-tidy most of its
# time: the paths through each function, which gcc goes as well.
# Tests and benchmarks are left out: they do on purpose what no program should.
EXTRA_DIST += .clang-tidy client/.clang-tidy client/segmentctl/.clang-tidy client/examples/.clang-tidy \
	tests/static/check tests/static/commands.awk tests/static/cppcheck.cfg tests/static/accepted tests/static/planted.c
check_static = STATIC_ONLY='$(STATIC_ONLY)' STATIC_JOBS='$(STATIC_JOBS)' STATIC_ANY='$(STATIC_ANY)' STATIC_QUICK='$(STATIC_QUICK)' CC='$(CC)' sh $(srcdir)/tests/static/check
.PHONY: check-static check-static-gcc check-static-tidy check-static-cppcheck
check-static: check-static-gcc check-static-tidy check-static-cppcheck
check-static-gcc check-static-tidy check-static-cppcheck: tests/static/commands
	@$(check_static) $(@:check-static-%=%) $(srcdir) tests/static

# How each source is compiled, by what make would do if all of them were newer than what was made of them. Nothing has to be built.
static_sources = $(sort $(filter %.c,$(DIST_SOURCES)))
static_targets = $(PROGRAMS) $(LTLIBRARIES)
tests/static/commands: Makefile $(srcdir)/tests/static/commands.awk
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(MAKE) -n V=1 $(patsubst %,-W $(srcdir)/%,$(static_sources)) $(static_targets) | \
		awk -v srcdir='$(srcdir)' -f $(srcdir)/tests/static/commands.awk | sort -u -k1,1 >$@.tmp && \
		test -s $@.tmp && mv $@.tmp $@
CLEANFILES += tests/static/commands
clean-local: clean-static
.PHONY: clean-static
clean-static:
	rm -rf tests/static/of-gcc tests/static/of-tidy tests/static/of-cppcheck
