/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the core share; private to daemon/core*.c. */
#ifndef DAEMON_CORE_STATE_H
#define DAEMON_CORE_STATE_H

#include "daemon/core.h"
#include "daemon/shares.h"

enum {
    CORE_MAX_WORLD = 64,
    CORE_MAX_STREAM = 64, /* jobs at once that a world is given */
    CORE_PROGRESS_MS = 100,
    CORE_ALIVE_MS = 2000,  /* something is said at least so often: how a client
                              that left is noticed */
    CORE_ASLEEP_MS = 1000, /* a longer pause between ticks is our own: nobody
                              else was silent then */
    CORE_MAX_RETRY_S = 600,
    CORE_LOOK = 256, /* jobs that a tick looks at, at least */
    CORE_LOOKS = 16, /* ticks until it has looked at all, if it tells little */
    CORE_TELL = 32,  /* waiting jobs whose progress a tick tells */
    CORE_AHEAD = 64, /* queued jobs of a kind that are tokenized */
    CORE_AGAIN_MS = 1000,  /* after the journal did not take something */
    CORE_STRANGE_MS = 1000 /* between notes of worlds that are none */
};

/* One stream of a world.  After a cancel it stays taken until the world says
 * that the job has ended there. */
typedef struct core_slot {
    uint64_t job; /* 0: free */
    uint32_t attempt;
} core_slot;

/* What a world's memory declares (world.proto). */
typedef struct core_memory {
    uint64_t snapshot_bytes, token_bytes, max_context;
    uint32_t n_layer;
    uint64_t *layer_bytes; /* [n_layer], NULL: all alike */
} core_memory;

typedef struct core_world {
    uint64_t incarnation;
    zsocket_peer peer;
    char placement[32], device[96];
    uint32_t ranks, threads;
    world_measured measured;
    core_memory memory;
    uint64_t launch;
    uint32_t credit_segments, max_generate;
    uint64_t heard_ns;
    double tokens_per_second, hop_s, hop_hidden_s;
    bool draining;
    uint64_t kin;            /* of the Hello */
    uint64_t n_stale;        /* messages that were dropped */
    uint32_t n_slot, n_busy; /* streams, and those that are taken */
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
    bool later;        /* the request that is handled may be sent again */
    const char *owner; /* of the client whose event is handled */
    uint64_t started_ns, ticked_ns;
    catalog *docs;
    job_table *jobs;
    size_t n_active;   /* jobs that are not durably ended */
    size_t n_running;  /* of these */
    uint64_t look;     /* at jobs from this number on, in the next tick */
    uint64_t bytes;    /* of their inputs */
    shares *shares;    /* of both, by owner */
    size_t n_storing;  /* documents on their way into the catalog */
    size_t n_ahead[2]; /* queued jobs of each kind that are not raw */
    double job_s[2];   /* how long the latest ones ran, about */
    core_world *world[CORE_MAX_WORLD];
    size_t n_world;
    uint64_t last_incarnation;
    uint64_t strange, strange_ns; /* whose message was noted last, and when */
    bool has_fingerprint;         /* of the first world's model */
    uint8_t fingerprint[32];
    core_launch launch;
    uint64_t launch_token;
    char last_error[512]; /* of a world that went */
    core_removal removal[CORE_MAX_REMOVAL];
    size_t n_removal;
    bool disk_full;
    bool stopping, stopped, left;
    uint64_t stop_ns; /* since when */
    uint64_t busy;    /* a job that had something on its way to the disk */
};

