/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks of one world say to each other: fixed-size headers and tags.
 * Commands and hops name a rank's own streams, reports those of the world:
 * replica * n_stream + the rank's.  Ranks are those of the replica.
 *
 * Internal to the world.  All ranks run the same program on machines of one
 * kind, so headers travel as they lie in memory.
 *
 *   command  lead -> rank     header, then `len` bytes on TAG_COMMAND_DATA
 *   report   rank -> lead     header, then `len` bytes on TAG_REPORT_DATA
 *   hop      rank -> its successor: header, then `len` bytes on TAG_HOP_DATA +
 *            stream
 */
#ifndef WORKER_WORLD_WIRE_H
#define WORKER_WORLD_WIRE_H

#include <stdint.h>

#include "worker/engine.h"

enum {
    TAG_COMMAND = 1,
    TAG_COMMAND_DATA,
    TAG_REPORT,
    TAG_REPORT_DATA,
    TAG_HOP,
    TAG_TOTALS,
    TAG_HOP_DATA = 64 /* and above: a tag for each stream */
};

typedef enum command_kind {
    COMMAND_OPEN = 1,
    COMMAND_STATE,   /* data: the state of `layer` */
    COMMAND_SEGMENT, /* data: segment.n_token ids */
    COMMAND_SEEN, /* data: ids that the stream's penalty counts from now on */
    COMMAND_SNAPSHOT, /* answered by REPORT_STATE for each layer; of `past` */
    COMMAND_CLOSE,    /* answered by REPORT_CLOSED */
    COMMAND_ASK,      /* answered by REPORT_HERE; of no stream, but a rank that
                         holds nothing reports of the one that is named */
    COMMAND_STOP
} command_kind;

typedef struct command {
    uint32_t kind, stream;
    uint64_t len;
    uint64_t first_seg, end_seg; /* OPEN: written segments, [first, end) */
    uint32_t prompt;             /* OPEN: a frozen run follows */
    uint32_t n_state;            /* OPEN: STATE commands that follow */
    memory_past past;            /* STATE, SNAPSHOT: read by then */
    int32_t priority;
    uint32_t layer;   /* STATE: of the model */
    uint32_t capture; /* SEGMENT: its states are reported as it passes */
    engine_segment segment;
} command;

typedef enum report_kind {
    REPORT_DONE = 1, /* a segment is done at every layer */
    REPORT_LOGITS,   /* data: n_row rows */
    REPORT_TOKEN,
    REPORT_STATE, /* data: the state of `layer` */
    REPORT_SHARD, /* likewise, after segment `seg`, as it passed */
    REPORT_TAKEN, /* segment `seg` has left the rank that was given it */
    REPORT_CLOSED,
    REPORT_SPOILED, /* what came of segment `seg` is no number any more */
    REPORT_STEP,    /* the rank goes on; of no stream, and not of every step */
    REPORT_HERE     /* the rank is well; of no stream */
} report_kind;

typedef struct report {
    uint32_t kind, stream;
    uint64_t len;
    uint64_t seg;
    uint32_t row0, n_row;
    engine_token token;
    uint32_t frozen;
    uint32_t layer;                 /* of the model */
    uint32_t rank;                  /* that reports */
    uint32_t crc;                   /* SHARD: CRC-32C of the data */
    uint64_t hop_ns, hop_hidden_ns; /* of the rank by now: hop_times */
} report;

typedef enum hop_kind {
    HOP_X = 1, /* data: hidden rows of `segment` */
    HOP_STATE, /* data: the state of `layer` */
    HOP_FIN    /* nothing more of this stream */
} hop_kind;

typedef struct hop_header {
    uint32_t kind, stream;
    uint64_t len;
    uint32_t layer;         /* of the model */
    uint32_t capture;       /* X: as that of the command */
    engine_segment segment; /* STATE: the last one read */
} hop_header;

#endif
