/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of a file, and its text again, for scripts that compare them with another
 * library's and time both.
 *
 * usage: tokenize TOKENIZER.json TEXT [--arrive N] [--repeat N] [--ids FILE]
 *                 [--text FILE]
 *
 * Prints one JSON object: ids, and the CPU seconds of the fastest repeat.
 * --arrive: the text comes in pieces of N bytes and is cut, as the programs
 * do it, instead of being encoded as a whole.  --ids: writes int32 numbers;
 * --text: what they are as an answer. */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "base/mem.h"
#include "model/tokenizer.h"

typedef struct job {
    const char *tokenizer, *text_path, *ids_path, *answer_path;
    size_t arrive, repeat;
    tokenizer *tok;
    tokenizer_scratch *scratch;
    char *text;
    size_t len;
    int32_t *ids; /* one a byte and one more is room enough */
    size_t n;
} job;

static status
read_arguments(job *j, int argc, char **argv)
{
    struct {
        const char *name;
        const char **text;
        size_t *number;
    } const flags[] = {{"--arrive", NULL, &j->arrive},
                       {"--repeat", NULL, &j->repeat},
                       {"--ids", &j->ids_path, NULL},
                       {"--text", &j->answer_path, NULL}};

    if (argc < 3 || argc % 2 == 0)
        return status_fail(ST_ARG, "usage: see the head of tokenize.c");
    j->tokenizer = argv[1];
    j->text_path = argv[2];
    for (int i = 3; i < argc; i += 2) {
        size_t k = 0;

        while (k < 4 && strcmp(argv[i], flags[k].name) != 0)
            k++;
        if (k == 4)
            return status_fail(ST_ARG, "unknown flag %s", argv[i]);
        if (flags[k].text != NULL)
            *flags[k].text = argv[i + 1];
        else
            *flags[k].number = strtoull(argv[i + 1], NULL, 10);
    }
    return ST_OK;
}

static status
add(job *j, size_t from, size_t len)
{
    const int32_t *ids;
    size_t n;
    status st;

    TRY(tokenizer_encode(j->scratch, &ids, &n, j->text + from, len,
                         from > 0 ? TOKENIZER_GOES_ON : 0));
    memcpy(j->ids + j->n, ids, n * sizeof(*ids));
    j->n += n;

fail:
    return st;
}

static status
encode_pieces(job *j)
{
    size_t from = 0;
    size_t here = 0;
    status st;

    while (from < j->len) {
        size_t cut;

        TRY(tokenizer_cut(j->scratch, &cut, j->text + from, here,
                          TOKENIZER_PIECE, from > 0 ? TOKENIZER_GOES_ON : 0));
        if (cut == 0 && from + here < j->len) {
            here += j->arrive;
            here = here < TOKENIZER_PIECE ? here : TOKENIZER_PIECE;
            here = here < j->len - from ? here : j->len - from;
            continue;
        }
        cut = cut > 0 ? cut : here;
        TRY(add(j, from, cut));
        from += cut;
        here -= cut;
    }
    return ST_OK;

fail:
    return st;
}

static status
encode(job *j, double *seconds)
{
    double best = 0;
    status st;

    for (size_t i = 0; i < j->repeat; i++) {
        clock_t start = clock();
        double took;

        j->n = 0;
        if (j->arrive > 0)
            TRY(encode_pieces(j));
        else
            TRY(add(j, 0, j->len));
        took = (double)(clock() - start) / CLOCKS_PER_SEC;
        best = i == 0 || took < best ? took : best;
    }
    *seconds = best;
    return ST_OK;

fail:
    return st;
}

static status
write_ids(const job *j)
{
    FILE *file = fopen(j->ids_path, "wb");

    if (file == NULL)
        return status_fail(ST_IO, "cannot write %s", j->ids_path);
    (void)fwrite(j->ids, sizeof(*j->ids), j->n, file);
    return fclose(file) == 0 ? ST_OK : status_fail(ST_IO, "%s", j->ids_path);
}

static status
write_answer(const job *j)
{
    tokenizer_stream *s = NULL;
    FILE *file = fopen(j->answer_path, "wb");
    const char *text;
    size_t len;
    bool stopped;
    status st;

    if (file == NULL)
        return status_fail(ST_IO, "cannot write %s", j->answer_path);
    TRY(tokenizer_stream_new(&s, j->tok, NULL, 0));
    for (size_t i = 0; i < j->n; i++) {
        TRY(tokenizer_stream_push(s, j->ids[i], &text, &len, &stopped));
        (void)fwrite(text, 1, len, file);
    }
    TRY(tokenizer_stream_finish(s, &text, &len));
    (void)fwrite(text, 1, len, file);

fail:
    tokenizer_stream_free(s);
    return fclose(file) == 0 ? st : status_fail(ST_IO, "%s", j->answer_path);
}

static status
run(job *j)
{
    char *file = NULL;
    double seconds;
    size_t len;
    status st;

    TRY(file_read(&file, &len, j->tokenizer, 64 << 20));
    TRY(tokenizer_parse(&j->tok, file, len, j->tokenizer));
    TRY(tokenizer_scratch_new(&j->scratch, j->tok));
    TRY(file_read(&j->text, &j->len, j->text_path, 1 << 30));
    TRY(mem_new(&j->ids, j->len + 1, sizeof(*j->ids)));
    TRY(encode(j, &seconds));
    (void)printf("{\"ids\": %zu, \"bytes\": %zu, \"seconds\": %.6f}\n", j->n,
                 j->len, seconds);
    if (j->ids_path != NULL)
        TRY(write_ids(j));
    if (j->answer_path != NULL)
        TRY(write_answer(j));

fail:
    mem_free(file);
    return st;
}

int
main(int argc, char **argv)
{
    job j = {.repeat = 1};
    status st = read_arguments(&j, argc, argv);

    if (st == ST_OK)
        st = run(&j);
    if (st != ST_OK)
        (void)fprintf(stderr, "tokenize: %s\n", status_text());
    mem_free(j.ids);
    mem_free(j.text);
    tokenizer_scratch_free(j.scratch);
    tokenizer_close(j.tok);
    return st == ST_OK ? 0 : 1;
}
