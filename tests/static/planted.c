/* SPDX-License-Identifier: Apache-2.0 */
/* Mistakes on purpose, one for each tool at least: tests/static/check looks for them first, and trusts no tool that finds none. */
#include <stdlib.h>
#include <string.h>

int planted(const char *text, size_t n);

int
planted(const char *text, size_t n)
{
	int numbers[4];
	char *copy = malloc(n + 1);
	size_t i;

	if (!copy)
		return numbers[0];
	memset(copy, sizeof(numbers), 0);
	for (i = 0; i <= 4; i++)
		numbers[i] = text[i];
	free(copy);
	if (n > 7)
		free(copy);
	return numbers[3];
}
