# SPDX-License-Identifier: Apache-2.0
check_SCRIPTS += tests/hardening/check-hardening
EXTRA_DIST += tests/hardening/check-hardening
AM_TESTS_ENVIRONMENT += HARDENING='$(hardening_kinds)'; export HARDENING;
if SANITIZERS
AM_TESTS_ENVIRONMENT += HARDENING=sanitizers;
endif
