/* SPDX-License-Identifier: Apache-2.0 */
/* Plans as a table, as JSON and as a plot. */
#ifndef WORKER_PLAN_PRINT_H
#define WORKER_PLAN_PRINT_H

#include "sched/plan.h"

/* The plans for one number of ranks; `ok` tells which there are. */
typedef struct plan_row {
    uint32_t n_rank;
    bool ok[2];   /* by place_kind */
    plan plan[2]; /* by place_kind */
} plan_row;

void plan_print_table(const plan_job *job, const plan_row *row, size_t n_row);
/* One object on one line. */
status plan_print_json(const plan_job *job, const plan_row *row,
                       size_t n_row) MUST_USE;
/* Efficiency over ranks, both placements, as an SVG file.  ST_IO. */
status plan_print_svg(const char *path, const plan_row *row,
                      size_t n_row) MUST_USE;

/* The plan that auto takes; NULL: there is none. */
const plan *plan_print_choice(const plan_row *row);

#endif
