/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* segmentctl's entry: everything else is in libsegmentctl, which tests link too. */
#include "client/segmentctl/segmentctl.h"

int
main(int argc, char **argv)
{
	return segmentctl_main(argc, argv);
}
