/* SPDX-License-Identifier: Apache-2.0 */
/* Byte-level BPE of tokenizer.json, as Llama 3 and GPT-2 use it.
 *
 * Immutable once open: any number of threads may use one tokenizer, each with
 * its own `tokenizer_scratch`.  tokenizer.json is hostile input: sizes, ids
 * and ranks are checked, PCRE2 runs with match and heap limits.  Text
 * library. */
#ifndef MODEL_TOKENIZER_H
#define MODEL_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tokenizer tokenizer;
typedef struct tokenizer_scratch tokenizer_scratch;

/* Reads `dir`/tokenizer.json.  ST_NOTFOUND: no such file (a model without
 * tokenizer works with ids).  ST_UNSUPPORTED: a kind of tokenizer not built,
 * by name. */
status tokenizer_open(tokenizer **out, const char *dir) MUST_USE;
status tokenizer_parse(tokenizer **out, const char *json, size_t len,
                       const char *what) MUST_USE;
void tokenizer_close(tokenizer *tok);

/* Largest id + 1. */
uint32_t tokenizer_size(const tokenizer *tok);

/* Id that the post-processor puts before a document; -1: none. */
int32_t tokenizer_bos(const tokenizer *tok);

/* Id of an exact token (special or not); -1: none. */
int32_t tokenizer_find(const tokenizer *tok, const char *token);

/* Borrows `tok`. */
status tokenizer_scratch_new(tokenizer_scratch **out,
                             const tokenizer *tok) MUST_USE;
void tokenizer_scratch_free(tokenizer_scratch *scratch);

/* Ids of `text` (UTF-8, `len` bytes, NUL allowed) without begin-of-text.
 * Special tokens in the text are matched only if `special`.  *ids belongs to
 * the scratch until its next use.  ST_ARG: not UTF-8 (with the byte's
 * place). */
status tokenizer_encode(tokenizer_scratch *scratch, const int32_t **ids,
                        size_t *n_id, const char *text, size_t len,
                        bool special) MUST_USE;

/* A text that arrives in pieces (a file of any size) is cut at places where no
 * token can cross: *cut = the largest such place in text[0..len), 0 if none
 * (feed more).  A piece of `limit` bytes without such a place is cut at a
 * character border all the same, so that memory and time stay bounded; the
 * place then depends on the text alone, not on how it arrived.  Places are
 * known for the patterns of GPT-2 and Llama 3 (with digits by one or three);
 * with another pattern every cut is at the limit. */
enum {
    /* The limit for everybody who reads text in pieces: where text without a
     * safe place is cut depends on it, and a document must have the same ids
     * whoever read it. */
    TOKENIZER_PIECE = 64 << 10
};
size_t tokenizer_cut(const tokenizer *tok, const char *text, size_t len,
                     size_t limit);

/* Bytes of one token (special tokens: their text when `special`, else
 * nothing).  Not NUL-terminated; may be part of a character.  An unknown id
 * has no bytes. */
void tokenizer_piece(const tokenizer *tok, int32_t id, bool special,
                     const char **bytes, size_t *len);

/* ------------------------------------------------------ text of answers --- */

/* Turns ids into UTF-8 as they come: holds back an unfinished character (ends
 * as U+FFFD) and anything that may become a stop string. */
typedef struct tokenizer_stream tokenizer_stream;
status tokenizer_stream_new(tokenizer_stream **out, const tokenizer *tok,
                            const char *const *stops, size_t n_stop) MUST_USE;
void tokenizer_stream_free(tokenizer_stream *s);
/* Adds a token; *text (valid until the next call) is what is certain now;
 * *stopped when a stop string was met: text ends before it. */
status tokenizer_stream_push(tokenizer_stream *s, int32_t id, const char **text,
                             size_t *len, bool *stopped) MUST_USE;
/* What was held back, at the end. */
status tokenizer_stream_finish(tokenizer_stream *s, const char **text,
                               size_t *len) MUST_USE;

#endif
