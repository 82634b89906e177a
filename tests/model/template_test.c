/* SPDX-License-Identifier: Apache-2.0 */
/* Chat templates of the published shapes are recognised, and what stands
 * around a document and a question reads as they write it. */
#include "model/template.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "tests/expect.h"

static char dir[] = "/tmp/longwave-template-XXXXXX";

static void
put_file(const char *name, const char *text)
{
    char *path = NULL;
    EXPECT_OK(file_join(&path, dir, name));
    if (text != NULL)
        EXPECT_OK(file_write(path, text, strlen(text)));
    else
        EXPECT_OK(file_remove(path));
    mem_free(path);
}

/* A family's tokenizer with more added tokens. */
static tokenizer *
with_tokens(const char *name, const char *const tokens[4])
{
    static const char at[] = "\"added_tokens\":";
    char path[64], more[1024] = "";
    char *text = NULL, *all = NULL;
    size_t len = 0, n = 0;
    tokenizer *tok = NULL;
    (void)snprintf(path, sizeof path, "model/data/%s.json", name);
    EXPECT_OK(file_read(&text, &len, path, (size_t)1 << 22));
    for (size_t i = 0; i < 4 && tokens[i] != NULL; i++)
        n += (size_t)snprintf(
            more + n, sizeof more - n,
            "{\"id\":%zu,\"content\":\"%s\",\"single_word\":false,"
            "\"lstrip\":false,\"rstrip\":false,\"normalized\":false,"
            "\"special\":true},",
            5000 + i, tokens[i]);
    char *list = strstr(text, at);
    assert_non_null(list);
    list = strchr(list, '[');
    assert_non_null(list);
    size_t head = (size_t)(list + 1 - text);
    EXPECT_OK(mem_new(&all, len + n + 1, 1));
    (void)snprintf(all, len + n + 1, "%.*s%s%s", (int)head, text, more,
                   text + head);
    EXPECT_OK(tokenizer_parse(&tok, all, strlen(all), path));
    mem_free(all);
    mem_free(text);
    return tok;
}

static size_t
spell(char *out, const tokenizer *tok, const int32_t *ids, size_t n)
{
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const char *text = NULL;
        size_t len = 0;
        tokenizer_piece(tok, ids[i], true, &text, &len);
        memcpy(out + at, text, len);
        at += len;
    }
    out[at] = '\0';
    return at;
}

/* What one run over "DOC" and "ASK" reads. */
static void
expect_text(const template *t, const tokenizer *tok, const char *want)
{
    tokenizer_scratch *scratch = NULL;
    char text[8192];
    size_t at = 0;
    EXPECT_OK(tokenizer_scratch_new(&scratch, tok));
    for (int place = 0; place < TEMPLATE_N_PLACE; place++) {
        const int32_t *ids = NULL;
        size_t n = 0;
        ids = template_ids(t, (template_place)place, &n);
        at += spell(text + at, tok, ids, n);
        if (place == TEMPLATE_ANSWER)
            break;
        EXPECT_OK(tokenizer_encode(
            scratch, &ids, &n, place == 0 ? "DOC" : "ASK", 3,
            place == TEMPLATE_QUESTION ? template_flags(t) : 0));
        at += spell(text + at, tok, ids, n);
    }
    assert_string_equal(text, want);
    tokenizer_scratch_free(scratch);
}

/* The marks by which each template is told, in the way its file has them; and
 * what it makes of one message. */
static void
published_shapes(void **state)
{
    (void)state;
    static const char *const llama3[4] = {"<|start_header_id|>",
                                          "<|end_header_id|>", "<|eot_id|>"};
    static const char *const chatml[4] = {"<|im_start|>", "<|im_end|>"};
    static const char *const none[4] = {NULL};
    static const struct {
        const char *name, *tokenizer;
        const char *const *tokens;
        const char *source, *want;
    } cases[] = {
        {"llama3", "llama3", llama3,
         "{% set c = '<|start_header_id|>' + m['role'] + '<|end_header_id|>"
         "\\n\\n'+ m['content'] | trim + '<|eot_id|>' %}",
         "<|start_header_id|>user<|end_header_id|>\n\nDOC\n\nASK<|eot_id|>"
         "<|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"llama3", "llama3", llama3,
         "{{- \\\"<|start_header_id|>system<|end_header_id|>\\\\n\\\\n\\\" }}"
         "{{- \\\"Cutting Knowledge Date: December 2023\\\\n\\\" }}<|eot_id|>",
         "<|start_header_id|>system<|end_header_id|>\n\n"
         "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"
         "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nDOC\n\nASK"
         "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"},
        {"chatml", "qwen2", chatml,
         "{%- if tools %}{{- '<|im_start|>system\\\\n' }}{%- else %}"
         "{{- '<|im_start|>system\\\\nYou are kind.<|im_end|>\\\\n' }}",
         "<|im_start|>system\nYou are kind.<|im_end|>\n<|im_start|>user\n"
         "DOC\n\nASK<|im_end|>\n<|im_start|>assistant\n"},
        {"chatml", "smollm", chatml,
         "{{ '<|im_start|>system\\nYou are small.<|im_end|>\\n' }}",
         "<|im_start|>system\nYou are small.<|im_end|>\n<|im_start|>user\n"
         "DOC\n\nASK<|im_end|>\n<|im_start|>assistant\n"},
        {"chatml", "qwen2", chatml,
         "{{- '<|im_start|>system\\\\n' + m.content + '<|im_end|>\\\\n' }}",
         "<|im_start|>user\nDOC\n\nASK<|im_end|>\n<|im_start|>assistant\n"},
        {"llama2", "llama2", none,
         "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}",
         " [INST] DOC\n\nASK [/INST]"},
        {"llama2", "llama2", none, "{{ '[INST] ' + content + '[/INST]' }}",
         " [INST] DOC\n\nASK[/INST]"},
    };
    char config[2048];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        template *t = NULL;
        tokenizer *tok = with_tokens(cases[i].tokenizer, cases[i].tokens);
        (void)snprintf(config, sizeof config,
                       i % 2 == 0
                           ? "{\"chat_template\":\"%s\"}"
                           : "{\"chat_template\":[{\"name\":\"tool_use\","
                             "\"template\":\"\"},{\"name\":\"default\","
                             "\"template\":\"%s\"}]}",
                       cases[i].source);
        put_file("tokenizer_config.json", config);
        EXPECT_OK(template_open(&t, "auto", dir, tok));
        assert_string_equal(template_name(t), cases[i].name);
        expect_text(t, tok, cases[i].want);
        template_close(t);
        EXPECT_OK(template_open(&t, "plain", dir, tok));
        assert_string_equal(template_name(t), "plain");
        assert_int_equal(template_flags(t), 0);
        template_close(t);
        tokenizer_close(tok);
    }
    put_file("tokenizer_config.json", NULL);
}

