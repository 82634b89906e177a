/* SPDX-License-Identifier: Apache-2.0 */
/* The table of jobs and small questions about one. */
#include "daemon/job.h"

#include <string.h>

#include "base/mem.h"

/* Of jobs by their keys: thousands of jobs have a list each, about. */
enum { KEY_LISTS = 4096 };

struct job_table {
    job **item;
    size_t n, cap;
    uint64_t next;
    job *by_key[KEY_LISTS];
};

const char *
job_kind_name(job_kind kind)
{
    return kind == JOB_ADD ? "add" : "ask";
}

bool
job_same_peer(const zsocket_peer *a, const zsocket_peer *b)
{
    return a->len == b->len && memcmp(a->id, b->id, a->len) == 0;
}

bool
job_is_active(const job *j)
{
    return j->state == CLIENT_RECEIVING || j->state == CLIENT_QUEUED ||
           j->state == CLIENT_RUNNING;
}

bool
job_is_open(const job *j)
{
    return job_is_active(j) && !j->ending && !j->storing;
}

bool
job_has_model(const job *j)
{
    static const uint8_t none[sizeof(j->fingerprint)];

    return memcmp(j->fingerprint, none, sizeof(none)) != 0;
}

uint64_t
job_feed_segments(const job *j)
{
    return j->n_write + (j->kind == JOB_ASK);
}

status
job_watch(job *j, const zsocket_peer *client, uint64_t request)
{
    if (j->n_watcher == JOB_MAX_WATCHER)
        return status_fail(ST_LIMIT, "job %llu has %d watchers already",
                           (unsigned long long)j->id, JOB_MAX_WATCHER);
    j->watcher[j->n_watcher++] =
        (job_watcher){.client = *client, .request = request};
    return ST_OK;
}

void
job_unwatch(job *j, const zsocket_peer *client)
{
    size_t kept = 0;

    for (size_t i = 0; i < j->n_watcher; i++)
        if (!job_same_peer(&j->watcher[i].client, client))
            j->watcher[kept++] = j->watcher[i];
    j->n_watcher = kept;
}

double
job_tokens_per_second(const job *j, uint64_t now_ns, uint32_t segment)
{
    uint64_t until = j->ended_ns ? j->ended_ns : now_ns;
    double seconds = (double)(until - j->begun_ns) * 1e-9;

    if (!j->begun_ns || until <= j->begun_ns)
        return 0;
    return (double)(j->segments_done - j->base) * segment / seconds;
}

status
job_table_new(job_table **out, uint64_t next)
{
    job_table *t = NULL;
    status st;

    TRY(mem_new(&t, 1, sizeof(*t)));
    t->next = next;
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
    for (size_t i = 0; i < t->n; i++)
        job_free(t->item[i]);
    mem_free(t->item);
    mem_free(t);
}

size_t
job_table_count(const job_table *t)
{
    return t->n;
}

job *
job_table_at(const job_table *t, size_t i)
{
    return t->item[i];
}

size_t
job_table_place(const job_table *t, uint64_t id)
{
    size_t low = 0;
    size_t high = t->n;

    while (low < high) {
        size_t mid = low + (high - low) / 2;

        if (t->item[mid]->id < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

job *
job_table_find(const job_table *t, uint64_t id)
{
    size_t i = job_table_place(t, id);

    return i < t->n && t->item[i]->id == id ? t->item[i] : NULL;
}

static status
push(job_table *t, job **out)
{
    size_t cap = t->cap ? t->cap * 2 : 16;
    job *j = NULL;
    status st;

    if (t->n == t->cap) {
        TRY(mem_resize(&t->item, cap, sizeof(*t->item)));
        t->cap = cap;
    }
    TRY(mem_new(&j, 1, sizeof(*j)));
    t->item[t->n++] = j;
    *out = j;
fail:
    return st;
}

status
job_table_add(job_table *t, job **out)
{
    status st;

    TRY(push(t, out));
    (*out)->id = t->next++;
fail:
    return st;
}

status
job_table_restore(job_table *t, const job *j)
{
    size_t i = job_table_place(t, j->id);
    job *copy;
    status st;

    TRY(push(t, &copy));
    *copy = *j;
    memmove(t->item + i + 1, t->item + i, (t->n - 1 - i) * sizeof(*t->item));
    t->item[i] = copy;
    if (j->id >= t->next)
        t->next = j->id + 1;
fail:
    return st;
}

/* ----------------------------------------------------------------- keys ---
 */

/* FNV-1a */
static uint64_t
mix(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (uint8_t)*text) * UINT64_C(0x100000001b3);
    return h;
}

static size_t
list_of(const char *owner, const char *key)
{
    uint64_t h = mix(mix(UINT64_C(0xcbf29ce484222325), owner), key);

    return (size_t)((h ^ h >> 32) % KEY_LISTS);
}

void
job_table_index(job_table *t, job *j)
{
    job **first = &t->by_key[list_of(j->owner, j->key)];

    j->next_key = *first;
    *first = j;
}

job *
job_table_by_key(const job_table *t, const char *owner, const char *key,
                 const job *before)
{
    job *j = before ? before->next_key : t->by_key[list_of(owner, key)];

    while (j && (strcmp(j->key, key) != 0 || strcmp(j->owner, owner) != 0))
        j = j->next_key;
    return j;
}

static void
unindex(job_table *t, const job *j)
{
    job **at = &t->by_key[list_of(j->owner, j->key)];

    while (*at && *at != j)
        at = &(*at)->next_key;
    if (*at)
        *at = j->next_key;
}

static void
forget(job_table *t, size_t i)
{
    unindex(t, t->item[i]);
    job_free(t->item[i]);
    memmove(t->item + i, t->item + i + 1, (t->n - i - 1) * sizeof(*t->item));
    t->n--;
}

void
job_table_remove(job_table *t, job *j)
{
    size_t i = job_table_place(t, j->id);

    if (i < t->n && t->item[i] == j)
        forget(t, i);
}

void
job_table_trim(job_table *t)
{
    size_t n = 0;
    size_t bytes = 0;

    for (size_t i = t->n; i > 0; i--) {
        const job *j = t->item[i - 1];

        if (job_is_active(j))
            continue;
        n++;
        if (j->answer)
            bytes += answer_bytes(j->answer);
        if (n > JOB_KEEP || (n > 1 && bytes > JOB_KEEP_BYTES))
            forget(t, i - 1);
    }
}
