# SPDX-License-Identifier: Apache-2.0
if HAVE_CHECK
check_PROGRAMS += tests/host/check_memory tests/host/check_host

tests_host_check_memory_SOURCES = tests/host/check_memory.c
tests_host_check_memory_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_memory_LDADD = host/libhost.la $(CHECK_LIBS)

check_PROGRAMS += tests/host/check_shm
tests_host_check_shm_SOURCES = tests/host/check_shm.c tests/host/tree.c tests/host/tree.h
tests_host_check_shm_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_shm_LDADD = host/libhost.la $(CHECK_LIBS)

check_PROGRAMS += tests/host/check_nodes
tests_host_check_nodes_SOURCES = tests/host/check_nodes.c tests/host/tree.c tests/host/tree.h
tests_host_check_nodes_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_nodes_LDADD = host/libhost.la $(CHECK_LIBS)

tests_host_check_host_SOURCES = tests/host/check_host.c
tests_host_check_host_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_host_LDADD = host/libhost.la $(CHECK_LIBS)

check_PROGRAMS += tests/host/check_process
tests_host_check_process_SOURCES = tests/host/check_process.c
tests_host_check_process_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) -pthread
tests_host_check_process_LDADD = host/libhost.la $(CHECK_LIBS)

tests_host_check_audit_SOURCES = tests/host/check_audit.c tests/host/auditfake.c tests/host/auditfake.h
tests_host_check_audit_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_audit_LDADD = $(HARNESS_LIBS) host/libhost.la $(CHECK_LIBS)

check_PROGRAMS += tests/host/check_auditlies
tests_host_check_auditlies_SOURCES = tests/host/check_auditlies.c tests/host/auditfake.c tests/host/auditfake.h
tests_host_check_auditlies_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_host_check_auditlies_LDADD = $(HARNESS_LIBS) host/libhost.la $(CHECK_LIBS)
endif
