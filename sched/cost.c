/* SPDX-License-Identifier: Apache-2.0 */
/* Seconds and bytes of cells and hops. */
#include "sched/cost.h"

#include <string.h>

double
cost_group(const cost_model *m, const cost_rank *r, uint32_t n_cell)
{
    double rows = (double)n_cell * m->n_row;
    double rate = r->flops * rows / (rows + r->half_rows);

    return r->group_s + n_cell * m->cell_flops / rate;
}

double
cost_transfer(const cost_link *l, double bytes)
{
    return bytes / l->bytes_per_s;
}

const cost_link *
cost_link_of(const cost_cluster *c, uint32_t from, uint32_t to)
{
    return from / c->n_rank_node == to / c->n_rank_node ? &c->inner : &c->outer;
}

double
cost_memory(const cost_model *m, const place *p, uint32_t n_stream)
{
    uint32_t n_active = place_active(p), first = 0, n_layer = 0;
    bool ring = p->kind == PLACE_SEGMENTS;
    uint32_t n_slot = place_slots(p);

    place_layers(p, 0, &first, &n_layer); /* the longest run */
    /* Ends: with layers the first and the last rank have one each. */
    double ends = ring || n_active == 1 ? m->ends_bytes : m->ends_bytes / 2;
    return ends + n_layer * m->layer_bytes +
           n_stream * (n_layer * m->state_bytes + n_slot * m->x_bytes);
}

status
cost_cluster_preset(cost_cluster *out, const char *name)
{
    /* An H200 reaches about 790 TFLOP/s in large bf16 products, and half of
     * its rate in groups of about a segment; NVLink 4 moves 450 GB/s one way
     * between two GPUs of a node at most, a 400 Gbit/s adapter a GPU 50 GB/s,
     * of which MPI reaches about 85 %.  A CPU node: 32 cores with AVX-512,
     * 25 Gbit/s Ethernet. */
    static const cost_rank h200 = {790e12, 400, 30e-6, 141e9};
    static const cost_rank node = {2.4e12, 32, 60e-6, 256e9};
    static const cost_cluster presets[] = {
        {"8xh200", 8, 8, h200, {8e-6, 300e9}, {8e-6, 300e9}},
        {"128xh200", 128, 8, h200, {8e-6, 300e9}, {12e-6, 42e9}},
        {"64xcpu", 64, 1, node, {30e-6, 2.6e9}, {30e-6, 2.6e9}},
    };

    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            *out = presets[i];
            return ST_OK;
        }
    }
    return status_fail(ST_NOTFOUND,
                       "no cluster named %.40s; there are 8xh200, 128xh200 and "
                       "64xcpu",
                       name);
}
