/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens become text as far as it is certain; end tokens and stop strings. */
#include "worker/run_answer.h"

#include <string.h>

#include "base/mem.h"

status
run_answer_init(run_answer *a, const run_options *o, const model_config *cfg,
                const tokenizer *tok, FILE *live)
{
    status st = ST_OK;

    *a = (run_answer){.cfg = cfg,
                      .tok = tok,
                      .live = live,
                      .max_token = (uint32_t)o->generate,
                      .ignore_eos = o->ignore_eos,
                      .keep_logits = o->generated_logits != NULL};
    if (live != NULL)
        terminal_init(&a->screen, live);
    if (tok == NULL && o->stop.n > 0)
        TRY(status_fail(ST_ARG, "--stop needs tokenizer.json"));
    if (tok != NULL)
        TRY(tokenizer_stream_new(&a->stream, tok, o->stop.item, o->stop.n));
    TRY(mem_new(&a->ids, a->max_token, sizeof *a->ids));
    if (o->logprobs > 0)
        TRY(mem_new(&a->tokens, a->max_token, sizeof *a->tokens));
    return ST_OK;
fail:
    run_answer_fini(a);
    return st;
}

void
run_answer_fini(run_answer *a)
{
    tokenizer_stream_free(a->stream);
    mem_free(a->ids);
    mem_free(a->tokens);
    mem_free(a->text);
    mem_free(a->logits);
    *a = (run_answer){0};
}

static status
grow_text(run_answer *a, const char *text, size_t len)
{
    status st = ST_OK;
    TRY(mem_resize(&a->text, a->text_len + len + 1, 1));
    memcpy(a->text + a->text_len, text, len);
    a->text_len += len;
    a->text[a->text_len] = '\0';
    if (a->live == NULL)
        return ST_OK;
    terminal_write(&a->screen, a->live, text, len);
    if (ferror(a->live) || fflush(a->live) != 0)
        TRY(status_fail(ST_IO, "the answer cannot be written"));
fail:
    return st;
}

/* Without a tokenizer the answer is its ids, with spaces between them. */
static status
grow_ids(run_answer *a, int32_t id)
{
    if (a->live != NULL &&
        (fprintf(a->live, a->n_id > 1 ? " %d" : "%d", id) < 0 ||
         fflush(a->live) != 0))
        return status_fail(ST_IO, "the answer cannot be written");
    return ST_OK;
}

status
run_answer_logits(run_answer *a, const float *row)
{
    size_t n = a->cfg->n_vocab;
    status st = ST_OK;
    if (!a->keep_logits)
        return ST_OK;
    TRY(mem_resize(&a->logits, (a->n_id + 1) * n, sizeof *row));
    memcpy(a->logits + a->n_id * n, row, n * sizeof *row);
fail:
    return st;
}

static bool
ends(const run_answer *a, int32_t id)
{
    for (uint32_t i = 0; i < a->cfg->n_eos; i++) {
        if (a->cfg->eos[i] == id)
            return !a->ignore_eos;
    }
    return false;
}

status
run_answer_token(run_answer *a, const engine_token *token)
{
    int32_t id = token->id;
    const char *text = NULL;
    size_t len = 0;
    bool stopped = false;
    status st = ST_OK;

    ASSERT(!a->ended && a->n_id < a->max_token);
    if (a->tokens != NULL)
        a->tokens[a->n_id] = *token;
    a->ids[a->n_id++] = id;
    if (a->stream != NULL) {
        TRY(tokenizer_stream_push(a->stream, id, &text, &len, &stopped));
        TRY(grow_text(a, text, len));
    } else {
        TRY(grow_ids(a, id));
    }
    a->ended = stopped || ends(a, id) || a->n_id == a->max_token;
    if (stopped) { /* what is held back lies behind the stop string */
        tokenizer_stream_free(a->stream);
        a->stream = NULL;
    }
fail:
    return st;
}

status
run_answer_finish(run_answer *a)
{
    const char *text = NULL;
    size_t len = 0;
    status st = ST_OK;

    if (a->stream != NULL) {
        TRY(tokenizer_stream_finish(a->stream, &text, &len));
        TRY(grow_text(a, text, len));
    }
    if (a->live != NULL && (fputc('\n', a->live) == EOF || fflush(a->live)))
        TRY(status_fail(ST_IO, "the answer cannot be written"));
fail:
    return st;
}
