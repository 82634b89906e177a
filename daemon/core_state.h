/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the core share; private to daemon/core*.c. */
#ifndef DAEMON_CORE_STATE_H
#define DAEMON_CORE_STATE_H

#include "daemon/core.h"

enum {
    CORE_MAX_WORLD = 64,
    CORE_MAX_STREAM = 64, /* jobs at once that a world is given */
    CORE_PROGRESS_MS = 100,
    CORE_ALIVE_MS = 2000,  /* something is said at least so often: how a client
                              that left is noticed */
    CORE_ASLEEP_MS = 1000, /* a longer pause between ticks is our own: nobody
                              else was silent then */
    CORE_RETRY_S = 10      /* what a client is told when the queue is full */
};

/* One stream of a world.  After a cancel it stays taken until the world says
 * that the job has ended there. */
typedef struct core_slot {
    uint64_t job; /* 0: free */
    uint32_t attempt;
} core_slot;

typedef struct core_world {
    uint64_t incarnation;
    zsocket_peer peer;
    char placement[32], device[96];
    uint32_t ranks, threads;
    uint64_t snapshot_bytes, launch;
    uint32_t credit_segments, max_generate;
    uint64_t heard_ns;
    double tokens_per_second;
    uint32_t n_slot;
    core_slot slot[CORE_MAX_STREAM];
} core_world;

/* Somebody waits for a document to be deleted. */
typedef struct core_removal {
    uint64_t document;
    job_watcher client;
} core_removal;

enum { CORE_MAX_REMOVAL = 64 };

struct core {
    core_config cfg;
    core_action_fn *fn;
    void *ctx;
    core_time time;
    const char *owner; /* of the client whose event is handled */
    uint64_t started_ns, ticked_ns;
    catalog *docs;
    job_table *jobs;
    core_world *world[CORE_MAX_WORLD];
    size_t n_world;
    uint64_t last_incarnation;
    bool has_fingerprint; /* of the first world's model */
    uint8_t fingerprint[32];
    core_launch launch;
    uint64_t launch_token;
    char last_error[512]; /* of a world that went */
    core_removal removal[CORE_MAX_REMOVAL];
    size_t n_removal;
    bool stopping, left;
};

void core_act(core *c, const core_action *action);
void core_tell(core *c, const job_watcher *to, client_message *m);
/* Refused with the calling thread's sentence. */
void core_refuse(core *c, const job_watcher *to, status st);
void core_leave_if_idle(core *c);

/* ---- core_job.c ---- */
void core_job_receive(core *c, job *j); /* accepted: input may come */
void core_job_progress(core *c, job *j);
void core_job_report(core *c, const job *j, const job_watcher *to);
void core_job_done(core *c, job *j);
void core_job_fail(core *c, job *j, status st, const char *text);
void core_job_cancel(core *c, job *j);
/* The attempt is void: once more, or failed. */
void core_job_retry(core *c, job *j, const char *why);
void core_job_complete(core *c, job *j); /* add: store once all is there */

/* ---- core_report.c ---- */
status core_report_documents(core *c, const job_watcher *to,
                             const char *name) MUST_USE; /* NULL: all */
status core_report_jobs(core *c, const job_watcher *to) MUST_USE;
status core_report_status(core *c, const job_watcher *to) MUST_USE;

/* ---- core_dispatch.c ---- */
void core_dispatch(core *c);
/* Whether a world here could ever run it; ST_LIMIT, ST_STATE with the
 * sentence.  ST_OK too while no world is there yet. */
status core_dispatch_possible(const core *c, const job *j) MUST_USE;
/* Tells the world that runs the job to drop it; its slot stays taken until the
 * world answers. */
void core_dispatch_cancel(core *c, const job *j);

/* ---- core_world.c ---- */
core_world *core_world_find(core *c, uint64_t incarnation);
void core_world_drop_all(core *c, uint64_t launch, const char *why);
void core_world_silence(core *c);

#endif
