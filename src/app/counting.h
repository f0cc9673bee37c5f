/* counting.h - what counts the tokens of request files: the vocabulary of a model, or a running
 * engine's /tokenize.  Private to app and the faces. */
#ifndef COUNTING_H
#define COUNTING_H

#include "dgo_token.h"
#include "requests.h"

struct counting_slot {
    struct dgo_tokenizer *tokenizer; /* NULL: the engine is asked */
    const struct counting *counting;
};

struct counting {
    struct dgo_vocab *vocab;
    char url[512]; /* of the engine's /tokenize; "": the vocabulary counts */
    bool exact;    /* as the engine counts */
    char name[96]; /* of the tokenizer, "gpt2/llama-bpe", or "the engine at ..." */
    uint32_t slot_count;
    struct counting_slot slot[REQUESTS_BLOCKS_MAX];
    struct dgo_trace_counter counter[REQUESTS_BLOCKS_MAX]; /* for requests_question */
};

/* With the model's own vocabulary; `slots` blocks are counted at once. */
DGO_MUST_CHECK
enum dgo_status counting_open_model(const char *path, uint32_t slots, struct counting *counting,
                                    struct dgo_error *err);
/* With an engine that listens at `url` ("http://127.0.0.1:8080"); asks it once. */
DGO_MUST_CHECK
enum dgo_status counting_open_engine(const char *url, struct counting *counting,
                                     struct dgo_error *err);
void counting_close(struct counting *counting); /* accepts a zeroed one */

#endif
