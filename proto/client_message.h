/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between clients and the daemon, as plain values.
 *
 * client.proto is the wire; this is what the rest of the tree sees.  Decoding
 * validates everything once: version, known body, lengths, ranges, UTF-8 of
 * names and texts, finite floats.  Limits are named below.  A decoded message
 * owns its memory until client_message_fini(). */
#ifndef PROTO_CLIENT_MESSAGE_H
#define PROTO_CLIENT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/world_measured.h"

enum {
    CLIENT_MAJOR = 1,
    CLIENT_MINOR = 1,
    CLIENT_MAX_MESSAGE = 1 << 20, /* bytes of a control frame */
    CLIENT_MAX_CHUNK = 4 << 20,   /* bytes of a raw frame */
    CLIENT_MAX_INLINE =
        64 << 10,        /* bytes of an input that comes with Add, Ask */
    CLIENT_MAX_KEY = 64, /* of an idempotency key */
    CLIENT_HASH = 32,
    CLIENT_MAX_NAME = 255,
    CLIENT_MAX_WARNING = 255,
    CLIENT_WORLD_BITS = 24,  /* of an incarnation: which world since the daemon
                                started; above is the daemon's epoch */
    CLIENT_MAX_LAYER = 1024, /* norms of a document's states */
    CLIENT_MAX_STOP = 16,
    CLIENT_MAX_STOP_BYTES = 256,
    CLIENT_MAX_GENERATE = 1 << 16,
    CLIENT_NOMEM_BYTES = 64
};

typedef enum client_kind {
    CLIENT_ADD = 10,
    CLIENT_CHUNK,
    CLIENT_ASK,
    CLIENT_LIST,
    CLIENT_SHOW,
    CLIENT_REMOVE,
    CLIENT_JOBS,
    CLIENT_CANCEL,
    CLIENT_GET_STATUS,
    CLIENT_SHUTDOWN,
    CLIENT_WATCH,
    CLIENT_ACCEPTED = 40,
    CLIENT_REFUSED,
    CLIENT_PROGRESS,
    CLIENT_TOKEN,
    CLIENT_DONE,
    CLIENT_DOCUMENTS,
    CLIENT_JOB_LIST,
    CLIENT_STATUS,
    CLIENT_MORE_INPUT
} client_kind; /* the field numbers of client.proto */

typedef enum client_input { CLIENT_TEXT = 0, CLIENT_IDS } client_input;

typedef enum client_state {
    CLIENT_RECEIVING = 0,
    CLIENT_QUEUED,
    CLIENT_RUNNING,
    CLIENT_STATE_DONE,
    CLIENT_FAILED,
    CLIENT_CANCELED
} client_state;
const char *client_state_name(client_state s); /* "receiving", "queued", ... */

typedef struct client_sampling {
    uint32_t max_tokens;
    float temperature; /* 0: greedy */
    uint32_t top_k;
    float top_p;   /* 1: off (0 on the wire is read as 1) */
    float min_p;   /* 0: off */
    float penalty; /* of repetition; 1: off (0 on the wire is read as 1) */
    uint64_t seed;
    bool ignore_eos, logprobs;
    uint32_t n_stop;
    char *stop[CLIENT_MAX_STOP];
} client_sampling;

typedef struct client_document {
    char *name;
    char *owner; /* a public key, or "local" */
    char *model; /* fingerprint in hex */
    uint64_t tokens, segments, snapshot_bytes;
    int64_t created_ms;
    uint32_t pending_tokens;
    float *state_norm; /* of each layer; none but in the answer to Show */
    size_t n_norm;
    char *warning; /* why answers may be worth less, or empty */
} client_document;

typedef struct client_job {
    uint64_t job;
    char *kind, *document, *owner, *code, *text;
    client_state state;
    int64_t created_ms;
    uint64_t tokens, segments_done, segments_total;
    uint32_t attempts;
    uint64_t checkpoint_segments, redone_segments;
} client_job;

