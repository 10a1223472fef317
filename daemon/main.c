/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
int
main(void)
{
	return 0;
}
