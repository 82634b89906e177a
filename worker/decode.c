/* SPDX-License-Identifier: Apache-2.0 */
/* Where the next token of an answer goes. */
#include "worker/decode.h"

#include <string.h>

#include "base/mem.h"

status
decode_init(decode *d, const model_config *cfg)
{
    status st = ST_OK;
    *d = (decode){.segment_size = cfg->segment_size,
                  .rolls = cfg->generation == CONFIG_ROLLOVER};
    TRY(mem_new(&d->ids, cfg->segment_size, sizeof *d->ids));
fail:
    return st;
}

void
decode_fini(decode *d)
{
    mem_free(d->ids);
    *d = (decode){0};
}

void
decode_clear(decode *d)
{
    d->n_run = 0;
    d->n_wait = 0;
}

void
decode_prompt(decode *d, uint64_t seg, const int32_t *ids, uint32_t n)
{
    ASSERT(n > 0 && n <= d->segment_size);
    d->seg = seg;
    d->n_run = 0;
    d->n_wait = n;
    memcpy(d->ids, ids, n * sizeof *ids);
}

static bool
is_full(const decode *d)
{
    return d->rolls && d->n_run == d->segment_size;
}

void
decode_add(decode *d, int32_t id)
{
    ASSERT(d->n_wait == 0 && d->n_run > 0);
    d->n_wait = 1;
    if (is_full(d))
        d->held = id;
    else
        d->ids[d->rolls ? d->n_run : 0] = id;
}

bool
decode_next(const decode *d, engine_segment *s, const int32_t **ids)
{
    if (d->n_wait == 0)
        return false;
    *s = (engine_segment){.seg = d->seg, .n_token = d->segment_size};
    *ids = d->ids;
    if (is_full(d))
        return true;
    s->frozen = 1;
    s->pos = d->n_run;
    s->n_token = d->n_wait;
    if (d->rolls)
        *ids += d->n_run;
    return true;
}

void
decode_fed(decode *d, const engine_segment *s)
{
    if (s->frozen) {
        d->n_run += s->n_token;
        d->n_wait = 0;
        return;
    }
    d->seg++;
    d->n_run = 0;
    d->ids[0] = d->held;
}

uint32_t
decode_longest(const model_config *cfg, uint32_t n_answer)
{
    bool rolls = cfg->generation == CONFIG_ROLLOVER;
    return cfg->segment_size + (rolls ? 0 : n_answer);
}
