# SPDX-License-Identifier: Apache-2.0
# Everything at once: some seconds of it in `make check`, and `make soak SOAK_MINUTES=30` as long as asked; then each fuzz target for
# a tenth of that time.
if HAVE_CHECK
tests_soak_check_soak_SOURCES = tests/soak/check_soak.c tests/soak/board.c tests/soak/board.h tests/soak/clerk.c \
	tests/soak/crowd.c tests/soak/crowd.h tests/soak/honest.c tests/soak/honest.h tests/soak/operator.c tests/soak/operator.h \
	tests/soak/quiet.c tests/soak/quiet.h tests/soak/rogue.c tests/soak/rogue.h tests/soak/rogue_memory.c \
	tests/soak/rogue_wire.c tests/soak/stalls.c tests/soak/stalls.h tests/system/bank.c tests/system/bank.h tests/system/group.c tests/system/group.h \
	tests/system/vandal.c tests/system/vandal.h tests/system/surviving.h $(SYSTEM_SUITE)
tests_soak_check_soak_CPPFLAGS = $(AM_CPPFLAGS) -DSOAK_SEGMENTCTL='"$(abs_top_builddir)/client/segmentctl/segmentctl"'
tests_soak_check_soak_CFLAGS = $(SYSTEM_CFLAGS)
tests_soak_check_soak_LDADD = $(HARNESS_LIBS) client/libsegment.la host/libhost.la client/libcontrol.la
endif

.PHONY: soak
soak: all
	$(MAKE) $(AM_MAKEFLAGS) tests/soak/check_soak
	SOAK_MINUTES='$(or $(SOAK_MINUTES),30)' SOAK_LOGS='$(abs_builddir)/tests/soak' CK_TIMEOUT_MULTIPLIER=2 tests/soak/check_soak
	$(MAKE) $(AM_MAKEFLAGS) fuzz FUZZ_SECONDS=$$(( $(or $(SOAK_MINUTES),30) * 6 ))
