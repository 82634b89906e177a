/* SPDX-License-Identifier: Apache-2.0 */
/* One task an input: each run takes one piece of it. */
#include "daemon/tokens.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "daemon/again.h"

typedef struct chunk {
    struct chunk *next;
    uint8_t *data;
    size_t len;
} chunk;

struct tokens {
    helper *thread;
    const tokenizer *tok;
    const template *chat;
    tokenizer_scratch *scratch; /* the helper thread's */
    uint32_t n_vocab;
    const char *dir;
    tokens_report_fn *fn;
    void *ctx;
};

struct tokens_input {
    helper_task task; /* first: a task is its input */
    tokens *owner;
    uint64_t job, max_tokens;
    bool text, begin, question;
    char *pending, *path;
    uint32_t n_pending;
    uint8_t pending_hash[HASH_BYTES];
    uint64_t bytes;
    uint8_t expected[HASH_BYTES];

    /* the loop's side */
    chunk *first, *last;
    bool complete; /* the last chunk is in the list */
    bool busy;     /* the helper has it */
    bool canceled;
    again again;

    /* the helper's side while busy */
    chunk *now;
    size_t at;  /* bytes of `now` that were taken */
    bool final; /* `now` is the last chunk */
    int fd;     /* of the path; -1: not open */
    uint64_t filled;
    hash sum;
    char carry[TOKENIZER_PIECE];
    size_t len;        /* bytes in carry */
    uint64_t consumed; /* bytes of input */
    uint64_t n_input;  /* ids of the input */
    spool *ids;
    bool finished;
};

/* ------------------------------------------------------ the helper's side ---
 */

static status
check_ids(const tokens_input *in, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (uint32_t)ids[i] >= in->owner->n_vocab)
            return status_fail(ST_ARG,
                               "token id %d at place %llu is outside the "
                               "vocabulary of %u",
                               ids[i], (unsigned long long)(in->n_input + i),
                               in->owner->n_vocab);
    return ST_OK;
}

static status
put(tokens_input *in, const int32_t *ids, size_t n)
{
    status st;

    TRY(check_ids(in, ids, n));
    in->n_input += n;
    if (in->n_input > in->max_tokens)
        return status_fail(ST_LIMIT, "the question has more than %llu tokens",
                           (unsigned long long)in->max_tokens);
    return spool_add(in->ids, ids, n);
fail:
    return st;
}

static status
put_pending(const tokens_input *in, spool *to)
{
    size_t expected = in->n_pending * sizeof(int32_t);
    uint8_t sum[HASH_BYTES];
    char *data = NULL;
    int32_t *ids = NULL;
    size_t len = 0;
    status st;

    TRY(file_read(&data, &len, in->pending, expected));
    hash_of(sum, data, len);
    if (len != expected || (!hash_is_zero(in->pending_hash) &&
                            memcmp(sum, in->pending_hash, sizeof(sum)) != 0))
        TRY(status_fail(ST_IO, "%s is damaged", in->pending));
    TRY(mem_new(&ids, in->n_pending, sizeof(*ids)));
    memcpy(ids, data, len);
    TRY(spool_add(to, ids, in->n_pending));
fail:
    mem_free(ids);
    mem_free(data);
    return st;
}

/* What the chat template puts at a place. */
static status
put_around(const tokens_input *in, spool *to, template_place place)
{
    size_t n = 0;
    const int32_t *ids = template_ids(in->owner->chat, place, &n);
    status st = check_ids(in, ids, n);

    return st == ST_OK && n > 0 ? spool_add(to, ids, n) : st;
}

/* Of the piece that comes next. */
static unsigned
flags_of(const tokens_input *in)
{
    if (in->consumed > 0)
        return TOKENIZER_GOES_ON;
    return in->question ? template_flags(in->owner->chat) : 0;
}

static status
open_spool(tokens_input *in)
{
    const tokens *t = in->owner;
    int32_t bos = in->text && in->begin ? tokenizer_bos(t->tok) : -1;
    spool *ids = NULL;
    status st;

    if (in->ids)
        return ST_OK;
    TRY(spool_new(&ids, t->dir));
    if (in->pending)
        TRY(put_pending(in, ids));
    if (bos >= 0)
        TRY(spool_add(ids, &bos, 1));
    if (in->text && in->begin)
        TRY(put_around(in, ids, TEMPLATE_DOCUMENT));
    if (in->text && in->question)
        TRY(put_around(in, ids, TEMPLATE_QUESTION));
    in->ids = ids;
    return ST_OK;
fail:
    spool_free(ids);
    return st;
}

/* The place of the first bad byte in carry[0 .. len), which has one: every
 * prefix before it is fine up to a character that is cut off. */
