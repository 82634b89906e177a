/* SPDX-License-Identifier: Apache-2.0 */
/* What is looked at before a document or a question becomes a job: a refusal
 * changes nothing. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/hash.h"
#include "base/mem.h"
#include "daemon/core_state.h"

/* What one key has filled of the queue.  An admin is not held to it. */
static status
check_share(core *c, const job_watcher *from, uint64_t bytes)
{
    shares_part part = shares_of(c->shares, from->owner);
    uint64_t share = c->cfg.share;

    if (from->admin || share == 0)
        return ST_OK;
    c->later = bytes * 100 <= c->cfg.max_bytes * share;
    if (c->cfg.max_bytes &&
        (part.bytes + bytes) * 100 > c->cfg.max_bytes * share)
        return status_fail(ST_LIMIT,
                           "your share of the queue is full: %u "
                           "percent of %llu bytes of input",
                           c->cfg.share, (unsigned long long)c->cfg.max_bytes);
    c->later = true;
    if ((part.jobs + 1) * 100 > c->cfg.max_queue * share)
        return status_fail(ST_LIMIT,
                           "your share of the queue is full: %u "
                           "percent of %u jobs",
                           c->cfg.share, c->cfg.max_queue);
    c->later = false;
    return ST_OK;
}

static status
check_documents(const core *c, const job_watcher *who)
{
    uint64_t own = shares_of(c->shares, who->owner).documents;

    if (catalog_count(c->docs) >= CATALOG_MAX)
        return status_fail(ST_LIMIT, "there are %d documents already",
                           CATALOG_MAX);
    if (who->admin || c->cfg.share == 0)
        return ST_OK;
    if (own * 100 >= (uint64_t)CATALOG_MAX * c->cfg.share)
        return status_fail(ST_LIMIT, "you have %llu documents already",
                           (unsigned long long)own);
    return ST_OK;
}

/* c->later: what is refused now may fit when others have ended. */
static status
check_open(core *c, const job_watcher *from, uint64_t bytes)
{
    if (c->stopping)
        return status_fail(ST_STATE, "the daemon is shutting down");
    c->later = bytes <= c->cfg.max_bytes;
    if (c->cfg.max_bytes &&
        (bytes > c->cfg.max_bytes || c->bytes > c->cfg.max_bytes - bytes))
        return status_fail(ST_LIMIT,
                           "the queue is full: %llu bytes of input, and the "
                           "limit is %llu",
                           (unsigned long long)c->bytes,
                           (unsigned long long)c->cfg.max_bytes);
    c->later = true;
    if (c->n_active >= c->cfg.max_queue)
        return status_fail(ST_LIMIT, "the queue is full: %u jobs",
                           c->cfg.max_queue);
    if (c->disk_full)
        return status_fail(ST_LIMIT, "the disk of the data directory is "
                                     "nearly full");
    c->later = false;
    return check_share(c, from, bytes);
}

static status
check_input(const core *c, client_input input, uint64_t bytes, const char *what)
{
    if (bytes == 0)
        return status_fail(ST_ARG, "the %s is empty", what);
    if (bytes > c->cfg.max_input)
        return status_fail(
            ST_LIMIT, "the %s has %llu bytes, and the limit is %llu", what,
            (unsigned long long)bytes, (unsigned long long)c->cfg.max_input);
    if (input == CLIENT_TEXT && !c->cfg.tok)
        return status_fail(ST_UNSUPPORTED, "the model has no tokenizer, so it "
                                           "takes token ids only");
    return ST_OK;
}

/* Add.model is empty, the model's name, or its fingerprint. */
static status
check_model(const core *c, const char *model)
{
    char hex[2 * HASH_BYTES + 1];

    if (*model == '\0' || strcmp(model, c->cfg.model) == 0)
        return ST_OK;
    hash_hex(hex, c->fingerprint);
    if (c->has_fingerprint && strcasecmp(model, hex) == 0)
        return ST_OK;
    return status_fail(ST_STATE, "this daemon serves the model '%s', not '%s'",
                       c->cfg.model, model);
}

static status
check_name(const core *c, const job *self)
{
    const char *name = self->document;
    const job *j = job_table_by_name(c->jobs, self->owner, name);

    if (catalog_find(c->docs, self->owner, name))
        return status_fail(ST_STATE, "a document named '%s' is there already",
                           name);
    if (j)
        return status_fail(ST_STATE, "job %llu is adding a document named '%s'",
                           (unsigned long long)j->id, name);
    return check_documents(c, &self->sender);
}

static status
check_intact(const document *doc)
{
    if (doc->damaged)
        return status_fail(ST_IO,
                           "document '%s' is damaged: it can only be removed",
                           doc->name);
    return ST_OK;
}

/* What comes in pieces is known by its hash before it is all there. */
static status
check_key(const client_key *key, uint64_t bytes, const core_raw *raw)
{
    if (raw->len > 0 && (raw->len != bytes || bytes > CLIENT_MAX_INLINE))
        return status_fail(ST_WIRE,
                           "the input beside a request has its announced "
                           "length, at most %d bytes",
                           CLIENT_MAX_INLINE);
    if (key->key && key->key[0] && raw->len == 0 && !key->has_hash)
        return status_fail(ST_ARG, "a key needs the input's hash when the "
                                   "input comes in chunks");
    return ST_OK;
}

