# SPDX-License-Identifier: Apache-2.0
# The model's search is compiled by the compiler that everything else is.
AM_TESTS_ENVIRONMENT += CC='$(CC)'; export CC;
check_SCRIPTS += tests/model/check-model
EXTRA_DIST += tests/model/check-model tests/model/lock.pml
