/* SPDX-License-Identifier: Apache-2.0 */
/* The bulk data of jobs: input, spool, feed and snapshot.
 *
 * The core is at work when these functions are called and must not be called
 * back: what fails is noted in the holding and told by service_job_settle(). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "daemon/service_state.h"
#include "sched/segment.h"

holding *
service_job_find(service *v, uint64_t id)
{
    for (holding *h = v->first; h; h = h->next)
        if (h->job == id)
            return h;
    return NULL;
}

static void
fail_later(holding *h, uint32_t attempt, status st, const char *text)
{
    if (h->failed != ST_OK)
        return;
    h->failed = st;
    h->failed_attempt = attempt;
    (void)snprintf(h->text, sizeof(h->text), "%s", text);
}

/* ----------------------------------------------------------------- input ---
 */

static status
open_input(service *v, holding *h, const core_action *a)
{
    bool ask = a->job->kind == JOB_ASK;
    char *pending = NULL;
    tokens_setup setup = {
        .job = h->job,
        .text = a->job->input == CLIENT_TEXT,
        .begin = !ask,
        .max_tokens = ask ? v->set->max_question : UINT64_MAX,
    };
    status st = ST_OK;

    if (ask) {
        TRY(datadir_ids_path(v->dir, &pending, a->document->id));
        setup.pending = pending;
        setup.n_pending = a->document->pending;
    }
    TRY(tokens_input_new(&h->input, v->tokens, &setup));
fail:
    mem_free(pending);
    return st;
}

/* Without memory for a holding the job stays without input and is failed when
 * its input times out. */
void
service_job_open(service *v, const core_action *a)
{
    holding *h;
    status st;

    if (mem_new(&h, 1, sizeof(*h)) != ST_OK)
        return;
    h->job = a->job->id;
    h->next = v->first;
    v->first = h;
    st = open_input(v, h, a);
    if (st != ST_OK)
        fail_later(h, 0, st, status_text());
}

void
service_job_input(service *v, const core_action *a)
{
    holding *h = service_job_find(v, a->job->id);
    bool last = a->job->received == a->job->bytes;
    status st;

    if (!h || !h->input)
        return;
    st = tokens_input_push(h->input, a->raw.data, a->raw.len, last);
    if (st != ST_OK)
        fail_later(h, 0, st, status_text());
}

void
service_job_tokenized(void *ctx, const tokens_report *r)
{
    service *v = ctx;
    holding *h = service_job_find(v, r->job);

    service_begin(v);
    if (h && (r->done || r->st != ST_OK)) {
        h->input = NULL; /* its last report */
        h->ids = r->ids;
    }
    if (r->st != ST_OK)
        core_job_failed(v->core, r->job, 0, r->st, r->text);
    else
        core_tokenized(v->core, r->job, r->bytes, r->count, r->done);
    service_settle(v);
}

/* --------------------------------------------------------------- feeding ---
 */

static void
feed_failed(void *ctx, uint64_t id, uint32_t attempt, status st,
            const char *text)
{
    service *v = ctx;
    holding *h = service_job_find(v, id);

    if (h)
        fail_later(h, attempt, st, text);
}

static status
open_feed(service *v, holding *h, const core_action *a)
{
    const job *j = a->job;
    bool ask = j->kind == JOB_ASK;
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
        .prompt = ask,
        .reader = v->reader,
        .out = worlds_outbox(v->worlds),
    };
    status st = ST_OK;

    if (ask && j->snapshot_bytes > 0) {
        TRY(datadir_snapshot_path(v->dir, &snapshot, j->document_id));
        setup.snapshot = snapshot;
        setup.snapshot_bytes = j->snapshot_bytes;
    }
    TRY(feed_new(&h->feed, &setup, feed_failed, v));
    feed_allow(h->feed, j->allowed);
fail:
    mem_free(snapshot);
    return st;
}

void
service_job_feed(service *v, const core_action *a)
{
    holding *h = service_job_find(v, a->job->id);
    status st;

    if (!h || !h->ids)
        return;
    st = open_feed(v, h, a);
    if (st != ST_OK)
        fail_later(h, a->job->attempt, st, status_text());
}

void
service_job_allow(service *v, const core_action *a)
{
    holding *h = service_job_find(v, a->job->id);

    if (h && h->feed)
        feed_allow(h->feed, a->job->allowed);
}

void
service_job_drained(service *v, const zsocket_peer *world)
{
    for (holding *h = v->first; h; h = h->next)
        if (h->feed && job_same_peer(feed_peer(h->feed), world))
            feed_pump(h->feed);
}

/* -------------------------------------------------------------- snapshots ---
 */

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
service_job_part(service *v, const core_action *a)
{
    holding *h = service_job_find(v, a->job->id);
    status st;

    if (!h)
        return;
    st = add_part(v, h, a);
    if (st != ST_OK)
        fail_later(h, a->job->attempt, st, status_text());
}

void
service_job_store(service *v, const core_action *a)
{
    holding *h = service_job_find(v, a->job->id);
    status st;

    if (!h || !h->ids)
        return;
    if (h->failed == ST_OK) { /* the last part too is on its way */
        st = disk_store(v->writer, a->document, h->ids, &h->snapshot);
        if (st == ST_OK)
            return;
        fail_later(h, 0, st, status_text());
    }
    h->store_failed = true;
}

/* ------------------------------------------------------------ the way out ---
 */

static void
drop_attempt(holding *h)
{
    feed_free(h->feed);
    h->feed = NULL;
    disk_snapshot_drop(h->snapshot);
    h->snapshot = NULL;
}

void
service_job_drop_attempt(service *v, uint64_t id)
{
    holding *h = service_job_find(v, id);

    if (h)
        drop_attempt(h);
}

void
service_job_drop(service *v, uint64_t id)
{
    holding **at = &v->first;
    holding *h;

    while (*at && (*at)->job != id)
        at = &(*at)->next;
    h = *at;
    if (!h)
        return;
    *at = h->next;
    drop_attempt(h);
    tokens_input_cancel(h->input);
    spool_free(h->ids);
    mem_free(h);
}

bool
service_job_settle(service *v)
{
    holding note;

    for (holding *h = v->first; h; h = h->next) {
        if (h->failed == ST_OK)
            continue;
        note = *h;
        h->failed = ST_OK;
        h->store_failed = false;
        if (note.store_failed)
            core_stored(v->core, note.job, note.failed, note.text);
        else
            core_job_failed(v->core, note.job, note.failed_attempt, note.failed,
                            note.text);
        return true;
    }
    return false;
}
