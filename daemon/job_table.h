/* SPDX-License-Identifier: Apache-2.0 */
/* The jobs that the daemon has in memory, and each way to find one.
 *
 * It keeps the latest finished ones; older ones are in the journal.  Whatever
 * a client can ask for is found by a key, however many jobs there are.  Owns
 * its jobs, whose addresses stay; loop thread. */
#ifndef DAEMON_JOB_TABLE_H
#define DAEMON_JOB_TABLE_H

#include "daemon/job.h"

enum {
    JOB_TABLE_KEEP = 256,           /* finished jobs that stay in memory */
    JOB_TABLE_KEEP_BYTES = 16 << 20 /* and the memory of their answers */
};

typedef struct job_table job_table;

/* Numbers start at `next`. */
status job_table_new(job_table **out, uint64_t next) MUST_USE;
void job_table_free(job_table *t);
size_t job_table_count(const job_table *t);
job *job_table_at(const job_table *t, size_t i);      /* in the order of ids */
job *job_table_find(const job_table *t, uint64_t id); /* NULL: none */
/* Where the first job stands whose id is not below `id`. */
size_t job_table_place(const job_table *t, uint64_t id);
/* A zeroed job with the next number. */
status job_table_add(job_table *t, job **out) MUST_USE;
/* Puts back a job of an earlier run, with what it owns. */
status job_table_restore(job_table *t, const job *j) MUST_USE;
void job_table_remove(job_table *t, job *j);
/* The one place where a job's state changes. */
void job_table_state(job_table *t, job *j, client_state state);

/* The first of the kind after number `after` that is queued, neither ending nor
 * waiting for its model; NULL: none. */
job *job_table_queued(const job_table *t, job_kind kind, uint64_t after);
/* It ends, or waits: not queued any more, whatever its state. */
void job_table_unqueue(job_table *t, job *j);

/* From now on the job, whose owner and key stay as they are, is found by them;
 * once. */
void job_table_index_key(job_table *t, job *j);
/* The latest job that was indexed with this owner and key, before `before`
 * (NULL: of all); NULL: none. */
job *job_table_by_key(const job_table *t, const char *owner, const char *key,
                      const job *before);
/* The same of the document that a job adds, until the job has ended. */
void job_table_index_name(job_table *t, job *j);
job *job_table_by_name(const job_table *t, const char *owner, const char *name);
/* And of the request that its input came with, or comes after. */
void job_table_index_sender(job_table *t, job *j);
job *job_table_by_sender(const job_table *t, const job_watcher *from);

/* ST_LIMIT: too many watch it. */
status job_table_watch(job_table *t, job *j, const zsocket_peer *client,
                       uint64_t request) MUST_USE;
/* A job that the client watches; NULL: none. */
job *job_table_watched(const job_table *t, const zsocket_peer *client);
/* It hears of the job no more; NULL: nobody does. */
void job_table_unwatch(job_table *t, job *j, const zsocket_peer *client);

/* Whether there are many more finished jobs than are kept. */
bool job_table_is_stale(const job_table *t);
/* Forgets the oldest finished jobs beyond the limits. */
void job_table_trim(job_table *t);

#endif
