/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs by number in lists, by everything else in hash tables. */
#include "daemon/job_table.h"

#include <string.h>

#include "base/mem.h"
#include "daemon/job_list.h"

struct job_table {
    job_list all, queued[2], ended;
    size_t ended_bytes; /* of their answers */
    uint64_t next;
    table by_key, by_name, by_sender, by_client;
};

status
job_table_new(job_table **out, uint64_t next)
{
    job_table *t = NULL;
    status st;

    TRY(mem_new(&t, 1, sizeof(*t)));
    t->next = next;
    table_init(&t->by_key);
    table_init(&t->by_name);
    table_init(&t->by_sender);
    table_init(&t->by_client);
    *out = t;
fail:
    return st;
}

static void
job_free(job *j)
{
    answer_free(j->answer);
    mem_free(j->stops);
    mem_free(j);
}

void
job_table_free(job_table *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->all.n; i++)
        job_free(job_list_at(&t->all, i));
    table_fini(&t->by_client);
    table_fini(&t->by_sender);
    table_fini(&t->by_name);
    table_fini(&t->by_key);
    job_list_fini(&t->ended);
    job_list_fini(&t->queued[JOB_ASK]);
    job_list_fini(&t->queued[JOB_ADD]);
    job_list_fini(&t->all);
    mem_free(t);
}

size_t
job_table_count(const job_table *t)
{
    return t->all.n;
}

job *
job_table_at(const job_table *t, size_t i)
{
    return job_list_at(&t->all, i);
}

size_t
job_table_place(const job_table *t, uint64_t id)
{
    return job_list_place(&t->all, id);
}

job *
job_table_find(const job_table *t, uint64_t id)
{
    return job_list_find(&t->all, id);
}

/* A job goes from list to list without memory. */
static status
reserve(job_table *t)
{
    size_t n = t->all.n + 1;
    status st;

    TRY(job_list_reserve(&t->all, n));
    TRY(job_list_reserve(&t->queued[JOB_ADD], n));
    TRY(job_list_reserve(&t->queued[JOB_ASK], n));
    TRY(job_list_reserve(&t->ended, n));
fail:
    return st;
}

status
job_table_add(job_table *t, job **out)
{
    job *j = NULL;
    status st;

    TRY(reserve(t));
    TRY(mem_new(&j, 1, sizeof(*j)));
    j->id = t->next++;
    job_list_insert(&t->all, j);
    *out = j;
fail:
    return st;
}

/* ---------------------------------------------------------------- states ---
 */

static void
take_out(job_list *l, const job *j)
{
    size_t i = job_list_place(l, j->id);

    ASSERT(i < l->n && job_list_at(l, i) == j);
    job_list_remove(l, i);
}

void
job_table_unqueue(job_table *t, job *j)
{
    if (!j->in.queued)
        return;
    take_out(&t->queued[j->kind], j);
    j->in.queued = false;
}

static void
queue(job_table *t, job *j)
{
    if (j->in.queued || j->ending || j->waits)
        return;
    job_list_insert(&t->queued[j->kind], j);
    j->in.queued = true;
}

static void
unname(job_table *t, job *j)
{
    if (j->in.by_name)
        table_take(&t->by_name, &j->in.name);
    j->in.by_name = false;
}

/* Its answer does not grow any more. */
static void
end(job_table *t, job *j)
{
    unname(t, j);
    j->in.answer_bytes = j->answer ? answer_bytes(j->answer) : 0;
    t->ended_bytes += j->in.answer_bytes;
    job_list_insert(&t->ended, j);
}

void
job_table_state(job_table *t, job *j, client_state state)
{
    bool was_active = job_is_active(j);

    j->state = state;
    if (state == CLIENT_QUEUED)
        queue(t, j);
    else
        job_table_unqueue(t, j);
    if (was_active && !job_is_active(j))
        end(t, j);
}

job *
job_table_queued(const job_table *t, job_kind kind, uint64_t after)
{
    const job_list *l = &t->queued[kind];
    size_t i = after == 0 ? 0 : job_list_place(l, after + 1);

    return i < l->n ? job_list_at(l, i) : NULL;
}

status
job_table_restore(job_table *t, const job *j)
{
    job *copy = NULL;
    status st;

    TRY(reserve(t));
    TRY(mem_new(&copy, 1, sizeof(*copy)));
    *copy = *j;
    copy->in = (job_links){.queued = false};
    job_list_insert(&t->all, copy);
    if (!job_is_active(copy))
        end(t, copy);
    if (j->id >= t->next)
        t->next = j->id + 1;
fail:
    return st;
}

/* ----------------------------------------------------------------- names ---
 */

static uint64_t
hash_two(const table *t, const char *a, const char *b)
{
    const uint64_t both[] = {table_hash(t, a, strlen(a)),
                             table_hash(t, b, strlen(b))};

    return table_hash(t, both, sizeof(both));
}

