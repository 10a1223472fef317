# SPDX-License-Identifier: Apache-2.0
# What fails once: each system call and each allocation.
if HAVE_CHECK
FAULTS_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
FAULTS_CPPFLAGS = $(AM_CPPFLAGS) -DFAULTS_PRELOAD='"$(abs_top_builddir)/tests/faults/.libs/preload.so"'

# What is loaded before the C library; -rpath, or libtool makes no module of it.
check_LTLIBRARIES += tests/faults/preload.la
tests_faults_preload_la_SOURCES = tests/faults/preload.c tests/faults/page.h
# A sanitizer is not there yet when it is asked first, and looks at who calls it: to the loader it does not count leaks.
tests_faults_preload_la_CFLAGS = $(AM_CFLAGS) -fno-builtin -fno-sanitize=all -foptimize-sibling-calls
tests_faults_preload_la_LDFLAGS = -module -avoid-version -shared -rpath $(abs_top_builddir)
tests_faults_preload_la_LIBADD = -ldl

FAULTS_INJECTOR = tests/faults/injector.c tests/faults/injector.h tests/faults/tracing.c tests/faults/tracing.h \
	tests/faults/calls.c tests/faults/calls.h tests/faults/points.c tests/faults/points.h tests/faults/page.h
FAULTS_STARTING = tests/faults/starting.c tests/faults/starting.h $(FAULTS_INJECTOR)
FAULTS_RETURNS = tests/faults/asleep.c tests/faults/asleep.h tests/faults/descriptors.c tests/faults/descriptors.h $(FAULTS_STARTING)
FAULTS_LIBRARY = tests/faults/library.h tests/faults/library_locks.c tests/faults/library_straits.c \
	tests/faults/descriptors.c tests/faults/descriptors.h $(FAULTS_INJECTOR)
FAULTS_SCENE = tests/faults/scene.c tests/faults/scene.h tests/faults/operations.c \
	tests/faults/dying.c tests/faults/dying.h tests/faults/orders.c tests/faults/orders.h \
	tests/faults/bringing.c tests/faults/bringing.h tests/faults/making.c tests/faults/making.h \
	tests/faults/files.c tests/faults/files.h tests/faults/hosts.c tests/faults/hosts.h \
	tests/faults/connecting.c tests/faults/connecting.h \
	tests/faults/auditing.c tests/faults/auditing.h tests/faults/strays.c tests/faults/strays.h \
	tests/faults/refusing.c tests/faults/refusing.h \
	tests/faults/lesser.c tests/faults/lesser.h tests/faults/many.c tests/faults/many.h \
	tests/faults/asleep.c tests/faults/asleep.h $(FAULTS_INJECTOR)

tests_faults_check_allocations_SOURCES = tests/faults/check_faults.c $(FAULTS_SCENE)
tests_faults_check_allocations_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_ALLOCATIONS
tests_faults_check_allocations_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_allocations_LDADD = $(HARNESS_LIBS) client/libcontrol.la client/libsegment.la host/libhost.la

tests_faults_check_calls_SOURCES = tests/faults/check_faults.c $(FAULTS_SCENE)
tests_faults_check_calls_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_CALLS
tests_faults_check_calls_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_calls_LDADD = $(HARNESS_LIBS) client/libcontrol.la client/libsegment.la host/libhost.la

check_PROGRAMS += tests/faults/check_libraryallocations
tests_faults_check_libraryallocations_SOURCES = tests/faults/check_library.c $(FAULTS_LIBRARY)
tests_faults_check_libraryallocations_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_ALLOCATIONS
tests_faults_check_libraryallocations_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_libraryallocations_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/faults/check_librarycalls
tests_faults_check_librarycalls_SOURCES = tests/faults/check_library.c $(FAULTS_LIBRARY)
tests_faults_check_librarycalls_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_CALLS
tests_faults_check_librarycalls_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_librarycalls_LDADD = $(HARNESS_LIBS) client/libsegment.la

check_PROGRAMS += tests/faults/check_startallocations
tests_faults_check_startallocations_SOURCES = tests/faults/check_starts.c tests/faults/meanwhile.c tests/faults/meanwhile.h $(FAULTS_STARTING)
tests_faults_check_startallocations_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_ALLOCATIONS
tests_faults_check_startallocations_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_startallocations_LDADD = $(HARNESS_LIBS) client/libcontrol.la client/libsegment.la host/libhost.la

tests_faults_check_startcalls_SOURCES = tests/faults/check_starts.c tests/faults/meanwhile.c tests/faults/meanwhile.h $(FAULTS_STARTING)
tests_faults_check_startcalls_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_CALLS
tests_faults_check_startcalls_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_startcalls_LDADD = $(HARNESS_LIBS) client/libcontrol.la client/libsegment.la host/libhost.la

check_PROGRAMS += tests/faults/check_returnallocations
tests_faults_check_returnallocations_SOURCES = tests/faults/check_returns.c $(FAULTS_RETURNS)
tests_faults_check_returnallocations_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_ALLOCATIONS
tests_faults_check_returnallocations_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_returnallocations_LDADD = $(HARNESS_LIBS) client/libsegment.la

tests_faults_check_returncalls_SOURCES = tests/faults/check_returns.c $(FAULTS_RETURNS)
tests_faults_check_returncalls_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_CALLS
tests_faults_check_returncalls_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_returncalls_LDADD = $(HARNESS_LIBS) client/libsegment.la
check_PROGRAMS += tests/faults/check_leftallocations
tests_faults_check_leftallocations_SOURCES = tests/faults/check_leftovers.c tests/faults/asleep.c tests/faults/asleep.h $(FAULTS_STARTING)
tests_faults_check_leftallocations_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_ALLOCATIONS
tests_faults_check_leftallocations_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_leftallocations_LDADD = $(HARNESS_LIBS) client/libsegment.la host/libhost.la

tests_faults_check_leftcalls_SOURCES = tests/faults/check_leftovers.c tests/faults/asleep.c tests/faults/asleep.h $(FAULTS_STARTING)
tests_faults_check_leftcalls_CPPFLAGS = $(FAULTS_CPPFLAGS) -DFAULTS_KIND=FAULTS_CALLS
tests_faults_check_leftcalls_CFLAGS = $(FAULTS_CFLAGS)
tests_faults_check_leftcalls_LDADD = $(HARNESS_LIBS) client/libsegment.la host/libhost.la
endif
