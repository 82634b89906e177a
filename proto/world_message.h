/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between a world's lead and the daemon, as plain values; the wire
 * is world.proto.  Same rules as client_message.h. */
#ifndef PROTO_WORLD_MESSAGE_H
#define PROTO_WORLD_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"
#include "proto/world_measured.h"

enum {
    WORLD_MAJOR = 1,
    WORLD_MINOR = 2,
    WORLD_MAX_MESSAGE = 64 << 10, /* bytes of a control frame */
    WORLD_MAX_PART = 4 << 20,     /* bytes of a raw frame */
    WORLD_MAX_EOS = 16,
    WORLD_MAX_LAYER = 1024
};

typedef enum world_kind {
    WORLD_HELLO = 10,
    WORLD_HEARTBEAT,
    WORLD_CREDIT,
    WORLD_SEGMENTS_DONE,
    WORLD_TOKEN,
    WORLD_JOB_DONE,
    WORLD_JOB_FAILED,
    WORLD_SNAPSHOT,
    WORLD_CHECKPOINT,
    WORLD_WELCOME = 40,
    WORLD_BEGIN,
    WORLD_SEGMENT_IDS,
    WORLD_CANCEL,
    WORLD_STOP,
    WORLD_REFUSE,
    WORLD_KEPT,
    WORLD_DRAIN,
    WORLD_ABORT
} world_kind; /* the field numbers of world.proto */

typedef struct world_hello {
    char *version, *model_dir, *placement, *device, *device_name;
    uint8_t fingerprint[32];
    uint32_t ranks, threads, n_layer, segment_size, n_vocab;
    uint64_t snapshot_bytes, launch;
    uint64_t token_bytes, max_context; /* see world.proto */
    uint64_t *layer_bytes;             /* [n_layer_bytes], 0 or n_layer */
    size_t n_layer_bytes;
    uint32_t streams, credit_segments, max_generate;
    world_measured measured;
    uint64_t kin; /* see world.proto */
} world_hello;

typedef struct world_generate {
    uint32_t max_tokens; /* 0: nothing is generated */
    float temperature, top_p, min_p;
    float penalty; /* of repetition; 0 or 1: off */
    uint32_t top_k;
    bool logprobs; /* wanted with the tokens */
    uint64_t seed;
    uint32_t n_eos;
    int32_t eos[WORLD_MAX_EOS];
} world_generate;

typedef struct world_message {
    world_kind kind;
    uint64_t incarnation, job;
    uint32_t attempt;
    union {
        world_hello hello;
        struct {
            uint64_t incarnation;
            uint32_t heartbeat_ms, timeout_ms;
        } welcome;
        struct {
            double tokens_per_second;
            uint32_t streams_busy;
            uint64_t stalled_ms, slowest_ms, silent_ms; /* see world.proto */
            double hop_s, hop_hidden_s;                 /* likewise */
        } heartbeat;
        struct {
            uint64_t snapshot_bytes, first_segment, n_segment;
            bool want_snapshot;
            world_generate generate;
            uint32_t checkpoint_segments, checkpoint_ms; /* 0: none */
            uint32_t n_forced; /* raw frame: their int32 ids */
            uint64_t n_token;  /* of the whole job at most; 0: not said */
        } begin;
        struct {
            uint64_t segment;
            bool prompt;
        } segment_ids; /* raw frame: little-endian int32 ids */
        struct {
            uint32_t segments;
        } credit;
        struct {
            uint64_t segments;
        } segments_done;
        struct {
            uint32_t index;
            int32_t id;
            float logprob;
        } token;
        struct {
            char *finish;
            double seconds;
        } job_done;
        struct {
            char *code, *text;
        } failed; /* JOB_FAILED, REFUSE */
        struct {
            uint64_t offset, total;
            bool last;
            uint8_t hash[32];
        } snapshot; /* raw frame: the part */
        struct {
            uint64_t segment, offset, total;
            uint32_t layer, crc;
        } checkpoint; /* raw frame: the part */
        struct {
            uint64_t segment;
        } kept;
    } u;
} world_message;

status world_message_encode(uint8_t **out, size_t *len,
                            const world_message *m) MUST_USE;
status world_message_decode(world_message *out, const uint8_t *data,
                            size_t len) MUST_USE;
void world_message_fini(world_message *m);

#endif
