# SPDX-License-Identifier: Apache-2.0
noinst_HEADERS += base/allotment.h base/base.h
