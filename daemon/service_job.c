/* SPDX-License-Identifier: Apache-2.0 */
/* The bulk data of jobs: input, ids, feed and snapshot; of each its checkpoint
 * too.
 *
 * The core is at work when functions called for its actions run, and must not
 * be called back: what fails is noted in the holding and told by
 * service_job_settle(). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "daemon/service_state.h"
#include "sched/segment.h"

/* Numbers of jobs follow each other: the lists are about equally long. */
static holding **
list_of(service *v, uint64_t id)
{
    return &v->held[id % SERVICE_LISTS];
}

static holding *
find(service *v, uint64_t id)
{
    for (holding *h = *list_of(v, id); h; h = h->next)
        if (h->job == id)
            return h;
    return NULL;
}

static void
fail_later(service *v, holding *h, uint32_t attempt, status st,
           const char *text)
{
    if (h->failed != ST_OK)
        return;
    v->has_failed = true;
    h->failed = st;
    h->failed_attempt = attempt;
    (void)snprintf(h->text_of_failure, sizeof(h->text_of_failure), "%s", text);
}

static status
hold(service *v, holding **out, uint64_t id)
{
    holding *h = find(v, id);
    status st = ST_OK;

    if (!h) {
        TRY(mem_new(&h, 1, sizeof(*h)));
        h->job = id;
        h->next = *list_of(v, id);
        *list_of(v, id) = h;
    }
    *out = h;
fail:
    return st;
}

static void
drop_attempt(holding *h)
{
    feed_free(h->feed);
    h->feed = NULL;
    disk_snapshot_drop(h->snapshot);
    h->snapshot = NULL;
    service_checkpoint_drop(&h->checkpoint);
    h->damaged = false;
}

void
service_job_drop_attempt(service *v, uint64_t id)
{
    holding *h = find(v, id);

    if (h)
        drop_attempt(h);
}

void
service_job_drop(service *v, uint64_t id)
{
    holding **at = list_of(v, id);
    holding *h;

    while (*at && (*at)->job != id)
        at = &(*at)->next;
    h = *at;
    if (!h)
        return;
    *at = h->next;
    drop_attempt(h);
    disk_input_end(h->file, false);
    mem_free(h->buffer);
    mem_free(h->pending);
    tokens_input_cancel(h->input);
    spool_free(h->ids);
    mem_free(h);
}

void
service_job_drop_all(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        while (v->held[i])
            service_job_drop(v, v->held[i]->job);
}

/* ------------------------------------------------------------ coming in ---
 */

static bool
is_short(const job *j)
{
    return j->bytes <= CLIENT_MAX_INLINE;
}

status
service_job_open(service *v, const core_action *a)
{
    holding *h;
    status st;

    TRY(hold(v, &h, a->job->id));
    if (is_short(a->job))
        TRY(mem_new(&h->buffer, (size_t)a->job->bytes, 1));
    else
        TRY(disk_input_new(&h->file, v->writer, a->job->id));
fail:
    return st;
}

void
service_job_input(service *v, const core_action *a)
{
    holding *h = find(v, a->job->id);
    const core_raw *raw = &a->raw;
    status st = ST_OK;

    if (!h)
        return;
    if (h->buffer && raw->len <= a->job->bytes - h->len) {
        memcpy(h->buffer + h->len, *raw->data, raw->len);
        h->len += raw->len;
    } else if (h->file) {
        st = disk_input_add(h->file, raw->data, raw->len,
                            a->job->received == a->job->bytes);
    }
    if (st != ST_OK)
        fail_later(v, h, 0, st, status_text());
}

void
service_job_written(service *v, const disk_report *r)
{
    holding *h = find(v, r->id);

    if (!h || !h->file)
        return;
    if (r->st != ST_OK) {
        core_job_failed(v->core, r->id, 0, r->st, r->text);
        return;
    }
    if (r->last)
        memcpy(h->hash, r->hash, sizeof(h->hash));
    core_input_written(v->core, r->id, r->number);
}

/* What can be known of an input at once. */
static status
check_input(holding *h, const job *j)
{
    hash sum;

    if (h->buffer) {
        hash_init(&sum);
        hash_add(&sum, h->buffer, h->len);
        hash_end(&sum, h->hash);
    }
    if (j->has_hash && memcmp(h->hash, j->hash, sizeof(h->hash)) != 0)
        return status_fail(ST_ARG, "the input is not what its hash says");
    if (h->buffer && j->input == CLIENT_TEXT)
        return utf8_check((const char *)h->buffer, h->len);
    return ST_OK;
}

/* Queued jobs hold nothing: what they need is read when their turn is near. */
status
service_job_submit(service *v, const core_action *a)
{
    const job *j = a->job;
    holding *h = find(v, j->id);
    status st;

    if (!h || h->failed != ST_OK)
        return status_fail(ST_NOMEM, "%s",
                           h ? h->text_of_failure : "out of memory");
    TRY(check_input(h, j));
    TRY(journal_submit(v->journal, j, h->hash, h->buffer ? &h->buffer : NULL,
                       h->len));
    disk_input_end(h->file, true);
    h->file = NULL;
    service_job_drop(v, j->id);
fail:
    return st;
}

/* ------------------------------------------------------------- preparing ---
 */

static status
prepare(service *v, holding *h, const core_action *a)
{
    status st = ST_OK;

    h->text = a->job->input == CLIENT_TEXT;
    h->ask = a->job->kind == JOB_ASK;
    h->bytes = a->job->bytes;
    if (h->ask && !a->document)
        TRY(status_fail(ST_NOTFOUND, "the document '%s' is gone",
                        a->job->document));
    if (h->ask) {
        TRY(datadir_ids_path(v->dir, &h->pending, a->document->id));
        h->n_pending = a->document->pending;
        memcpy(h->pending_hash, a->document->ids_hash, sizeof(h->pending_hash));
    }
    st = journal_input(v->journal, h->job);
    if (st != ST_OK && again_after(&h->again, st))
        return ST_OK;
fail:
    return st;
}

