/* SPDX-License-Identifier: Apache-2.0 */
/* Ids and text of an answer, token by token. */
#include "daemon/answer.h"

#include <string.h>

#include "base/mem.h"

struct answer {
    tokenizer_stream *stream; /* NULL: ids only */
    int32_t *id;
    float *logprob;
    size_t *end; /* of the text after each token */
    size_t n_id, cap_id, cap_logprob, cap_end;
    char *text;
    size_t len, cap;
    bool stopped, finished;
};

status
answer_new(answer **out, const tokenizer *tok, const char *const *stops,
           size_t n_stop)
{
    answer *a = NULL;
    status st;

    TRY(mem_new(&a, 1, sizeof(*a)));
    if (tok)
        TRY(tokenizer_stream_new(&a->stream, tok, stops, n_stop));
    *out = a;
    return ST_OK;
fail:
    answer_free(a);
    return st;
}

void
answer_free(answer *a)
{
    if (!a)
        return;
    tokenizer_stream_free(a->stream);
    mem_free(a->id);
    mem_free(a->logprob);
    mem_free(a->end);
    mem_free(a->text);
    mem_free(a);
}

static status
room(void *ptr, size_t *cap, size_t want, size_t size)
{
    size_t more = *cap ? *cap : 64;
    status st;

    if (want <= *cap)
        return ST_OK;
    while (more < want)
        more *= 2;
    TRY(mem_resize(ptr, more, size));
    *cap = more;
fail:
    return st;
}

static status
add_text(answer *a, const char *text, size_t len)
{
    status st;

    if (len == 0)
        return ST_OK;
    TRY(room(&a->text, &a->cap, a->len + len, 1));
    memcpy(a->text + a->len, text, len);
    a->len += len;
fail:
    return st;
}

/* A token of an earlier attempt comes again. */
static status
again(const answer *a, uint32_t index, int32_t id)
{
    if (a->id[index] == id)
        return ST_OK;
    return status_fail(ST_WIRE,
                       "the second attempt gave token %d where the first "
                       "gave %d",
                       id, a->id[index]);
}

status
answer_push(answer *a, answer_step *out, uint32_t index, int32_t id,
            float logprob)
{
    answer_step step = {.fresh = true};
    const char *text = NULL;
    size_t len = 0;
    status st;

    if (index < a->n_id) {
        step.fresh = false;
        step.stopped = a->stopped && index + 1 == a->n_id;
        *out = step;
        return again(a, index, id);
    }
    if (index > a->n_id)
        return status_fail(ST_WIRE, "token %zu of an answer is missing",
                           a->n_id);
    TRY(room(&a->id, &a->cap_id, a->n_id + 1, sizeof(*a->id)));
    TRY(room(&a->logprob, &a->cap_logprob, a->n_id + 1, sizeof(*a->logprob)));
    TRY(room(&a->end, &a->cap_end, a->n_id + 1, sizeof(*a->end)));
    if (a->stream)
        TRY(tokenizer_stream_push(a->stream, id, &text, &len, &step.stopped));
    TRY(add_text(a, text, len));
    a->end[a->n_id] = a->len;
    a->logprob[a->n_id] = logprob;
    a->id[a->n_id++] = id;
    a->stopped = step.stopped;
    *out = step;
fail:
    return st;
}

status
answer_finish(answer *a)
{
    const char *text = NULL;
    size_t len = 0;
    status st = ST_OK;

    if (a->finished)
        return ST_OK;
    a->finished = true;
    if (a->stream && !a->stopped) {
        TRY(tokenizer_stream_finish(a->stream, &text, &len));
        TRY(add_text(a, text, len));
    }
fail:
    return st;
}

const char *
answer_piece(const answer *a, size_t index, size_t *len)
{
    size_t start = index > 0 ? a->end[index - 1] : 0;

    *len = a->end[index] - start;
    return *len > 0 ? a->text + start : NULL;
}

const int32_t *
answer_ids(const answer *a, size_t *n)
{
    *n = a->n_id;
    return a->id;
}

const float *
answer_logprobs(const answer *a)
{
    return a->logprob;
}

const char *
answer_text(const answer *a, size_t *len)
{
    *len = a->len;
    return a->text;
}

size_t
answer_bytes(const answer *a)
{
    return sizeof(*a) + a->cap + a->cap_id * sizeof(*a->id) +
           a->cap_logprob * sizeof(*a->logprob) + a->cap_end * sizeof(*a->end);
}
