/* SPDX-License-Identifier: Apache-2.0 */
/* Every rank's measurement, gathered at the lead. */
#include "worker/probe.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "worker/world_wire.h"

static const double SECONDS = 0.92; /* of cells and links */

enum { TAG_PROBE = TAG_TOTALS + 4, REST_US = 100 };

static status
await(comm *c, comm_request *req)
{
    bool done = false;
    status st = ST_OK;

    for (;;) {
        TRY(comm_test(c, req, &done));
        if (done)
            return ST_OK;
        clock_sleep_us(REST_US);
    }
fail:
    return st;
}

static status
gather(probe_rank *all, comm *c, probe_rank *mine)
{
    comm_request req = {0};
    status st = ST_OK;

    if (comm_rank(c) > 0) {
        TRY(comm_isend(c, &req, 0, TAG_PROBE, mine, sizeof *mine, false));
        TRY(await(c, &req));
        return ST_OK;
    }
    all[0] = *mine;
    for (uint32_t rank = 1; rank < comm_size(c); rank++) {
        TRY(comm_irecv(c, &req, rank, TAG_PROBE, &all[rank], sizeof *all));
        TRY(await(c, &req));
    }
fail:
    return st;
}

/* Whether the host has a core for each thread of its ranks. */
static bool
has_own_core(const comm *c, const kernel_device *dev)
{
    kernel_info info;

    kernel_info_get(dev, &info);
    return (long)comm_local_size(c) * info.n_thread <=
           sysconf(_SC_NPROCESSORS_ONLN);
}

status
probe_world(probe_rank *all, comm *c, kernel_device *dev,
            const model_config *cfg, double bytes)
{
    probe_rank mine = {.rank = {.memory = bytes}};
    status st = ST_OK;

    TRY(comm_agree(c, ST_OK)); /* all begin together */
    double start = clock_seconds();
    st = probe_cells(&mine.rank, dev, cfg, has_own_core(c, dev));
    if (st != ST_OK)
        log_debug("rank %u is not measured: %s", comm_rank(c), status_text());
    TRY(comm_agree(c, ST_OK));
    TRY(probe_links(&mine.link, c, start + SECONDS));
    mine.seconds = clock_seconds() - start;
    TRY(gather(all, c, &mine));
fail:
    return st;
}
