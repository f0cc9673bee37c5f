/* chat.h - one chat message to an OpenAI-compatible engine on this machine.
 *
 * Blocks, so it belongs on the BLOCKING lane; ends within a second or so when its job is cancelled
 * or the resource manager stops. */
#ifndef CHAT_H
#define CHAT_H

#include "dgo_base.h"

enum { CHAT_ANSWER_MAX = 16384 };

struct chat_answer {
    /* Escaped line by line: printable, newlines kept; cut when longer. */
    char text[CHAT_ANSWER_MAX];
    uint32_t prompt_tokens, generated_tokens; /* 0: the engine did not say */
};

/* POST /v1/chat/completions with one user message, at most `tokens_max` tokens back.  Fails with
 * DGO_EIO when nobody answers, DGO_ECHILD when the engine answers with an error (its words are in
 * the sentence), DGO_EFORMAT when the answer is no chat completion, DGO_ETIMEOUT, DGO_ECANCELLED,
 * DGO_EINVAL when the message is no text. */
DGO_MUST_CHECK
enum dgo_status chat_ask(const char *host, uint16_t port, const char *message, uint32_t tokens_max,
                         uint64_t timeout_ns, struct chat_answer *answer, struct dgo_error *err);

#endif
