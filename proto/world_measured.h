/* SPDX-License-Identifier: Apache-2.0 */
/* What the ranks of a world measured as they started, on its way from the
 * world to whoever asks for the daemon's status: world.proto and client.proto
 * have the same fields.  Plain numbers; 0: not measured. */
#ifndef PROTO_WORLD_MEASURED_H
#define PROTO_WORLD_MEASURED_H

#include <stdint.h>

typedef struct world_measured {
    double flops;                /* FLOP/s of all ranks at the model's shapes */
    double link_bytes_per_s;     /* of the slowest link between neighbours */
    double link_s;               /* latency of the farthest */
    double layers_s, segments_s; /* foretold of plan_segments by placement */
    uint64_t plan_segments;      /* of every stream; 0: nothing was chosen */
    /* Likewise at the mean rate of the ranks; 0: they were equally fast. */
    double layers_alike_s, segments_alike_s;
} world_measured;

#endif
