/* SPDX-License-Identifier: Apache-2.0 */
/* What is measured at the start of a world, as numbers for a plan. */
#include "worker/plan_here.h"

#include <unistd.h>

#include "base/mem.h"

static status
fill(plan_here *h, cost_cluster *out, const probe_rank *all, uint32_t size)
{
    cost_cluster c = {.name = "here",
                      .n_rank = size,
                      .n_rank_node = size,
                      .rank = all[0].rank,
                      .inner = all[0].link};
    status st = ST_OK;

    TRY(mem_new(&h->rank, size, sizeof *h->rank));
    TRY(mem_new(&h->link, size, sizeof *h->link));
    for (uint32_t i = 0; i < size; i++) {
        h->rank[i] = all[i].rank;
        h->link[i] = all[i].link;
        if (!cost_rank_is_sane(&all[i].rank) ||
            (size > 1 && !cost_link_is_sane(&all[i].link)))
            TRY(status_fail(ST_STATE, "rank %u cannot be measured", i));
        if (all[i].rank.flops < c.rank.flops)
            c.rank = all[i].rank;
        if (all[i].link.bytes_per_s < c.inner.bytes_per_s)
            c.inner = all[i].link;
    }
    /* Ranks that there are not yet: as these, with links in memory. */
    if (size == 1)
        c.inner = (cost_link){2e-6, 5e9, 0, 0};
    c.outer = c.inner;
    c.ranks = h->rank;
    c.links = size > 1 ? h->link : NULL;
    *out = c;
fail:
    return st;
}

status
plan_here_open(plan_here *h, cost_cluster *out, comm *c,
               const model_config *cfg, uint32_t n_thread)
{
    kernel_config kc = {.device = "cpu",
                        .n_thread = n_thread,
                        .local_rank = comm_local_rank(c),
                        .n_local = comm_local_size(c)};
    double bytes =
        (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    kernel_device *dev = NULL;
    probe_rank *all = NULL;
    status st = ST_OK;

    *h = (plan_here){0};
    TRY(comm_agree(c, kernel_open(&dev, &kc)));
    TRY(comm_agree(c, mem_new(&all, comm_size(c), sizeof *all)));
    TRY(probe_world(all, c, dev, cfg, bytes / comm_local_size(c)));
    if (comm_rank(c) == 0)
        st = fill(h, out, all, comm_size(c));
    st = comm_agree(c, st);
fail:
    mem_free(all);
    kernel_close(dev);
    return st;
}

void
plan_here_close(plan_here *h)
{
    mem_free(h->link);
    mem_free(h->rank);
    *h = (plan_here){0};
}