void core_act(core *c, const core_action *action);
void core_tell(core *c, const job_watcher *to, client_message *m);
/* Refused with the calling thread's sentence. */
void core_refuse(core *c, const job_watcher *to, status st);
void core_incident(core *c, const job *j, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
void core_leave_if_idle(core *c);
/* Whether something of `owner` is there for him. */
bool core_sees(const job_watcher *who, const char *owner);

/* ---- core_input.c: until a job is acknowledged ---- */
void core_input_open(core *c, job *j, const job_watcher *from,
                     const client_key *key);
void core_input_chunk(core *c, const job_watcher *from, const client_message *m,
                      const core_raw *raw);
/* The whole input came with the request. */
void core_input_whole(core *c, job *j, const core_raw *raw);

/* ---- core_client.c ---- */
/* His own first; an admin means somebody else's then.  NULL: *st says why. */
document *core_client_document(const core *c, status *st,
                               const job_watcher *who, const char *name);

/* ---- core_submit.c ---- */
/* Make a job of a request, or refuse it. */
status core_submit_add(core *c, const job_watcher *from,
                       const client_message *m, const core_raw *raw) MUST_USE;
status core_submit_ask(core *c, const job_watcher *from,
                       const client_message *m, const core_raw *raw) MUST_USE;
/* What a submission needs of the moment; the job is there already. */
status core_submit_admit(core *c, job *j) MUST_USE;

/* ---- core_job.c ---- */
/* From now on it counts, until it has ended or is removed. */
status core_job_count(core *c, const job *j) MUST_USE;
status core_job_add(core *c, job **out, job_kind kind) MUST_USE;
void core_job_remove(core *c, job *j); /* as if it had never been */
void core_job_bytes(core *c, job *j, uint64_t bytes);
/* An empty answer of a question, which has its stop strings. */
status core_job_answer(core *c, job *j) MUST_USE;
/* Sets the state; keeps the counts. */
void core_job_state(core *c, job *j, client_state state);
void core_job_stage(core *c, job *j, job_stage stage);
void core_job_done(core *c, job *j);
void core_job_stored(core *c, job *j); /* done, durably */
void core_job_fail(core *c, job *j, status st, const char *text);
/* Once more, later; `strike`: the world ended while the job ran on it. */
void core_job_retry(core *c, job *j, bool strike, const char *why);
void core_job_again(core *c, job *j); /* what the journal did not take */

/* ---- core_watch.c ---- */
void core_watch_progress(core *c, job *j);
/* One who asks: how far the job is, or how it ended. */
void core_watch_report(core *c, const job *j, const job_watcher *to);
/* New tokens go to the journal, those that are there to the watchers. */
void core_watch_tokens(core *c, job *j);
/* The end, which is durable, or of a job that never was; then nobody watches
 * it any more. */
void core_watch_end(core *c, job *j);

/* ---- core_store.c ---- */
/* A document goes into the journal once all of it is there. */
void core_store_if_whole(core *c, job *j);

/* ---- core_report.c ---- */
status core_report_documents(core *c, const job_watcher *to,
                             const document *doc) MUST_USE; /* NULL: all */
status core_report_jobs(core *c, const job_watcher *to) MUST_USE;
status core_report_status(core *c, const job_watcher *to) MUST_USE;
void core_report_record(core *c, const job_watcher *to, const store_record *r);

/* ---- core_memory.c ---- */
/* Whether what a world says of its memory holds together. */
status core_memory_check(const world_hello *h) MUST_USE;
status core_memory_init(core_memory *m, const world_hello *h) MUST_USE;
void core_memory_fini(core_memory *m);
/* Bytes of the snapshot after so many tokens, all in full segments. */
uint64_t core_memory_snapshot(const core_memory *m, uint64_t n_token);
/* Where a layer's state lies in the states of a checkpoint.  States that grow
 * have none: what there is of them is read again. */
core_place core_memory_layer(const core_memory *m, uint32_t layer);
/* Tokens that the job has in all at most: of its document, its own, drawn. */
uint64_t core_memory_tokens(const core *c, const job *j);
/* ST_LIMIT: it needs more room than there is; ST_STATE: another model read its
 * document. */
status core_memory_suits(const core *c, const core_memory *m,
                         const job *j) MUST_USE;

/* ---- core_model.c ---- */
/* Of the model that the daemon has, as far as it has one. */
bool core_model_is_ours(const core *c, const uint8_t fingerprint[32]);
/* Whether a model has begun the job, and it is not known yet which is served.
 */
bool core_model_is_open(const core *c, const job *j);
/* ST_STATE: another model, or another template, than what is served read its
 * document or has begun to. */
status core_model_suits(const core *c, const job *j) MUST_USE;
/* The same of a job that was acknowledged, with its number. */
status core_model_resumes(const core *c, const job *j) MUST_USE;
/* What does not suit stays as it is until its model is served again: that is
 * noted, and whoever watches it is refused, once. */
void core_model_wait(core *c, job *j);

/* ---- core_dispatch.c ---- */
void core_dispatch(core *c);
/* Whether a world here has room for it; ST_LIMIT, ST_STATE with the sentence.
 * ST_OK too while no world is there yet. */
status core_dispatch_possible(const core *c, const job *j) MUST_USE;
/* Tells the world that runs the job to drop it; its slot stays taken until the
 * world answers. */
void core_dispatch_cancel(core *c, const job *j);

/* ---- core_checkpoint.c ---- */
void core_checkpoint_part(core *c, job *j, const world_message *m,
                          const core_raw *raw);
/* All of them are of no use any more. */
void core_checkpoint_drop_all(core *c, job *j);

/* ---- core_work.c ---- */
/* `j` runs on the world that says `m`; it may have failed on return. */
void core_work_event(core *c, job *j, const world_message *m,
                     const core_raw *raw);

/* ---- core_world.c ---- */
core_world *core_world_find(core *c, uint64_t incarnation);
void core_world_tell(core *c, const core_world *w, world_message *m);
void core_world_drop_all(core *c, uint64_t launch, const char *why);
void core_world_silence(core *c);
/* Drains or stops all worlds; true when none has work under way. */
bool core_world_wind_down(core *c);
void core_world_stop_all(core *c);

#endif
