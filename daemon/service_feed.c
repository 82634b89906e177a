/* SPDX-License-Identifier: Apache-2.0 */
/* What the world that has a job gets of it: its ids, and the states it begins
 * from. */
#include <string.h>

#include "base/mem.h"
#include "daemon/service_state.h"

static void
feed_failed(void *ctx, const feed_failure *f)
{
    service *v = ctx;
    holding *h = service_holding_find(v, f->job);

    if (!h)
        return;
    service_holding_fail(v, h, f->attempt, f->st, f->text);
    h->damaged = f->damaged;
}

/* A document of an earlier version has its hash from now on. */
static void
snapshot_hashed(void *ctx, uint64_t id, const uint8_t sum[HASH_BYTES])
{
    service *v = ctx;
    const job *j = job_table_find(core_jobs(v->core), id);
    const document *doc =
        j ? catalog_by_id(core_catalog(v->core), j->document_id) : NULL;

    if (!doc)
        return;
    core_hashed(v->core, doc->id, sum);
    service_note(journal_hashes(v->journal, doc), "a document's hash");
}

static status
snapshot_path(service *v, char **out, feed_setup *setup, const core_action *a)
{
    const job *j = a->job;
    status st = ST_OK;

    if (j->kind == JOB_ASK && j->snapshot_bytes > 0) {
        TRY(datadir_snapshot_path(v->dir, out, j->document_id));
        setup->snapshot_bytes = j->snapshot_bytes;
        if (a->document) {
            memcpy(setup->hash, a->document->hash, sizeof(setup->hash));
            memcpy(setup->fingerprint, a->document->fingerprint,
                   sizeof(setup->fingerprint));
        }
    } else if (j->base > 0) {
        const job_checkpoint *k = &j->checkpoint[j->n_checkpoint - 1];

        TRY(datadir_checkpoint_path(v->dir, out, j->id, k->segment,
                                    k->attempt));
        setup->snapshot_bytes = k->bytes;
        memcpy(setup->hash, k->hash, sizeof(k->hash));
        setup->skip = j->base;
        setup->check = true;
    }
    setup->snapshot = *out;
fail:
    return st;
}

static status
open_feed(service *v, holding *h, const core_action *a)
{
    const job *j = a->job;
    char *snapshot = NULL;
    feed_setup setup = {
        .job = j->id,
        .incarnation = j->incarnation,
        .attempt = j->attempt,
        .peer = *a->peer,
        .ids = h->ids,
        .n_token = j->tokens,
        .n_segment = job_feed_segments(j),
        .first_segment = j->first_segment,
        .segment_size = v->model.segment_size,
        .prompt = j->kind == JOB_ASK,
        .hashed = snapshot_hashed,
        .reader = v->reader,
        .out = worlds_outbox(v->worlds),
    };
    status st = ST_OK;

    TRY(snapshot_path(v, &snapshot, &setup, a));
    TRY(feed_new(&h->feed, &setup, feed_failed, v));
    feed_allow(h->feed, j->allowed);
fail:
    mem_free(snapshot);
    return st;
}

void
service_feed_open(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);
    status st;

    if (!h || !h->ids)
        return;
    st = open_feed(v, h, a);
    if (st != ST_OK)
        service_holding_fail(v, h, a->job->attempt, st, status_text());
}

void
service_feed_allow(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);

    if (h && h->feed)
        feed_allow(h->feed, a->job->allowed);
}

void
service_feed_drained(service *v, const zsocket_peer *world)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next)
            if (h->feed && job_same_peer(feed_peer(h->feed), world))
                feed_pump(h->feed);
}
