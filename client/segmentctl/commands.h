/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The handlers of the table of commands, a file a family. */
#ifndef CLIENT_SEGMENTCTL_COMMANDS_H
#define CLIENT_SEGMENTCTL_COMMANDS_H

#include "client/segmentctl/segmentctl.h"

int list_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int show_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int clients_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int users_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int events_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int metrics_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int doctor_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int check_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int wait_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int lifecycle_run_create(const struct segmentctl *ctl, char **args, unsigned n_args);
int lifecycle_run_remove(const struct segmentctl *ctl, char **args, unsigned n_args);
int lifecycle_run_retry(const struct segmentctl *ctl, char **args, unsigned n_args);
int plan_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int plan_run_reload(const struct segmentctl *ctl, char **args, unsigned n_args);
int orphans_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int recover_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int contents_run_read(const struct segmentctl *ctl, char **args, unsigned n_args);
int exec_run(const struct segmentctl *ctl, char **args, unsigned n_args);
int contents_run_write(const struct segmentctl *ctl, char **args, unsigned n_args);

#endif
