/* SPDX-License-Identifier: Apache-2.0 */
/* The coordinator as a pure state machine: events in, actions out.
 *
 * It knows jobs, documents and worlds and decides everything; it has no clock,
 * socket, disk or thread of its own, so that a test or a simulator can drive
 * it.  The bulk of the data (text, ids, snapshots) never passes through: the
 * core says which job may be fed how far, the shell around it does it.
 *
 * Nothing is told that is not durable: a job is acknowledged when it is in the
 * journal with its input, a token is sent when it is there, and so is the end
 * of a job.
 *
 * Actions are handed to one function while an event is being handled; what
 * they point to is valid during that call, and it must not call back into the
 * core.  Every event is safe at any time: what is stale (another attempt, a
 * world that went, a job that ended) is dropped. */
#ifndef DAEMON_CORE_H
#define DAEMON_CORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "daemon/catalog.h"
#include "daemon/job_table.h"
#include "daemon/store.h"
#include "model/fingerprint.h"
#include "model/tokenizer.h"
#include "proto/client_message.h"
#include "proto/world_message.h"

typedef struct core core;

typedef struct core_config {
    const char *model;    /* for people and for Add.model; borrowed */
    const tokenizer *tok; /* NULL: ids only; borrowed */
    uint32_t n_layer, segment_size, n_vocab;
    const float *trained_norm; /* of each layer's state at most; borrowed */
    uint32_t n_trained_norm;   /* n_layer, or 0: not known */
    uint32_t n_norm; /* layers whose states are measured, or 0: they are no F32
                        of one size */
    uint32_t n_eos;
    int32_t eos[WORLD_MAX_EOS];
    uint32_t n_fingerprint; /* of the model, as it may run; 0: not known */
    uint8_t fingerprint[FINGERPRINT_N_VARIANT][32];
    uint8_t template[32]; /* hash of what stands around texts */
    uint64_t epoch;       /* starts of this directory so far */
    uint64_t max_input;   /* bytes of a document or question */
    uint64_t max_tokens;  /* of a job; 0: any */
    uint64_t max_bytes;   /* of all unfinished inputs; 0: any */
    uint32_t max_queue;   /* jobs that are not finished */
    uint32_t share; /* percent of these, and of the documents, that one owner
                       who is no admin may fill; 0: any */
    uint64_t input_window;             /* bytes ahead of what is written */
    uint32_t heartbeat_ms, timeout_ms; /* of worlds */
    uint32_t hang_ms;                  /* a step may take so long at least */
    uint64_t input_timeout_ns;         /* a client that sends nothing more */
    uint64_t drain_ns;                 /* for worlds to put their state away */
    uint32_t checkpoint_segments, checkpoint_ms; /* 0 segments: none */
} core_config;

/* What to do; in brackets which fields are set besides `kind`. */
typedef enum core_action_kind {
    CORE_TELL_CLIENT = 0, /* [peer, client] */
    CORE_TELL_WORLD,      /* [peer, world, raw or nothing] */
    CORE_INPUT_OPEN,      /* make room for a job's input [job] */
    CORE_INPUT_DATA,      /* the next piece of input, the last one when
                             received == bytes [job, raw]; answered by
                             core_input_written() */
    CORE_LOOKUP,          /* the job with this owner and key [job]; answered by
                             core_looked_up() */
    CORE_SUBMIT,          /* row and input into the journal [job]; answered by
                             core_submitted() */
    CORE_PREPARE,         /* tokenize what the journal has; an ask's ids begin
                             with the document's pending ones [job, document];
                             answered by core_tokenized() */
    CORE_FEED_OPEN,       /* send snapshot, then segments from job->base on, as
                             far as job->allowed says [job, peer, document] */
    CORE_FEED_ALLOW,      /* job->allowed has grown [job] */
    CORE_SNAPSHOT_PART,   /* of the document that is read [job, world, raw] */
    CORE_CHECKPOINT_PART, /* a shard [job, world, place, raw]; the last one is
                             answered by core_checkpointed() */
    CORE_CHECKPOINT_DROP, /* that one of this attempt is of no use any more
                             [job, checkpoint] */
    CORE_STORE,           /* keep the document, and with it the end of the job
                             [job, document]; answered by core_stored() */
    CORE_ATTEMPT_DROP,    /* feed and partial snapshots are void [job] */
    CORE_JOB_DROP,        /* and input and ids too; the job is over [job] */
    CORE_RECORD,          /* the job's row has changed [job] */
    CORE_TOKENS,          /* the answer's tokens from job->kept on into the
                             journal [job]; answered by core_tokens_kept() */
    CORE_END,             /* the end of the job into the journal, with the
                             answer [job]; answered by core_ended() */
    CORE_FETCH,           /* a job that is only in the journal [number,
                             watcher]; answered by core_fetched() */
    CORE_REMOVE,          /* delete [document]; core_removed() */
    CORE_INCIDENT,        /* for people who look later [number: job or 0,
                             text] */
    CORE_WORLD_END,       /* end the process of this launch [number] */
    CORE_WORLD_LEFT,      /* the same, once it had time to end by itself */
    CORE_WORLD_AWAY,      /* the same, if it has not joined again in the time
                             that a start has */
    CORE_LEAVE            /* nothing is left to do; `number` is 0 when all
                             running work is put away */
} core_action_kind;

