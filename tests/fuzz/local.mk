# SPDX-License-Identifier: Apache-2.0
# Fuzz targets. Each is a test that replays its corpus, with any compiler; and with --enable-fuzzing a program of libFuzzer's, which
# `make fuzz FUZZ_SECONDS=60` runs instead of the test's own, plain fuzzer.
FUZZ_COMMON = tests/fuzz/fuzz.c tests/fuzz/fuzz.h
FUZZ_REPLAY = tests/fuzz/replay.c $(FUZZ_COMMON)
FUZZ_REPLAY_DEFINES = $(AM_CPPFLAGS) -DFUZZ_CORPUS='"$(abs_top_srcdir)/tests/fuzz/corpus"'
FUZZ_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer
EXTRA_DIST += tests/fuzz/corpus
dist_noinst_SCRIPTS += tests/fuzz/run

fuzz_tests = tests/fuzz/check_conf tests/fuzz/check_control tests/fuzz/check_pack tests/fuzz/check_reply tests/fuzz/check_return \
	tests/fuzz/check_state tests/fuzz/check_wire
fuzz_fuzzers = tests/fuzz/fuzz_conf tests/fuzz/fuzz_control tests/fuzz/fuzz_pack tests/fuzz/fuzz_reply tests/fuzz/fuzz_return \
	tests/fuzz/fuzz_state tests/fuzz/fuzz_wire
check_PROGRAMS += $(fuzz_tests)
tests_of_sources += $(fuzz_tests)
EXTRA_PROGRAMS += $(fuzz_fuzzers)

FUZZ_CONF = tests/fuzz/fuzz_conf.c
tests_fuzz_check_conf_SOURCES = $(FUZZ_CONF) $(FUZZ_REPLAY)
tests_fuzz_check_conf_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_conf_LDADD = conf/libconf.la
tests_fuzz_fuzz_conf_SOURCES = $(FUZZ_CONF) $(FUZZ_COMMON)
tests_fuzz_fuzz_conf_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_conf_LDADD = conf/libconf.la

FUZZ_PACK = tests/fuzz/fuzz_pack.c
tests_fuzz_check_pack_SOURCES = $(FUZZ_PACK) $(FUZZ_REPLAY)
tests_fuzz_check_pack_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_pack_LDADD = conf/libconf.la
tests_fuzz_fuzz_pack_SOURCES = $(FUZZ_PACK) $(FUZZ_COMMON)
tests_fuzz_fuzz_pack_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_pack_LDADD = conf/libconf.la

FUZZ_CONTROL = tests/fuzz/fuzz_control.c
tests_fuzz_check_control_SOURCES = $(FUZZ_CONTROL) $(FUZZ_REPLAY)
tests_fuzz_check_control_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_control_LDADD = client/libcontrol.la
tests_fuzz_fuzz_control_SOURCES = $(FUZZ_CONTROL) $(FUZZ_COMMON)
tests_fuzz_fuzz_control_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_control_LDADD = client/libcontrol.la

FUZZ_STEPS = tests/fuzz/steps.c tests/fuzz/steps.h
FUZZ_WIRE = tests/fuzz/fuzz_wire.c tests/fuzz/wire_daemon.c tests/fuzz/wire_daemon.h tests/fuzz/wire_peer.c tests/fuzz/wire_peer.h \
	tests/fuzz/wire_auditor.c tests/fuzz/wire_auditor.h tests/fuzz/nursery.c tests/fuzz/nursery.h $(FUZZ_STEPS)
tests_fuzz_check_wire_SOURCES = $(FUZZ_WIRE) $(FUZZ_REPLAY)
tests_fuzz_check_wire_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_wire_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_check_wire_LDADD = daemon/libdaemon.la
tests_fuzz_fuzz_wire_SOURCES = $(FUZZ_WIRE) $(FUZZ_COMMON)
tests_fuzz_fuzz_wire_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_wire_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_wire_LDADD = daemon/libdaemon.la

FUZZ_REPLIES = tests/fuzz/fuzz_reply.c tests/fuzz/reply_daemon.c tests/fuzz/reply_daemon.h $(FUZZ_STEPS)
tests_fuzz_check_reply_SOURCES = $(FUZZ_REPLIES) $(FUZZ_REPLAY)
tests_fuzz_check_reply_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_reply_LDADD = client/libclient.la
tests_fuzz_fuzz_reply_SOURCES = $(FUZZ_REPLIES) $(FUZZ_COMMON)
tests_fuzz_fuzz_reply_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_reply_LDADD = client/libclient.la

FUZZ_PAST = tests/fuzz/state_past.c tests/fuzz/state_past.h tests/fuzz/state_daemon.c tests/fuzz/state_daemon.h $(FUZZ_STEPS)
FUZZ_STATE = tests/fuzz/fuzz_state.c $(FUZZ_PAST)
tests_fuzz_check_state_SOURCES = $(FUZZ_STATE) $(FUZZ_REPLAY)
tests_fuzz_check_state_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_state_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_check_state_LDADD = daemon/libdaemon.la
tests_fuzz_fuzz_state_SOURCES = $(FUZZ_STATE) $(FUZZ_COMMON)
tests_fuzz_fuzz_state_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_state_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_state_LDADD = daemon/libdaemon.la

FUZZ_RETURN = tests/fuzz/fuzz_return.c tests/fuzz/nursery.c tests/fuzz/nursery.h $(FUZZ_PAST)
tests_fuzz_check_return_SOURCES = $(FUZZ_RETURN) $(FUZZ_REPLAY)
tests_fuzz_check_return_CPPFLAGS = $(FUZZ_REPLAY_DEFINES)
tests_fuzz_check_return_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_check_return_LDADD = daemon/libdaemon.la
tests_fuzz_fuzz_return_SOURCES = $(FUZZ_RETURN) $(FUZZ_COMMON)
tests_fuzz_fuzz_return_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fuzz_fuzz_return_LDFLAGS = $(FUZZ_LINK)
tests_fuzz_fuzz_return_LDADD = daemon/libdaemon.la

# As long for each target; what is found is below $(FUZZ_DIR), and fails it.
FUZZ_SECONDS = 60
FUZZ_DIR = fuzz-found
if FUZZING
fuzz_programs = $(fuzz_fuzzers)
else
fuzz_programs = $(fuzz_tests)
endif
.PHONY: fuzz
fuzz: all
	$(MAKE) $(AM_MAKEFLAGS) $(fuzz_programs)
	$(srcdir)/tests/fuzz/run "$(FUZZ_SECONDS)" "$(FUZZ_DIR)" "$(srcdir)/tests/fuzz/corpus" $(fuzz_programs)

mostlyclean-local: clean-fuzz
.PHONY: clean-fuzz
clean-fuzz:
	-rm -rf "$(FUZZ_DIR)" $(fuzz_fuzzers)