/* The hash that the journal keeps is always of what came. */
static client_key
key_of(const client_key *key, const core_raw *raw)
{
    client_key k = *key;
    hash h;

    if (raw->len == 0 || !k.key || !k.key[0])
        return k;
    hash_init(&h);
    hash_add(&h, *raw->data, raw->len);
    hash_end(&h, k.hash);
    k.has_hash = true;
    return k;
}

static void
open_input(core *c, job *j, const job_watcher *from, const client_key *key,
           const core_raw *raw)
{
    uint64_t id = j->id;
    client_key k = key_of(key, raw);

    core_input_open(c, j, from, &k);
    j = job_table_find(c->jobs, id);
    if (j)
        core_input_whole(c, j, raw);
}

status
core_submit_add(core *c, const job_watcher *from, const client_message *m,
                const core_raw *raw)
{
    job *j;
    status st;

    TRY(check_input(c, m->u.add.input, m->u.add.bytes, "document"));
    TRY(check_open(c, from, m->u.add.bytes));
    TRY(check_key(&m->u.add.key, m->u.add.bytes, raw));
    TRY(check_model(c, m->u.add.model));
    TRY(core_job_add(c, &j, JOB_ADD));
    (void)snprintf(j->document, sizeof(j->document), "%s", m->u.add.name);
    j->document_id = j->id;
    j->input = m->u.add.input;
    core_job_bytes(c, j, m->u.add.bytes);
    open_input(c, j, from, &m->u.add.key, raw);
fail:
    return st;
}

static status
check_sampling(const core *c, const client_sampling *s)
{
    if (s->max_tokens == 0)
        return status_fail(ST_ARG, "an answer has at least one token");
    if (s->n_stop > 0 && !c->cfg.tok)
        return status_fail(ST_UNSUPPORTED, "the model has no tokenizer, so "
                                           "there are no stop strings");
    return ST_OK;
}

/* The stop strings in one piece, as the journal has them. */
static status
pack_stops(job *j, const client_sampling *s)
{
    size_t len = 0;
    status st;

    for (uint32_t i = 0; i < s->n_stop; i++)
        len += strlen(s->stop[i]) + 1;
    TRY(mem_new(&j->stops, len, 1));
    for (uint32_t i = 0; i < s->n_stop; i++) {
        size_t n = strlen(s->stop[i]) + 1;

        memcpy(j->stops + j->stops_len, s->stop[i], n);
        j->stops_len += n;
    }
fail:
    return st;
}

static status
fill_ask(core *c, job *j, const client_message *m)
{
    const client_sampling *s = &m->u.ask.sampling;
    status st;

    (void)snprintf(j->document, sizeof(j->document), "%s", m->u.ask.document);
    j->input = m->u.ask.input;
    core_job_bytes(c, j, m->u.ask.bytes);
    j->sampling = *s;
    j->sampling.n_stop = 0;
    memset(j->sampling.stop, 0, sizeof(j->sampling.stop));
    TRY(pack_stops(j, s));
    TRY(core_job_answer(c, j));
fail:
    return st;
}

status
core_submit_ask(core *c, const job_watcher *from, const client_message *m,
                const core_raw *raw)
{
    job *j = NULL;
    status st;

    TRY(check_input(c, m->u.ask.input, m->u.ask.bytes, "question"));
    TRY(check_open(c, from, m->u.ask.bytes));
    TRY(check_key(&m->u.ask.key, m->u.ask.bytes, raw));
    TRY(check_sampling(c, &m->u.ask.sampling));
    TRY(core_job_add(c, &j, JOB_ASK));
    TRY(fill_ask(c, j, m));
    open_input(c, j, from, &m->u.ask.key, raw);
    return ST_OK;
fail:
    if (j)
        core_job_remove(c, j);
    return st;
}

static status
admit_ask(const core *c, job *j)
{
    const document *doc;
    status st = ST_OK;

    doc = core_client_document(c, &st, &j->sender, j->document);
    if (!doc)
        return st;
    TRY(check_intact(doc));
    j->document_id = doc->id;
    j->pending = doc->pending;
    j->first_segment = doc->segments - 1;
    j->snapshot_bytes = doc->snapshot_bytes;
    TRY(core_model_suits(c, j));
fail:
    return st;
}

/* How long ids are is known now: what would fail later is refused at once. */
static status
check_length(const core *c, const job *j)
{
    uint64_t n = j->pending + j->bytes / sizeof(int32_t);

    if (j->input == CLIENT_IDS && c->cfg.max_tokens && n > c->cfg.max_tokens)
        return status_fail(ST_LIMIT, "the input has more than %llu tokens",
                           (unsigned long long)c->cfg.max_tokens);
    return core_dispatch_possible(c, j);
}

status
core_submit_admit(core *c, job *j)
{
    status st;

    TRY(j->kind == JOB_ADD ? check_name(c, j) : admit_ask(c, j));
    TRY(check_length(c, j));
fail:
    return st;
}