status
service_job_prepare(service *v, const core_action *a)
{
    holding *h;
    status st;

    TRY(hold(v, &h, a->job->id));
    TRY(prepare(v, h, a));
fail:
    return st;
}

static status
start_tokens(service *v, holding *h, const journal_report *r)
{
    char *path = NULL;
    tokens_setup setup = {
        .job = h->job,
        .text = h->text,
        .bytes = h->bytes,
        .begin = !h->ask,
        .question = h->ask,
        .pending = h->pending,
        .n_pending = h->n_pending,
        .max_tokens = h->ask ? v->set->max_question : UINT64_MAX,
    };
    status st;

    memcpy(setup.hash, r->record->row.hash, sizeof(setup.hash));
    memcpy(setup.pending_hash, h->pending_hash, sizeof(setup.pending_hash));
    if (!*r->data)
        TRY(datadir_input_path(v->dir, &path, h->job));
    setup.path = path;
    TRY(tokens_input_new(&h->input, v->tokens, &setup));
    if (!path)
        TRY(tokens_input_push(h->input, r->data, r->len, true));
    mem_free(path);
    return ST_OK;
fail:
    mem_free(path);
    tokens_input_cancel(h->input);
    h->input = NULL;
    return st;
}

void
service_job_loaded(service *v, const journal_report *r)
{
    holding *h = find(v, r->id);
    status st = r->st;
    const char *text = r->text;

    if (!h || h->input || h->ids)
        return;
    if (st == ST_OK) {
        st = start_tokens(v, h, r);
        text = status_text();
    }
    if (!again_after(&h->again, st) && st != ST_OK)
        core_job_failed(v->core, r->id, 0, st, text);
}

void
service_job_tokenized(void *ctx, const tokens_report *r)
{
    service *v = ctx;
    holding *h = find(v, r->job);

    service_begin(v);
    if (h && (r->done || r->st != ST_OK)) {
        h->input = NULL; /* its last report */
        h->ids = r->ids;
    }
    if (r->st != ST_OK)
        core_job_failed(v->core, r->job, 0, r->st, r->text);
    else
        core_tokenized(v->core, r->job, r->count, r->done);
    service_settle(v);
}

/* --------------------------------------------------------------- feeding ---
 */

static void
feed_failed(void *ctx, const feed_failure *f)
{
    service *v = ctx;
    holding *h = find(v, f->job);

    if (!h)
        return;
    fail_later(v, h, f->attempt, f->st, f->text);
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
service_job_feed(service *v, const core_action *a)
{
    holding *h = find(v, a->job->id);
    status st;

    if (!h || !h->ids)
        return;
    st = open_feed(v, h, a);
    if (st != ST_OK)
        fail_later(v, h, a->job->attempt, st, status_text());
}

void
service_job_allow(service *v, const core_action *a)
{
    holding *h = find(v, a->job->id);

    if (h && h->feed)
        feed_allow(h->feed, a->job->allowed);
}

void
service_job_drained(service *v, const zsocket_peer *world)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next)
            if (h->feed && job_same_peer(feed_peer(h->feed), world))
                feed_pump(h->feed);
}

static void
ask_again(service *v, holding *h)
{
    status st = journal_input(v->journal, h->job);

    if (st != ST_OK && !again_after(&h->again, st))
        fail_later(v, h, 0, st, status_text());
}

void
service_job_again(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next) {
            if (again_is_due(&h->again))
                ask_again(v, h);
            if (h->input && tokens_input_waits(h->input))
                tokens_input_again(h->input);
            if (h->feed && feed_waits(h->feed))
                feed_again(h->feed);
        }
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
    holding *h = find(v, a->job->id);
    status st;

    if (!h)
        return;
    st = add_part(v, h, a);
    if (st != ST_OK)
        fail_later(v, h, a->job->attempt, st, status_text());
}

void
service_job_shard(service *v, const core_action *a)
{
    holding *h = find(v, a->job->id);

    if (h)
        service_checkpoint_add(&h->checkpoint, v, a);
}

status
service_job_store(service *v, const core_action *a)
{
    holding *h = find(v, a->job->id);
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
service_job_files_stored(service *v, const disk_report *r)
{
    holding *h = find(v, r->id);
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
service_job_stored(service *v, const journal_report *r)
{
    const holding *h = find(v, r->id);

    core_stored(v->core, r->id, r->st, r->text, h ? &h->doc : NULL);
}

/* --------------------------------------------------------------- failures ---
 */

static holding *
find_failed(service *v)
{
    for (size_t i = 0; i < SERVICE_LISTS; i++)
        for (holding *h = v->held[i]; h; h = h->next)
            if (h->failed != ST_OK || h->checkpoint.untold)
                return h;
    return NULL;
}

bool
service_job_settle(service *v)
{
    holding *h = v->has_failed ? find_failed(v) : NULL;
    char text[sizeof(h->text_of_failure)];
    bool damaged;
    status st;

    v->has_failed = h != NULL; /* perhaps there are more of them */
    if (!h)
        return false;
    if (service_checkpoint_settle(&h->checkpoint, v, h->job))
        return true;
    st = h->failed;
    damaged = h->damaged;
    memcpy(text, h->text_of_failure, sizeof(text));
    h->failed = ST_OK;
    h->damaged = false;
    if (damaged)
        core_checkpoint_damaged(v->core, h->job, h->failed_attempt, text);
    else
        core_job_failed(v->core, h->job, h->failed_attempt, st, text);
    return true;
}
