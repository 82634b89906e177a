/* SPDX-License-Identifier: Apache-2.0 */
/* What ranks measure of each other under mpirun: figures of every rank, in
 * their places at rank 0, that a plan can be made of; and a device that cannot
 * be measured, which is no failure of the world. */
#include <stdio.h>

#include "base/mem.h"
#include "worker/probe.h"

#define CHECK(cond)                                                            \
    do {                                                                       \
        if (!(cond))                                                           \
            return status_fail(ST_STATE, "line %d: %s", __LINE__, #cond);      \
    } while (0)

static status
check_all(const probe_rank *all, uint32_t size, uint32_t segment)
{
    for (uint32_t rank = 0; rank < size; rank++) {
        const probe_rank *p = &all[rank];
        CHECK(cost_rank_is_sane(&p->rank));
        CHECK(p->rank.memory >= 1000 + rank && p->rank.memory <= 1000 + rank);
        CHECK(p->seconds > 0);
        /* Full segments are run, so that the last layer is, too. */
        CHECK(segment > 64 || p->rank.last_times > 0);
        if (size > 1)
            CHECK(cost_link_is_sane(&p->link) && p->link.latency_s > 0);
    }
    return ST_OK;
}

/* Segments that are run whole, and longer ones that are not. */
static status
measure(comm *c, uint32_t segment, uint32_t n_thread)
{
    kernel_config kc = {.device = "cpu", .n_thread = n_thread};
    kernel_device *dev = NULL;
    probe_rank *all = NULL;
    model_config cfg = {0};
    status st = ST_OK;

    TRY(config_preset(&cfg, "tiny"));
    cfg.segment_size = segment;
    TRY(comm_agree(c, kernel_open(&dev, &kc)));
    TRY(mem_new(&all, comm_size(c), sizeof *all));
    TRY(probe_world(all, c, dev, &cfg, 1000 + comm_rank(c)));
    if (comm_rank(c) == 0)
        st = check_all(all, comm_size(c), segment);
    TRY(comm_agree(c, st));
fail:
    mem_free(all);
    kernel_close(dev);
    return st;
}

/* Ranks cannot share layers of a chained memory, so that some of them cannot be
 * timed: the figures stay zero, and the links are measured. */
static status
cannot_measure(comm *c)
{
    kernel_config kc = {.device = "cpu", .n_thread = 1};
    kernel_device *dev = NULL;
    probe_rank *all = NULL;
    model_config cfg = {0};
    status st = ST_OK;

    TRY(config_preset(&cfg, "tiny"));
    cfg.n_layer = 12; /* more than are timed */
    cfg.memory = CONFIG_MEMORY_TOKENS;
    cfg.correction = cfg.denom = false;
    cfg.d_mem = cfg.n_mem_head = 0;
    TRY(comm_agree(c, kernel_open(&dev, &kc)));
    TRY(mem_new(&all, comm_size(c), sizeof *all));
    TRY(probe_world(all, c, dev, &cfg, 0));
    for (uint32_t i = 0; comm_rank(c) == 0 && i < comm_size(c); i++)
        CHECK(!cost_rank_is_sane(&all[i].rank));
    if (comm_rank(c) == 0 && comm_size(c) > 1)
        CHECK(cost_link_is_sane(&all[0].link));
fail:
    mem_free(all);
    kernel_close(dev);
    return st;
}

int
main(int argc, char **argv)
{
    comm *c = NULL;
    status st = comm_open(&c, &argc, &argv);

    TRY(st);
    TRY(measure(c, 64, 1));
    TRY(measure(c, 48, 2));
    TRY(measure(c, 4096, 1));
    TRY(cannot_measure(c));
fail:
    if (st != ST_OK)
        fprintf(stderr, "FAIL: %s\n", status_text());
    comm_close(c);
    return st == ST_OK ? 0 : 1;
}
