#!/usr/bin/env python3
"""Makes GGUF models without anybody's weights: tiny random ones that really run in llama-server,
and full-size sparse ones (true shapes, true tokenizer size, the weights a hole in the file).

    make-model.py --list
    make-model.py tiny-llama tiny.gguf                  10 MB, answers chat completions (nonsense)
    make-model.py tiny-llama tiny.gguf --split 3        tiny-00001-of-00003.gguf and so on
    make-model.py deepseek-v3 big.gguf --sparse         671 B parameters in a few MB of disk

Python 3 standard library only.  The same arguments give the same bytes.
"""
import argparse
import os
import random
import struct
import sys
from collections import Counter
from dataclasses import dataclass, replace

import projectors
import projectors_newer  # noqa: F401  its types join the table
import projectors_sounds

ALIGNMENT = 32

# name: (type id, values in a block, bytes of a block)
TENSOR_TYPES = {
    "F32": (0, 1, 4),
    "F16": (1, 1, 2),
    "Q8_0": (8, 32, 34),
    "Q4_K": (12, 256, 144),
    "Q5_K": (13, 256, 176),
    "Q6_K": (14, 256, 210),
    "BF16": (30, 1, 2),
}

# --ftype: (general.file_type, the type of most matrices)
FILE_TYPES = {
    "F32": (0, "F32"),
    "F16": (1, "F16"),
    "BF16": (32, "BF16"),
    "Q8_0": (7, "Q8_0"),
    "Q4_K_M": (15, "Q4_K"),
    "Q6_K": (18, "Q6_K"),
}
FILE_TYPES_WITH_DATA = ("F32", "F16")


@dataclass
class Spec:
    """One model's shape, in the words of its GGUF keys."""

    architecture: str
    layers: int
    width: int
    feed_forward: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    rope_base: float
    tokenizer_pre: str = "gpt-2"
    tied: bool = False
    qk_norm: bool = False
    rope_table: bool = False  # rope_freqs.weight, as Llama 3.1 has it
    experts: int = 0
    experts_used: int = 0
    expert_feed_forward: int = 0
    # multi-head latent attention (DeepSeek)
    query_rank: int = 0
    kv_rank: int = 0
    rope_size: int = 0
    value_size: int = 0
    dense_layers: int = 0  # the first ones have no experts
    # gated delta nets: every interval-th layer attends to everything, the others keep a state
    interval: int = 0
    state_size: int = 0
    state_groups: int = 0
    state_heads: int = 0
    next_token_blocks: int = 0  # multi-token prediction, behind the last layer


CONVOLUTION = 4  # tokens that a delta net's convolution sees

SPECS = {
    "tiny-llama": Spec("llama", 8, 256, 512, 4, 2, 64, 512, 4096, 1e4),
    "tiny-llama-tied": Spec("llama", 8, 256, 512, 4, 2, 64, 512, 4096, 1e4, tied=True),
    "tiny-qwen3": Spec("qwen3", 8, 256, 512, 8, 2, 64, 512, 4096, 1e6, qk_norm=True),
    "tiny-mixtral": Spec("llama", 8, 256, 512, 4, 2, 64, 512, 4096, 1e4, experts=4, experts_used=2),
    "tiny-qwen35": Spec("qwen35", 8, 256, 512, 4, 2, 64, 512, 4096, 1e7, qk_norm=True, rope_size=64,
                        interval=4, state_size=32, state_groups=2, state_heads=4,
                        next_token_blocks=1),
    "tiny-qwen35-wide": Spec("qwen35", 8, 256, 2048, 4, 2, 64, 512, 4096, 1e7, qk_norm=True,
                             rope_size=64, interval=4, state_size=32, state_groups=2,
                             state_heads=4, next_token_blocks=1),
    "tiny-glm4moe": Spec("glm4moe", 6, 256, 512, 4, 1, 64, 512, 4096, 1e4, experts=4,
                         experts_used=2, expert_feed_forward=128, dense_layers=1,
                         next_token_blocks=1),
    "llama-3.2-1b": Spec("llama", 16, 2048, 8192, 32, 8, 64, 128256, 131072, 5e5, "llama-bpe",
                         tied=True, rope_table=True),
    "llama-3.1-8b": Spec("llama", 32, 4096, 14336, 32, 8, 128, 128256, 131072, 5e5, "llama-bpe",
                         rope_table=True),
    "llama-3.1-70b": Spec("llama", 80, 8192, 28672, 64, 8, 128, 128256, 131072, 5e5, "llama-bpe",
                          rope_table=True),
    "qwen3-32b": Spec("qwen3", 64, 5120, 25600, 64, 8, 128, 151936, 40960, 1e6, "qwen2",
                      qk_norm=True),
    "qwen3-30b-a3b": Spec("qwen3moe", 48, 2048, 6144, 32, 4, 128, 151936, 40960, 1e6, "qwen2",
                          qk_norm=True, experts=128, experts_used=8, expert_feed_forward=768),
    "deepseek-v3": Spec("deepseek2", 61, 7168, 18432, 128, 1, 192, 129280, 163840, 1e4,
                        "deepseek-v3", experts=256, experts_used=8, expert_feed_forward=2048,
                        query_rank=1536, kv_rank=512, rope_size=64, value_size=128, dense_layers=3),
    "qwen3.5-35b-a3b": Spec("qwen35moe", 40, 2048, 512, 16, 2, 256, 248320, 262144, 1e7, "qwen35",
                            qk_norm=True, experts=256, experts_used=8, expert_feed_forward=512,
                            rope_size=64, interval=4, state_size=128, state_groups=16,
                            state_heads=32),
    "qwen3-next-80b-a3b": Spec("qwen3next", 48, 2048, 512, 16, 2, 256, 151936, 262144, 1e7, "qwen2",
                               qk_norm=True, experts=512, experts_used=10, expert_feed_forward=512,
                               rope_size=64, interval=4, state_size=128, state_groups=16,
                               state_heads=32),
}


