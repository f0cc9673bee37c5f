/* engines.h - the rows of the list in engine.c, one file each.  Private to src/engine. */
#ifndef ENGINE_ENGINES_H
#define ENGINE_ENGINES_H

#include "dgo_engine.h"

extern const struct dgo_engine dgo_llama_cpp, dgo_vllm, dgo_sglang, dgo_ollama, dgo_tabbyapi,
    dgo_ik_llama_cpp, dgo_koboldcpp, dgo_ktransformers, dgo_tensorrt_llm, dgo_tgi, dgo_transformers,
    dgo_lm_studio, dgo_llama_bench;

#endif
