/* SPDX-License-Identifier: Apache-2.0 */
/* Seconds and bytes of cells and hops. */
#include "sched/cost.h"

#include <math.h>
#include <string.h>

static double
last_flops(const cost_model *m)
{
    return m->last_flops > 0 ? m->last_flops : m->cell_flops;
}

/* What a FLOP of the last layer takes on a rank, beside one of another. */
static double
last_times(const cost_model *m, const cost_rank *r)
{
    bool has_less = m->last_flops > 0 && m->last_flops < m->cell_flops;

    return r->last_times > 0 && has_less && !r->all_rows ? r->last_times : 1;
}

double
cost_group(const cost_model *m, const cost_rank *r, uint32_t n_cell,
           uint32_t n_last)
{
    double rows = (double)n_cell * m->n_row;
    double rate = r->flops * rows / (rows + r->half_rows);
    double last =
        r->all_rows ? m->cell_flops : last_times(m, r) * last_flops(m);

    return r->group_s +
           ((n_cell - n_last) * m->cell_flops + n_last * last) / rate;
}

double
cost_useful(const cost_model *m, const cost_cluster *c, uint32_t n,
            uint64_t n_seg)
{
    double times = last_times(m, cost_rank_of(c, 0));

    for (uint32_t rank = 1; rank < n; rank++)
        times = fmin(times, last_times(m, cost_rank_of(c, rank)));
    return (double)n_seg *
           ((m->n_layer - 1) * m->cell_flops + times * last_flops(m));
}

void
cost_fit(cost_rank *r, const double rows[2], const double flops[2],
         const double seconds[2])
{
    double rate1 = flops[0] / seconds[0], rate2 = flops[1] / seconds[1];
    double half = (rate2 - rate1) / (rate1 / rows[0] - rate2 / rows[1]);

    r->half_rows = rate2 > rate1 && half > 0 ? half : 0;
    r->flops = rate2 * (rows[1] + r->half_rows) / rows[1];
}

/* From a slow core's tenth to what no device does soon. */
bool
cost_rank_is_sane(const cost_rank *r)
{
    return r->flops > 1e6 && r->flops < 1e19 && r->half_rows >= 0 &&
           r->half_rows < 1e9 && r->group_s >= 0 && r->group_s < 10 &&
           r->last_times >= 0 && r->last_times < 1e3;
}

bool
cost_link_is_sane(const cost_link *l)
{
    return l->latency_s >= 0 && l->latency_s < 10 && l->bytes_per_s > 1e3 &&
           l->bytes_per_s < 1e15 && l->send_s >= 0 && l->send_s < 1e-3 &&
           l->receive_s >= 0 && l->receive_s < 1e-3;
}

bool
cost_link_is_copy(const cost_link *l)
{
    return l->receive_s * l->bytes_per_s > 0.5;
}

const cost_rank *
cost_rank_of(const cost_cluster *c, uint32_t rank)
{
    return c->ranks != NULL ? &c->ranks[rank] : &c->rank;
}

double
cost_flops(const cost_cluster *c, uint32_t n)
{
    double sum = 0;

    for (uint32_t rank = 0; rank < n; rank++)
        sum += cost_rank_of(c, rank)->flops;
    return sum;
}

double
cost_transfer(const cost_link *l, double bytes)
{
    return bytes / l->bytes_per_s;
}

const cost_link *
cost_link_of(const cost_cluster *c, uint32_t from, uint32_t to)
{
    if (c->links != NULL)
        return &c->links[from];
    return from / c->n_rank_node == to / c->n_rank_node ? &c->inner : &c->outer;
}

double
cost_memory(const cost_model *m, const place *p, uint32_t n_stream)
{
    uint32_t n_active = place_active(p), first = 0, n_layer = 0;
    double ends = m->ends_bytes;

    place_layers(p, p->rank, &first, &n_layer);
    if (n_layer == 0)
        return 0;
    /* With layers the first and the last rank have one end each. */
    if (p->kind == PLACE_LAYERS && n_active > 1)
        ends = first == 0 || first + n_layer == m->n_layer ? ends / 2 : 0;
    return ends + n_layer * m->layer_bytes +
           n_stream * (n_layer * m->state_bytes + place_slots(p) * m->x_bytes);
}

uint32_t
cost_ranks_needed(const cost_model *m, double bytes, uint32_t n_stream)
{
    for (uint32_t n = 1; n <= m->n_layer; n++) {
        const place p = {.n_layer = m->n_layer, .size = n};
        if (cost_memory(m, &p, n_stream) <= bytes)
            return n;
    }
    return 0;
}

status
cost_cluster_preset(cost_cluster *out, const char *name)
{
    /* An H200 reaches about 790 TFLOP/s in large bf16 products, and half of
     * its rate in groups of about a segment; NVLink 4 moves 450 GB/s one way
     * between two GPUs of a node at most, a 400 Gbit/s adapter a GPU 50 GB/s,
     * of which MPI reaches about 85 %.  A CPU node: 32 cores with AVX-512,
     * 25 Gbit/s Ethernet. */
    static const cost_rank h200 = {790e12, 400, 30e-6, 141e9, 0, true, 0, 0};
    static const cost_rank node = {2.4e12, 32, 60e-6, 256e9, 32, false, 0, 0};
    static const cost_cluster presets[] = {
        {"8xh200",
         8,
         8,
         h200,
         {8e-6, 300e9, 0, 0},
         {8e-6, 300e9, 0, 0},
         NULL,
         NULL},
        {"128xh200",
         128,
         8,
         h200,
         {8e-6, 300e9, 0, 0},
         {12e-6, 42e9, 0, 0},
         NULL,
         NULL},
        {"64xcpu",
         64,
         1,
         node,
         {30e-6, 2.6e9, 0, 0},
         {30e-6, 2.6e9, 0, 0},
         NULL,
         NULL},
    };

    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        if (strcmp(presets[i].name, name) == 0) {
            *out = presets[i];
            return ST_OK;
        }
    }
    return status_fail(ST_NOTFOUND,
                       "no cluster named %.40s; there are 8xh200, 128xh200, "
                       "64xcpu and here",
                       name);
}