static void
expect_refused(const tokenizer *tok, const char *how, status code,
               const char *says)
{
    template *t = NULL;
    EXPECT_ST(template_open(&t, how, dir, tok), code);
    assert_null(t);
    if (strstr(status_text(), says) == NULL)
        fail_msg("\"%s\" without \"%s\"", status_text(), says);
}

static void
from_the_model(void **state)
{
    (void)state;
    static const char *const none[4] = {NULL};
    tokenizer *tok = with_tokens("gpt2", none);
    template *t = NULL;
    EXPECT_OK(template_open(&t, "auto", dir, tok)); /* no file: plain */
    assert_string_equal(template_name(t), "plain");
    template_close(t);
    put_file("tokenizer_config.json", "{\"model_max_length\":1024}");
    EXPECT_OK(template_open(&t, "auto", dir, tok));
    assert_string_equal(template_name(t), "plain");
    template_close(t);
    put_file("chat_template.jinja", "{{ '[INST] ' + c + ' [/INST]' }}");
    EXPECT_OK(template_open(&t, "auto", dir, tok));
    assert_string_equal(template_name(t), "llama2");
    template_close(t);
    put_file("chat_template.jinja", "{{ '<start_of_turn>' }}");
    expect_refused(tok, "auto", ST_UNSUPPORTED, "none of the shapes");
    put_file("chat_template.jinja", "<|im_start|>user<|im_end|>");
    expect_refused(tok, "auto", ST_ARG, "<|im_start|>");
    put_file("chat_template.jinja", NULL);
    put_file(
        "tokenizer_config.json",
        "{\"chat_template\":\"<|im_start|>system\\\\nA\\\\nB<|im_end|>\"}");
    expect_refused(tok, "auto", ST_UNSUPPORTED, "escapes");
    put_file("tokenizer_config.json", "{");
    expect_refused(tok, "auto", ST_ARG, "tokenizer_config.json");
    put_file("tokenizer_config.json", NULL);
    tokenizer_close(tok);
}

static void
from_a_file(void **state)
{
    (void)state;
    static const char *const bad[] = {"{document}", "{question}{document}",
                                      "{document}{question}{question}",
                                      "{document}{document}{question}", ""};
    static const char *const marks[4] = {"<turn>"};
    tokenizer *tok = with_tokens("gpt2", marks);
    template *t = NULL;
    char path[128];
    const int32_t *ids = NULL;
    size_t n = 0;
    (void)snprintf(path, sizeof path, "%s/mine", dir);
    put_file("mine", "<turn>A: {document}\nB: {question}\n<turn>\n");
    EXPECT_OK(template_open(&t, path, dir, tok));
    assert_string_equal(template_name(t), "file");
    expect_text(t, tok, "<turn>A: DOC\nB: ASK\n<turn>");
    ids = template_ids(t, TEMPLATE_DOCUMENT, &n);
    assert_true(n > 0 && ids[0] == 5000); /* a token, not its letters */
    template_close(t);
    put_file("mine", "{document}{question}");
    EXPECT_OK(template_open(&t, path, dir, tok));
    expect_text(t, tok, "DOCASK");
    template_close(t);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_file("mine", bad[i]);
        expect_refused(tok, path, ST_ARG, "{document} and then {question}");
    }
    put_file("mine", "{document}{question}");
    expect_refused(NULL, path, ST_ARG, "tokenizer.json");
    put_file("mine", NULL);
    expect_refused(tok, path, ST_NOTFOUND, "mine");
    EXPECT_OK(template_open(&t, "auto", dir, NULL)); /* ids alone */
    template_close(t);
    tokenizer_close(tok);
}

static int
setup(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(dir));
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_shapes),
        cmocka_unit_test(from_the_model),
        cmocka_unit_test(from_a_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
