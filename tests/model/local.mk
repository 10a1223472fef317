# SPDX-License-Identifier: Apache-2.0
# The model's search is compiled by the compiler that everything else is.
if SANITIZERS
AM_TESTS_ENVIRONMENT += MODEL_SKIP='nothing of it is what sanitizers look at, and a build without them has tested it'; export MODEL_SKIP;
endif
AM_TESTS_ENVIRONMENT += CC='$(CC)'; export CC;
check_SCRIPTS += tests/model/check-model
EXTRA_DIST += tests/model/check-model tests/model/lock.pml