typedef struct client_world {
    uint64_t incarnation;
    char *model, *placement, *device, *state;
    uint32_t ranks, threads, streams, streams_busy;
    double tokens_per_second;
    world_measured measured;
    double hop_s, hop_hidden_s; /* see client.proto */
} client_world;

/* What makes a submission the same as one before: see client.proto. */
typedef struct client_key {
    char *key; /* "": none */
    bool has_hash;
    uint8_t hash[CLIENT_HASH]; /* of the input */
} client_key;

/* Strings are never NULL after decoding.  When encoding NULL counts as "". */
typedef struct client_message {
    client_kind kind;
    uint32_t major, minor; /* set by encoding */
    uint64_t request;
    union {
        struct {
            char *name, *model;
            client_input input;
            uint64_t bytes;
            client_key key;
        } add;
        struct {
            uint64_t offset;
        } chunk; /* the raw frame travels beside the message */
        struct {
            char *document;
            client_input input;
            uint64_t bytes;
            client_sampling sampling;
            client_key key;
        } ask;
        struct {
            char *document;
        } name; /* SHOW, REMOVE */
        struct {
            uint64_t job, submission;
        } job; /* CANCEL; WATCH has no submission */
        struct {
            uint64_t job, input_credit, epoch;
        } accepted; /* MORE_INPUT uses input_credit */
        struct {
            char *code, *text;
            uint32_t retry_after_s;
            uint64_t job;
        } refused;
        struct {
            uint64_t job, tokens_in, segments_done, segments_total;
            client_state state;
            double tokens_per_second, seconds_left;
        } progress;
        struct {
            uint64_t job;
            uint32_t index;
            int32_t id;
            float logprob; /* 0 unless it was asked for */
            char *text;
            size_t text_len;
        } token;
        struct {
            uint64_t job, tokens, segments, snapshot_bytes, skipped_tokens;
            char *document, *finish, *text;
            char *warning; /* why the answer may be worth less, or empty */
            size_t text_len;
            double seconds, seconds_to_first_token, tokens_per_second;
            int32_t *ids;
            size_t n_id;
            float *logprobs; /* of the ids; n_logprob is n_id or 0 */
            size_t n_logprob;
        } done;
        struct {
            client_document *item;
            size_t n;
        } documents;
        struct {
            client_job *item;
            size_t n;
        } jobs;
        struct {
            char *version, *last_error;
            double uptime_seconds, longest_turn_ms;
            uint32_t jobs_queued, jobs_running, documents;
            uint64_t epoch, max_input;
            client_world *world;
            size_t n_world;
        } status;
    } u;
} client_message;

/* *out = wire bytes, mem_free().  Held to what decoding accepts: ST_ARG, and
 * ST_LIMIT when it does not fit: 1 MiB, 4,096 fields (lists of documents and
 * jobs 65,536).  Sentences (refused.text, a job's text, a world's state,
 * last_error) may quote anything: both ways they are cleaned, not refused. */
status client_message_encode(uint8_t **out, size_t *len,
                             const client_message *m) MUST_USE;
/* ST_WIRE: malformed; ST_UNSUPPORTED: another major version (both named) or an
 * unknown body; ST_LIMIT; ST_ARG: a field out of range (named).  On ST_ARG,
 * ST_LIMIT and ST_UNSUPPORTED *request is set where it could be read, so that
 * a refusal can be answered; 0 otherwise. */
status client_message_decode(client_message *out, uint64_t *request,
                             const uint8_t *data, size_t len) MUST_USE;
/* The same of what a daemon hears: what only a daemon says is refused before it
 * is decoded, ST_UNSUPPORTED.  So a request costs little more than its bytes:
 * lists and long answers are not a client's. */
status client_message_decode_request(client_message *out, uint64_t *request,
                                     const uint8_t *data, size_t len) MUST_USE;
void client_message_fini(client_message *m); /* zeroed is fine */

/* Where there is no memory for a reply: the bytes of a refusal of `request`
 * with code "nomem", made without any, and few enough for ZeroMQ to send
 * without, mostly.  Returns their number. */
size_t client_message_nomem(uint8_t out[CLIENT_NOMEM_BYTES], uint64_t request);

#endif
