/* print_tokens.c - the tokens of a file, as llama-tokenize --ids prints them.
 *
 * usage: print_tokens MODEL FILE [inside|plain]     inside: neither begin nor end; plain: no
 * special tokens either */
#include "dgo_token.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size;

    if (!file)
        return NULL;
    if (fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0) {
        rewind(file);
        text = malloc((size_t)size + 1);
        *length = text ? fread(text, 1, (size_t)size, file) : 0;
    }
    fclose(file);
    return text;
}

int main(int argc, char **argv)
{
    const bool plain = argc > 3 && strcmp(argv[3], "plain") == 0;
    const struct dgo_tokenize_options options = {.add_special = argc <= 3, .parse_special = !plain};
    struct dgo_vocab *vocab = NULL;
    struct dgo_tokenizer *tokenizer = NULL;
    struct dgo_error err = {0};
    const uint32_t *tokens;
    size_t count, length = 0;
    char *text = argc > 2 ? read_file(argv[2], &length) : NULL;

    if (!text) {
        fprintf(stderr, "usage: print_tokens MODEL FILE [plain]\n");
        return 2;
    }
    if (dgo_vocab_open(argv[1], &vocab, &err) != DGO_OK ||
        dgo_tokenizer_new(vocab, &tokenizer, &err) != DGO_OK ||
        dgo_tokenize(tokenizer, text, length, &options, &tokens, &count, &err) != DGO_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    printf("[");
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRIu32, i ? ", " : "", tokens[i]);
    printf("]\n");
    dgo_tokenizer_free(tokenizer);
    dgo_vocab_close(vocab);
    free(text);
    return 0;
}