static uint64_t
hash_sender(const table *t, const job_watcher *from)
{
    const uint64_t both[] = {table_hash(t, from->client.id, from->client.len),
                             from->request};

    return table_hash(t, both, sizeof(both));
}

void
job_table_index_key(job_table *t, job *j)
{
    table_put(&t->by_key, &j->in.key, hash_two(&t->by_key, j->owner, j->key));
    j->in.by_key = true;
}

job *
job_table_by_key(const job_table *t, const char *owner, const char *key,
                 const job *before)
{
    table_link *l =
        before ? table_next(&before->in.key)
               : table_find(&t->by_key, hash_two(&t->by_key, owner, key));

    for (; l; l = table_next(l)) {
        job *j = TABLE_OF(job, in.key, l);

        if (strcmp(j->key, key) == 0 && strcmp(j->owner, owner) == 0)
            return j;
    }
    return NULL;
}

void
job_table_index_name(job_table *t, job *j)
{
    table_put(&t->by_name, &j->in.name,
              hash_two(&t->by_name, j->owner, j->document));
    j->in.by_name = true;
}

job *
job_table_by_name(const job_table *t, const char *owner, const char *name)
{
    table_link *l = table_find(&t->by_name, hash_two(&t->by_name, owner, name));

    for (; l; l = table_next(l)) {
        job *j = TABLE_OF(job, in.name, l);

        if (strcmp(j->document, name) == 0 && strcmp(j->owner, owner) == 0)
            return j;
    }
    return NULL;
}

void
job_table_index_sender(job_table *t, job *j)
{
    table_put(&t->by_sender, &j->in.sender,
              hash_sender(&t->by_sender, &j->sender));
    j->in.by_sender = true;
}

job *
job_table_by_sender(const job_table *t, const job_watcher *from)
{
    table_link *l = table_find(&t->by_sender, hash_sender(&t->by_sender, from));

    for (; l; l = table_next(l)) {
        job *j = TABLE_OF(job, in.sender, l);

        if (j->sender.request == from->request &&
            job_same_peer(&j->sender.client, &from->client))
            return j;
    }
    return NULL;
}

/* -------------------------------------------------------------- watchers ---
 */

static uint64_t
hash_client(const job_table *t, const zsocket_peer *client)
{
    return table_hash(&t->by_client, client->id, client->len);
}

static void
seat(job_table *t, job_seat *s, job *j, const job_watcher *who)
{
    s->who = *who;
    s->job = j;
    table_put(&t->by_client, &s->by_client, hash_client(t, &who->client));
}

status
job_table_watch(job_table *t, job *j, const zsocket_peer *client,
                uint64_t request)
{
    const job_watcher who = {.client = *client, .request = request};

    if (j->n_seat == JOB_MAX_WATCHER)
        return status_fail(ST_LIMIT, "job %llu has %d watchers already",
                           (unsigned long long)j->id, JOB_MAX_WATCHER);
    seat(t, &j->seat[j->n_seat++], j, &who);
    return ST_OK;
}

job *
job_table_watched(const job_table *t, const zsocket_peer *client)
{
    table_link *l = table_find(&t->by_client, hash_client(t, client));

    for (; l; l = table_next(l)) {
        job_seat *s = TABLE_OF(job_seat, by_client, l);

        if (job_same_peer(&s->who.client, client))
            return s->job;
    }
    return NULL;
}

void
job_table_unwatch(job_table *t, job *j, const zsocket_peer *client)
{
    size_t kept = 0;

    for (size_t i = 0; i < j->n_seat; i++) {
        job_seat *s = &j->seat[i];

        table_take(&t->by_client, &s->by_client);
        if (client && !job_same_peer(&s->who.client, client)) {
            const job_watcher who = s->who;

            seat(t, &j->seat[kept++], j, &who);
        }
    }
    j->n_seat = kept;
}

/* ------------------------------------------------------------ forgetting ---
 */

static void
forget(job_table *t, job *j)
{
    job_table_unwatch(t, j, NULL);
    job_table_unqueue(t, j);
    unname(t, j);
    if (j->in.by_key)
        table_take(&t->by_key, &j->in.key);
    if (j->in.by_sender)
        table_take(&t->by_sender, &j->in.sender);
    if (!job_is_active(j)) {
        t->ended_bytes -= j->in.answer_bytes;
        take_out(&t->ended, j);
    }
    take_out(&t->all, j);
    job_free(j);
}

void
job_table_remove(job_table *t, job *j)
{
    if (j && job_table_find(t, j->id) == j)
        forget(t, j);
}

bool
job_table_is_stale(const job_table *t)
{
    return t->ended.n > JOB_TABLE_KEEP + JOB_TABLE_KEEP / 4;
}

void
job_table_trim(job_table *t)
{
    while (t->ended.n > JOB_TABLE_KEEP ||
           (t->ended.n > 1 && t->ended_bytes > JOB_TABLE_KEEP_BYTES))
        forget(t, job_list_at(&t->ended, 0));
}