# --- metadata ------------------------------------------------------------------------------------


def text(value):
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def scalar(type_id, layout, value):
    return struct.pack("<I", type_id) + struct.pack(layout, value)


def u16(value):
    return scalar(2, "<H", value)


def u32(value):
    return scalar(4, "<I", value)


def i32(value):
    return scalar(5, "<i", value)


def f32(value):
    return scalar(6, "<f", value)


def boolean(value):
    return scalar(7, "<?", value)


def string(value):
    return struct.pack("<I", 8) + text(value)


def string_array(values):
    return struct.pack("<IIQ", 9, 8, len(values)) + b"".join(map(text, values))


def i32_array(values):
    return struct.pack("<IIQ%di" % len(values), 9, 5, len(values), *values)


def f32_array(values):
    return struct.pack("<IIQ%df" % len(values), 9, 6, len(values), *values)


def architecture_pairs(name, spec, file_type):
    prefix = spec.architecture + "."
    mla = spec.kv_rank > 0
    pairs = {
        "general.architecture": string(spec.architecture),
        "general.type": string("model"),
        "general.name": string(name),
        "general.file_type": u32(file_type),
        "general.quantization_version": u32(2),
        prefix + "block_count": u32(spec.layers + spec.next_token_blocks),
        prefix + "context_length": u32(spec.context),
        prefix + "embedding_length": u32(spec.width),
        prefix + "feed_forward_length": u32(spec.feed_forward),
        prefix + "attention.head_count": u32(spec.heads),
        prefix + "attention.head_count_kv": u32(spec.kv_heads),
        prefix + "attention.layer_norm_rms_epsilon": f32(1e-6 if mla or spec.qk_norm else 1e-5),
        prefix + "rope.freq_base": f32(spec.rope_base),
        prefix + "rope.dimension_count": u32(spec.rope_size or spec.head_size),
        prefix + "vocab_size": u32(spec.vocabulary),
    }
    if mla:
        pairs.update(latent_attention_pairs(prefix, spec))
    else:
        pairs[prefix + "attention.key_length"] = u32(spec.head_size)
        pairs[prefix + "attention.value_length"] = u32(spec.head_size)
    if spec.experts:
        pairs[prefix + "expert_count"] = u32(spec.experts)
        pairs[prefix + "expert_used_count"] = u32(spec.experts_used)
    if spec.expert_feed_forward:
        pairs[prefix + "expert_feed_forward_length"] = u32(spec.expert_feed_forward)
    if spec.interval:
        pairs.update(delta_net_pairs(prefix, spec))
    if spec.architecture == "glm4moe":
        pairs.update(shared_expert_pairs(prefix, spec))
    if spec.next_token_blocks:
        pairs[prefix + "nextn_predict_layers"] = u32(spec.next_token_blocks)
    return pairs


def delta_net_pairs(prefix, spec):
    return {
        prefix + "expert_shared_feed_forward_length": u32(spec.expert_feed_forward),
        prefix + "full_attention_interval": u32(spec.interval),
        prefix + "rope.dimension_sections": i32_array([11, 11, 10, 0]),
        prefix + "ssm.conv_kernel": u32(CONVOLUTION),
        prefix + "ssm.inner_size": u32(spec.state_size * spec.state_heads),
        prefix + "ssm.state_size": u32(spec.state_size),
        prefix + "ssm.time_step_rank": u32(spec.state_heads),
        prefix + "ssm.group_count": u32(spec.state_groups),
    }


