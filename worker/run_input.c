/* SPDX-License-Identifier: Apache-2.0 */
/* Reading ids: text in pieces through the tokenizer, or tensors in pieces. */
#include "worker/run_input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "model/safetensors.h"

enum {
    /* Ids taken from one map of a file, so that its pages do not add up. */
    MAP_PIECE = 1 << 18
};

static status
reserve(run_input *in, uint64_t n)
{
    uint64_t cap = in->cap > 0 ? in->cap : TOKENIZER_PIECE;
    if (n <= in->cap - in->n_id)
        return ST_OK;
    while (cap - in->n_id < n)
        cap *= 2;
    status st = mem_resize(&in->ids, cap, sizeof *in->ids);
    if (st == ST_OK)
        in->cap = cap;
    return st;
}

/* Takes the n ids behind the last one, which are already in place. */
static status
take(run_input *in, size_t n)
{
    const int32_t *ids = in->ids + in->n_id;
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= in->n_vocab)
            return status_fail(ST_ARG,
                               "token id %d at place %llu is outside the "
                               "vocabulary of %u",
                               ids[i], (unsigned long long)(in->n_id + i),
                               in->n_vocab);
    }
    in->n_id += n;
    return ST_OK;
}

static status
append(run_input *in, const int32_t *ids, size_t n)
{
    status st = ST_OK;
    TRY(reserve(in, n));
    memcpy(in->ids + in->n_id, ids, n * sizeof *ids);
    TRY(take(in, n));
fail:
    return st;
}

/* ---------------------------------------------------------------- text --- */

typedef struct reader {
    int fd;
    char text[TOKENIZER_PIECE];
    size_t len;
    uint64_t consumed; /* bytes before text[0] */
    bool end;
} reader;

static status
fill(reader *r, const char *path)
{
    while (r->len < TOKENIZER_PIECE && !r->end) {
        ssize_t n = read(r->fd, r->text + r->len, TOKENIZER_PIECE - r->len);
        if (n < 0 && errno != EINTR)
            return status_fail(errno == EISDIR ? ST_ARG : ST_IO, "%s: %s", path,
                               strerror(errno));
        if (n > 0)
            r->len += (size_t)n;
        r->end = n == 0;
    }
    return ST_OK;
}

/* Where the first bad character in text[0 .. len) begins; there is one.  Every
 * prefix that ends before its bad byte is well-formed up to a cut-off
 * character. */
static size_t
bad_place(const char *text, size_t len)
{
    size_t good = 0, bad = len;
    while (bad - good > 1) {
        size_t mid = good + (bad - good) / 2;
        if (utf8_check(text, mid - utf8_tail(text, mid)) == ST_OK)
            good = mid;
        else
            bad = mid;
    }
    return good - utf8_tail(text, good);
}

static status
append_text(run_input *in, tokenizer_scratch *scratch, const reader *r,
            size_t len)
{
    const int32_t *ids = NULL;
    size_t n = 0;
    status st = ST_OK;

    if (utf8_check(r->text, len) != ST_OK)
        TRY(status_fail(
            ST_ARG, "the input is not UTF-8: byte %llu",
            (unsigned long long)(r->consumed + bad_place(r->text, len))));
    TRY(tokenizer_encode(scratch, &ids, &n, r->text, len,
                         r->consumed > 0 ? TOKENIZER_GOES_ON : 0));
    TRY(append(in, ids, n));
fail:
    return st;
}

/* Everything the reader gives, cut where no token can cross. */
static status
read_pieces(run_input *in, tokenizer_scratch *scratch, reader *r,
            const char *path)
{
    status st = ST_OK;
    for (;;) {
        TRY(fill(r, path));
        if (r->len == 0)
            return ST_OK;
        size_t cut = 0;
        TRY(tokenizer_cut(scratch, &cut, r->text, r->len, TOKENIZER_PIECE,
                          r->consumed > 0 ? TOKENIZER_GOES_ON : 0));
        if (cut == 0)
            cut = r->len; /* the end, or no place at all in a whole piece */
        TRY(append_text(in, scratch, r, cut));
        r->len -= cut;
        r->consumed += cut;
        memmove(r->text, r->text + cut, r->len);
    }
fail:
    return st;
}

static status
open_text(reader *r, const char *path)
{
    if (strcmp(path, "-") == 0) {
        r->fd = STDIN_FILENO;
        return ST_OK;
    }
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (r->fd >= 0)
        return ST_OK;
    return status_fail(errno == ENOENT ? ST_NOTFOUND : ST_IO, "%s: %s", path,
                       strerror(errno));
}

/* What the chat template puts at a place. */
static status
append_around(run_input *in, const template *chat, template_place place)
{
    size_t n = 0;
    const int32_t *ids = template_ids(chat, place, &n);
    return n > 0 ? append(in, ids, n) : ST_OK;
}

