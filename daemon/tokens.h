/* SPDX-License-Identifier: Apache-2.0 */
/* Input of jobs becomes token ids on a helper thread.
 *
 * Text is checked (UTF-8), tokenized in pieces of bounded size and written to
 * a spool; ids are checked and copied.  Inputs take turns piece by piece, so a
 * question does not wait behind a book, and one that is canceled stops within
 * a piece.  The functions are the loop thread's. */
#ifndef DAEMON_TOKENS_H
#define DAEMON_TOKENS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/status.h"
#include "daemon/helper.h"
#include "daemon/spool.h"
#include "model/template.h"

typedef struct tokens tokens;             /* the thread and its tokenizer */
typedef struct tokens_input tokens_input; /* of one job */

/* How far an input is.  `ids` (the caller's from now on) is set when `done`;
 * a failure is the last report. */
typedef struct tokens_report {
    uint64_t job;
    uint64_t bytes; /* of input that are tokenized */
    uint64_t count; /* ids in the spool */
    bool done;
    spool *ids;
    status st;
    const char *text;
} tokens_report;
typedef void tokens_report_fn(void *ctx, const tokens_report *r);

/* `tok` NULL: ids only.  `chat`: what stands around text that is a document's
 * beginning or a question.  `dir` is where spools go.  All are borrowed. */
status tokens_new(tokens **out, const tokenizer *tok, const template *chat,
                  uint32_t n_vocab, const char *dir) MUST_USE;
void tokens_on_report(tokens *t, tokens_report_fn *fn, void *ctx);
/* After all inputs are canceled or done. */
void tokens_free(tokens *t);
int tokens_fd(const tokens *t); /* readable: call tokens_collect() */
void tokens_collect(tokens *t);

typedef struct tokens_setup {
    uint64_t job;
    bool text;  /* false: little-endian int32 ids */
    bool begin; /* the begin-of-text token, if any, comes first */
    bool question;
    const char *path; /* of a file with the whole input, or NULL: pushed */
    uint64_t bytes;   /* of the input */
    uint8_t hash[HASH_BYTES]; /* of the input: another one is damage */
    const char *pending; /* file of ids that come before the input, or NULL */
    uint32_t n_pending;  /* in that file */
    uint8_t pending_hash[HASH_BYTES]; /* of that file; zeros: not known */
    uint64_t max_tokens; /* of the input alone, not of what is around it */
} tokens_setup;

/* *out is the caller's until its last report or tokens_input_cancel(), then it
 * is gone. */
status tokens_input_new(tokens_input **out, tokens *t,
                        const tokens_setup *setup) MUST_USE;
/* Takes *data (mem_free() memory); `last`: nothing follows.  Not with a path.
 */
status tokens_input_push(tokens_input *in, uint8_t **data, size_t len,
                         bool last) MUST_USE;
void tokens_input_cancel(tokens_input *in);
/* Memory or descriptors were short; tokens_input_again() goes on where that was
 * (again.h). */
bool tokens_input_waits(const tokens_input *in);
void tokens_input_again(tokens_input *in);

#endif
