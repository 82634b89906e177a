/* SPDX-License-Identifier: Apache-2.0 */
/* Which rank runs which cell, by runs of layers or by turns of segments. */
#include "sched/place.h"

#include <string.h>

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
    if (strcmp(name, "layers") == 0)
        p->kind = PLACE_LAYERS;
    else if (strcmp(name, "segments") == 0)
        p->kind = PLACE_SEGMENTS;
    else if (strcmp(name, "auto") == 0)
        p->kind = automatic(p, state);
    else
        return status_fail(
            ST_ARG, "placement \"%s\" is none of auto, layers, segments", name);
    if (p->kind == PLACE_LAYERS && state->chained && p->size > 1)
        return status_fail(ST_UNSUPPORTED,
                           "placement \"layers\" on %u ranks: what the last "
                           "layer of this model leaves enters the first one; "
                           "ranks can only share segments",
                           p->size);
    return ST_OK;
}

uint32_t
place_active(const place *p)
{
    if (p->kind == PLACE_LAYERS && p->n_layer < p->size)
        return p->n_layer;
    return p->size;
}

void
place_layers(const place *p, uint32_t rank, uint32_t *first, uint32_t *n)
{
    if (p->kind == PLACE_SEGMENTS) {
        *first = 0;
        *n = p->n_layer;
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
place_owner(const place *p, uint64_t seg, uint32_t layer)
{
    ASSERT(layer < p->n_layer);
    if (p->kind == PLACE_SEGMENTS)
        return (uint32_t)(seg % p->size);
    uint32_t base = p->n_layer / p->size;
    uint32_t n_longer = p->n_layer % p->size;
    uint32_t in_longer = n_longer * (base + 1);
    if (layer < in_longer)
        return layer / (base + 1);
    return n_longer + (layer - in_longer) / base;
}
