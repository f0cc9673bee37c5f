#!/usr/bin/env python3
"""Makes model folders as engines of PyTorch read them: config.json, an index, safetensors files with
true shapes and no weights (the data is a hole in the file).  The specs are those of make-model.py, so
the same model can be had as GGUF too.

    make-hf-model.py llama-3.1-8b DIR                      BF16
    make-hf-model.py llama-3.1-8b DIR --quant awq          awq, gptq, fp8, compressed-tensors, bnb4, mxfp4, exl3
    make-hf-model.py qwen3-30b-a3b DIR --files 4

Python 3 standard library only.  The same arguments give the same bytes.
"""
import argparse
import importlib.util
import json
import pathlib
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent


def gguf_maker():
    spec = importlib.util.spec_from_file_location("make_model", HERE / "make-model.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_model"] = module
    sys.dont_write_bytecode = True
    spec.loader.exec_module(module)
    return module


DTYPE_BYTES = {"BF16": 2, "F16": 2, "F32": 4, "I32": 4, "U8": 1, "I16": 2, "F8_E4M3": 1}

# (model_type, class) of a spec's architecture; llama with experts is Mixtral.
FAMILIES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "mixtral": ("mixtral", "MixtralForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "qwen3moe": ("qwen3_moe", "Qwen3MoeForCausalLM"),
    "deepseek2": ("deepseek_v3", "DeepseekV3ForCausalLM"),
}

QUANTIZATION = {
    "none": None,
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemm", "zero_point": True},
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "compressed-tensors": {
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": {"num_bits": 4, "group_size": 128, "type": "int"}}}},
    "bnb4": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]},
    "exl3": {"quant_method": "exl3", "version": "0.0.6", "bits": 4.0, "head_bits": 6},
}


def family(spec):
    return "mixtral" if spec.architecture == "llama" and spec.experts else spec.architecture


def config_of(spec, quant):
    model_type, model_class = FAMILIES[family(spec)]
    config = {
        "architectures": [model_class], "model_type": model_type, "torch_dtype": "bfloat16",
        "hidden_size": spec.width, "num_hidden_layers": spec.layers, "num_attention_heads": spec.heads,
        "num_key_value_heads": spec.heads if spec.kv_rank else spec.kv_heads,
        "intermediate_size": spec.feed_forward, "vocab_size": spec.vocabulary,
        "max_position_embeddings": spec.context, "rope_theta": spec.rope_base,
        "tie_word_embeddings": spec.tied, "rms_norm_eps": 1e-05, "hidden_act": "silu",
    }
    if not spec.kv_rank:
        config["head_dim"] = spec.head_size
    else:
        config.update({"kv_lora_rank": spec.kv_rank, "q_lora_rank": spec.query_rank, "qk_rope_head_dim": spec.rope_size,
                       "qk_nope_head_dim": spec.head_size - spec.rope_size, "v_head_dim": spec.value_size,
                       "first_k_dense_replace": spec.dense_layers, "n_shared_experts": 1})
    if spec.experts:
        name = {"mixtral": "num_local_experts", "qwen3moe": "num_experts", "deepseek2": "n_routed_experts"}[family(spec)]
        config[name] = spec.experts
        config["num_experts_per_tok"] = spec.experts_used
        if spec.expert_feed_forward:
            config["moe_intermediate_size"] = spec.expert_feed_forward
    if QUANTIZATION[quant]:
        config["quantization_config"] = QUANTIZATION[quant]
    return config


# ---- tensors: (name, shape (rows, columns), kind) ----


def attention(prefix, spec):
    rows, kv_rows = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    if spec.kv_rank:
        plain = spec.head_size - spec.rope_size
        yield prefix + "q_a_proj.weight", (spec.query_rank, spec.width), "matrix"
        yield prefix + "q_a_layernorm.weight", (spec.query_rank,), "norm"
        yield prefix + "q_b_proj.weight", (rows, spec.query_rank), "matrix"
        yield prefix + "kv_a_proj_with_mqa.weight", (spec.kv_rank + spec.rope_size, spec.width), "matrix"
        yield prefix + "kv_a_layernorm.weight", (spec.kv_rank,), "norm"
        yield prefix + "kv_b_proj.weight", (spec.heads * (plain + spec.value_size), spec.kv_rank), "matrix"
        yield prefix + "o_proj.weight", (spec.width, spec.heads * spec.value_size), "matrix"
        return
    yield prefix + "q_proj.weight", (rows, spec.width), "matrix"
    yield prefix + "k_proj.weight", (kv_rows, spec.width), "matrix"
    yield prefix + "v_proj.weight", (kv_rows, spec.width), "matrix"
    yield prefix + "o_proj.weight", (spec.width, rows), "matrix"
    if spec.qk_norm:
        yield prefix + "q_norm.weight", (spec.head_size,), "norm"
        yield prefix + "k_norm.weight", (spec.head_size,), "norm"


