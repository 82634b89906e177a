/* SPDX-License-Identifier: Apache-2.0 */
/* A journal that writes nothing down, for costs.py alone: what a question takes
 * with it is what it takes without the journal.
 *
 * Everything "is durable" in the next turn of the loop; no key is known and no
 * job that has left the memory.  Linked before lw_daemon, whose own stays out.
 */
#include "daemon/journal.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/mem.h"

/* A request, and what comes back; or an input that is kept. */
typedef struct entry {
    struct entry *next;
    journal_report report;
    store_checkpoint checkpoint;
    store_record record;
    uint8_t *data;
    size_t len;
} entry;

struct journal {
    int fd;
    journal_report_fn *fn;
    void *ctx;
    entry *first, **last; /* in order */
    entry *input;         /* kept until their jobs end */
};

status
journal_new(journal **out, store *s)
{
    journal *j = NULL;
    status st;

    (void)s;
    TRY(mem_new(&j, 1, sizeof(*j)));
    j->last = &j->first;
    j->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (j->fd < 0)
        TRY(status_fail(ST_IO, "no eventfd can be made"));
    *out = j;
    return ST_OK;
fail:
    mem_free(j);
    return st;
}

static void
entry_free(entry *e)
{
    mem_free(e->data);
    mem_free(e);
}

void
journal_free(journal *j)
{
    if (!j)
        return;
    journal_collect(j);
    while (j->input) {
        entry *next = j->input->next;

        entry_free(j->input);
        j->input = next;
    }
    (void)close(j->fd);
    mem_free(j);
}

void
journal_on_report(journal *j, journal_report_fn *fn, void *ctx)
{
    j->fn = fn;
    j->ctx = ctx;
}

int
journal_fd(const journal *j)
{
    return j->fd;
}

void
journal_collect(journal *j)
{
    uint64_t count;
    entry *e = j->first;

    if (read(j->fd, &count, sizeof(count)) < 0)
        return;
    j->first = NULL;
    j->last = &j->first;
    while (e) {
        entry *next = e->next;

        e->report.record = &e->record;
        e->report.checkpoint = &e->checkpoint;
        e->report.data = &e->data;
        e->report.len = e->len;
        e->report.text = "";
        j->fn(j->ctx, &e->report);
        entry_free(e);
        e = next;
    }
}

static status
push(journal *j, entry **out, journal_kind kind, uint64_t id)
{
    uint64_t one = 1;
    entry *e;
    status st;

    TRY(mem_new(&e, 1, sizeof(*e)));
    e->report.kind = kind;
    e->report.id = id;
    *j->last = e;
    j->last = &e->next;
    if (write(j->fd, &one, sizeof(one)) < 0)
        return status_fail(ST_IO, "the loop is not woken");
    *out = e;
fail:
    return st;
}

static entry **
kept(journal *j, uint64_t id)
{
    entry **at = &j->input;

    while (*at && (*at)->report.id != id)
        at = &(*at)->next;
    return at;
}

status
journal_submit(journal *j, const job *of, const uint8_t hash[32],
               uint8_t **input, size_t len)
{
    entry *e;
    entry *in = NULL;
    status st;

    TRY(mem_new(&in, 1, sizeof(*in)));
    TRY(push(j, &e, JOURNAL_SUBMITTED, of->id));
    in->report.id = of->id;
    memcpy(in->record.row.hash, hash, sizeof(in->record.row.hash));
    if (input) {
        in->data = *input;
        in->len = len;
        *input = NULL;
    }
    in->next = j->input;
    j->input = in;
    return ST_OK;
fail:
    mem_free(in);
    return st;
}

status
journal_input(journal *j, uint64_t id)
{
    const entry *in = *kept(j, id);
    entry *e;
    status st;

    TRY(push(j, &e, JOURNAL_INPUT, id));
    if (!in) {
        e->report.st = ST_NOTFOUND;
        return ST_OK;
    }
    e->record = in->record;
    if (!in->data)
        return ST_OK;
    TRY(mem_new(&e->data, in->len, 1));
    memcpy(e->data, in->data, in->len);
    e->len = in->len;
fail:
    return st;
}

/* The row as its owner looks at it once it is the end. */
static status
push_end(journal *j, journal_kind kind, const job *of)
{
    entry **at = kept(j, of->id);
    entry *in = *at;
    entry *e;
    status st;

    if (in) {
        *at = in->next;
        entry_free(in);
    }
    TRY(push(j, &e, kind, of->id));
    e->record.row.state = of->ending ? of->end_state : CLIENT_STATE_DONE;
    e->record.row.bytes = of->bytes;
fail:
    return st;
}

status
journal_end(journal *j, const job *of)
{
    return push_end(j, JOURNAL_ENDED, of);
}

status
journal_store(journal *j, const document *doc, const job *of)
{
    (void)doc;
    return push_end(j, JOURNAL_STORED, of);
}

status
journal_tokens(journal *j, const job *of)
{
    entry *e;
    size_t n = 0;
    status st;

    TRY(push(j, &e, JOURNAL_TOKENS, of->id));
    if (of->answer)
        (void)answer_ids(of->answer, &n);
    e->report.number = n;
fail:
    return st;
}

status
journal_checkpoint(journal *j, const store_checkpoint *k, uint32_t **crcs)
{
    entry *e;
    status st;

    (void)crcs;
    TRY(push(j, &e, JOURNAL_CHECKPOINT, k->job));
    e->report.number = k->segment;
    e->report.attempt = k->attempt;
    e->checkpoint = *k;
fail:
    return st;
}

static status
push_unknown(journal *j, journal_kind kind, uint64_t id, const job_watcher *to)
{
    entry *e;
    status st;

    TRY(push(j, &e, kind, id));
    e->report.st = ST_NOTFOUND;
    if (to)
        e->report.watcher = *to;
fail:
    return st;
}

status
journal_find(journal *j, const job *of)
{
    return push_unknown(j, JOURNAL_FOUND, of->id, NULL);
}

status
journal_fetch(journal *j, uint64_t id, const job_watcher *to)
{
    return push_unknown(j, JOURNAL_FETCHED, id, to);
}

status
journal_remove(journal *j, uint64_t id)
{
    entry *e;

    return push(j, &e, JOURNAL_REMOVED, id);
}

status
journal_hashes(journal *j, const document *doc)
{
    (void)j;
    (void)doc;
    return ST_OK;
}

status
journal_record(journal *j, const job *of)
{
    (void)j;
    (void)of;
    return ST_OK;
}

void
journal_flush(journal *j)
{
    (void)j;
}

status
journal_drop(journal *j, uint64_t id, const job_checkpoint *k)
{
    (void)j;
    (void)id;
    (void)k;
    return ST_OK;
}

status
journal_incident(journal *j, int64_t wall_ms, uint64_t id, const char *text)
{
    (void)j;
    (void)wall_ms;
    (void)id;
    (void)text;
    return ST_OK;
}

status
journal_age(journal *j, uint64_t age_s, uint64_t keep_s)
{
    (void)j;
    (void)age_s;
    (void)keep_s;
    return ST_OK;
}
