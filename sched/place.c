/* SPDX-License-Identifier: Apache-2.0 */
/* Which rank runs which cell, by runs of layers or by turns of segments. */
#include "sched/place.h"

#include <string.h>

#include "base/mem.h"

const char *
place_name(place_kind kind)
{
    return kind == PLACE_LAYERS ? "layers" : "segments";
}

static place_kind
automatic(const place *p, const place_state *state)
{
    if (state->chained)
        return PLACE_SEGMENTS;
    if (state->grows)
        return PLACE_LAYERS;
    /* A diagonal has n_layer cells: more ranks than that cannot all work on
     * one stream, and with layers the surplus holds no weights. */
    return p->size <= p->n_layer ? PLACE_SEGMENTS : PLACE_LAYERS;
}

status
place_parse(place *p, const char *name, const place_state *state)
{
    if (strcmp(name, "layers") == 0 || strncmp(name, "layers:", 7) == 0)
        p->kind = PLACE_LAYERS;
    else if (strcmp(name, "segments") == 0)
        p->kind = PLACE_SEGMENTS;
    else if (strcmp(name, "auto") == 0)
        p->kind = automatic(p, state);
    else
        return status_fail(
            ST_ARG,
            "placement \"%s\" is none of auto, layers, layers:N,N..., segments",
            name);
    if (p->kind == PLACE_LAYERS && state->chained && p->size > 1)
        return status_fail(ST_UNSUPPORTED,
                           "placement \"layers\" on %u ranks: what the last "
                           "layer of this model leaves enters the first one; "
                           "ranks can only share segments",
                           p->size);
    return ST_OK;
}

static status
no_division(const place *p, const char *text)
{
    return status_fail(ST_ARG,
                       "\"%s\" does not divide %u layers among %u ranks: a "
                       "number for each, separated by commas, zeros last",
                       text, p->n_layer, p->size);
}

status
place_parse_division(uint32_t *ends, const place *p, const char *text)
{
    const char *at = text;
    uint32_t sum = 0, before = 1;

    for (uint32_t rank = 0; rank < p->size; rank++) {
        uint32_t n = 0, n_digit = 0;
        for (; *at >= '0' && *at <= '9' && n <= p->n_layer; at++, n_digit++)
            n = 10 * n + (uint32_t)(*at - '0');
        if (n_digit == 0 || n > p->n_layer - sum || (n > 0 && before == 0) ||
            *at != (rank + 1 < p->size ? ',' : '\0'))
            return no_division(p, text);
        at++;
        before = n;
        ends[rank] = sum += n;
    }
    return sum == p->n_layer ? ST_OK : no_division(p, text);
}

/* The rank that is soonest done with one more layer; size: none has room. */
static uint32_t
soonest(const place *p, const uint32_t *n, const double *layer_s,
        const uint32_t *most, double tail_s)
{
    uint32_t n_active = p->size < p->n_layer ? p->size : p->n_layer;
    uint32_t best = p->size;
    double least = 0;

    for (uint32_t rank = 0; rank < n_active; rank++) {
        double t = (n[rank] + 1) * layer_s[rank];
        if (rank + 1 == n_active)
            t += tail_s;
        if (n[rank] >= most[rank] || (best < p->size && t >= least))
            continue;
        best = rank;
        least = t;
    }
    return best;
}

status
place_divide(uint32_t *ends, const place *p, const double *layer_s,
             const uint32_t *most, double tail_s)
{
    uint32_t n_active = p->size < p->n_layer ? p->size : p->n_layer;
    uint32_t *n = NULL;
    status st = ST_OK;

    TRY(mem_new(&n, p->size, sizeof *n));
    for (uint32_t rank = 0; rank < n_active; rank++) {
        n[rank] = 1;
        if (most[rank] == 0)
            TRY(status_fail(ST_LIMIT, "rank %u has no room for a layer", rank));
    }
    for (uint32_t i = n_active; i < p->n_layer; i++) {
        uint32_t rank = soonest(p, n, layer_s, most, tail_s);
        if (rank == p->size)
            TRY(status_fail(ST_LIMIT, "%u ranks have room for %u of %u layers",
                            n_active, i, p->n_layer));
        n[rank]++;
    }
    for (uint32_t rank = 0, sum = 0; rank < p->size; rank++)
        ends[rank] = sum += n[rank];
fail:
    mem_free(n);
    return st;
}

status
place_deal(place *p, uint32_t n_replica, uint32_t n_rank, uint32_t rank)
{
    ASSERT(rank < n_rank);
    if (n_replica == 0 || n_rank % n_replica != 0)
        return status_fail(ST_ARG,
                           "%u ranks cannot be dealt out to %u replicas evenly",
                           n_rank, n_replica);
    p->n_replica = n_replica;
    p->size = n_rank / n_replica;
    p->rank = rank % p->size;
    p->replica = rank / p->size;
    return ST_OK;
}

uint32_t
place_replicas_left(uint32_t n_replica, uint32_t n_rank)
{
    uint32_t n = n_replica < n_rank ? n_replica : n_rank;

    while (n > 1 && n_rank % n != 0)
        n--;
    return n;
}

uint32_t
place_replicas(const place *p)
{
    return p->n_replica > 0 ? p->n_replica : 1;
}

uint32_t
place_active(const place *p)
{
    uint32_t n = p->size;

    if (p->kind == PLACE_LAYERS && p->ends != NULL)
        while (n > 1 && p->ends[n - 2] == p->n_layer)
            n--;
    else if (p->kind == PLACE_LAYERS && p->n_layer < p->size)
        n = p->n_layer;
    return n;
}

void
place_layers(const place *p, uint32_t rank, uint32_t *first, uint32_t *n)
{
    if (p->kind == PLACE_SEGMENTS) {
        *first = 0;
        *n = p->n_layer;
        return;
    }
    if (p->ends != NULL) {
        *first = rank == 0 ? 0 : p->ends[rank - 1];
        *n = p->ends[rank] - *first;
        return;
    }
    uint32_t base = p->n_layer / p->size;
    uint32_t n_longer = p->n_layer % p->size;
    *first = rank * base + (rank < n_longer ? rank : n_longer);
    *n = base + (rank < n_longer);
}

/* With segments dealt out to R ranks, only every R-th of a diagonal's cells is
 * here. */
uint32_t
place_slots(const place *p)
{
    uint32_t first = 0, n = 0;

    place_layers(p, p->rank, &first, &n);
    if (p->kind == PLACE_SEGMENTS)
        n = (n + p->size - 1) / p->size;
    return n + 2;
}

uint32_t
place_group(const place *p, uint32_t n_cell)
{
    return place_active(p) > 1 ? n_cell : 0;
}

uint32_t
place_owner(const place *p, uint64_t seg, uint32_t layer)
{
    ASSERT(layer < p->n_layer);
    if (p->kind == PLACE_SEGMENTS)
        return (uint32_t)(seg % p->size);
    if (p->ends != NULL) {
        uint32_t rank = 0;
        while (p->ends[rank] <= layer)
            rank++;
        return rank;
    }
    uint32_t base = p->n_layer / p->size;
    uint32_t n_longer = p->n_layer % p->size;
    uint32_t in_longer = n_longer * (base + 1);
    if (layer < in_longer)
        return layer / (base + 1);
    return n_longer + (layer - in_longer) / base;
}