def feed_forward(prefix, width, inner, names=("gate_proj", "up_proj", "down_proj")):
    yield f"{prefix}{names[0]}.weight", (inner, width), "matrix"
    yield f"{prefix}{names[1]}.weight", (inner, width), "matrix"
    yield f"{prefix}{names[2]}.weight", (width, inner), "matrix"


def layer_tensors(spec, layer):
    prefix = f"model.layers.{layer}."
    yield prefix + "input_layernorm.weight", (spec.width,), "norm"
    yield from attention(prefix + "self_attn.", spec)
    yield prefix + "post_attention_layernorm.weight", (spec.width,), "norm"
    if not spec.experts or layer < spec.dense_layers:
        yield from feed_forward(prefix + "mlp.", spec.width, spec.feed_forward)
        return
    block = prefix + ("block_sparse_moe." if family(spec) == "mixtral" else "mlp.")
    inner = spec.expert_feed_forward or spec.feed_forward
    yield block + "gate.weight", (spec.experts, spec.width), "router"
    if spec.kv_rank:
        yield block + "gate.e_score_correction_bias", (spec.experts,), "norm"
        yield from feed_forward(block + "shared_experts.", spec.width, inner)
    names = ("w1", "w3", "w2") if family(spec) == "mixtral" else ("gate_proj", "up_proj", "down_proj")
    for expert in range(spec.experts):
        yield from feed_forward(f"{block}experts.{expert}.", spec.width, inner, names)


def model_tensors(spec):
    yield "model.embed_tokens.weight", (spec.vocabulary, spec.width), "embedding"
    for layer in range(spec.layers):
        yield from layer_tensors(spec, layer)
    yield "model.norm.weight", (spec.width,), "norm"
    if not spec.tied:
        yield "lm_head.weight", (spec.vocabulary, spec.width), "head"


# ---- how each method stores a matrix: (suffix in place of ".weight", dtype, shape) ----


QUANT_STATE_BYTES = 183  # a piece of JSON: block size, types, shape


def stored(shape, kind, quant):
    if kind != "matrix" or quant == "none":
        return [(".weight", "BF16", shape)]
    rows, columns = shape
    if quant == "awq":
        return [(".qweight", "I32", (columns, rows // 8)), (".qzeros", "I32", (columns // 128, rows // 8)),
                (".scales", "F16", (columns // 128, rows))]
    if quant == "gptq":
        return [(".qweight", "I32", (columns // 8, rows)), (".qzeros", "I32", (columns // 128, rows // 8)),
                (".scales", "F16", (columns // 128, rows)), (".g_idx", "I32", (columns,))]
    if quant == "fp8":
        return [(".weight", "F8_E4M3", shape), (".weight_scale_inv", "F32", (-(-rows // 128), -(-columns // 128)))]
    if quant == "compressed-tensors":
        return [(".weight_packed", "I32", (rows, columns // 8)), (".weight_scale", "BF16", (rows, columns // 128)),
                (".weight_shape", "I32", (2,))]
    if quant == "bnb4":
        return [(".weight", "U8", (rows * columns // 2, 1)), (".weight.absmax", "U8", (rows * columns // 64,)),
                (".weight.nested_absmax", "F32", (-(-rows * columns // (64 * 256)),)),
                (".weight.nested_quant_map", "F32", (256,)), (".weight.quant_map", "F32", (16,)),
                (".weight.quant_state.bitsandbytes__nf4", "U8", (QUANT_STATE_BYTES,))]
    if quant == "mxfp4":
        return [("_blocks", "U8", (rows, columns // 32, 16)), ("_scales", "U8", (rows, columns // 32))]
    if quant == "exl3":
        return [(".trellis", "I16", (columns // 16, rows // 16, 64)), (".suh", "F16", (columns,)), (".svh", "F16", (rows,))]
    raise ValueError(quant)


def all_tensors(spec, quant):
    for name, shape, kind in model_tensors(spec):
        stem = name.removesuffix(".weight")
        for suffix, dtype, kept in stored(shape, kind, quant):
            yield (name if suffix == ".weight" else stem + suffix), dtype, kept


def size_of(dtype, shape):
    count = DTYPE_BYTES[dtype]
    for dimension in shape:
        count *= dimension
    return count


def write_file(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape in tensors:
        size = size_of(dtype, shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return offset


def main():
    maker = gguf_maker()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", choices=sorted(maker.SPECS))
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--quant", choices=sorted(QUANTIZATION), default="none")
    parser.add_argument("--files", type=int, default=1)
    arguments = parser.parse_args()
    spec, folder = maker.SPECS[arguments.spec], arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config_of(spec, arguments.quant), indent=2) + "\n")
    tensors = list(all_tensors(spec, arguments.quant))
    if arguments.files == 1:
        write_file(folder / "model.safetensors", tensors)
        return
    weight_map, total, each = {}, 0, -(-len(tensors) // arguments.files)
    for number in range(arguments.files):
        name = f"model-{number + 1:05d}-of-{arguments.files:05d}.safetensors"
        part = tensors[number * each:(number + 1) * each]
        total += write_file(folder / name, part)
        weight_map.update({tensor[0]: name for tensor in part})
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=2) + "\n")


main()
