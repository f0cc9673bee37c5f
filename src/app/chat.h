/* chat.h - one chat message to an OpenAI-compatible engine on this machine.  Blocks: BLOCKING lane.
 */
#ifndef CHAT_H
#define CHAT_H

#include "dgo_base.h"

enum { CHAT_ANSWER_MAX = 16384 };

struct chat_answer {
    char
        text[CHAT_ANSWER_MAX]; /* escaped line by line: printable, newlines kept; cut when longer */
    uint32_t prompt_tokens, generated_tokens; /* 0: the engine did not say */
};

/* POST /v1/chat/completions with one user message, at most `tokens_max` tokens back.  Fails with
 * DGO_EIO when nobody answers, DGO_ECHILD when the engine answers with an error (its words are in
 * the sentence), DGO_EFORMAT when the answer is no chat completion, DGO_ETIMEOUT. */
DGO_MUST_CHECK
enum dgo_status chat_ask(const char *host, uint16_t port, const char *message, uint32_t tokens_max,
                         uint64_t timeout_ns, struct chat_answer *answer, struct dgo_error *err);

#endif