/* A frame that the action may take over by setting *data to NULL. */
typedef struct core_raw {
    uint8_t **data;
    size_t len;
} core_raw;

/* Where a layer's state lies; bytes. */
typedef struct core_place {
    uint64_t at, len, states; /* in the states of all layers, and of these */
} core_place;

typedef struct core_action {
    core_action_kind kind;
    const zsocket_peer *peer;
    const client_message *client;
    const world_message *world;
    const job *job;
    const job_checkpoint *checkpoint;
    const document *document;
    const job_watcher *watcher;
    const char *text;
    uint64_t number;
    core_place place;
    core_raw raw;
} core_action;

typedef void core_action_fn(void *ctx, const core_action *action);

/* What the supervisor of the local world is doing. */
typedef enum core_launch {
    CORE_LAUNCH_NONE = 0, /* worlds are started by others */
    CORE_LAUNCH_STARTING,
    CORE_LAUNCH_WAITING /* it ended; it is started again after a while */
} core_launch;

/* `next_job` is the first free number. */
status core_new(core **out, const core_config *cfg, uint64_t next_job,
                core_action_fn *fn, void *ctx) MUST_USE;
void core_free(core *c);

/* Before the first event: what an earlier run left.  Unfinished jobs are
 * queued again; checkpoints come after their jobs, ascending, and *known tells
 * whether the job still wants it. */
status core_restore_document(core *c, const document *doc) MUST_USE;
status core_restore_unfinished(core *c, const store_record *r) MUST_USE;
status core_restore_finished(core *c, const store_job *row) MUST_USE;
void core_restore_checkpoint(core *c, const store_checkpoint *k, bool *known);
void core_restore_error(core *c, const char *text);

/* Before each event: what time it is, and the loop's longest turn so far. */
typedef struct core_time {
    uint64_t now_ns; /* only moves forward */
    int64_t wall_ms; /* for people */
    double longest_turn_ms;
} core_time;
void core_set_time(core *c, const core_time *t);

/* ---- events ---- */
/* Who speaks.  Documents, jobs and keys belong to their owner: what is not his
 * is not there for him, unless he is an admin. */
typedef struct core_caller {
    const zsocket_peer *client;
    const char *owner; /* the same on every connection */
    bool admin;
} core_caller;
void core_client_event(core *c, const core_caller *from,
                       const client_message *m, const core_raw *raw);
void core_client_gone(core *c, const zsocket_peer *client);
void core_world_event(core *c, const zsocket_peer *peer, const world_message *m,
                      const core_raw *raw);
/* A message to or of it is lost, or it left. */
void core_world_gone(core *c, const zsocket_peer *peer, const char *why);
void core_launch_event(core *c, core_launch state, uint64_t token,
                       const char *why);

/* So many bytes of input are in place; after the last one, durably. */
void core_input_written(core *c, uint64_t job, uint64_t bytes);
/* `r` is the job with the key, its row and its stop strings, when `st` is
 * ST_OK; ST_NOTFOUND: none. */
void core_looked_up(core *c, uint64_t job, status st, const store_record *r,
                    const char *text);
void core_submitted(core *c, uint64_t job, status st, const char *text);
/* So far tokenized; `done` when all is, and *tokens is final. */
void core_tokenized(core *c, uint64_t job, uint64_t tokens, bool done);
void core_tokens_kept(core *c, uint64_t job, uint64_t n, status st);
/* Input, feeding or the snapshot's reception failed; `attempt` 0: any. */
void core_job_failed(core *c, uint64_t job, uint32_t attempt, status why,
                     const char *text);
/* The checkpoint that `attempt` was to start from cannot be used. */
void core_checkpoint_damaged(core *c, uint64_t job, uint32_t attempt,
                             const char *text);
void core_checkpointed(core *c, uint64_t job, const job_checkpoint *k,
                       status st, const char *text);
/* `measured`: norms of the document's states and hashes of its files, or NULL.
 */
void core_stored(core *c, uint64_t job, status st, const char *text,
                 const document *measured);
/* The hash of a snapshot that was stored without one. */
void core_hashed(core *c, uint64_t document, const uint8_t sum[HASH_BYTES]);
void core_ended(core *c, uint64_t job, status st, const char *text);
void core_fetched(core *c, const job_watcher *to, status st,
                  const store_record *r, const char *text);
void core_removed(core *c, uint64_t document, status st, const char *text);
/* Too little room is left on the disk for more jobs. */
void core_disk_full(core *c, bool full);
/* Several times a second: timeouts and progress. */
void core_tick(core *c);
/* Orderly end: new jobs are refused, worlds put away what they have read, and
 * are told to stop; CORE_LEAVE follows when nothing is on its way to the disk
 * any more.  Unfinished jobs go on after the next start. */
void core_shutdown(core *c);

const catalog *core_catalog(const core *c);
const job_table *core_jobs(const core *c);

#endif