static status
read_text(run_input *in, const char *path, const tokenizer *tok,
          const template *chat)
{
    tokenizer_scratch *scratch = NULL;
    reader *r = NULL;
    status st = ST_OK;

    TRY(mem_new(&r, 1, sizeof *r));
    r->fd = -1;
    TRY(open_text(r, path));
    if (tok == NULL)
        TRY(status_fail(ST_ARG, "the model has no tokenizer.json: only a "
                                "safetensors file with input_ids can be read"));
    int32_t bos = tokenizer_bos(tok);
    if (bos >= 0)
        TRY(append(in, &bos, 1));
    TRY(append_around(in, chat, TEMPLATE_DOCUMENT));
    uint64_t n_before = in->n_id;
    TRY(tokenizer_scratch_new(&scratch, tok));
    TRY(read_pieces(in, scratch, r, path));
    if (in->n_id == n_before)
        TRY(status_fail(ST_ARG, "%s: the document is empty", path));
fail:
    tokenizer_scratch_free(scratch);
    if (r != NULL && r->fd > STDIN_FILENO)
        close(r->fd);
    mem_free(r);
    return st;
}

/* ----------------------------------------------------------------- ids --- */

static status
check_tensor(const safetensors_tensor *t, const char *path)
{
    if (t == NULL)
        return status_fail(ST_ARG, "%s: there is no tensor input_ids", path);
    if ((t->type != SAFETENSORS_I32 && t->type != SAFETENSORS_I64) ||
        t->n_dim != 1)
        return status_fail(ST_ARG,
                           "%s: input_ids is not I32 or I64 of shape "
                           "[n]",
                           path);
    if (t->dim[0] == 0)
        return status_fail(ST_ARG, "%s: the document is empty", path);
    return ST_OK;
}

/* Ids from `first` on, at most MAP_PIECE of them; *n_all: how many there are.
 */
static status
read_map(run_input *in, const char *path, size_t first, size_t *n_all)
{
    safetensors *file = NULL;
    status st = ST_OK;

    TRY(safetensors_open(&file, path));
    const safetensors_tensor *t = safetensors_find(file, "input_ids");
    TRY(check_tensor(t, path));
    if (first > t->dim[0])
        TRY(status_fail(ST_IO, "%s changed while it was read", path));
    size_t n = t->dim[0] - first < MAP_PIECE ? t->dim[0] - first : MAP_PIECE;
    TRY(reserve(in, n));
    TRY(safetensors_read_i32(t, in->ids + in->n_id, first, n));
    TRY(take(in, n));
    *n_all = t->dim[0];
fail:
    safetensors_close(file);
    return st;
}

static status
read_ids(run_input *in, const char *path)
{
    size_t n_all = 0;
    status st = ST_OK;
    do {
        TRY(read_map(in, path, in->n_id, &n_all));
    } while (in->n_id < n_all);
fail:
    return st;
}

/* A safetensors file by name, or by its first bytes: the length of a header
 * below 2^32, then an object. */
static bool
holds_tensors(const char *path)
{
    static const char suffix[] = ".safetensors";
    size_t len = strlen(path), n = sizeof suffix - 1;
    char head[9] = {0};
    struct stat info;

    if (len > n && strcmp(path + len - n, suffix) == 0)
        return true;
    if (strcmp(path, "-") == 0)
        return false;
    /* A pipe is not even opened: who writes to it would lose its reader. */
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return false;
    ssize_t got = pread(fd, head, sizeof head, 0);
    close(fd);
    return got == (ssize_t)sizeof head && memcmp(head + 4, "\0\0\0\0{", 5) == 0;
}

/* ------------------------------------------------------------ question --- */

static status
add_question(run_input *in, const char *text, const tokenizer *tok,
             const template *chat)
{
    tokenizer_scratch *scratch = NULL;
    const int32_t *ids = NULL;
    size_t n = 0;
    status st = ST_OK;

    if (tok == NULL)
        TRY(status_fail(ST_ARG, "--question needs tokenizer.json"));
    if (utf8_check(text, strlen(text)) != ST_OK)
        TRY(status_fail(ST_ARG, "the question is not UTF-8: byte %zu",
                        bad_place(text, strlen(text))));
    TRY(append_around(in, chat, TEMPLATE_QUESTION));
    TRY(tokenizer_scratch_new(&scratch, tok));
    TRY(tokenizer_encode(scratch, &ids, &n, text, strlen(text),
                         template_flags(chat)));
    TRY(append(in, ids, n));
    TRY(append_around(in, chat, TEMPLATE_ANSWER));
fail:
    tokenizer_scratch_free(scratch);
    return st;
}

status
run_input_init(run_input *in, const char *path, const char *question,
               const tokenizer *tok, const template *chat, uint32_t n_vocab)
{
    status st = ST_OK;

    *in = (run_input){.n_vocab = n_vocab};
    TRY(holds_tensors(path) ? read_ids(in, path)
                            : read_text(in, path, tok, chat));
    if (question != NULL)
        TRY(add_question(in, question, tok, chat));
    return ST_OK;
fail:
    run_input_fini(in);
    return st;
}

void
run_input_fini(run_input *in)
{
    mem_free(in->ids);
    *in = (run_input){0};
}