def latent_attention_pairs(prefix, spec):
    """The cache holds one head of kv_rank + rope_size values; the _mla keys are the heads' own."""
    return {
        prefix + "attention.key_length": u32(spec.kv_rank + spec.rope_size),
        prefix + "attention.value_length": u32(spec.kv_rank),
        prefix + "attention.key_length_mla": u32(spec.head_size),
        prefix + "attention.value_length_mla": u32(spec.value_size),
        prefix + "attention.q_lora_rank": u32(spec.query_rank),
        prefix + "attention.kv_lora_rank": u32(spec.kv_rank),
    } | shared_expert_pairs(prefix, spec)


def shared_expert_pairs(prefix, spec):
    return {
        prefix + "leading_dense_block_count": u32(spec.dense_layers),
        prefix + "expert_shared_count": u32(1),
        prefix + "expert_weights_scale": f32(2.5),
        prefix + "expert_weights_norm": boolean(True),
        prefix + "expert_gating_func": u32(2),
    }


# --- tokenizer -----------------------------------------------------------------------------------

# A vocabulary is learned from this when it is small, so that text has words in it.
SAMPLE = """The model is split over the graphics cards of one machine, layer after layer, and each
card holds the weights, the cache and the buffers of its own layers. When the memory of a card is
not enough, the last layers move to the next one, or to the memory of the host, which is slower.
A plan says before the start how much every card will hold; the log of the engine says after the
start how much it does hold, and the two should be the same. What is left is the margin. The user
asks a question, the machine reads it, thinks about the answer, and writes one token after another
until it is done. There are many words that it could write, and it will choose one of them.
Random weights know nothing: what they say has no meaning, but it takes the same time and memory."""

