/* SPDX-License-Identifier: Apache-2.0 */
/* What was read becomes a document: its row and the end of its job become
 * durable together, then it is in the catalog. */
#include <string.h>

#include "daemon/core_state.h"
#include "sched/segment.h"

static document
document_of(const core *c, const job *j)
{
    document doc = {.id = j->id,
                    .tokens = j->tokens,
                    .segments = j->n_write + 1,
                    .snapshot_bytes = j->snapshot_bytes,
                    .created_ms = j->created_ms};

    memcpy(doc.name, j->document, sizeof(doc.name));
    memcpy(doc.owner, j->owner, sizeof(doc.owner));
    if (j->n_write > 0)
        memcpy(doc.fingerprint, j->fingerprint, sizeof(doc.fingerprint));
    if (j->n_write > 0)
        doc.n_norm = c->cfg.n_norm;
    if (j->input == CLIENT_TEXT)
        memcpy(doc.template, c->cfg.template, sizeof(doc.template));
    doc.pending = segment_tokens(j->n_write, j->tokens, c->cfg.segment_size);
    return doc;
}

void
core_store_if_whole(core *c, job *j)
{
    core_action a = {.kind = CORE_STORE, .job = j};
    document doc;
    status st;

    if (!j->snapshot_done || !j->world_done)
        return;
    /* Once it is durable it must not fail any more. */
    st = catalog_reserve(c->docs, 1 + c->n_storing);
    if (st != ST_OK) {
        core_job_fail(c, j, st, status_text());
        return;
    }
    doc = document_of(c, j);
    j->storing = true;
    c->n_storing++;
    j->incarnation = 0;
    j->ended_ns = c->time.now_ns;
    j->ended_ms = c->time.wall_ms;
    a.document = &doc;
    core_act(c, &a);
}

/* The document's row and the end of its job became durable together. */
void
core_stored(core *c, uint64_t id, status st, const char *text,
            const document *measured)
{
    job *j = job_table_find(c->jobs, id);
    document doc;

    if (!j || !j->storing)
        return;
    j->storing = false;
    c->n_storing--;
    if (st == ST_OK) {
        doc = document_of(c, j);
        doc.n_norm = measured ? measured->n_norm : 0;
        if (measured) {
            memcpy(doc.norm, measured->norm, sizeof(doc.norm));
            memcpy(doc.hash, measured->hash, sizeof(doc.hash));
            memcpy(doc.ids_hash, measured->ids_hash, sizeof(doc.ids_hash));
        }
        st = catalog_add(c->docs, &doc);
        text = status_text();
    }
    if (st == ST_OK)
        shares_add_document(c->shares, j->owner);
    if (st != ST_OK)
        core_job_fail(c, j, st, text);
    else
        core_job_stored(c, j);
    core_dispatch(c);
}

void
core_hashed(core *c, uint64_t id, const uint8_t sum[HASH_BYTES])
{
    document *doc = catalog_by_id(c->docs, id);

    if (doc)
        memcpy(doc->hash, sum, sizeof(doc->hash));
}
