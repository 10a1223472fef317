# SPDX-License-Identifier: Apache-2.0
noinst_HEADERS += tests/conf/suite.h tests/conf/facts.h tests/conf/packing.h
if HAVE_CHECK
check_PROGRAMS += tests/conf/check_units tests/conf/check_bad tests/conf/check_combinations tests/conf/check_load \
	tests/conf/check_keys tests/conf/check_locks \
	tests/conf/check_plan tests/conf/check_pack tests/conf/check_packlies tests/conf/check_gather \
	tests/conf/check_origin
endif
conf_test_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_of_sources += tests/conf/check_load tests/conf/check_keys
conf_test_cppflags = $(AM_CPPFLAGS) -DSHIPPED_CONF='"$(abs_top_srcdir)/conf/segmentd.conf"' \
	-DMANUAL_PAGE='"$(abs_top_srcdir)/doc/segmentd.conf.5"'
conf_test_libs = conf/libconf.la $(CHECK_LIBS)

tests_conf_check_units_SOURCES = tests/conf/check_units.c tests/conf/suite.c
tests_conf_check_units_CFLAGS = $(conf_test_cflags)
tests_conf_check_units_LDADD = $(conf_test_libs)

tests_conf_check_bad_SOURCES = tests/conf/check_bad.c tests/conf/suite.c
tests_conf_check_bad_CFLAGS = $(conf_test_cflags)
tests_conf_check_bad_LDADD = $(conf_test_libs)

tests_conf_check_combinations_SOURCES = tests/conf/check_combinations.c tests/conf/suite.c
tests_conf_check_combinations_CFLAGS = $(conf_test_cflags)
tests_conf_check_combinations_LDADD = $(conf_test_libs)

tests_conf_check_load_SOURCES = tests/conf/check_load.c tests/conf/suite.c
tests_conf_check_load_CPPFLAGS = $(conf_test_cppflags)
tests_conf_check_load_CFLAGS = $(conf_test_cflags)
tests_conf_check_load_LDADD = $(conf_test_libs)

tests_conf_check_keys_SOURCES = tests/conf/check_keys.c tests/conf/facts.c tests/conf/suite.c
tests_conf_check_keys_CPPFLAGS = $(conf_test_cppflags)
tests_conf_check_keys_CFLAGS = $(conf_test_cflags)
tests_conf_check_keys_LDADD = $(conf_test_libs)

tests_conf_check_locks_SOURCES = tests/conf/check_locks.c tests/conf/suite.c
tests_conf_check_locks_CFLAGS = $(conf_test_cflags)
tests_conf_check_locks_LDADD = $(conf_test_libs)

tests_conf_check_plan_SOURCES = tests/conf/check_plan.c tests/conf/suite.c
tests_conf_check_plan_CFLAGS = $(conf_test_cflags)
tests_conf_check_plan_LDADD = $(conf_test_libs)

tests_conf_check_pack_SOURCES = tests/conf/check_pack.c tests/conf/packing.c tests/conf/suite.c
tests_conf_check_pack_CFLAGS = $(conf_test_cflags)
tests_conf_check_pack_LDADD = $(conf_test_libs)

tests_conf_check_packlies_SOURCES = tests/conf/check_packlies.c tests/conf/packing.c tests/conf/suite.c
tests_conf_check_packlies_CFLAGS = $(conf_test_cflags)
tests_conf_check_packlies_LDADD = $(conf_test_libs)

tests_conf_check_origin_SOURCES = tests/conf/check_origin.c tests/conf/suite.c
tests_conf_check_origin_CFLAGS = $(conf_test_cflags)
tests_conf_check_origin_LDADD = $(conf_test_libs)

tests_conf_check_gather_SOURCES = tests/conf/check_gather.c tests/conf/suite.c
tests_conf_check_gather_CFLAGS = $(conf_test_cflags)
tests_conf_check_gather_LDADD = $(conf_test_libs)
