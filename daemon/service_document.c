/* SPDX-License-Identifier: Apache-2.0 */
/* A document that was read, from a world's parts to files and a row. */
#include <string.h>

#include "daemon/service_state.h"

static status
add_part(service *v, holding *h, const core_action *a)
{
    const world_message *m = a->world;
    status st = ST_OK;

    if (!h->snapshot)
        TRY(disk_snapshot_new(&h->snapshot, v->writer, h->job,
                              a->job->attempt));
    TRY(disk_snapshot_add(h->snapshot, a->raw.data, a->raw.len,
                          m->u.snapshot.last ? m->u.snapshot.hash : NULL));
fail:
    return st;
}

void
service_document_part(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);
    status st;

    if (!h)
        return;
    st = add_part(v, h, a);
    if (st != ST_OK)
        service_holding_fail(v, h, a->job->attempt, st, status_text());
}

status
service_document_store(service *v, const core_action *a)
{
    holding *h = service_holding_find(v, a->job->id);
    status st;

    if (!h || !h->ids)
        return status_fail(ST_STATE, "the job has nothing to store");
    if (h->failed != ST_OK) {
        st = h->failed;
        h->failed = ST_OK;
        return status_fail(st, "%s", h->text_of_failure);
    }
    h->doc = *a->document;
    /* The last part too is on its way. */
    return disk_store(v->writer, a->document, h->ids, &h->snapshot);
}

/* The files are durable; the row makes a document of them. */
void
service_document_written(service *v, const disk_report *r)
{
    holding *h = service_holding_find(v, r->id);
    const job *j = job_table_find(core_jobs(v->core), r->id);
    status st = r->st;
    const char *text = r->text;

    if (st == ST_OK && (!h || !j))
        return;
    if (st == ST_OK) {
        h->doc.n_norm = r->doc->n_norm;
        memcpy(h->doc.norm, r->doc->norm, sizeof(h->doc.norm));
        memcpy(h->doc.hash, r->doc->hash, sizeof(h->doc.hash));
        memcpy(h->doc.ids_hash, r->doc->ids_hash, sizeof(h->doc.ids_hash));
        st = journal_store(v->journal, &h->doc, j);
        text = status_text();
    }
    if (st != ST_OK)
        core_stored(v->core, r->id, st, text, NULL);
}

void
service_document_stored(service *v, const journal_report *r)
{
    const holding *h = service_holding_find(v, r->id);

    core_stored(v->core, r->id, r->st, r->text, h ? &h->doc : NULL);
}
