/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The small text files of /proc, /sys and /etc. root is put before every path: "" but for tests. Reads only. */
#ifndef HOST_FILE_H
#define HOST_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* The file's text, at most size - 1 bytes of it, as a string. 0, or the negative errno of opening or reading it. */
int file_read_text(const char *root, const char *path, char *buf, size_t size);

/* The same of a file of a process in /proc; pid 0: of this one. */
int file_read_process(const char *root, pid_t pid, const char *name, char *buf, size_t size);

/* To be read line by line. 0 and a stream that the caller closes, or a negative errno. */
int file_open_text(const char *root, const char *path, FILE **ret_file);

/* A file that holds one number, or "max", which is UINT64_MAX. 0, or a negative errno: -EPROTO where it is neither. */
int file_read_number(const char *root, const char *path, uint64_t *ret_value);

/* The word in brackets of a file like "always [never] deny". 0, or a negative errno: -EPROTO where there is none. */
int file_read_choice(const char *root, const char *path, char *ret_word, size_t size);

/* The number after a key that begins a line, as in "MemFree:  17 kB" and "anon 17". False: there is no such line. */
bool file_find_number(const char *text, const char *key, uint64_t *ret_value);

/* Whether there is anything at the path. */
bool file_exists(const char *root, const char *path);

#endif
