/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of a simulated world: streams, and the segments that ranks are
 * given of them. */
#include "sched/simulate_impl.h"

/* Something may be able to start at a rank, or leave for it. */
void
simulate_touch(simulate *s, uint32_t index)
{
    uint32_t near[2] = {index, (index + s->n_active - 1) % s->n_active};

    for (size_t i = 0; i < 2; i++) {
        if (s->rank[near[i]].touched)
            continue;
        s->rank[near[i]].touched = true;
        s->touched[s->n_touched++] = near[i];
    }
}

/* Segments of the document in stream `id` that rank `index` is given. */
static uint64_t
share(const simulate *s, uint32_t index)
{
    uint64_t n = s->cfg.n_seg;

    if (s->cfg.placement == PLACE_LAYERS)
        return index == 0 ? n : 0;
    return index < n ? (n - 1 - index) / s->n_active + 1 : 0;
}

/* Gives a rank what its slots have room for. */
void
simulate_feed(simulate *s, uint32_t index)
{
    simulate_rank *r = &s->rank[index];

    for (uint32_t id = 0; id < s->cfg.n_stream; id++)
        while (wavefront_is_open(r->w, id) &&
               wavefront_fed(r->w, id) < share(s, index) &&
               wavefront_room(r->w, id) > 0)
            wavefront_feed(r->w, id);
    simulate_touch(s, index);
}

/* A document begins in stream `id`; its first segment's states are there. */
void
simulate_open_stream(simulate *s, uint32_t id)
{
    s->n_opened++;
    s->n_done[id] = 0;
    for (uint32_t i = 0; i < s->n_active; i++)
        wavefront_open(s->rank[i].w, id, 0);
    for (uint32_t layer = 0; s->ring && layer < s->rank[0].n_layer; layer++)
        wavefront_state(s->rank[0].w, id, layer, 0);
    for (uint32_t i = 0; i < s->n_active; i++)
        simulate_feed(s, i);
}

/* The next document takes the place of one that is read. */
void
simulate_close_stream(simulate *s, uint32_t id)
{
    for (uint32_t i = 0; i < s->n_active; i++)
        wavefront_close(s->rank[i].w, id);
    if (s->n_opened < s->cfg.n_doc)
        simulate_open_stream(s, id);
}