static size_t
bad_byte(const tokens_input *in, size_t len)
{
    size_t good = 0;
    size_t bad = len;

    while (bad - good > 1) {
        size_t mid = good + (bad - good) / 2;

        if (utf8_check(in->carry, mid - utf8_tail(in->carry, mid)) == ST_OK)
            good = mid;
        else
            bad = mid;
    }
    return good;
}

static status
put_text(tokens_input *in, size_t len)
{
    const int32_t *ids;
    size_t n;
    size_t at;
    status st;

    if (utf8_check(in->carry, len) != ST_OK) {
        at = bad_byte(in, len);
        return status_fail(ST_ARG, "the input is not UTF-8: byte %llu",
                           (unsigned long long)(in->consumed + at));
    }
    TRY(tokenizer_encode(in->owner->scratch, &ids, &n, in->carry, len,
                         flags_of(in)));
    TRY(put(in, ids, n));
fail:
    return st;
}

static status
put_ids(tokens_input *in, size_t len)
{
    int32_t ids[TOKENIZER_PIECE / sizeof(int32_t)];

    memcpy(ids, in->carry, len);
    return put(in, ids, len / sizeof(*ids));
}

/* How much of carry can be turned into ids now. */
static status
ready(const tokens_input *in, size_t *n, bool all)
{
    size_t cut = 0;
    status st;

    if (!in->text) {
        *n = in->len / sizeof(int32_t) * sizeof(int32_t);
        return ST_OK;
    }
    TRY(tokenizer_cut(in->owner->scratch, &cut, in->carry, in->len,
                      TOKENIZER_PIECE, flags_of(in)));
    *n = cut == 0 && (all || in->len == TOKENIZER_PIECE) ? in->len : cut;
fail:
    return st;
}

static void
fill(tokens_input *in)
{
    size_t n = TOKENIZER_PIECE - in->len;

    if (!in->now)
        return;
    if (n > in->now->len - in->at)
        n = in->now->len - in->at;
    memcpy(in->carry + in->len, in->now->data + in->at, n);
    hash_add(&in->sum, in->carry + in->len, n);
    in->len += n;
    in->at += n;
    in->filled += n;
}