CONTROL_TOKENS = ("<|begin|>", "<|end|>", "<|im_start|>", "<|im_end|>")
NORMAL, CONTROL = 1, 3

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_characters():
    """The character that byte-level BPE writes for each byte: itself where printable, else one
    from U+0100 on, in byte order."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    characters, next_code = [], 0x100
    for byte in range(256):
        characters.append(chr(byte if byte in printable else next_code))
        next_code += byte not in printable
    return characters


def learn_merges(sample, count):
    """Plain byte-pair encoding: join the most frequent neighbours, again and again."""
    characters = byte_characters()
    words = Counter(
        tuple(characters[byte] for byte in (" " + word).encode()) for word in sample.split())
    merges = []
    while len(merges) < count:
        pairs = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += times
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({join(word, best): times for word, times in words.items()})
    return merges


def join(word, pair):
    joined, i = [], 0
    while i < len(word):
        if word[i:i + 2] == pair:
            joined.append(word[i] + word[i + 1])
            i += 2
        else:
            joined.append(word[i])
            i += 1
    return tuple(joined)


def invent_merges(count, seed):
    """As many merges as a real tokenizer has: each joins two short tokens that exist already."""
    rng = random.Random(seed)
    short = [character for character in byte_characters() if character.isalpha()]
    known, merges = set(short), []
    while len(merges) < count:
        left, right = rng.choice(short), rng.choice(short)
        joined = left + right
        if joined in known:
            continue
        known.add(joined)
        merges.append((left, right))
        if len(joined) <= 6:
            short.append(joined)
    return merges


def tokenizer_pairs(spec):
    room = spec.vocabulary - 256 - len(CONTROL_TOKENS)
    merges = learn_merges(SAMPLE, room) if room < 1000 else []
    merges = merges or invent_merges(room, seed=1)
    tokens = byte_characters() + [left + right for left, right in merges]
    # A sample that is used up leaves places over; they stand before the control tokens.
    tokens += ["<|spare%d|>" % i for i in range(room - len(merges))]
    types = [NORMAL] * len(tokens) + [CONTROL] * len(CONTROL_TOKENS)
    tokens += CONTROL_TOKENS
    return {
        "tokenizer.ggml.model": string("gpt2"),
        "tokenizer.ggml.pre": string(spec.tokenizer_pre),
        "tokenizer.ggml.tokens": string_array(tokens),
        "tokenizer.ggml.token_type": i32_array(types),
        "tokenizer.ggml.merges": string_array([" ".join(pair) for pair in merges]),
        "tokenizer.ggml.bos_token_id": u32(tokens.index("<|begin|>")),
        "tokenizer.ggml.eos_token_id": u32(tokens.index("<|end|>")),
        "tokenizer.ggml.eot_token_id": u32(tokens.index("<|im_end|>")),
        "tokenizer.ggml.add_bos_token": boolean(False),
        "tokenizer.chat_template": string(CHAT_TEMPLATE),
    }


# --- tensors -------------------------------------------------------------------------------------


@dataclass
class Tensor:
    name: str
    shape: tuple  # the first is contiguous
    kind: str = "matrix"  # or "norm" (ones), "router" and "bias" (random, kept in F32)
    more_bits: bool = False  # worth Q6_K in a Q4_K_M file
    type: str = ""
    offset: int = 0  # in its shard's data

    def values(self):
        count = 1
        for dimension in self.shape:
            count *= dimension
        return count

    def bytes(self):
        _, block_values, block_bytes = TENSOR_TYPES[self.type]
        return self.values() // block_values * block_bytes


def attention_tensors(prefix, spec, more_bits):
    rows, kv_rows = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    gates = 2 if spec.interval else 1  # attention between delta nets has a gate for each query
    yield Tensor(prefix + "attn_q.weight", (spec.width, rows * gates))
    yield Tensor(prefix + "attn_k.weight", (spec.width, kv_rows))
    yield Tensor(prefix + "attn_v.weight", (spec.width, kv_rows), more_bits=more_bits)
    yield Tensor(prefix + "attn_output.weight", (rows, spec.width))
    if spec.qk_norm:
        yield Tensor(prefix + "attn_q_norm.weight", (spec.head_size,), "norm")
        yield Tensor(prefix + "attn_k_norm.weight", (spec.head_size,), "norm")


def latent_attention_tensors(prefix, spec):
    plain_size = spec.head_size - spec.rope_size
    yield Tensor(prefix + "attn_q_a.weight", (spec.width, spec.query_rank))
    yield Tensor(prefix + "attn_q_a_norm.weight", (spec.query_rank,), "norm")
    yield Tensor(prefix + "attn_q_b.weight", (spec.query_rank, spec.heads * spec.head_size))
    yield Tensor(prefix + "attn_kv_a_mqa.weight", (spec.width, spec.kv_rank + spec.rope_size))
    yield Tensor(prefix + "attn_kv_a_norm.weight", (spec.kv_rank,), "norm")
    yield Tensor(prefix + "attn_k_b.weight", (plain_size, spec.kv_rank, spec.heads))
    yield Tensor(prefix + "attn_v_b.weight", (spec.kv_rank, spec.value_size, spec.heads))
    yield Tensor(prefix + "attn_output.weight", (spec.heads * spec.value_size, spec.width))


def delta_net_tensors(prefix, spec):
    inner = spec.state_size * spec.state_heads
    mixed = inner + 2 * spec.state_size * spec.state_groups
    yield Tensor(prefix + "attn_qkv.weight", (spec.width, mixed))
    yield Tensor(prefix + "attn_gate.weight", (spec.width, inner))
    yield Tensor(prefix + "ssm_conv1d.weight", (CONVOLUTION, mixed), "bias")
    yield Tensor(prefix + "ssm_dt.bias", (spec.state_heads,), "bias")
    yield Tensor(prefix + "ssm_a", (spec.state_heads,), "bias")
    if spec.architecture == "qwen3next":
        yield Tensor(prefix + "ssm_ba.weight", (spec.width, 2 * spec.state_heads))
    else:
        yield Tensor(prefix + "ssm_beta.weight", (spec.width, spec.state_heads))
        yield Tensor(prefix + "ssm_alpha.weight", (spec.width, spec.state_heads))
    yield Tensor(prefix + "ssm_norm.weight", (spec.state_size,), "norm")
    yield Tensor(prefix + "ssm_out.weight", (inner, spec.width))


def dense_tensors(prefix, suffix, width, inner, more_bits):
    yield Tensor(prefix + "ffn_gate" + suffix, (width, inner))
    yield Tensor(prefix + "ffn_up" + suffix, (width, inner))
    yield Tensor(prefix + "ffn_down" + suffix, (inner, width), more_bits=more_bits)


def expert_tensors(prefix, spec, more_bits):
    inner = spec.expert_feed_forward or spec.feed_forward
    yield Tensor(prefix + "ffn_gate_inp.weight", (spec.width, spec.experts), "router")
    for tensor in dense_tensors(prefix, "_exps.weight", spec.width, inner, more_bits):
        tensor.shape += (spec.experts,)
        yield tensor
    if spec.interval:
        yield Tensor(prefix + "ffn_gate_inp_shexp.weight", (spec.width,), "router")
        yield from dense_tensors(prefix, "_shexp.weight", spec.width, inner, more_bits)
    if spec.kv_rank or spec.architecture == "glm4moe":
        yield Tensor(prefix + "exp_probs_b.bias", (spec.experts,), "bias")
        yield from dense_tensors(prefix, "_shexp.weight", spec.width, inner, more_bits)


def layer_tensors(spec, layer):
    prefix = "blk.%d." % layer
    # llama-quantize's rule for Q4_K_M: the first and last eighth, and every third between.
    eighth = spec.layers // 8
    more_bits = layer < eighth or layer >= 7 * eighth or (layer - eighth) % 3 == 2
    yield Tensor(prefix + "attn_norm.weight", (spec.width,), "norm")
    if spec.kv_rank:
        yield from latent_attention_tensors(prefix, spec)
    elif spec.interval and (layer + 1) % spec.interval and layer < spec.layers:
        yield from delta_net_tensors(prefix, spec)
    else:
        yield from attention_tensors(prefix, spec, more_bits)
    late = spec.interval or spec.architecture == "glm4moe"
    yield Tensor(prefix + ("post_attention_norm" if late else "ffn_norm") + ".weight",
                 (spec.width,), "norm")
    if spec.experts and layer >= spec.dense_layers:
        yield from expert_tensors(prefix, spec, more_bits)
    else:
        yield from dense_tensors(prefix, ".weight", spec.width, spec.feed_forward, more_bits)


def next_token_tensors(spec, layer):
    """A block like the last one, and what joins a token with the hidden state before it."""
    prefix = "blk.%d.nextn." % layer
    yield from layer_tensors(spec, layer)
    yield Tensor(prefix + "eh_proj.weight", (2 * spec.width, spec.width))
    for name in ("enorm", "hnorm", "shared_head_norm"):
        yield Tensor(prefix + name + ".weight", (spec.width,), "norm")


def model_tensors(spec):
    yield Tensor("token_embd.weight", (spec.width, spec.vocabulary))
    yield Tensor("output_norm.weight", (spec.width,), "norm")
    if not spec.tied:
        yield Tensor("output.weight", (spec.width, spec.vocabulary), more_bits=True)
    if spec.rope_table:
        yield Tensor("rope_freqs.weight", (spec.head_size // 2,), "norm")
    for layer in range(spec.layers):
        yield from layer_tensors(spec, layer)
    for block in range(spec.next_token_blocks):
        yield from next_token_tensors(spec, spec.layers + block)


def choose_type(tensor, matrix_type):
    """Norms, routers and biases stay F32; in a K-quant file the tensors worth it get Q6_K, and
    rows that do not fill blocks of 256 fall back to Q8_0, those not of 32 to F16."""
    if tensor.kind != "matrix" or len(tensor.shape) == 1:
        return "F32"
    chosen = "Q6_K" if matrix_type == "Q4_K" and tensor.more_bits else matrix_type
    for candidate in (chosen, "Q8_0", "F16"):
        if tensor.shape[0] % TENSOR_TYPES[candidate][1] == 0:
            return candidate
    raise AssertionError("F16 takes every row")


# --- the file ------------------------------------------------------------------------------------


def pad(size):
    return -size % ALIGNMENT


def header(pairs, tensors):
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(pairs))]
    for key, value in pairs.items():
        parts += (text(key), value)
    offset = 0
    for tensor in tensors:
        tensor.offset = offset
        offset += tensor.bytes()
        offset += pad(offset)
        dimensions = struct.pack("<I%dQ" % len(tensor.shape), len(tensor.shape), *tensor.shape)
        parts += (text(tensor.name), dimensions,
                  struct.pack("<IQ", TENSOR_TYPES[tensor.type][0], tensor.offset))
    data = b"".join(parts)
    return data + bytes(pad(len(data))), offset


class Weights:
    """Random values, drawn once and dealt out from changing starting points."""

    POOL_VALUES = 1 << 16

    def __init__(self, seed):
        self.rng = random.Random(seed)
        pool = [self.rng.gauss(0, 0.05) for _ in range(self.POOL_VALUES)]
        self.pools = {
            "F32": struct.pack("<%df" % len(pool), *pool),
            "F16": struct.pack("<%de" % len(pool), *pool),
        }

    def write(self, file, tensor):
        if tensor.kind == "norm":
            file.write(struct.pack("<f", 1.0) * tensor.values())
            return
        pool = self.pools[tensor.type]
        at = self.rng.randrange(self.POOL_VALUES) * TENSOR_TYPES[tensor.type][2]
        left = tensor.bytes()
        while left:
            part = pool[at:at + left]
            file.write(part)
            left -= len(part)
            at = 0


def write_file(path, pairs, tensors, weights):
    start, data_bytes = header(pairs, tensors)
    with open(path, "wb") as file:
        file.write(start)
        if weights:
            for tensor in tensors:
                file.seek(len(start) + tensor.offset)
                weights.write(file, tensor)
        file.truncate(len(start) + data_bytes)
    about = os.stat(path)
    print("%s: %d tensors, %d bytes (%d on disk)"
          % (path, len(tensors), about.st_size, about.st_blocks * 512))


def write_split(path, pairs, tensors, weights, count):
    """As llama-gguf-split does: the metadata in the first part, the tensors dealt out in order."""
    stem = path[:-len(".gguf")] if path.endswith(".gguf") else path
    for number in range(count):
        part_pairs = dict(pairs) if number == 0 else {}
        part_pairs["split.no"] = u16(number)
        part_pairs["split.count"] = u16(count)
        part_pairs["split.tensors.count"] = i32(len(tensors))
        begin, end = (len(tensors) * n // count for n in (number, number + 1))
        write_file("%s-%05d-of-%05d.gguf" % (stem, number + 1, count), part_pairs,
                   tensors[begin:end], weights)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("spec", nargs="?", choices=SPECS, metavar="SPEC")
    parser.add_argument("out", nargs="?", metavar="OUT")
    parser.add_argument("--list", action="store_true", help="show the models and stop")
    parser.add_argument("--sparse", action="store_true", help="leave the weights a hole")
    parser.add_argument("--ftype", choices=FILE_TYPES,
                        help="default: F16, and Q4_K_M with --sparse")
    parser.add_argument("--adapter", type=int, default=0, metavar="RANK",
                        help="write a LoRA adapter for that model instead")
    parser.add_argument("--audio", type=int, default=0, metavar="HEADS",
                        help="write an audio projector for it, as wide as so many heads of 64")
    parser.add_argument("--sounds-type", choices=projectors_sounds.SOUNDS, metavar="TYPE",
                        help="a projector of sounds of this type, or both in one file: %s" % ", ".join(projectors_sounds.SOUNDS))
    parser.add_argument("--projector", type=int, default=0, metavar="PIXELS",
                        help="write a vision projector for that model instead")
    parser.add_argument("--projector-type", choices=projectors.KINDS, metavar="TYPE",
                        help="of that projector, mlp unless given: %s" % ", ".join(projectors.KINDS))
    parser.add_argument("--true-size", action="store_true",
                        help="a projector as wide as a known one, but with fewer layers, and sparse")
    parser.add_argument("--fed-draft", choices=FED_DRAFTS,
                        help="write a draft model that is fed that model's hidden states instead")
    parser.add_argument("--split", type=int, default=1, metavar="N", help="write N parts")
    parser.add_argument("--seed", type=int, default=1, help="of the random weights")
    options = parser.parse_args()
    options.ftype = options.ftype or ("Q4_K_M" if options.sparse else "F16")
    if not options.list and not options.out:
        parser.error("SPEC and OUT are needed (--list shows the models)")
    if not options.list and not options.sparse and options.ftype not in FILE_TYPES_WITH_DATA:
        parser.error("random weights are written as %s; use --sparse, or llama-quantize afterwards"
                     % " or ".join(FILE_TYPES_WITH_DATA))
    return options


def write_adapter(path, spec, rank, seed):
    """Two narrow matrices beside every matrix of the layers, as convert_lora_to_gguf.py names them."""
    tensors = []
    for tensor in model_tensors(spec):
        if tensor.name.startswith("blk.") and tensor.kind == "matrix" and len(tensor.shape) == 2:
            tensors += (Tensor(tensor.name + ".lora_a", (tensor.shape[0], rank), type="F32"),
                        Tensor(tensor.name + ".lora_b", (rank, tensor.shape[1]), type="F32"))
    pairs = {"general.architecture": string(spec.architecture), "general.type": string("adapter"),
             "adapter.type": string("lora"), "adapter.lora.alpha": f32(2.0 * rank)}
    write_file(path, pairs, tensors, Weights(seed))


FED_DRAFTS = ("eagle3", "dflash")


def fed_layer_tensors(prefix, kind, spec):
    rows, kv_rows = spec.heads * spec.head_size, spec.kv_heads * spec.head_size
    joined = 2 * spec.width if kind == "eagle3" else spec.width  # beside the token's embedding
    yield Tensor(prefix + "attn_norm.weight", (spec.width,), "norm")
    if kind == "eagle3":
        yield Tensor(prefix + "attn_norm_2.weight", (spec.width,), "norm")
    yield Tensor(prefix + "attn_q.weight", (joined, rows))
    yield Tensor(prefix + "attn_k.weight", (joined, kv_rows))
    yield Tensor(prefix + "attn_v.weight", (joined, kv_rows))
    yield Tensor(prefix + "attn_output.weight", (rows, spec.width))
    if kind == "dflash":
        yield Tensor(prefix + "attn_q_norm.weight", (spec.head_size,), "norm")
        yield Tensor(prefix + "attn_k_norm.weight", (spec.head_size,), "norm")
    yield Tensor(prefix + "ffn_norm.weight", (spec.width,), "norm")
    yield from dense_tensors(prefix, ".weight", spec.width, spec.feed_forward, False)


def write_fed_draft(path, spec, kind, seed):
    """EAGLE3 has one layer and an output of its own; DFlash has two here, and uses the model's output.  Both use the model's
    embeddings."""
    layers = 1 if kind == "eagle3" else 2
    fed = (1, spec.layers // 2, spec.layers - 2)
    draft = replace(spec, architecture=kind, layers=layers, next_token_blocks=0, experts=0, interval=0)
    tensors = [Tensor("fc.weight", (len(fed) * spec.width, spec.width)),
               Tensor("output_norm.weight", (spec.width,), "norm")]
    if kind == "eagle3":
        tensors.append(Tensor("output.weight", (spec.width, spec.vocabulary)))
    else:
        tensors.append(Tensor("enc.output_norm.weight", (spec.width,), "norm"))
    for layer in range(layers):
        tensors += fed_layer_tensors("blk.%d." % layer, kind, draft)
    for tensor in tensors:
        tensor.type = choose_type(tensor, "F16")
    pairs = architecture_pairs("fed", draft, FILE_TYPES["F16"][0]) | tokenizer_pairs(draft)
    pairs[kind + ".target_layers"] = i32_array(fed)
    if kind == "eagle3":
        pairs["eagle3.target_hidden_size"] = u32(spec.width)
    else:
        pairs["dflash.block_size"] = u32(8)
        pairs["tokenizer.ggml.mask_token_id"] = u32(3)
    write_file(path, pairs, tensors, Weights(seed))


AUDIO_LAYERS, AUDIO_MELS, AUDIO_TOKENS, AUDIO_STACK = 2, 128, 1500, 8


def linear_tensors(name, inner, outer):
    return (Tensor(*row) for row in projectors.linear(name, inner, outer))


def norm_tensors(name, width):
    return (Tensor(*row) for row in projectors.norm(name, width))


def write_clip(path, tensors, pairs, seed, sparse=False, matrix_type="F16"):
    """What a server takes as --mmproj."""
    for tensor in tensors:
        kernel = len(tensor.shape) == 4 and matrix_type == "BF16"
        tensor.type = matrix_type if kernel else choose_type(tensor, matrix_type)
    write_file(path, {"general.architecture": string("clip"), "general.type": string("mmproj"),
                      "general.file_type": u32(1), **pairs}, tensors, None if sparse else Weights(seed))


def encoder_pairs(prefix, spec, shape):
    return {
        prefix + "embedding_length": u32(shape.width),
        prefix + "feed_forward_length": u32(shape.inner),
        prefix + "projection_dim": u32(spec.width),
        prefix + "block_count": u32(shape.layers),
        prefix + "attention.head_count": u32(shape.heads),
        prefix + "attention.layer_norm_epsilon": f32(1e-5),
    }


def write_projector(path, spec, options):
    """A vision projector for that model, for square pictures of so many pixels."""
    name = options.projector_type or "mlp"
    kind = projectors.KINDS[name]
    shape = projectors.shape_of(kind, options.true_size, options.projector)
    prefix = "clip.vision."
    tensors = [Tensor(*row) for row in projectors.tensors_of(kind, shape, spec.width)]
    pairs = {
        "clip.has_vision_encoder": boolean(True),
        "clip.projector_type": string(kind.type or name),
        prefix + "image_size": u32(shape.pixels),
        prefix + "patch_size": u32(shape.patch),
        **encoder_pairs(prefix, spec, shape),
        prefix + "image_mean": f32_array([0.5] * 3),
        prefix + "image_std": f32_array([0.5] * 3),
        **{prefix + key: u32(value) for key, value in kind.numbers(shape).items()},
    }
    if kind.sounds:
        pairs["clip.has_audio_encoder"] = boolean(True)
    pairs.update({prefix + key: i32_array(values) for key, values in kind.lists.items()})
    if kind.version:
        pairs["clip.minicpmv_version"] = i32(kind.version)
    if kind.activation:
        pairs[kind.activation] = boolean(True)
    if options.sounds_type:
        pairs["clip.vision.projector_type"] = pairs.pop("clip.projector_type")
        sounds, more = sound_parts(spec, options)
        tensors += sounds
        pairs.update(more)
        if kind.activation == "clip.use_silu":
            pairs.pop("clip.use_gelu", None)
        pairs["clip.audio.projector_type"] = pairs.pop("clip.projector_type")
    write_clip(path, tensors, pairs, options.seed, options.true_size or options.sparse,
               "BF16" if options.true_size and options.ftype == "BF16" else "F16")


def sound_parts(spec, options):
    """Tensors and keys of a type of projectors of sounds."""
    kind = projectors_sounds.SOUNDS[options.sounds_type]
    shape = kind.true if options.true_size else kind.tiny
    prefix = "clip.audio."
    return [Tensor(*row) for row in kind.tensors(shape, spec.width)], {
        "clip.has_audio_encoder": boolean(True),
        "clip.projector_type": string(options.sounds_type),
        "clip.use_gelu" if options.sounds_type != "dots3note_a" else "clip.use_silu": boolean(True),
        prefix + "num_mel_bins": u32(kind.bands),
        **encoder_pairs(prefix, spec, shape),
        **{prefix + key: u32(value) for key, value in kind.keys.items()},
        **{prefix + key: i32_array(values) for key, values in kind.lists.items()},
    }


def audio_tensors(spec, width):
    """Whisper's encoder and Ultravox's two matrices behind it."""
    yield Tensor("a.conv1d.1.weight", (3, AUDIO_MELS, width), "router")
    yield Tensor("a.conv1d.1.bias", (1, width), "bias")
    yield Tensor("a.conv1d.2.weight", (3, width, width), "router")
    yield Tensor("a.conv1d.2.bias", (1, width), "bias")
    yield Tensor("a.position_embd.weight", (width, AUDIO_TOKENS), "bias")
    for layer in range(AUDIO_LAYERS):
        prefix = "a.blk.%d." % layer
        yield from norm_tensors(prefix + "ln1", width)
        yield from norm_tensors(prefix + "ln2", width)
        for name in ("attn_q", "attn_v", "attn_out"):
            yield from linear_tensors(prefix + name, width, width)
        yield Tensor(prefix + "attn_k.weight", (width, width))  # Whisper's keys have no bias
        yield from linear_tensors(prefix + "ffn_up", width, 4 * width)
        yield from linear_tensors(prefix + "ffn_down", 4 * width, width)
    yield from norm_tensors("a.post_ln", width)
    yield Tensor("mm.a.norm_pre.weight", (AUDIO_STACK * width,), "norm")
    yield Tensor("mm.a.norm_mid.weight", (spec.width,), "norm")
    yield Tensor("mm.a.mlp.1.weight", (AUDIO_STACK * width, 2 * spec.width))
    yield Tensor("mm.a.mlp.2.weight", (spec.width, spec.width))


def write_audio(path, spec, heads, seed):
    """An audio projector for that model, with so many heads of 64."""
    width = 64 * heads
    prefix = "clip.audio."
    write_clip(path, list(audio_tensors(spec, width)), {
        "clip.has_audio_encoder": boolean(True),
        "clip.projector_type": string("ultravox"),
        "clip.use_gelu": boolean(True),
        prefix + "num_mel_bins": u32(AUDIO_MELS),
        **encoder_pairs(prefix, spec, projectors.Shape(AUDIO_LAYERS, width, heads, 4 * width, 1, 0)),
        prefix + "projector.stack_factor": u32(AUDIO_STACK),
    }, seed)


def list_specs():
    for name, spec in SPECS.items():
        parameters = sum(tensor.values() for tensor in model_tensors(spec))
        print("%-16s %-10s %3d layers, %6d tokens, %8.3f B parameters"
              % (name, spec.architecture, spec.layers, spec.vocabulary, parameters / 1e9))


def main():
    options = parse_arguments()
    if options.list:
        list_specs()
        return
    spec = SPECS[options.spec]
    if options.adapter:
        write_adapter(options.out, spec, options.adapter, options.seed)
        return
    if options.audio:
        write_audio(options.out, spec, options.audio, options.seed)
        return
    if options.fed_draft:
        write_fed_draft(options.out, spec, options.fed_draft, options.seed)
        return
    if options.sounds_type and not options.projector_type:
        write_clip(options.out, *sound_parts(spec, options), options.seed, options.true_size or options.sparse)
        return
    if options.projector or options.true_size:
        write_projector(options.out, spec, options)
        return
    file_type, matrix_type = FILE_TYPES[options.ftype]
    tensors = list(model_tensors(spec))
    if not 1 <= options.split <= len(tensors):
        sys.exit("make-model.py: --split takes 1 to %d" % len(tensors))
    for tensor in tensors:
        tensor.type = choose_type(tensor, matrix_type)
    pairs = architecture_pairs(options.spec, spec, file_type)
    pairs.update(tokenizer_pairs(spec))
    weights = None if options.sparse else Weights(options.seed)
    if options.split == 1:
        write_file(options.out, pairs, tensors, weights)
    else:
        write_split(options.out, pairs, tensors, weights, options.split)


if __name__ == "__main__":
    main()
