# SPDX-License-Identifier: Apache-2.0
# Everything of the library, for libsegment itself, for segmentctl and for the tests, which reach its inside.
noinst_LTLIBRARIES += client/libclient.la
client_libclient_la_SOURCES = client/connection.c client/connection.h client/protocol.h client/segment.h
client_libclient_la_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden -pthread