static status
fill_from_file(tokens_input *in)
{
    size_t n = TOKENIZER_PIECE - in->len;
    ssize_t got;
    status st;

    if (in->fd < 0)
        in->fd = open(in->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (in->fd < 0)
        TRY(file_failed("open", in->path));
    if (n > in->bytes - in->filled)
        n = (size_t)(in->bytes - in->filled);
    while (n > 0) {
        got = pread(in->fd, in->carry + in->len, n, (off_t)in->filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            TRY(file_failed("read", in->path));
        if (got == 0)
            TRY(status_fail(ST_IO, "%s is damaged: it is too short", in->path));
        hash_add(&in->sum, in->carry + in->len, (size_t)got);
        in->len += (size_t)got;
        in->filled += (size_t)got;
        n -= (size_t)got;
    }
    return ST_OK;
fail:
    return st == ST_NOMEM ? st : ST_IO;
}

/* What was acknowledged is what is read. */
static status
check_whole(tokens_input *in)
{
    uint8_t sum[HASH_BYTES];

    hash_end(&in->sum, sum);
    if (in->filled != in->bytes || memcmp(sum, in->expected, sizeof(sum)) != 0)
        return status_fail(ST_IO, "the job's input is damaged");
    return ST_OK;
}

/* What ends for want of memory has changed nothing that the next try would not
 * find: that goes on from there. */
static status
run(helper_task *task)
{
    tokens_input *in = (tokens_input *)task;
    bool all;
    size_t n = 0;
    status st;

    TRY(open_spool(in));
    if (in->path)
        TRY(fill_from_file(in));
    else
        fill(in);
    all = in->path ? in->filled == in->bytes
                   : in->final && (!in->now || in->at == in->now->len);
    TRY(ready(in, &n, all));
    if (n == 0 && all && in->len > 0)
        TRY(status_fail(ST_ARG, "the input ends inside a token id"));
    if (n > 0)
        TRY(in->text ? put_text(in, n) : put_ids(in, n));
    memmove(in->carry, in->carry + n, in->len - n);
    in->len -= n;
    in->consumed += n;
    in->finished = all && in->len == 0;
    if (in->finished)
        TRY(check_whole(in));
    if (in->finished && in->text && in->question)
        TRY(put_around(in, in->ids, TEMPLATE_ANSWER));
fail:
    return st;
}

/* -------------------------------------------------------- the loop's side ---
 */

static void
chunk_free(chunk *c)
{
    if (!c)
        return;
    mem_free(c->data);
    mem_free(c);
}

static void
input_free(tokens_input *in)
{
    if (!in)
        return;
    while (in->first) {
        chunk *next = in->first->next;

        chunk_free(in->first);
        in->first = next;
    }
    chunk_free(in->now);
    spool_free(in->ids);
    if (in->fd >= 0)
        (void)close(in->fd);
    mem_free(in->pending);
    mem_free(in->path);
    mem_free(in);
}

/* Hands the input to the helper if there is something to do. */
static void
advance(tokens_input *in)
{
    bool used_up = !in->now || in->at == in->now->len;

    if (used_up && in->first) {
        chunk_free(in->now);
        in->now = in->first;
        in->at = 0;
        in->first = in->now->next;
        if (!in->first)
            in->last = NULL;
        in->final = in->complete && !in->first;
        used_up = false;
    }
    /* Bytes held back are looked at again only when more can come to them. */
    if (used_up && !in->final && !in->path)
        return;
    in->busy = true;
    helper_push(in->owner->thread, &in->task);
}

static void
done(helper_task *task, status st, const char *text)
{
    tokens_input *in = (tokens_input *)task;
    tokens *t = in->owner;
    bool over = in->finished || st != ST_OK;
    tokens_report r = {.job = in->job,
                       .bytes = in->consumed,
                       .count = in->ids ? spool_count(in->ids) : 0,
                       .done = st == ST_OK && in->finished,
                       .st = st,
                       .text = text};

    in->busy = false;
    if (in->canceled) {
        input_free(in);
        return;
    }
    if (again_after(&in->again, st))
        return;
    if (r.done) {
        r.ids = in->ids;
        in->ids = NULL;
    }
    if (over)
        input_free(in);
    else
        advance(in);
    t->fn(t->ctx, &r);
}

status
tokens_new(tokens **out, const tokenizer *tok, const template *chat,
           uint32_t n_vocab, const char *dir)
{
    tokens *t = NULL;
    status st;

    TRY(mem_new(&t, 1, sizeof(*t)));
    t->tok = tok;
    t->chat = chat;
    t->n_vocab = n_vocab;
    t->dir = dir;
    if (tok)
        TRY(tokenizer_scratch_new(&t->scratch, tok));
    TRY(helper_new(&t->thread));
    *out = t;
    return ST_OK;
fail:
    tokens_free(t);
    return st;
}

void
tokens_on_report(tokens *t, tokens_report_fn *fn, void *ctx)
{
    t->fn = fn;
    t->ctx = ctx;
}

void
tokens_free(tokens *t)
{
    if (!t)
        return;
    helper_free(t->thread);
    tokenizer_scratch_free(t->scratch);
    mem_free(t);
}

int
tokens_fd(const tokens *t)
{
    return helper_fd(t->thread);
}

void
tokens_collect(tokens *t)
{
    helper_collect(t->thread);
}

status
tokens_input_new(tokens_input **out, tokens *t, const tokens_setup *setup)
{
    tokens_input *in = NULL;
    status st;

    TRY(mem_new(&in, 1, sizeof(*in)));
    in->fd = -1;
    in->task.run = run;
    in->task.done = done;
    in->owner = t;
    in->job = setup->job;
    in->text = setup->text;
    in->begin = setup->begin;
    in->question = setup->question;
    in->max_tokens = setup->max_tokens;
    in->n_pending = setup->n_pending;
    memcpy(in->pending_hash, setup->pending_hash, sizeof(in->pending_hash));
    in->bytes = setup->bytes;
    hash_init(&in->sum);
    memcpy(in->expected, setup->hash, sizeof(in->expected));
    if (setup->pending)
        TRY(mem_strdup(&in->pending, setup->pending));
    if (setup->path)
        TRY(mem_strdup(&in->path, setup->path));
    *out = in;
    if (in->path)
        advance(in);
    return ST_OK;
fail:
    input_free(in);
    return st;
}

status
tokens_input_push(tokens_input *in, uint8_t **data, size_t len, bool last)
{
    chunk *c;
    status st;

    TRY(mem_new(&c, 1, sizeof(*c)));
    c->data = *data;
    c->len = len;
    *data = NULL;
    if (in->last)
        in->last->next = c;
    else
        in->first = c;
    in->last = c;
    in->complete = last;
    if (!in->busy && !tokens_input_waits(in))
        advance(in);
fail:
    return st;
}

void
tokens_input_cancel(tokens_input *in)
{
    if (!in)
        return;
    if (in->busy)
        in->canceled = true;
    else
        input_free(in);
}

bool
tokens_input_waits(const tokens_input *in)
{
    return again_waits(&in->again);
}

void
tokens_input_again(tokens_input *in)
{
    if (!again_is_due(&in->again))
        return;
    in->busy = true;
    helper_push(in->owner->thread, &in->task);
}
