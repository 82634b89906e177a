/* SPDX-License-Identifier: Apache-2.0 */
/* The tokenizers of tokenizer.json that are made of merges: byte-level BPE, as
 * Llama 3, GPT-2, Qwen2, SmolLM and GPT-NeoX use it, and BPE of characters
 * with bytes for those it does not know, as Llama 2 does.
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

typedef enum tokenizer_flags {
    TOKENIZER_SPECIAL = 1, /* special tokens in the text are matched */
    TOKENIZER_GOES_ON = 2  /* the text goes on where another was cut */
} tokenizer_flags;

/* Ids of `text` (UTF-8, `len` bytes, NUL allowed) without begin-of-text;
 * `flags` are of tokenizer_flags.  *ids belongs to the scratch until its next
 * use.  ST_ARG: not UTF-8 (with the byte's place). */
status tokenizer_encode(tokenizer_scratch *scratch, const int32_t **ids,
                        size_t *n_id, const char *text, size_t len,
                        unsigned flags) MUST_USE;

enum {
    /* The limit for everybody who reads text in pieces: where text without a
     * safe place is cut depends on it, and a document must have the same ids
     * whoever read it. */
    TOKENIZER_PIECE = 64 << 10
};

/* A text that arrives in pieces (a file of any size) is cut at places where no
 * token can cross: *cut = such a place in text[0..len), 0 if there is none yet
 * (feed more).  Both sides of it have the ids that they have in the whole; the
 * right one with TOKENIZER_GOES_ON, which `flags` has if this text goes on
 * itself.  A piece of `limit` bytes without such a
 * place (docs/models.md says which texts have none) is cut at a character
 * border all the same, so that memory and time stay bounded; the place then
 * depends on the text alone, not on how it arrived. */
status tokenizer_cut(tokenizer_scratch *scratch, size_t *cut, const char *text,
                     size_t len, size_t limit, unsigned flags) MUST_USE;

/* Bytes of one token in the middle of an answer (special tokens: their text
 * when `special`, else nothing).  Not NUL-terminated; may be part of a
 * character.  An unknown id has no bytes. */
void tokenizer_piece(const tokenizer *tok, int32_t id, bool special,
                     const char **text, size_t *len);

/* ------------------------------------------------------ text of answers --- */

/* Turns ids into UTF-8 as they come: holds back an unfinished character (ends
 * as U+FFFD) and anything that may become a stop string.  Spaces that the
 * file's decoder takes from the beginning of an answer are left out. */
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
