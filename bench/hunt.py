#!/usr/bin/env python3
"""Looks for command lines whose estimate is not what llama-server allocates: models of random shape, random flags, 1 to 4 pretend cards.

    hunt.py [--runs N] [--seed N] [--family NAME]... [--models FOLDER] [--jobs N] [--all]

Each run makes a sparse model of a few layers (or takes a file of FOLDER, as test-llama-archs writes them), loads it with the real
server and lays its log beside `estimate`.  A difference is printed with the words that bring it again; --all prints every device.
With --spelt what the engine refuses must be refused.  Weights and context must be the log's; compute where the estimate calls it a formula, else it must not be under.
"""
import argparse
import collections
import concurrent.futures
import hashlib
import itertools
import json
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/e2e"))
import books  # noqa: E402
import e2e  # noqa: E402
import hunt_words  # noqa: E402

NEAR_MIB = 0.5
PATIENCE_S = 60
ENDED = re.compile(r"GGML_ASSERT(?!.*VOCAB_TYPE_NONE)|that cannot run the operation|error loading model|failed to load draft")
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210),
         "MXFP4": (39, 32, 17), "I64": (27, 1, 8)}

# ---- models ----------------------------------------------------------------------------------------------------------------


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def value_bytes(value):
    if isinstance(value, bool):
        return struct.pack("<I?", 7, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    kind, layout = (7, "?") if isinstance(value[0], bool) else (5, "i")
    return struct.pack(f"<IIQ{len(value)}{layout}", 9, kind, len(value), *value)


def write(path, keys, tensors):
    """A sparse file: true shapes, zeros for weights."""
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(tensors), len(keys))]
    parts += [text(key) + value_bytes(value) for key, value in keys.items()]
    offset = 0
    for name, shape, kind in tensors:
        number, block, size = TYPES[kind]
        values = 1
        for dimension in shape:
            values *= dimension
        parts.append(text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, offset))
        offset += (values // block * size + 31) // 32 * 32
    head = b"".join(parts)
    head += bytes(-len(head) % 32)
    with open(path, "wb") as file:
        file.write(head)
        file.truncate(len(head) + offset)


class Shape:
    """The random widths of one model and the tensors made of them."""

    def __init__(self, rng, architecture, **options):
        self.rng, self.architecture = rng, architecture
        self.o = collections.defaultdict(int, options)
        self.layers = options.get("layers") or rng.choice([3, 4, 5, 6, 7])
        self.width = options.get("width") or rng.choice([1024, 2048, 2560, 3072, 4096, 5120] if options.get("square") else [1024, 1536, 2048, 2560, 2880, 3072, 3584, 4096, 5120])
        self.head = options.get("head") or rng.choice([64, 128, 128, 256])
        heads = max(2, int(self.width * rng.choice([0.5, 1, 1, 1, 1.6, 2]) / self.head) // 8 * 8)
        self.heads = heads
        if options.get("square"):  # an architecture whose queries are as wide as the embeddings
            heads = self.heads = self.width // self.head
        self.kv = rng.choice([n for n in (1, 2, 4, 8, 16, heads) if heads % n == 0])
        if options.get("many_keys"):  # as many heads as queries
            self.kv = heads
        self.inner = rng.choice([2, 2.5, 3, 3.5, 4, 1]) * self.width
        self.inner = int(self.inner) // 256 * 256
        self.vocabulary = options.get("vocabulary") or rng.choice([8192, 32000, 65536, 128256, 151936])
        self.tied = options.get("tied", rng.random() < 0.3)
        self.experts = rng.choice([8, 16, 32, 64, 128]) if options.get("moe") else 0
        self.used = min(self.experts, rng.choice([1, 2, 4, 6, 8]))
        self.expert_inner = rng.choice([256, 512, 768, 1408, 1536, 2048]) if self.experts else 0
        if options.get("one_inner"):
            self.inner = min(self.inner, options.get("inner_max", self.inner))
            self.expert_inner = self.inner
            self.experts = min(self.experts, options.get("experts_max", self.experts))
            self.used = min(self.used, self.experts)
        if options.get("shared") is True:  # one that is as wide as the routed ones
            self.o["shared"] = self.expert_inner
        self.kind = rng.choice(["Q8_0", "F16"]) if self.width % 256 or self.expert_inner % 256 else rng.choice(["Q4_K", "Q4_K", "Q8_0", "F16"])
        self.tensors = []

    def put(self, name, *shape, kind=None):
        kind = kind or self.kind
        if shape[0] % TYPES[kind][1]:
            kind = "Q8_0" if shape[0] % 32 == 0 else "F16"
        self.tensors.append((name, shape, kind))

    def keys(self):
        a = self.architecture
        keys = {"general.architecture": a, "general.name": "hunt", f"{a}.context_length": 131072, f"{a}.embedding_length": self.width,
                f"{a}.block_count": self.layers + self.o["mtp"], f"{a}.feed_forward_length": self.inner * (2 if self.o["half_inner"] else 1),
                f"{a}.attention.head_count": self.heads,
                f"{a}.attention.head_count_kv": self.kv, f"{a}.attention.layer_norm_rms_epsilon": 1e-6,
                f"{a}.attention.layer_norm_epsilon": 1e-6, f"{a}.rope.freq_base": 1e6, f"{a}.rope.dimension_count": self.head,
                f"{a}.attention.key_length": self.head, f"{a}.attention.value_length": self.head,
                "tokenizer.ggml.model": "none", f"{a}.vocab_size": self.vocabulary}
        if self.experts:
            keys |= {f"{a}.expert_count": self.experts, f"{a}.expert_used_count": self.used,
                     f"{a}.expert_feed_forward_length": self.expert_inner}
        if self.o["mtp"]:
            keys[f"{a}.nextn_predict_layers"] = self.o["mtp"]
        if self.o["windows"]:  # but in every so many layers
            keys |= {f"{a}.attention.sliding_window": 512,
                     f"{a}.attention.sliding_window_pattern": [(layer + 1) % self.o["windows"] != 0 for layer in range(self.layers)]}
        if self.o["shared_key"]:
            keys[f"{a}.expert_shared_feed_forward_length"] = self.o["shared"]
        for key, value in self.o.items():
            if key.startswith("%"):
                keys[f"{a}.{key[1:]}"] = value
        return keys

    def attention(self, p):
        w, o, q, kv = self.width, self.o, self.heads * self.head, self.kv * self.head
        if not o["no_attn_norm"]:
            self.put(p + "attn_norm.weight", w, kind="F32")
        if o["norm_bias"]:
            self.put(p + "attn_norm.bias", w, kind="F32")
        if o["second_norm"]:
            self.put(p + "attn_norm_2.weight", w, kind="F32")
            self.put(p + "attn_norm_2.bias", w, kind="F32")
        if o["attn_out_norm"]:
            self.put(p + "attn_output_norm.weight", w, kind="F32")
        if o["layer_out_norm"]:
            self.put(p + f"{o['layer_out_norm']}.weight", w, kind="F32")
        if o["fused_qkv"]:
            self.put(p + "attn_qkv.weight", w, q + 2 * kv)
            if o["qkv_bias"]:
                self.put(p + "attn_qkv.bias", q + 2 * kv, kind="F32")
        else:
            for name, rows in (("q", q), ("k", kv), ("v", kv)):
                self.put(p + f"attn_{name}.weight", w, rows)
                if o["qkv_bias"]:
                    self.put(p + f"attn_{name}.bias", rows, kind="F32")
        self.put(p + "attn_output.weight", q, w)
        if o["gated"]:
            self.put(p + "attn_gate.weight", w, self.heads if o["gated"] == 1 else q)
        if o["out_bias"]:
            self.put(p + "attn_output.bias", w, kind="F32")
        if o["qk_norm"]:
            queries, keys = {1: ((self.head,), (self.head,)), 2: ((q,), (kv,)), 3: ((self.head, self.heads), (self.head, self.kv))}[o["qk_norm"]]
            self.put(p + "attn_q_norm.weight", *queries, kind="F32")
            self.put(p + "attn_k_norm.weight", *keys, kind="F32")
        if o["sinks"]:
            self.put(p + "attn_sinks.weight", self.heads, kind="F32")
        suffix = "" if o["bare_names"] else ".weight"
        if o["post_norm"]:
            self.put(p + "post_attention_norm" + suffix, w, kind="F32")
        if not o["no_ffn_norm"]:
            self.put(p + ("ffn_norm" if o["bare_ffn_norm"] else "ffn_norm.weight"), w, kind="F32")
            if o["norm_bias"]:
                self.put(p + "ffn_norm.bias", w, kind="F32")
        if o["post_norm"] and not o["attention_post_only"]:
            self.put(p + "post_ffw_norm" + suffix, w, kind="F32")

    def dense(self, p, inner, suffix=""):
        o = self.o
        if o["fused_gate"] and not suffix:
            self.put(p + "ffn_up.weight", self.width, 2 * inner)
        else:
            if not o["no_gate"]:
                self.put(p + f"ffn_gate{suffix}.weight", self.width, inner)
            self.put(p + f"ffn_up{suffix}.weight", self.width, inner)
        self.put(p + f"ffn_down{suffix}.weight", inner, self.width)
        if o["gate_bias"]:
            self.put(p + "ffn_gate.bias", inner, kind="F32")
        if o["ffn_bias"]:
            self.put(p + "ffn_up.bias", inner, kind="F32")
            self.put(p + "ffn_down.bias", self.width, kind="F32")

    def routed(self, p):
        w, n, inner = self.width, self.experts, self.expert_inner
        if self.o["dense_too"]:
            self.dense(p, self.width if self.o["aside"] else self.inner)
        if self.o["aside"]:
            self.put(p + "ffn_norm_exps.weight", w, kind="F32")
        self.put(p + "ffn_gate_inp.weight", w, n, kind="F32")
        for name, shape in (("gate", (w, inner, n)), ("up", (w, inner, n)), ("down", (inner, w, n))):
            self.put(p + f"ffn_{name}_exps.weight", *shape, kind=self.o["expert_kind"] or None)
            if self.o["expert_bias"]:
                self.put(p + f"ffn_{name}_exps.bias", shape[1], n, kind="F32")
        if self.o["expert_bias"]:
            self.put(p + "ffn_gate_inp.bias", n, kind="F32")
        if self.o["probs_bias"]:
            self.put(p + ("exp_probs_b" if self.o["bare_probs"] else "exp_probs_b.bias"), n, kind="F32")
        if self.o["shared"]:
            if self.o["shared_gate"]:
                self.put(p + "ffn_gate_inp_shexp.weight", w, kind="F32")
            self.dense(p, self.o["shared"], "_shexp")

    def write(self, path):
        self.put("token_embd.weight", self.width, self.vocabulary)
        if not self.o["no_output_norm"]:
            self.put(self.o["output_norm"] or "output_norm.weight", self.width, kind="F32")
        if self.o["norm_bias"]:
            self.put("output_norm.bias", self.width, kind="F32")
        if self.o["output_bias"]:
            self.put("output.bias", self.vocabulary, kind="F32")
        if self.o["positions"]:
            self.put("position_embd.weight", self.width, 131072)
        if self.o["embedding_norm"]:
            self.put("token_embd_norm.weight", self.width, kind="F32")
            self.put("token_embd_norm.bias", self.width, kind="F32")
        if not self.tied:
            self.put("output.weight", self.width, self.vocabulary, kind="Q6_K" if self.width % 256 == 0 else None)
        for layer in range(self.layers):
            p = f"blk.{layer}."
            self.mixer(p, layer)
            if self.experts and layer >= self.o["lead"]:
                self.routed(p)
            else:
                self.dense(p, self.inner)
        for block in range(self.o["mtp"]):
            self.next_token_block(f"blk.{self.layers + block}.")
        if self.o["rope_table"]:
            self.put("rope_freqs.weight", self.head // 2, kind="F32")
        if self.o["rope_factors"]:
            self.put("rope_factors_long.weight", self.o["rope_factors"] // 2, kind="F32")
            self.put("rope_factors_short.weight", self.o["rope_factors"] // 2, kind="F32")
        write(path, self.keys(), self.tensors)

    def mixer(self, p, layer):
        self.attention(p)

    def next_token_block(self, p):
        """A block like the last one, and what joins a token with the hidden state before it."""
        self.mixer(p, self.layers if not isinstance(self, Delta) else 3)
        if self.experts:
            self.routed(p)
        else:
            self.dense(p, self.inner)
        self.put(p + "nextn.eh_proj.weight", 2 * self.width, self.width)
        for name in ("enorm", "hnorm", "shared_head_norm"):
            self.put(p + f"nextn.{name}.weight", self.width, kind="F32")
        if self.o["mtp_tables"]:
            self.put(p + "nextn.embed_tokens.weight", self.width, self.vocabulary)
            self.put(p + "nextn.shared_head_head.weight", self.width, self.vocabulary)


class Varied(Shape):
    """Heads and feed-forward of each layer are others."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, qk_norm=1, fused_qkv=1, tied=True, head=64, **options)
        kinds = [(self.kv * rng.choice([1, 2, 3, 4]), self.kv, rng.choice([2, 3, 4]) * 512) for _ in range(rng.choice([1, 3, 6]))]
        self.kinds = [rng.choice(kinds) for _ in range(12)]

    def keys(self):
        a = self.architecture
        heads, kv, inner = ([kind[i] for kind in self.kinds[:self.layers]] for i in range(3))
        return super().keys() | {f"{a}.attention.head_count": heads, f"{a}.attention.head_count_kv": kv, f"{a}.feed_forward_length": inner}

    def mixer(self, p, layer):
        self.heads, self.kv, self.inner = self.kinds[layer]
        self.attention(p)


class Latent(Shape):
    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.heads = rng.choice([16, 32, 64, 128])
        self.ql, self.kl, self.rope, self.nope, self.vh = rng.choice([768, 1536]), 512, 64, 128, 128

    def keys(self):
        a = self.architecture
        keys = super().keys() | {
            f"{a}.attention.head_count_kv": 1, f"{a}.attention.key_length": self.kl + self.rope, f"{a}.attention.value_length": self.kl,
            f"{a}.attention.key_length_mla": self.nope + self.rope, f"{a}.attention.value_length_mla": self.vh,
            f"{a}.attention.kv_lora_rank": self.kl, f"{a}.rope.dimension_count": self.rope, f"{a}.expert_shared_count": 1,
            f"{a}.leading_dense_block_count": self.o["lead"], f"{a}.expert_weights_scale": 2.5, f"{a}.expert_weights_norm": True,
            f"{a}.expert_gating_func": 2}
        if self.ql:
            keys[f"{a}.attention.q_lora_rank"] = self.ql
        return keys

    def mixer(self, p, layer):
        w, h = self.width, self.heads
        self.put(p + "attn_norm.weight", w, kind="F32")
        if self.ql:
            self.put(p + "attn_q_a_norm.weight", self.ql, kind="F32")
            self.put(p + "attn_q_a.weight", w, self.ql)
            self.put(p + "attn_q_b.weight", self.ql, h * (self.nope + self.rope))
        else:
            self.put(p + "attn_q.weight", w, h * (self.nope + self.rope))
        self.put(p + "attn_kv_a_norm.weight", self.kl, kind="F32")
        self.put(p + "attn_kv_a_mqa.weight", w, self.kl + self.rope)
        self.put(p + "attn_k_b.weight", self.nope, self.kl, h)
        self.put(p + "attn_v_b.weight", self.kl, self.vh, h)
        self.put(p + "attn_output.weight", h * self.vh, w)
        self.put(p + "ffn_norm.weight", w, kind="F32")


class Sparse(Latent):
    """Latent attention to the cells that an indexer picks, in every layer or in some of them."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.index_heads, self.index_width, self.best = rng.choice([32, 64]), 128, rng.choice([256, 1024, 2048])
        self.period = rng.choice([1, 1, 2, 4]) if architecture == "glm-dsa" else 1

    def indexes(self, layer):
        return layer < 2 or (layer - 2) % self.period == 0

    def keys(self):
        a = f"{self.architecture}.attention.indexer"
        keys = super().keys() | {f"{a}.head_count": self.index_heads, f"{a}.key_length": self.index_width, f"{a}.top_k": self.best}
        return keys | ({f"{a}.types": [self.indexes(layer) for layer in range(self.layers)]} if self.period > 1 else {})

    def mixer(self, p, layer):
        super().mixer(p, layer)
        if not self.indexes(layer):
            return
        for name in ("weight", "bias"):
            self.put(p + f"indexer.k_norm.{name}", self.index_width, kind="F32")
        self.put(p + "indexer.proj.weight", self.width, self.index_heads)
        self.put(p + "indexer.attn_k.weight", self.width, self.index_width)
        self.put(p + "indexer.attn_q_b.weight", self.ql, self.index_heads * self.index_width)


class Expanded(Shape):
    """Latent keys and values that are expanded before the cache."""

    def __init__(self, rng, architecture, **options):
        self.rope, self.nope, self.vh = 32, rng.choice([32, 64, 96]), rng.choice([64, 128])
        super().__init__(rng, architecture, head=self.nope + self.rope, many_keys=1, rope_factors=self.rope if architecture == "minicpm3" else 0, **options)
        self.ql, self.kl = rng.choice([512, 768]), rng.choice([256, 512])
        self.ranked = architecture == "minicpm3" or (architecture == "deepseek2" and rng.random() < .5)

    def keys(self):
        a = self.architecture
        keys = super().keys() | {f"{a}.attention.value_length": self.vh, f"{a}.attention.kv_lora_rank": self.kl,
                                 f"{a}.rope.dimension_count": self.rope}
        return keys | ({f"{a}.attention.q_lora_rank": self.ql} if self.ranked else {})

    def mixer(self, p, layer):
        w, h = self.width, self.heads
        for name in ("attn_norm", "ffn_norm"):
            self.put(p + name + ".weight", w, kind="F32")
        if self.ranked:
            self.put(p + "attn_q_a_norm.weight", self.ql, kind="F32")
            self.put(p + "attn_q_a.weight", w, self.ql)
            self.put(p + "attn_q_b.weight", self.ql, h * self.head)
        else:
            self.put(p + "attn_q.weight", w, h * self.head)
        self.put(p + "attn_kv_a_norm.weight", self.kl, kind="F32")
        self.put(p + "attn_kv_a_mqa.weight", w, self.kl + self.rope)
        self.put(p + "attn_kv_b.weight", self.kl, h * (self.nope + self.vh))
        self.put(p + "attn_output.weight", h * self.vh, w)


class Grouped(Shape):
    """Groups of experts that share one more, each as wide as a head."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, qk_norm=1, moe=1, **options)
        self.most = rng.choice([1, 2, 4])

    @property
    def each(self):
        """The engine takes no fewer groups than experts of each token."""
        return max(n for n in (1, 2, 4) if n <= self.most and self.experts // n >= self.used)

    def keys(self):
        a = self.architecture
        return super().keys() | {f"{a}.expert_chunk_feed_forward_length": self.head, f"{a}.experts_per_group": self.each, f"{a}.expert_group_scale": 0.05}

    def routed(self, p):
        super().routed(p)
        for name, rows, columns in (("gate", self.width, self.head), ("up", self.width, self.head), ("down", self.head, self.width)):
            self.put(p + f"ffn_{name}_chexps.weight", rows, columns, self.experts // self.each)


class Delta(Shape):
    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, head=256, **options)
        self.layers = rng.choice([4, 5, 8])
        self.ds, self.ng, self.dt = 128, rng.choice([8, 16]), rng.choice([16, 32, 48])

    def keys(self):
        a = self.architecture
        return super().keys() | {
            f"{a}.expert_shared_feed_forward_length": self.o["shared"] or 512, f"{a}.ssm.conv_kernel": 4,
            f"{a}.ssm.inner_size": self.ds * self.dt, f"{a}.ssm.state_size": self.ds, f"{a}.ssm.time_step_rank": self.dt,
            f"{a}.ssm.group_count": self.ng, f"{a}.full_attention_interval": 4, f"{a}.rope.dimension_sections": [11, 11, 10, 0],
            f"{a}.rope.dimension_count": 64}

    def mixer(self, p, layer):
        w, kd, vd = self.width, self.ds * self.ng, self.ds * self.dt
        self.put(p + "attn_norm.weight", w, kind="F32")
        self.put(p + "post_attention_norm.weight", w, kind="F32")
        if (layer + 1) % 4 == 0:
            self.put(p + "attn_q.weight", w, self.heads * self.head * 2)
            self.put(p + "attn_k.weight", w, self.kv * self.head)
            self.put(p + "attn_v.weight", w, self.kv * self.head)
            self.put(p + "attn_output.weight", self.heads * self.head, w)
            self.put(p + "attn_q_norm.weight", self.head, kind="F32")
            self.put(p + "attn_k_norm.weight", self.head, kind="F32")
            return
        self.put(p + "attn_qkv.weight", w, 2 * kd + vd)
        self.put(p + "attn_gate.weight", w, vd)
        self.put(p + "ssm_conv1d.weight", 4, 2 * kd + vd, kind="F32")
        self.put(p + "ssm_dt.bias", self.dt, kind="F32")
        self.put(p + "ssm_a", self.dt, kind="F32")
        if self.architecture == "qwen3next":
            self.put(p + "ssm_ba.weight", w, 2 * self.dt)
        else:
            self.put(p + "ssm_beta.weight", w, self.dt, kind="Q8_0")
            self.put(p + "ssm_alpha.weight", w, self.dt, kind="Q8_0")
        self.put(p + "ssm_norm.weight", self.ds, kind="F32")
        self.put(p + "ssm_out.weight", vd, w)


class Gemma(Shape):
    """Windows with heads of their own, a cache that the last layers share, an embedding of each token for each layer."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, tied=True, head=options.pop("head", 256), **options)
        self.each = options.get("each", 0)
        self.window_head = self.head if architecture == "gemma3n" else rng.choice([64, 128, 256])
        self.lends = bool(self.each) and architecture == "gemma4" and rng.random() < .7
        self.same_values = bool(self.experts) or rng.random() < .4
        self.period = min(rng.choice([2, 3, 5]), self.layers)  # rope_freqs belong to a layer without a window

    def full(self, layer):
        return (layer + 1) % self.period == 0

    def cached(self):
        """Layers with a cache of their own; the last two of them, which lend theirs, are one with a window and one without."""
        if self.architecture == "gemma3n":
            return min(20, self.layers)
        return self.period * max(1, self.layers // 2 // self.period) if self.lends and self.layers > self.period else self.layers

    def keys(self):
        a = self.architecture
        keys = super().keys() | {f"{a}.attention.sliding_window": 512, f"{a}.embedding_length_per_layer_input": self.each,
                                 f"{a}.final_logit_softcapping": 30.0}
        if a == "gemma3n":
            return keys | {f"{a}.altup.num_inputs": 4, f"{a}.altup.active_idx": 0}
        windows = [not self.full(layer) for layer in range(self.layers)]
        return keys | {f"{a}.attention.sliding_window_pattern": windows, f"{a}.attention.key_length_swa": self.window_head,
                       f"{a}.attention.value_length_swa": self.window_head, f"{a}.rope.dimension_count_swa": self.window_head,
                       f"{a}.attention.shared_kv_layers": self.layers - self.cached()}

    def mixer(self, p, layer):
        w, full = self.width, self.full(layer)
        head = self.head if full else self.window_head
        own = layer < self.cached() or self.architecture == "gemma3n"
        for name in ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm"):
            self.put(p + name + ".weight", w, kind="F32")
        self.put(p + "attn_q.weight", w, self.heads * head)
        self.put(p + "attn_output.weight", self.heads * head, w)
        self.put(p + "attn_q_norm.weight", head, kind="F32")
        if own:
            self.put(p + "attn_k.weight", w, self.kv * head)
            self.put(p + "attn_k_norm.weight", head, kind="F32")
            if self.architecture == "gemma3n" or not (full and self.same_values):
                self.put(p + "attn_v.weight", w, self.kv * head)
        if self.each:
            self.put(p + "inp_gate.weight", w, self.each)
            self.put(p + "proj.weight", self.each, w)
            self.put(p + "post_norm.weight", w, kind="F32")
        if self.architecture == "gemma3n":
            self.alternatives(p)
        elif self.o["scaled"]:
            self.put(p + "layer_output_scale.weight", 1, kind="F32")

    def alternatives(self, p):
        w, n = self.width, 4
        for name, *shape in (("altup_correct_coef", n, n), ("altup_correct_scale", w), ("altup_predict_coef", n, n * n), ("altup_router", w, n),
                             ("altup_router_norm", w), ("laurel_l", w, 64), ("laurel_r", 64, w), ("laurel_post_norm", w)):
            self.put(p + name + ".weight", *shape, kind="F32" if len(shape) == 1 else "F16")

    def routed(self, p):
        w, n, inner = self.width, self.experts, self.expert_inner
        self.dense(p, self.inner)
        self.put(p + "ffn_gate_inp.weight", w, n, kind="F32")
        self.put(p + "ffn_gate_inp.scale", w, kind="F32")
        for name in ("pre_ffw_norm_2", "post_ffw_norm_1", "post_ffw_norm_2"):
            self.put(p + name + ".weight", w, kind="F32")
        self.put(p + "ffn_gate_up_exps.weight", w, 2 * inner, n)
        self.put(p + "ffn_down_exps.weight", inner, w, n)
        self.put(p + "ffn_down_exps.scale", n, kind="F32")

    def write(self, path):
        if self.each:
            all_layers = self.each * self.layers
            self.put("per_layer_token_embd.weight", all_layers, self.vocabulary)
            self.put("per_layer_model_proj.weight", self.width, all_layers, kind="F16")
            self.put("per_layer_proj_norm.weight", self.each, kind="F32")
        if self.architecture == "gemma3n":
            for name in ("altup_proj", "altup_unembd_proj"):
                self.put(name + ".weight", self.width, self.width, 3, kind="F16")
        else:
            self.put("rope_freqs.weight", self.head // 2, kind="F32")
        super().write(path)


class StateSpace(Shape):
    """Mamba 2, alone or with attention in every `every`th layer."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.state, self.groups, self.heads_of_state = 128, rng.choice([1, 8]), self.width // 32
        self.state_inner = 2 * self.width  # what the engine asks of both
        self.every = options.get("every", 0)

    def attends(self, layer):
        return bool(self.every) and (layer + 1) % self.every == 0

    def keys(self):
        a = self.architecture
        keys = super().keys() | {f"{a}.ssm.conv_kernel": 4, f"{a}.ssm.inner_size": self.state_inner, f"{a}.ssm.state_size": self.state,
                                 f"{a}.ssm.time_step_rank": self.heads_of_state, f"{a}.ssm.group_count": self.groups}
        if self.every:
            keys[f"{a}.attention.head_count_kv"] = [self.kv if self.attends(layer) else 0 for layer in range(self.layers)]
        return keys

    def mixer(self, p, layer):
        if self.attends(layer):
            self.attention(p)
            return
        self.put(p + "attn_norm.weight", self.width, kind="F32")
        self.states(p)
        if self.every:
            self.put(p + "ffn_norm.weight", self.width, kind="F32")

    def states(self, p):
        w, mixed = self.width, self.state_inner + 2 * self.groups * self.state
        self.put(p + "ssm_in.weight", w, self.state_inner + mixed + self.heads_of_state)
        self.put(p + "ssm_conv1d.weight", 4, mixed, kind="F32")
        self.put(p + "ssm_conv1d.bias", mixed, kind="F32")
        self.put(p + "ssm_dt.bias", self.heads_of_state, kind="F32")
        self.put(p + "ssm_a", 1, self.heads_of_state, kind="F32")
        self.put(p + "ssm_d", 1, self.heads_of_state, kind="F32")
        self.put(p + "ssm_norm.weight", self.state_inner // self.groups, self.groups, kind="F32")
        self.put(p + "ssm_out.weight", self.state_inner, w)

    def dense(self, p, inner, suffix=""):
        if self.every:
            super().dense(p, inner, suffix)


class Selective(StateSpace):
    """Mamba 1, alone or with attention."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.state, self.groups, self.heads_of_state = 16, 0, self.width // 16

    def states(self, p):
        w, inner, rank, state = self.width, self.state_inner, self.heads_of_state, self.state
        self.put(p + "ssm_in.weight", w, 2 * inner)
        self.put(p + "ssm_conv1d.weight", 4, inner, kind="F32")
        self.put(p + "ssm_conv1d.bias", inner, kind="F32")
        self.put(p + "ssm_x.weight", inner, rank + 2 * state)
        self.put(p + "ssm_dt.weight", rank, inner)
        self.put(p + "ssm_dt.bias", inner, kind="F32")
        self.put(p + "ssm_a", state, inner, kind="F32")
        self.put(p + "ssm_d", inner, kind="F32")
        self.put(p + "ssm_out.weight", inner, w)
        if self.architecture == "jamba":
            for name, width in (("dt", rank), ("b", state), ("c", state)):
                self.put(p + f"ssm_{name}_norm.weight", width, kind="F32")


class Beside(StateSpace):
    """Attention and Mamba 2 in every layer."""

    def mixer(self, p, layer):
        self.attention(p)
        self.states(p)


class Single(StateSpace):
    """Each layer is attention, Mamba 2 or a feed-forward."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, no_gate=1, no_ffn_norm=1, every=1, **options)
        self.sort = ["S", *(rng.choice("SSSFFA") for _ in range(15))]

    def keys(self):
        a = self.architecture
        return super().keys() | {f"{a}.attention.head_count_kv": [self.kv if self.sort[layer] == "A" else 0 for layer in range(self.layers)],
                                 f"{a}.feed_forward_length": [self.inner if self.sort[layer] == "F" else 0 for layer in range(self.layers)]}

    def mixer(self, p, layer):
        self.feeds = self.sort[layer] == "F"
        if self.sort[layer] == "A":
            self.attention(p)
            return
        self.put(p + "attn_norm.weight", self.width, kind="F32")
        if self.sort[layer] == "S":
            self.states(p)

    def dense(self, p, inner, suffix=""):
        if self.feeds:
            super().dense(p, inner, suffix)


class SingleRouted(Single):
    """The same; feed-forwards are routed, without gates."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, moe=1, shared=True, shared_key=1, probs_bias=1, **options)

    def dense(self, p, inner, suffix=""):
        if self.feeds:
            Shape.dense(self, p, inner, suffix)

    def routed(self, p):
        w, n, inner = self.width, self.experts, self.expert_inner
        if not self.feeds:
            return
        self.put(p + "ffn_gate_inp.weight", w, n, kind="F32")
        self.put(p + "exp_probs_b.bias", n, kind="F32")
        self.put(p + "ffn_up_exps.weight", w, inner, n)
        self.put(p + "ffn_down_exps.weight", inner, w, n)
        self.dense(p, self.o["shared"], "_shexp")


class Short(Shape):
    """Short convolutions, and attention in every `every`th layer."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, qk_norm=1, tied=True, output_norm="token_embd_norm.weight", **options)
        self.every = options.get("every", 3)

    def attends(self, layer):
        return (layer + 1) % self.every == 0

    def keys(self):
        a = self.architecture
        return super().keys() | {f"{a}.shortconv.l_cache": 3,
                                 f"{a}.attention.head_count_kv": [self.kv if self.attends(layer) else 0 for layer in range(self.layers)]}

    def mixer(self, p, layer):
        w = self.width
        if self.attends(layer):
            self.attention(p)
            return
        self.put(p + "attn_norm.weight", w, kind="F32")
        self.put(p + "ffn_norm.weight", w, kind="F32")
        self.put(p + "shortconv.in_proj.weight", w, 3 * w)
        self.put(p + "shortconv.conv.weight", 3, w, kind="F32")
        self.put(p + "shortconv.out_proj.weight", w, w)


class Kimi(Latent):
    """Kimi's delta attention, and latent attention in every fourth layer."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.heads, self.ql, self.delta = rng.choice([8, 16, 32]), 0, 128

    def attends(self, layer):
        return (layer + 1) % 4 == 0

    def keys(self):
        a = self.architecture
        return super().keys() | {f"{a}.ssm.conv_kernel": 4, f"{a}.kda.head_dim": self.delta,
                                 f"{a}.attention.head_count_kv": [int(self.attends(layer)) for layer in range(self.layers)]}

    def mixer(self, p, layer):
        w, inner = self.width, self.heads * self.delta
        if self.attends(layer):
            super().mixer(p, layer)
            return
        for name in ("attn_norm", "ffn_norm"):
            self.put(p + name + ".weight", w, kind="F32")
        for name in "qkv":
            self.put(p + f"attn_{name}.weight", w, inner)
            self.put(p + f"ssm_conv1d_{name}.weight", 4, 1, inner, kind="F32")
        for name in "fg":
            self.put(p + f"ssm_{name}_a.weight", w, self.delta)
            self.put(p + f"ssm_{name}_b.weight", self.delta, inner)
        self.put(p + "ssm_beta.weight", w, self.heads)
        self.put(p + "ssm_a", 1, self.heads, kind="F32")
        self.put(p + "ssm_dt.bias", inner, kind="F32")
        self.put(p + "ssm_norm.weight", self.delta, kind="F32")
        self.put(p + "attn_output.weight", inner, w)


class Bailing(Kimi):
    """The same with whole matrices for decay and gate, and attention that is gated by heads."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, **options)
        self.ql = rng.choice([0, 768])

    def keys(self):
        a = self.architecture
        return super().keys() | {f"{a}.kda.safe_gate": True, f"{a}.kda.gate_lower_bound": -5.0}

    def mixer(self, p, layer):
        w, inner = self.width, self.heads * self.delta
        super().mixer(p, layer)
        if self.attends(layer):
            self.put(p + "attn_gate.weight", w, self.heads)
            return
        self.tensors = [tensor for tensor in self.tensors if not tensor[0].startswith((p + "ssm_f_", p + "ssm_g_"))]
        for name in "fg":
            self.put(p + f"ssm_{name}_a.weight", w, inner)


class Mixing(Shape):
    """RWKV 7: a state in place of a cache, mixed over time and over channels."""

    def __init__(self, rng, architecture, **options):
        super().__init__(rng, architecture, norm_bias=1, tied=False, width=rng.choice([1024, 2048, 2560, 4096]), **options)
        self.side = 64
        self.ranks = {name: rng.choice([32, 64, 96, 128]) for name in "wavg"}

    def keys(self):
        a = self.architecture
        keys = super().keys() | {f"{a}.wkv.head_size": self.side, f"{a}.token_shift_count": 2, f"{a}.attention.head_count": 0}
        return keys | {f"{a}.attention.{name}_lora_rank": self.ranks[letter]
                       for name, letter in (("decay", "w"), ("iclr", "a"), ("value_residual_mix", "v"), ("gate", "g"))}

    def mixer(self, p, layer):
        w = self.width
        for name in ("attn_norm", "attn_norm_2", "time_mix_ln"):
            for part in ("weight", "bias"):
                self.put(p + f"{name}.{part}", w, kind="F32")
        for name in "wav":
            rank = self.ranks["a" if name == "v" and layer == 0 else name]
            self.put(p + f"time_mix_{name}0.weight", w, kind="F32")
            self.put(p + f"time_mix_{name}1.weight", w, rank)
            self.put(p + f"time_mix_{name}2.weight", rank, w)
        self.put(p + "time_mix_g1.weight", w, self.ranks["g"])
        self.put(p + "time_mix_g2.weight", self.ranks["g"], w)
        self.put(p + "time_mix_lerp_fused.weight", w, 1, 1, 6, kind="F32")
        for name in ("k_k", "k_a", "r_k"):
            self.put(p + f"time_mix_{name}.weight", w, kind="F32")
        for name in ("key", "value", "receptance", "output"):
            self.put(p + f"time_mix_{name}.weight", w, w)

    def dense(self, p, inner, suffix=""):
        self.put(p + "channel_mix_lerp_k.weight", self.width, 1, 1, kind="F32")
        self.put(p + "channel_mix_key.weight", self.width, inner)
        self.put(p + "channel_mix_value.weight", inner, self.width)


PLAIN_OLD = {"square": 1, "fused_qkv": 1, "qkv_bias": 1, "out_bias": 1, "norm_bias": 1, "no_gate": 1, "ffn_bias": 1}

FAMILIES = {
    "llama": lambda r: Shape(r, "llama", rope_table=r.random() < .5),
    "mixtral": lambda r: Shape(r, "llama", moe=1, one_inner=1),
    "qwen2": lambda r: Shape(r, "qwen2", qkv_bias=1, square=1),
    "qwen3": lambda r: Shape(r, "qwen3", qk_norm=1),
    "qwen3moe": lambda r: Shape(r, "qwen3moe", qk_norm=1, moe=1),
    "gemma2": lambda r: Shape(r, "gemma2", post_norm=1, tied=True, **{"%attention.sliding_window": r.choice([512, 4096])}),
    "gemma3": lambda r: Shape(r, "gemma3", post_norm=1, qk_norm=1, tied=True, **{"%attention.sliding_window": r.choice([512, 1024])}),
    "gpt-oss": lambda r: Shape(r, "gpt-oss", moe=1, qkv_bias=1, out_bias=1, sinks=1, post_norm=1, attention_post_only=1, no_ffn_norm=1,
                               tied=False, expert_bias=1, **{"%attention.sliding_window": 128}),
    "deepseek2": lambda r: Latent(r, "deepseek2", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1),
    "deepseek2-groups": lambda r: Latent(r, "deepseek2", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1,
                                         **{"%expert_group_count": 2, "%expert_group_used_count": 1}),
    "qwen35": lambda r: Delta(r, "qwen35"),
    "qwen35moe": lambda r: Delta(r, "qwen35moe", moe=1, shared=512, shared_gate=1),
    "qwen3next": lambda r: Delta(r, "qwen3next", moe=1, shared=512, shared_gate=1),
    "phi3": lambda r: Shape(r, "phi3", square=1, fused_qkv=1, fused_gate=1),
    "granite": lambda r: Shape(r, "granite", **{"%attention.scale": 0.01, "%embedding_scale": 12.0, "%residual_scale": 0.2, "%logit_scale": 8.0}),
    "olmo2": lambda r: Shape(r, "olmo2", square=1, tied=False, qk_norm=2, post_norm=1, no_attn_norm=1, no_ffn_norm=1),
    "smollm3": lambda r: Shape(r, "smollm3"),
    "seed_oss": lambda r: Shape(r, "seed_oss", post_norm=1, attention_post_only=1, no_ffn_norm=1),
    "mistral3": lambda r: Shape(r, "mistral3"),
    "glm4": lambda r: Shape(r, "glm4", post_norm=1, fused_gate=1),
    "command-r": lambda r: Shape(r, "command-r", square=1, no_ffn_norm=1, tied=True, **{"%logit_scale": 0.06}),
    "cohere2": lambda r: Shape(r, "cohere2", square=1, no_ffn_norm=1, tied=True, **{"%logit_scale": 0.06, "%attention.sliding_window": 4096}),
    "ernie4_5": lambda r: Shape(r, "ernie4_5"),
    "hunyuan-dense": lambda r: Shape(r, "hunyuan-dense", qk_norm=1),
    "starcoder2": lambda r: Shape(r, "starcoder2", square=1, norm_bias=1, qkv_bias=1, out_bias=1, no_gate=1, ffn_bias=1),
    "glm4moe": lambda r: Shape(r, "glm4moe", moe=1, lead=1, shared=True, probs_bias=1, post_norm=1, attention_post_only=1, no_ffn_norm=1, tied=False,
                               **{"%leading_dense_block_count": 1, "%expert_shared_count": 1, "%expert_weights_scale": 1.0}),
    "qwen2moe": lambda r: Shape(r, "qwen2moe", moe=1, tied=False, square=1, qkv_bias=1, shared=2048, shared_gate=1, **{"%expert_shared_feed_forward_length": 2048}),
    "olmoe": lambda r: Shape(r, "olmoe", moe=1, tied=False, square=1, many_keys=1, one_inner=1, qk_norm=2),
    "dots1": lambda r: Shape(r, "dots1", moe=1, tied=False, square=1, many_keys=1, lead=1, shared=True, probs_bias=1, qk_norm=1,
                             **{"%leading_dense_block_count": 1, "%expert_shared_count": 1, "%expert_weights_scale": 1.0,
                                "%expert_gating_func": 2}),
    "hunyuan-moe": lambda r: Shape(r, "hunyuan-moe", moe=1, one_inner=1, qk_norm=1, shared=1536, **{"%expert_shared_feed_forward_length": 1536}),
    "minimax-m2": lambda r: Shape(r, "minimax-m2", moe=1, tied=False, one_inner=1, qk_norm=2, probs_bias=1, **{"%expert_gating_func": 2}),
    "bailingmoe2": lambda r: Shape(r, "bailingmoe2", moe=1, tied=False, square=1, fused_qkv=1, lead=1, shared=512, qk_norm=1, probs_bias=1,
                                   **{"%leading_dense_block_count": 1, "%expert_shared_count": 1, "%expert_weights_scale": 1.0,
                                      "%expert_shared_feed_forward_length": 512, "%expert_gating_func": 2}),
    "ernie4_5-moe": lambda r: Shape(r, "ernie4_5-moe", moe=1, lead=1, probs_bias=1,
                                    **{"%leading_dense_block_count": 1, "%interleave_moe_layer_step": 1, "%expert_shared_feed_forward_length": 0}),
    "qwen3vl": lambda r: Shape(r, "qwen3vl", qk_norm=1, **{"%rope.dimension_sections": [24, 20, 20, 0], "%n_deepstack_layers": 0}),
    "qwen3vlmoe": lambda r: Shape(r, "qwen3vlmoe", qk_norm=1, moe=1, **{"%rope.dimension_sections": [24, 20, 20, 0], "%n_deepstack_layers": 0}),
    "granitemoe": lambda r: Shape(r, "granitemoe", moe=1, one_inner=1, **{"%attention.scale": 0.01, "%embedding_scale": 12.0, "%residual_scale": 0.2,
                                                                          "%logit_scale": 8.0}),
    "mamba2": lambda r: StateSpace(r, "mamba2", tied=False, width=r.choice([1024, 1536, 2048, 2560, 4096])),
    "granitehybrid": lambda r: StateSpace(r, "granitehybrid", every=r.choice([3, 4]), tied=True, width=r.choice([1024, 1536, 2048, 4096]),
                                          **{"%attention.scale": 0.01, "%embedding_scale": 12.0, "%residual_scale": 0.2, "%logit_scale": 8.0}),
    "granitehybridmoe": lambda r: StateSpace(r, "granitehybrid", every=r.choice([2, 3]), moe=1, one_inner=1, inner_max=2048, experts_max=16,
                                             shared=1024, width=r.choice([1024, 1536, 2048]),
                                             **{"%expert_shared_feed_forward_length": 1024}),
    "mamba": lambda r: Selective(r, "mamba", width=r.choice([768, 1024, 1536, 2048, 2560])),
    "jamba": lambda r: Selective(r, "jamba", every=r.choice([2, 3]), square=1, width=r.choice([1024, 2048, 4096])),
    "falcon-h1": lambda r: Beside(r, "falcon-h1", every=1, bare_ffn_norm=1, width=r.choice([1024, 1536, 2048, 3072])),
    "nemotron_h": lambda r: Single(r, "nemotron_h", width=r.choice([1024, 2048, 4096])),
    "gemma3n": lambda r: Gemma(r, "gemma3n", each=256, width=r.choice([1024, 1536, 2048]), more_layers=r.choice([0, 14])),
    "gemma4": lambda r: Gemma(r, "gemma4", each=r.choice([0, 256, 256]), head=r.choice([256, 512]), scaled=r.random() < .5),
    "gemma4moe": lambda r: Gemma(r, "gemma4", moe=1, head=r.choice([256, 512]), scaled=r.random() < .5),
    "qwen": lambda r: Shape(r, "qwen", square=1, many_keys=1, fused_qkv=1, qkv_bias=1, half_inner=1, tied=False),
    "baichuan": lambda r: Shape(r, "baichuan", square=1, many_keys=r.random() < .5, tied=False, layers=r.choice([0, 0, 32])),
    "refact": lambda r: Shape(r, "refact", square=1, tied=False),
    "gpt2": lambda r: Shape(r, "gpt2", positions=1, **PLAIN_OLD),
    "starcoder": lambda r: Shape(r, "starcoder", positions=1, **PLAIN_OLD),
    "bloom": lambda r: Shape(r, "bloom", embedding_norm=1, many_keys=1, **PLAIN_OLD),
    "mpt": lambda r: Shape(r, "mpt", square=1, fused_qkv=1, no_gate=1, positions=r.random() < .5, **{"%attention.max_alibi_bias": 8.0,
                                                                                                      "%attention.clamp_kqv": r.choice([0.0, 6.0])}),
    "jais": lambda r: Shape(r, "jais", gate_bias=1, **(PLAIN_OLD | {"no_gate": 0, "tied": False}), **{"%attention.max_alibi_bias": 8.0}),
    "falcon": lambda r: Shape(r, "falcon", square=1, fused_qkv=1, norm_bias=1, no_gate=1, no_ffn_norm=1, second_norm=r.random() < .5),
    "gptneox": lambda r: Shape(r, "gptneox", **PLAIN_OLD | {"tied": False}, **{"%use_parallel_residual": r.random() < .5}),
    "plamo": lambda r: Shape(r, "plamo", square=1, no_ffn_norm=1, tied=False),
    "plamo3": lambda r: Shape(r, "plamo3", qk_norm=1, fused_qkv=1, post_norm=1, fused_gate=1, bare_names=1,
                              **({"%attention.sliding_window": 2048, "%attention.sliding_window_pattern": 8} if r.random() < .7 else {})),
    "minicpm3": lambda r: Expanded(r, "minicpm3"),
    "openelm": lambda r: Varied(r, "openelm"),
    "dbrx": lambda r: Shape(r, "dbrx", square=1, moe=1, one_inner=1, inner_max=8192, experts_max=16, fused_qkv=1, attn_out_norm=1, no_ffn_norm=1, tied=False,
                            **{"%attention.clamp_kqv": 8.0}),
    "arctic": lambda r: Shape(r, "arctic", square=1, moe=1, one_inner=1, inner_max=4096, experts_max=16, dense_too=1, aside=1),
    "grok": lambda r: Shape(r, "grok", square=1, moe=1, one_inner=1, inner_max=8192, experts_max=8, dense_too=r.random() < .6, attn_out_norm=1,
                            layer_out_norm=r.choice(["layer_output_norm", "post_ffw_norm"])),
    "stablelm": lambda r: Shape(r, "stablelm", square=1, norm_bias=1, qkv_bias=r.random() < .5, qk_norm=r.choice([0, 0, 3]), tied=False,
                                no_ffn_norm=r.random() < .4),
    "chatglm": lambda r: Shape(r, "chatglm", square=1, fused_qkv=r.random() < .5, qkv_bias=1, fused_gate=1, tied=False),
    "internlm2": lambda r: Shape(r, "internlm2", square=1, tied=False),
    "exaone": lambda r: Shape(r, "exaone", square=1, rope_table=r.random() < .5),
    "exaone4": lambda r: Shape(r, "exaone4", square=1, qk_norm=1, post_norm=1, no_attn_norm=1, no_ffn_norm=1, rope_table=r.random() < .5),
    "phi2": lambda r: Shape(r, "phi2", output_bias=1, no_ffn_norm=1, tied=False, **{k: v for k, v in PLAIN_OLD.items() if k != "fused_qkv"}),
    "arcee": lambda r: Shape(r, "arcee", no_gate=1, rope_table=r.random() < .5),
    "nemotron": lambda r: Shape(r, "nemotron", square=1, norm_bias=1, no_gate=1, tied=False),
    "orion": lambda r: Shape(r, "orion", square=1, norm_bias=1, tied=False),
    "xverse": lambda r: Shape(r, "xverse", square=1, tied=False),
    "jais2": lambda r: Shape(r, "jais2", **{k: v for k, v in PLAIN_OLD.items() if k != "fused_qkv"}),
    "codeshell": lambda r: Shape(r, "codeshell", **PLAIN_OLD | {"tied": False}),
    "gemma": lambda r: Shape(r, "gemma", tied=True),
    "minicpm": lambda r: Shape(r, "minicpm", square=1),
    "bailingmoe": lambda r: Shape(r, "bailingmoe", moe=1, shared=True, tied=False, **{"%expert_shared_count": 1, "%expert_weights_scale": 1.0}),
    "deepseek": lambda r: Shape(r, "deepseek", moe=1, square=1, shared=True, lead=1, tied=False,
                                **{"%leading_dense_block_count": 1, "%expert_shared_count": 1, "%expert_weights_scale": 1.0}),
    "maincoder": lambda r: Shape(r, "maincoder", qk_norm=1),
    "pangu-embedded": lambda r: Shape(r, "pangu-embedded", qkv_bias=1, out_bias=1),
    "qwen2vl": lambda r: Shape(r, "qwen2vl", square=1, qkv_bias=1, **{"%rope.dimension_sections": [16, 24, 24, 0]}),
    "hunyuan_vl": lambda r: Shape(r, "hunyuan_vl", qk_norm=1, **({"%rope.dimension_sections": [16, 16, 16, 16]} if r.random() < .5 else {})),
    "phimoe": lambda r: Shape(r, "phimoe", moe=1, square=1, qkv_bias=1, out_bias=1, norm_bias=1, output_bias=1, tied=False, one_inner=1, inner_max=4096,
                              experts_max=16),
    "llama4": lambda r: Shape(r, "llama4", moe=1, shared=True, **{"%interleave_moe_layer_step": 1, "%expert_shared_count": 1}),
}

ROUTED = {"%expert_shared_count": 1, "%expert_weights_scale": 2.5, "%expert_weights_norm": True, "%expert_gating_func": 2}
LED = ROUTED | {"%leading_dense_block_count": 1}

FAMILIES |= {
    "lfm2": lambda r: Short(r, "lfm2", square=1, every=r.choice([2, 3])),
    "lfm2moe": lambda r: Short(r, "lfm2moe", square=1, every=r.choice([2, 3]), moe=1, lead=1, probs_bias=1, **LED),
    "kimi-linear": lambda r: Kimi(r, "kimi-linear", moe=1, lead=1, shared=True, probs_bias=1, tied=False),
    "bailingmoe3": lambda r: Bailing(r, "bailingmoe3", moe=1, lead=1, shared=True, probs_bias=1, tied=False),
    "nemotron_h_moe": lambda r: SingleRouted(r, "nemotron_h_moe", tied=False, width=r.choice([1024, 2048, 4096]), **ROUTED),
    "exaone-moe": lambda r: Shape(r, "exaone-moe", moe=1, lead=1, tied=False, shared=True, probs_bias=1, qk_norm=1, windows=r.choice([2, 4]), **LED),
    "hy_v3": lambda r: Shape(r, "hy_v3", moe=1, lead=1, shared=True, shared_key=1, probs_bias=1, bare_probs=1, qk_norm=1, tied=False, **LED),
    "cohere2moe": lambda r: Shape(r, "cohere2moe", square=1, moe=1, lead=1, shared=True, shared_key=1, no_ffn_norm=1, windows=r.choice([2, 4]),
                                  **LED | {"%logit_scale": 0.06}),
    "mistral4": lambda r: Latent(r, "mistral4", moe=1, lead=1, shared=True, tied=False),
    "afmoe": lambda r: Shape(r, "afmoe", moe=1, lead=1, shared=True, probs_bias=1, qk_norm=1, gated=2, post_norm=1, windows=r.choice([2, 4]), tied=False, **LED),
    "laguna": lambda r: Shape(r, "laguna", moe=1, lead=1, shared=True, shared_key=1, probs_bias=1, qk_norm=1, gated=r.choice([1, 2]),
                              windows=r.choice([0, 2]), tied=False, **LED),
    "spark2_5": lambda r: Shape(r, "spark2_5", gated=1, windows=r.choice([2, 4])),
    "muse-glimmer": lambda r: Shape(r, "muse-glimmer", gated=2, qk_norm=1, post_norm=1, tied=False, windows=r.choice([2, 4]), **{"%logit_scale": 0.06}),
    "mimo2": lambda r: Shape(r, "mimo2", moe=1, lead=1, probs_bias=1, windows=r.choice([2, 4]), sinks=1, tied=False, **LED),
    "rwkv7": lambda r: Mixing(r, "rwkv7", embedding_norm=1),
    "deepseek32": lambda r: Sparse(r, "deepseek32", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1),
    "glm-dsa": lambda r: Sparse(r, "glm-dsa", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1),
    "grovemoe": lambda r: Grouped(r, "grovemoe", tied=False),
    "smallthinker": lambda r: Shape(r, "smallthinker", moe=1, qkv_bias=r.random() < .3, **({"%attention.sliding_window": 4096} if r.random() < .6 else {}),
                                    **{"%expert_gating_func": r.choice([1, 2])}),
    "olmo": lambda r: Shape(r, "olmo", square=1, no_attn_norm=1, no_ffn_norm=1, no_output_norm=1, **{"%attention.clamp_kqv": r.choice([0.0, 8.0])}),
    "paddleocr": lambda r: Shape(r, "paddleocr", **{"%rope.dimension_sections": [16, 24, 24, 0]}),
    "deci": lambda r: Shape(r, "deci"),
    "granite_swa": lambda r: Shape(r, "granite_swa", sinks=1, windows=r.choice([2, 4]), **{"%attention.scale": 0.01, "%embedding_scale": 12.0,
                                                                                "%residual_scale": 0.2, "%logit_scale": 8.0}),
    "mellum": lambda r: Shape(r, "mellum", moe=1, qk_norm=1, tied=False, windows=r.choice([2, 4]), **{"%expert_weights_norm": True}),
    "maple": lambda r: Shape(r, "maple", moe=1, qk_norm=1, windows=r.choice([2, 4]), tied=False, **{"%swiglu_clamp_exp": 7.0}),
    "nanbeige": lambda r: Shape(r, "nanbeige", square=1),
    "exaone4+windows": lambda r: Shape(r, "exaone4", square=1, qk_norm=1, post_norm=1, no_attn_norm=1, no_ffn_norm=1, windows=4, layers=r.choice([4, 5, 8])),
}

# The same with a block that predicts the next token: --spec-type draft-mtp runs it.
FAMILIES |= {
    "qwen35+mtp": lambda r: Delta(r, "qwen35", mtp=1, mtp_tables=r.random() < .2),
    "qwen35moe+mtp": lambda r: Delta(r, "qwen35moe", moe=1, shared=512, shared_gate=1, mtp=1),
    "qwen3next+mtp": lambda r: Delta(r, "qwen3next", moe=1, shared=512, shared_gate=1, mtp=1),
    "glm4moe+mtp": lambda r: Shape(r, "glm4moe", moe=1, lead=1, shared=True, probs_bias=1, post_norm=1, attention_post_only=1, no_ffn_norm=1,
                                   tied=False, mtp=1, mtp_tables=r.random() < .3,
                                   **{"%leading_dense_block_count": 1, "%expert_shared_count": 1, "%expert_weights_scale": 1.0}),
    "deepseek32+mtp": lambda r: Sparse(r, "deepseek32", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1, mtp=1),
    "glm-dsa+mtp": lambda r: Sparse(r, "glm-dsa", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1, mtp=1),
    "deepseek2+mtp": lambda r: Latent(r, "deepseek2", moe=1, lead=r.choice([0, 1]), shared=True, probs_bias=1, mtp=1),
}


def make_shape(name, rng, deep=False, small=False, odd=False):
    shape = FAMILIES[name](rng)
    if odd and type(shape) is Shape and not shape.o["square"]:
        shape.head = rng.choice([32, 80, 96, 112, 192])
    if deep:
        shape.layers = rng.choice([9, 10, 12]) + shape.o["more_layers"]
    if deep or small:  # an engine reads every byte of them
        shape.kind = "Q8_0" if shape.kind == "F16" else shape.kind
        shape.experts, shape.used = min(shape.experts, 4), min(shape.used, 4)
        shape.inner = min(shape.inner, 2048 if shape.experts else 8192)
        shape.expert_inner = min(shape.expert_inner, 2048)
        shape.vocabulary = min(shape.vocabulary, 32000)
    return shape


# ---- settings --------------------------------------------------------------------------------------------------------------


def random_flags(rng, layers, has_experts, latent, partial):
    """Words for one launch, and how many cards it has."""
    cards = rng.choice([1, 2, 2, 2, 3, 3, 4])
    words = ["-c", rng.choice([512, 2048, 4096, 8192, 8192, 20000, 32768, 65536])]
    words += ["-np", rng.choice([1, 1, 1, 2, 3, 4, 7])] if rng.random() < .85 else []
    if rng.random() < .2:
        words += ["-kvu"]
    if rng.random() < .5:
        ubatch = rng.choice([1, 2, 7, 16, 64, 100, 128, 256, 300, 700, 1024, 2048])
        words += ["-ub", ubatch]
    if rng.random() < .1:
        words += ["-b", rng.choice([64, 256, 1000])]
    fused = rng.random() < .8
    if not fused:
        words += ["-fa", "off"]
    if rng.random() < .35:
        key = rng.choice(["q8_0", "q8_0", "q4_0", "f32", "bf16", "q5_1", "f16"])
        value = key if latent or rng.random() < .6 else rng.choice(["q8_0", "f16", "q4_0"])
        value = "f16" if not fused and value[0] == "q" else value
        words += ["-ctk", key if not (latent and not fused) else value, "-ctv", value]
    if rng.random() < .15:
        words += ["--swa-full"]
    if cards > 1:
        if rng.random() < .6:
            words += ["-ts", ",".join(str(rng.choice([1, 1, 2, 3, 5, 0.5])) for _ in range(cards))]
        if rng.random() < .08:
            words += ["-sm", "none", "-mg", rng.randrange(cards)]
        elif rng.random() < .1:
            words += ["-dev", ",".join(f"CUDA{i}" for i in rng.sample(range(cards), rng.randrange(1, cards + 1)))]
            if "-ts" in words:
                at = words.index("-ts")
                del words[at:at + 2]
    if partial:
        words += rng.choice([["-ngl", rng.randrange(0, layers + 2)], ["-nkvo"], ["-ot", r"blk\.[0-1]\.ffn=CPU"], ["--no-op-offload", "-ngl", 2],
                             ["-ncmoe", rng.randrange(1, layers + 1)] if has_experts else ["-ncffn", 2],
                             ["-ot", r"\.ffn_(up|down)=CPU"], ["-ot", r"attn_q=CPU,ffn_down=CUDA0"]])
    return cards, [str(word) for word in words]


def wilder(rng, words, layers):
    """What the flags above seldom have, by itself and together."""
    def replace(flag, *values):
        if flag in words:
            at = words.index(flag)
            del words[at:at + 1 + len(values)]
        words.extend([flag, *[str(value) for value in values]])

    if rng.random() < .4:
        replace("-np", rng.choice([8, 16, 31, 32, 33, 40]))
    if rng.random() < .25:
        replace("-ub", rng.choice([1, 3, 8, 31, 32, 33, 48, 64]))
    if rng.random() < .3:
        replace("-ngl", rng.randrange(0, layers + 2))
    if rng.random() < .15 and "-fa" not in words:
        replace("-fa", "on")
    if rng.random() < .15:
        replace("-nkvo")
    if rng.random() < .1:
        replace("--no-op-offload")
    if rng.random() < .25 and "-ot" not in words:
        replace("-ot", rng.choice(["attn_output=CPU", "attn_k=CPU", r"blk\.[12]\.=CPU", "_norm=CPU", r"ffn_down=CPU,attn_v=CPU", r"blk\.0\.=CUDA0",
                                   "token_embd=CUDA0", "^output=CPU", r"blk\.1\.attn=CUDA0,blk\.2\.ffn=CPU", "ssm=CPU", "exps=CPU"]))
    return words


def other_model(rng, shape, folder, name, fused):
    """A model of another shape that drafts for the first one, and words for it."""
    draft = make_shape(rng.choice(["llama", "qwen3", "gemma3", "qwen35", "qwen3moe", "deepseek2"]), rng, small=True)
    draft.vocabulary = shape.vocabulary
    path = folder / f"{name}-draft.gguf"
    draft.write(path)
    words = ["-md", path, *rng.choice([[], [], ["-ngld", rng.randrange(0, draft.layers + 2)]]), *rng.choice([[], ["-devd", "CUDA0"]])]
    types = [[], [], ["-ctkd", "q8_0", "-ctvd", "q8_0"] if fused else [] if isinstance(draft, Latent) else ["-ctkd", "q8_0", "-ctvd", "f16"]]
    words += rng.choice([[], ["--spec-draft-n-max", rng.choice([1, 5, 16])]]) + rng.choice(types)
    words += rng.choice([[], ["--spec-type", "draft-simple"]])
    return [str(word) for word in words]


class Fed(Shape):
    """A draft that is fed what three layers of the model made, as wide as it where that has to be; EAGLE3 has one layer of twice the
    width, DFlash several, and DSpark two matrices more behind the output."""

    def __init__(self, rng, kind, target):
        super().__init__(rng, "eagle3" if kind == "eagle3" else "dflash", qk_norm=kind != "eagle3", layers=1 if kind == "eagle3" else rng.choice([1, 2, 3, 5]),
                         width=target.width if kind != "eagle3" else rng.choice([1024, 2048, target.width]), vocabulary=target.vocabulary)
        self.fed_by, self.target_width, self.fed_kind = sorted(rng.sample(range(target.layers), 3)), target.width, kind
        self.inner = rng.choice([512, 2048, 4096])
        self.fewer_words = rng.choice([0, 0, 4096])
        self.own_table = rng.random() < .5
        self.own_output = bool(self.fewer_words) or kind == "eagle3" or rng.random() < .5

    def keys(self):
        a = self.architecture
        keys = super().keys() | {f"{a}.target_layers": self.fed_by, "tokenizer.ggml.mask_token_id": 3}
        return keys | ({f"{a}.target_hidden_size": self.target_width} if a == "eagle3" else {f"{a}.block_size": 8})

    def write(self, path):
        w, words = self.width, self.fewer_words or self.vocabulary
        q, kv, wide = self.heads * self.head, self.kv * self.head, 2 * w if self.fed_kind == "eagle3" else w
        self.put("fc.weight", 3 * self.target_width, w)
        if self.fewer_words:
            self.put("d2t", words, kind="I64")
        for name in ("output_norm", *(["enc.output_norm"] if self.fed_kind != "eagle3" else [])):
            self.put(name + ".weight", w, kind="F32")
        if self.own_output:
            self.put("output.weight", w, words)
        if self.own_table:
            self.put("token_embd.weight", w, self.vocabulary)
        if self.fed_kind == "dspark":
            self.put("markov_w1.weight", 128, self.vocabulary)
            self.put("markov_w2.weight", 128, words)
        for layer in range(self.layers):
            p = f"blk.{layer}."
            for name in ("attn_norm", "ffn_norm", *(["attn_norm_2"] if self.fed_kind == "eagle3" else [])):
                self.put(p + name + ".weight", w, kind="F32")
            for name, shape in (("q", (wide, q)), ("k", (wide, kv)), ("v", (wide, kv)), ("output", (q, w))):
                self.put(p + f"attn_{name}.weight", *shape)
            for name in ("q", "k") if self.o["qk_norm"] else ():
                self.put(p + f"attn_{name}_norm.weight", self.head, kind="F32")
            self.dense(p, self.inner)
        write(path, self.keys(), self.tensors)


def fed_model(rng, shape, folder, name, fused):
    """A model that drafts for the first one out of what its layers make, and words for it."""
    kind = rng.choice(["eagle3", "dflash", "dspark"])
    draft = Fed(rng, kind, shape)
    path = folder / f"{name}-draft.gguf"
    draft.write(path)
    words = ["-md", path, "--spec-type", f"draft-{kind}", *rng.choice([[], [], ["-ngld", rng.randrange(0, draft.layers + 2)]]),
             *rng.choice([[], [], ["-devd", "CUDA0"]]), *rng.choice([[], ["--spec-draft-n-max", rng.choice([1, 5, 16])]])]
    words += rng.choice([[], [], ["-ctkd", "q8_0", "-ctvd", "q8_0" if fused else "f16"]])
    return [str(word) for word in words]


DRAFTERS = tuple(name for name in FAMILIES if name.endswith("+mtp"))


def draft_flags(rng, latent, fused):
    """Words for drafts by the model's own block."""
    words = ["--spec-type", rng.choice(["draft-mtp", "draft-mtp", "draft-mtp,ngram-mod"])]
    if rng.random() < .6:
        words += ["--spec-draft-n-max", rng.choice([1, 2, 5, 8, 16])]
    if rng.random() < .3:
        words += ["--spec-draft-n-ubatch", rng.choice([16, 64, 128, 512])]
    if rng.random() < .3:
        key = rng.choice(["q8_0", "q4_0", "f32", "bf16", "f16"])
        value = key if latent or rng.random() < .6 else rng.choice(["q8_0", "f16"])
        words += ["-ctkd", key, "-ctvd", value] if fused or value[0] != "q" else []
    return [str(word) for word in words]


def drafts(words):
    return any(re.search(r"draft-mtp|^-md$|model-draft|draft-model|^LLAMA_ARG_SPEC_DRAFT_MODEL=", str(word)) for word in words)


def server_log(path, cards, words):
    environment = dict(os.environ, GGML_BACKEND_PATH=str(e2e.backend_built), GGML_NO_BACKTRACE="1",
                       PRETEND_GPUS=",".join(f"CUDA{i}|Card {i}|819200|{819000 - 64 * i}" for i in range(cards)))
    variables = list(itertools.takewhile(lambda word: re.match(r"[A-Z][A-Z0-9_]*=", word), words))
    environment.update(word.split("=", 1) for word in variables)
    command = [e2e.engine(), "-m", path, "-fit", "off", "--no-warmup", "--offline", "-lv", "4", "--no-log-prefix", "-t", "1", "--port", "0",
               *words[len(variables):]]
    server = subprocess.Popen([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace")
    timer = threading.Timer(PATIENCE_S, server.kill)
    timer.start()
    lines, port, idle = [], None, False
    try:
        for line in server.stdout:
            lines.append(line)
            listening = re.search(r"listening on http://127.0.0.1:(\d+)", line)
            port = listening[1] if listening else port
            idle = idle or "all slots are idle" in line
            if not drafts(words) and (idle or "reserve took" in line):  # all is allocated; it would go on to compute
                break
            if "all slots are idle" in line:
                threading.Thread(target=books.ask, args=(port,), daemon=True).start()
            if idle and "reserve took" in line:
                break
    finally:
        timer.cancel()
        server.send_signal(signal.SIGKILL)
        server.wait()
        server.stdout.close()
    return lines


def logged(path, cards, words):
    """The server's log of these words on so many cards, kept beside the model: the next hunt with --keep need not load it again."""
    launch = hashlib.sha256("\0".join([str(cards), *words]).encode()).hexdigest()[:16]
    kept = pathlib.Path(f"{path}.{launch}.log")
    if kept.exists():
        return kept.read_text(encoding="utf-8").splitlines()
    lines = server_log(path, cards, words)
    kept.write_text("".join(lines), encoding="utf-8")
    return lines


def one(job):
    number, path, name, cards, words, folder = job
    lines = logged(path, cards, words)
    seen = books.read_log(lines)
    machine = pathlib.Path(folder) / f"cards-{cards}.yaml"
    ran = subprocess.run([str(e2e.PROGRAM), "estimate", str(path), "--gpus", str(machine), "--json", "--engine-build", e2e.build, "--", *words],
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    started = not drafts(words) or any("all slots are idle" in line for line in lines)
    loaded = started and any(row["compute"] for row in seen.values()) and not any(ENDED.search(line) for line in lines)
    if ran.returncode not in (0, 3):
        return job, [] if not loaded else [("REFUSED", ran.stderr.strip())], []
    if not loaded:
        tail = [line.strip() for line in lines if "error" in line.lower() or "failed" in line.lower() or "ASSERT" in line][:2]
        return job, [("ENGINE", "the engine: " + " / ".join(tail or lines[-2:]))], []
    view = json.loads(ran.stdout)
    wrong, rows = [], []
    for device in [*view["devices"], dict(view["host"], name="host")]:
        for kind in ("weights", "context", "compute"):
            theirs, ours = seen[device["name"]][kind], device[f"{kind}_bytes"] / (1 << 20)
            source = device.get("compute_source", "bound")
            off = ours - theirs
            if kind != "compute":
                bad = abs(off) > 0.011 * 3 + (0.06 if device["name"] == "host" else 0)
            else:
                bad = off < -0.1 or (source == "formula" and off > NEAR_MIB)
                rows.append((device["name"], source, theirs, ours, device.get("layer_count")))
            if bad:
                wrong.append((kind, f"{device['name']} {kind}: engine {theirs:.2f}, estimate {ours:.2f} ({off:+.2f}, {source})"))
    return job, wrong, rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", action="append")
    parser.add_argument("--models")
    parser.add_argument("--deep", action="store_true", help="models of 9 to 12 layers, otherwise small")
    parser.add_argument("--small", action="store_true", help="as small, of 3 to 8 layers: a launch takes seconds")
    parser.add_argument("--record", help="a file that gets a row for each launch: what the engine allocated (tests/plan/graphs_b11669.tsv)")
    parser.add_argument("--partial", type=float, default=0.0, help="share of runs with parts in host memory")
    parser.add_argument("--odd", action="store_true", help="heads of 32, 80, 96, 112 or 192 values, where an architecture takes them")
    parser.add_argument("--wild", action="store_true", help="many slots, few rows, and tensors sent elsewhere")
    parser.add_argument("--spelt", action="store_true", help="settings in every spelling, as variables too, and some that are refused")
    parser.add_argument("--draft", type=float, default=0.0, help="share of runs with a second model that drafts")
    parser.add_argument("--fed", type=float, default=0.0, help="share of runs with a second model that drafts out of what layers of the first one make")
    parser.add_argument("--keep", help="a folder for models and logs; a second hunt with the same seed reads the logs there")
    parser.add_argument("--jobs", type=int, default=2, help="engines at once")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--engine-build", default="11669", help="the build that DUALGPUOPT_ENGINE is of, when it is not the packaged one")
    options = parser.parse_args()
    e2e.backend_built = e2e.backend()
    e2e.build = options.engine_build
    with tempfile.TemporaryDirectory() as folder:
        for cards in range(1, 5):
            rows = "".join(f"  - {{name: Card {i}, total_mib: 819200, free_mib: {819000 - 64 * i}}}\n" for i in range(cards))
            (pathlib.Path(folder) / f"cards-{cards}.yaml").write_text(f"gpus:\n{rows}host: {{total_mib: 999999, free_mib: 900000}}\n")
        jobs = []
        for number in range(options.runs):
            rng = random.Random(options.seed * 1000003 + number)
            if options.models:
                files = sorted(pathlib.Path(options.models).glob("*.gguf"))
                path = files[number % len(files)]
                name, layers, experts, latent = path.stem, 2, "moe" in path.stem, False
            else:
                name = rng.choice(options.family or [*FAMILIES])
                shape = make_shape(name, rng, options.deep, options.small, options.odd)
                layers, experts, latent = shape.layers, shape.experts, isinstance(shape, Latent)
                path = pathlib.Path(options.keep or folder) / f"{options.seed}-{number}-{name}.gguf"
                shape.write(path)
                name += f" {shape.width}w {shape.layers}l {shape.heads}x{shape.head}/{shape.kv} ff{shape.inner} e{shape.used}/{shape.experts}x{shape.expert_inner} v{shape.vocabulary}"
            cards, words = random_flags(rng, layers, experts, latent, rng.random() < options.partial)
            if name.startswith(DRAFTERS):
                words += draft_flags(rng, latent, "-fa" not in words)
            elif options.fed and rng.random() < options.fed:
                words += fed_model(rng, shape, pathlib.Path(options.keep or folder), f"{options.seed}-{number}", "-fa" not in words)
            elif rng.random() < options.draft:
                words += other_model(rng, shape, pathlib.Path(options.keep or folder), f"{options.seed}-{number}", "-fa" not in words)
            if options.spelt:
                words += hunt_words.more(rng, cards, layers, "-md" in words)
                words = hunt_words.spell(rng, words)
            if options.wild:
                words = wilder(rng, words, layers)
            jobs.append((number, path, name, cards, words, folder))
        tally, errors = collections.Counter(), collections.defaultdict(list)
        with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
            for job, wrong, rows in pool.map(one, jobs):
                number, path, name, cards, words, _ = job
                tally["runs"] += 1
                for device, source, theirs, ours, _ in rows:
                    errors["host" if device == "host" else source].append(ours - theirs)
                tally.update(kind for kind, _ in wrong)
                tally["loaded alike" if rows else "refused alike"] += bool(rows) or not wrong
                if options.record and rows:
                    with open(options.record, "a", encoding="utf-8") as file:
                        figures = " ".join(f"{device}={theirs:.2f}" for device, _, theirs, _, _ in rows if device != "host")
                        print(name.split()[0], options.seed, number, cards, " ".join(words), figures, sep="\t", file=file)
                if wrong or options.all:
                    print(f"{number} {name} | {cards} cards | {' '.join(words)}")
                    for kind, sentence in wrong:
                        print("    " + sentence)
                    if options.all:
                        print("    " + "  ".join(f"{d}:{t:.2f}/{o:.2f}" for d, s, t, o, l in rows))
                    sys.stdout.flush()
        print(dict(tally))
        for source, values in errors.items():
            near = sum(abs(value) <= NEAR_MIB for value in values)
            print(f"{source}: {len(values)} figures, {near} within {NEAR_MIB} MiB, mean {sum(map(abs, values)) / len(values):.2f}, "
                  f"worst under {min(0, *values, 0):.2f}, worst over {max(0, *values, 0):.2f}")


if __name__ == "__main__":
    main()
