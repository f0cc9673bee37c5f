/* engines.h - the list of engines: a row each, in the order in which they are shown.  Private to
 * src/engine. */
#ifndef ENGINE_ENGINES_H
#define ENGINE_ENGINES_H

#include "dgo_engine.h"

/* X(name): `const struct dgo_engine dgo_<name>` stands in a file of its own. */
#define ENGINES(X)                                                                                 \
    X(llama_cpp)                                                                                   \
    X(vllm)                                                                                        \
    X(sglang)                                                                                      \
    X(ollama)                                                                                      \
    X(tabbyapi)                                                                                    \
    X(ik_llama_cpp)                                                                                \
    X(koboldcpp)                                                                                   \
    X(ktransformers)                                                                               \
    X(tensorrt_llm)                                                                                \
    X(tgi)                                                                                         \
    X(transformers)                                                                                \
    X(lm_studio)                                                                                   \
    X(lmdeploy)                                                                                    \
    X(llama_bench)

#define ENGINE_DECLARATION(name) extern const struct dgo_engine dgo_##name;
ENGINES(ENGINE_DECLARATION)

#endif
