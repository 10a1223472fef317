# SPDX-License-Identifier: Apache-2.0
# Everything of the library, for libsegment itself, for segmentctl and for the tests, which reach its inside.
noinst_LTLIBRARIES += client/libclient.la client/libcontrol.la
# What the daemon shares with the library: the layout of control memory and the recovery, of applications' mutexes, too.
client_libcontrol_la_SOURCES = client/control.c client/control.h client/mutex.c client/mutex.h
client_libcontrol_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden
client_libclient_la_SOURCES = client/answer.c client/answer.h client/attach.c client/client.c client/client.h client/connection.c client/connection.h \
	client/error.c client/event.c client/growth.c client/lock.c client/lock.h client/lock_map.c client/lock_threads.c client/lock_wait.c client/mapping.c client/returns.c \
	client/protocol.h client/protocol-rows.h
client_libclient_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden -pthread
client_libclient_la_LIBADD = client/libcontrol.la

# -version-info current:revision:age. An interface added: current and age rise; one changed or removed: current rises,
# age is 0; code alone: revision rises.
lib_LTLIBRARIES += client/libsegment.la
client_libsegment_la_SOURCES =
client_libsegment_la_LIBADD = client/libclient.la
# nodelete: the handlers of fork and of threads' ends would point to nowhere after a dlclose.
client_libsegment_la_LDFLAGS = $(AM_LDFLAGS) -version-info 1:0:0 -no-undefined -pthread \
	-Wl,-z,nodelete -Wl,--version-script=$(top_srcdir)/client/libsegment.sym
EXTRA_client_libsegment_la_DEPENDENCIES = client/libsegment.sym
EXTRA_DIST += client/libsegment.sym
include_HEADERS += client/segment.h
nodist_pkgconfig_DATA += client/libsegment.pc

# The examples: built against the library as a user's program is, and installed as sources.
noinst_PROGRAMS += client/examples/writer client/examples/reader client/examples/ledger
client_examples_writer_SOURCES = client/examples/writer.c
client_examples_writer_CPPFLAGS = -I$(top_srcdir)/client
client_examples_writer_LDADD = client/libsegment.la
client_examples_reader_SOURCES = client/examples/reader.c
client_examples_reader_CPPFLAGS = -I$(top_srcdir)/client
client_examples_reader_LDADD = client/libsegment.la
client_examples_ledger_SOURCES = client/examples/ledger.c
client_examples_ledger_CPPFLAGS = -I$(top_srcdir)/client
client_examples_ledger_LDADD = client/libsegment.la
# For `segmentctl exec`: without the library.
noinst_PROGRAMS += client/examples/note
client_examples_note_SOURCES = client/examples/note.c
client_examples_note_CPPFLAGS =
examplesdir = $(docdir)/examples
dist_examples_DATA = client/examples/writer.c client/examples/reader.c client/examples/ledger.c \
	client/examples/note.c client/examples/note.py client/examples/note.sh client/examples/scoreboard.service
