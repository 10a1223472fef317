/* SPDX-License-Identifier: Apache-2.0 */
/* Copyright the segmentd authors */
/* The families of benches: each function measures one goal, once, and leaves the verdict in bench->result. */
#ifndef BENCH_FAMILIES_H
#define BENCH_FAMILIES_H

#include "bench/bench.h"

/* bench_handout.c: one client, one request at a time. */
void handout_open(struct bench *bench, const struct bench_goal *goal);
void handout_mapped(struct bench *bench, const struct bench_goal *goal);
void handout_cold(struct bench *bench, const struct bench_goal *goal);
void handout_same_core(struct bench *bench, const struct bench_goal *goal);
void handout_cpu(struct bench *bench, const struct bench_goal *goal);

/* bench_load.c: many clients at once. */
void load_open_100(struct bench *bench, const struct bench_goal *goal);
void load_open_1000(struct bench *bench, const struct bench_goal *goal);
void load_storm(struct bench *bench, const struct bench_goal *goal);

/* bench_provision.c: memory made resident. */
void provision_best(struct bench *bench, const struct bench_goal *goal);
void provision_base_pages(struct bench *bench, const struct bench_goal *goal);
void provision_touch(struct bench *bench, const struct bench_goal *goal);
void provision_boot(struct bench *bench, const struct bench_goal *goal);

/* bench_kinds.c: the same of one kind of memory, the goal's arg; and beside another daemon. */
void kinds_provision(struct bench *bench, const struct bench_goal *goal);
void kinds_base_pages(struct bench *bench, const struct bench_goal *goal);
void kinds_touch(struct bench *bench, const struct bench_goal *goal);
void kinds_boot(struct bench *bench, const struct bench_goal *goal);
void kinds_write(struct bench *bench, const struct bench_goal *goal);
void kinds_roudi(struct bench *bench, const struct bench_goal *goal);

/* bench_lock.c: locks and sections while nobody dies. */
void lock_uncontended(struct bench *bench, const struct bench_goal *goal);
void lock_section_64(struct bench *bench, const struct bench_goal *goal);
void lock_section_4096(struct bench *bench, const struct bench_goal *goal);
void lock_contended(struct bench *bench, const struct bench_goal *goal);

/* bench_death.c: a client dies, and an observer is told. */
void death_told(struct bench *bench, const struct bench_goal *goal);
void death_large(struct bench *bench, const struct bench_goal *goal);

/* bench_handover.c: an owner dies, and who waits for its lock gets it. */
void handover_blocked(struct bench *bench, const struct bench_goal *goal);

/* bench_mass.c: many owners die at once. */
void mass_death(struct bench *bench, const struct bench_goal *goal);

/* bench_restore.c: an owner is gone, and its bytes are restored: KiB of log. */
void restore_1(struct bench *bench, const struct bench_goal *goal);
void restore_16(struct bench *bench, const struct bench_goal *goal);
void restore_64(struct bench *bench, const struct bench_goal *goal);
void restore_1024(struct bench *bench, const struct bench_goal *goal);

/* bench_box.c: what outlives a daemon comes to its successor. */
void box_handed_over(struct bench *bench, const struct bench_goal *goal);

/* bench_many.c: what many segments cost the daemon. */
void many_memory(struct bench *bench, const struct bench_goal *goal);
void many_created(struct bench *bench, const struct bench_goal *goal);
void many_started(struct bench *bench, const struct bench_goal *goal);
void many_answered(struct bench *bench, const struct bench_goal *goal);

/* bench_scale.c: one operation among few segments, and among many. */
void scale_attach_one(struct bench *bench, const struct bench_goal *goal);
void scale_detach_one(struct bench *bench, const struct bench_goal *goal);
void scale_death_one(struct bench *bench, const struct bench_goal *goal);
void scale_show_one(struct bench *bench, const struct bench_goal *goal);
void scale_list_page(struct bench *bench, const struct bench_goal *goal);
void scale_reload_whole(struct bench *bench, const struct bench_goal *goal);
void scale_reload_change(struct bench *bench, const struct bench_goal *goal);
void scale_work(struct bench *bench, const struct bench_goal *goal);

/* bench_hostile.c: one operation beside another uid's thousands of connections, which do the goal's arg; NULL: all there is. */
void hostile_beset(struct bench *bench, const struct bench_goal *goal);

/* bench_idle.c: nothing at all. */
void idle_wakeups(struct bench *bench, const struct bench_goal *goal);
void idle_wakeups_rules(struct bench *bench, const struct bench_goal *goal);

/* bench_who.c: who has a segment that 500 clients have. */
void who_held(struct bench *bench, const struct bench_goal *goal);
void who_held_maps(struct bench *bench, const struct bench_goal *goal);
void who_audited(struct bench *bench, const struct bench_goal *goal);
void who_audited_maps(struct bench *bench, const struct bench_goal *goal);
void who_audited_all(struct bench *bench, const struct bench_goal *goal);

/* bench_sweep.c: many objects that nobody holds. */
void sweep_judged(struct bench *bench, const struct bench_goal *goal);
void sweep_removed(struct bench *bench, const struct bench_goal *goal);
void sweep_answered(struct bench *bench, const struct bench_goal *goal);

/* bench_survival.c: the daemon is killed, and started again. */
void survival_10(struct bench *bench, const struct bench_goal *goal);
void survival_10_new(struct bench *bench, const struct bench_goal *goal);
void survival_1000(struct bench *bench, const struct bench_goal *goal);
void survival_1000_new(struct bench *bench, const struct bench_goal *goal);
void survival_8000(struct bench *bench, const struct bench_goal *goal);
void survival_8000_new(struct bench *bench, const struct bench_goal *goal);
void survival_locked(struct bench *bench, const struct bench_goal *goal);
void survival_locked_new(struct bench *bench, const struct bench_goal *goal);
void survival_gap(struct bench *bench, const struct bench_goal *goal);

#endif
