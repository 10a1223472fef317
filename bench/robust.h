/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The bare lock: glibc's robust process-shared mutex, in memory that forked children share. */
#ifndef BENCH_ROBUST_H
#define BENCH_ROBUST_H

#include <pthread.h>
#include <stddef.h>

/* Memory that children share, zeroed and there. */
void *robust_shared_new(size_t size_bytes);
void robust_shared_free(void *shared, size_t size_bytes);

void robust_init(pthread_mutex_t *mutex);

/*
 * glibc leaves out atomic instructions where a process never had a second thread, which no user of shared locks would want
 * to be measured by.
 */
void robust_be_threaded(void);

#endif
