# SPDX-License-Identifier: Apache-2.0
# The sweep is of what compilers make of the code: so it is built by each of them and at more than one level, whichever this
# build is configured for. A compiler that is missing makes a script that says so, and so do all but one of these programs
# where this is not the full check, or those that SWEEP_BY does not name (SWEEP_BY="gcc-O2 clang-O3").
sweep_sources = tests/sweep/common.c tests/sweep/field.c tests/sweep/judge.c tests/sweep/library.c \
	tests/sweep/path.c tests/sweep/pieces.c tests/sweep/recoveries.c tests/sweep/states.c tests/sweep/step.c tests/sweep/sweep.c \
	tests/sweep/third.c tests/sweep/trap.c tests/sweep/waiting.c
sweep_headers = tests/sweep/common.h tests/sweep/field.h tests/sweep/judge.h tests/sweep/library.h \
	tests/sweep/path.h tests/sweep/pieces.h tests/sweep/recoveries.h tests/sweep/states.h tests/sweep/step.h tests/sweep/third.h \
	tests/sweep/trap.h tests/sweep/waiting.h
# Of the code under test: pieces.c has control.c in it, and waiting.c lock_wait.c.
sweep_tested = client/lock.c client/lock_threads.c daemon/guard.c
sweep_included = client/control.c client/control.h client/lock_wait.c client/lock.h client/client.h client/connection.h \
	client/protocol.h client/protocol-rows.h client/segment.h daemon/guard.h base/base.h
EXTRA_DIST += $(sweep_sources) $(sweep_headers) tests/sweep/build

sweep_programs = tests/sweep/check_sweep-gcc-O2 tests/sweep/check_sweep-gcc-O3 \
	tests/sweep/check_sweep-clang-O2 tests/sweep/check_sweep-clang-O3
check_SCRIPTS += $(sweep_programs)
CLEANFILES += $(sweep_programs) tests/sweep/full.kind tests/sweep/some.kind tests/sweep/daily.kind

if SANITIZERS
sweep_reason = it is of code without sanitizers, which a build without them has tested
endif
# stamp-h1 stands for config.h, which make looks into anew each time: what waits for that is begun last, and this takes longest.
$(sweep_programs): $(sweep_sources) $(sweep_headers) $(sweep_tested) $(sweep_included) tests/sweep/build stamp-h1
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)SKIP_REASON='$(sweep_reason)' CHECK_FULL='$(CHECK_FULL)' SWEEP_BY='$(SWEEP_BY)' \
		sh $(srcdir)/tests/sweep/build $@ $(DEFS) $(AM_CPPFLAGS) -- \
		$(patsubst %,$(srcdir)/%,$(sweep_sources) $(sweep_tested))

# What was made for the one kind of check is made anew for the other.
sweep_kind = tests/sweep/$(if $(CHECK_FULL),$(if $(SWEEP_BY),some,full),daily).kind
$(sweep_programs): $(sweep_kind)
tests/sweep/full.kind tests/sweep/some.kind tests/sweep/daily.kind:
	@$(MKDIR_P) $(@D)
	$(AM_V_at)rm -f $(@D)/full.kind $(@D)/some.kind $(@D)/daily.kind && touch $@
