/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs in the order of their numbers.
 *
 * An array whose shorter side moves over, so that what happens at either end,
 * as most does, costs the same however long it is.  It owns no job and, once
 * room is reserved, needs no memory.  Loop thread. */
#ifndef DAEMON_JOB_LIST_H
#define DAEMON_JOB_LIST_H

#include "daemon/job.h"

typedef struct job_list {
    job **item;
    size_t first, n, cap;
} job_list;

void job_list_fini(job_list *l); /* a zeroed one is empty */
/* Room for `n` jobs in all. */
status job_list_reserve(job_list *l, size_t n) MUST_USE;
job *job_list_at(const job_list *l, size_t i);
/* Where the first job stands whose number is not below `id`. */
size_t job_list_place(const job_list *l, uint64_t id);
job *job_list_find(const job_list *l, uint64_t id); /* NULL: none */
/* There is room; no job there has its number. */
void job_list_insert(job_list *l, job *j);
void job_list_remove(job_list *l, size_t i);

#endif
