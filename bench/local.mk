# SPDX-License-Identifier: Apache-2.0
# Figures, not tests: built and run by `make bench` alone. See bench/README.
EXTRA_PROGRAMS += bench/segmentd-bench
EXTRA_DIST += bench/README
CLEANFILES += bench/segmentd-bench bench/results.jsonl

bench_segmentd_bench_SOURCES = \
	bench/baseline.c bench/baseline.h \
	bench/bench.c bench/bench.h \
	bench/bench_box.c bench/bench_death.c bench/bench_handout.c bench/bench_handover.c bench/bench_hostile.c bench/bench_idle.c bench/bench_kinds.c \
	bench/bench_load.c \
	bench/bench_lock.c bench/bench_many.c bench/bench_mass.c bench/bench_provision.c bench/bench_restore.c \
	bench/bench_scale.c bench/bench_survival.c bench/bench_sweep.c bench/bench_who.c \
	bench/child.c bench/child.h \
	bench/daemon.c bench/daemon.h \
	bench/families.h \
	bench/gate.c bench/gate.h \
	bench/keeper.c bench/keeper.h \
	bench/kinds.c bench/kinds.h \
	bench/main.c \
	bench/populate.c bench/populate.h \
	bench/private.c bench/private.h \
	bench/profile.c bench/profile.h \
	bench/report.c bench/report.h \
	bench/robust.c bench/robust.h \
	bench/samples.c \
	bench/scale.c bench/scale.h \
	bench/scan.c bench/scan.h \
	bench/settings.c bench/settings.h \
	bench/wire.c bench/wire.h
bench_segmentd_bench_CPPFLAGS = $(AM_CPPFLAGS) $(EVENT_CFLAGS)
bench_segmentd_bench_CFLAGS = $(AM_CFLAGS) -pthread
# The library as its users have it, by the dynamic linker, as glibc's mutex is; libcontrol for owners without the library.
bench_segmentd_bench_LDADD = client/libsegment.la daemon/libdaemon.la $(EVENT_LIBS) -lpthread
bench_segmentd_bench_LDFLAGS = $(AM_LDFLAGS) -no-install

# make bench [BENCH_ONLY=H1,P1] [BENCH_ROUNDS=9] [BENCH_RUNS=3] [BENCH_GATE=6] [BENCH_SIZE=4096] [BENCH_IDLE=30]
#            [BENCH_HOST_SETTINGS=1] [BENCH_KINDS=all]
bench: bench/segmentd-bench$(EXEEXT) daemon/segmentd$(EXEEXT) daemon/audit/segmentd-audit$(EXEEXT)
	bench/segmentd-bench$(EXEEXT) --daemon daemon/segmentd$(EXEEXT) --json bench/results.jsonl \
		$(if $(BENCH_ONLY),--only $(BENCH_ONLY)) $(if $(BENCH_ROUNDS),--rounds $(BENCH_ROUNDS)) \
		$(if $(BENCH_RUNS),--runs $(BENCH_RUNS)) $(if $(BENCH_GATE),--gate $(BENCH_GATE)) \
		$(if $(BENCH_SIZE),--size $(BENCH_SIZE)) $(if $(BENCH_IDLE),--idle $(BENCH_IDLE)) \
		$(if $(filter 1,$(BENCH_HOST_SETTINGS)),--host-settings) $(if $(BENCH_KINDS),--kinds $(BENCH_KINDS))

# The system calls of an attachment, and the share of each
profile: bench/segmentd-bench$(EXEEXT) daemon/segmentd$(EXEEXT)
	bench/segmentd-bench$(EXEEXT) --daemon daemon/segmentd$(EXEEXT) --profile
.PHONY: bench profile
