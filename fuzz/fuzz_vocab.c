/* fuzz_vocab.c - any bytes as a vocabulary, and any bytes as a text for it: the first two bytes say
 * how long the text at the end is. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "dgo_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length);

static void use(const struct dgo_vocab *vocab, const char *text, size_t length)
{
    struct dgo_tokenizer *tokenizer = NULL;
    const uint32_t *tokens;
    size_t count;

    if (dgo_tokenizer_new(vocab, &tokenizer, NULL) != DGO_OK)
        return;
    for (unsigned how = 0; how < 4; how++) {
        const struct dgo_tokenize_options options = {.add_special = how & 1,
                                                     .parse_special = how >> 1};

        if (dgo_tokenize(tokenizer, text, length, &options, &tokens, &count, NULL) != DGO_OK)
            continue;
        for (size_t i = 0; i < count; i++)
            if (tokens[i] >= dgo_vocab_size(vocab))
                abort();
    }
    dgo_tokenizer_free(tokenizer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t length)
{
    struct dgo_vocab *vocab = NULL;
    struct dgo_error err = {0};
    size_t text_length;
    uint8_t *copy;

    if (length < 3)
        return 0;
    text_length = (size_t)(data[0] | data[1] << 8) % (length - 1);
    length -= 2 + text_length > length ? length : 2 + text_length;
    copy = malloc(length + 1);
    if (!copy)
        return 0;
    memcpy(copy, data + 2, length);
    if (dgo_vocab_parse(copy, length, &vocab, &err) == DGO_OK) {
        use(vocab, (const char *)data + 2 + length, text_length);
        dgo_vocab_close(vocab);
    } else if (err.status == DGO_OK || err.text[0] == '\0') {
        abort();
    }
    free(copy);
    return 0;
}
