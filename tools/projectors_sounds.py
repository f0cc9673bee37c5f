"""What projectors of sounds are made of, type by type, as projectors.py has it for pictures: Whisper's encoder, and conformers.

A type's tensors are made of its shape and the text model's width; make-model.py writes the files.
"""
from dataclasses import dataclass, field
from typing import Callable

from projectors import Shape, linear, norm

MELS, TOKENS = 128, 1500


@dataclass
class Sound:
    """A type of projector: all of its tensors, and a true geometry (with fewer layers)."""

    tensors: Callable  # of a shape and the text model's width
    true: Shape
    tiny: Shape = None
    keys: dict = field(default_factory=dict)  # numbers, below clip.audio.
    lists: dict = field(default_factory=dict)
    bands: int = MELS
    bound: bool = False  # the estimate is a bound


def encoder_layers(shape, key_bias=True, norm_bias=True):
    width = shape.width
    for layer in range(shape.layers):
        prefix = "a.blk.%d." % layer
        yield from norm(prefix + "ln1", width, norm_bias)
        yield from norm(prefix + "ln2", width, norm_bias)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from linear(prefix + name, width, width, key_bias or name != "attn_k")
        yield from linear(prefix + "ffn_up", width, shape.inner)
        yield from linear(prefix + "ffn_down", shape.inner, width)
    yield from norm("a.post_ln", width, norm_bias)


# --- Whisper's -----------------------------------------------------------------------------------


def whisper(end):
    def tensors(shape, out):
        width = shape.width
        yield ("a.conv1d.1.weight", (3, MELS, width), "matrix")
        yield ("a.conv1d.1.bias", (1, width), "bias")
        yield ("a.conv1d.2.weight", (3, width, width), "matrix")
        yield ("a.conv1d.2.bias", (1, width), "bias")
        yield ("a.position_embd.weight", (width, TOKENS), "bias")
        yield from encoder_layers(shape, key_bias=False)
        yield from end(width, out)
    return tensors


def ultravox(width, out):
    yield from norm("mm.a.norm_pre", 8 * width, bias=False)
    yield from norm("mm.a.norm_mid", out, bias=False)
    yield from linear("mm.a.mlp.1", 8 * width, 2 * out, bias=False)
    yield from linear("mm.a.mlp.2", out, out, bias=False)


def qwen2a(width, out):
    yield from linear("mm.a.fc", width, out)


def voxtral(width, out):
    yield from linear("mm.a.mlp.1", 4 * width, out, bias=False)
    yield from linear("mm.a.mlp.2", out, out, bias=False)


def flamingo(width, out):
    yield from linear("mm.a.mlp.1", width, out)
    yield from linear("mm.a.mlp.2", out, out)


def glma(width, out):
    yield from norm("mm.a.norm_pre", width)
    yield from linear("mm.a.mlp.1", 4 * width, 2 * out)
    yield from linear("mm.a.mlp.2", 2 * out, out)
    yield ("v.boi", (out,), "bias")
    yield ("v.eoi", (out,), "bias")


def meralion(width, out):
    yield from norm("mm.a.norm_pre", 15 * width)
    yield from linear("mm.a.mlp.0", 15 * width, 5 * width)
    yield from linear("mm.a.mlp.1", 5 * width, 5 * width)
    yield from linear("mm.a.mlp.2", 5 * width, 5 * width)
    yield from linear("mm.a.mlp.3", 5 * width, out)


# --- three convolutions of both axes -------------------------------------------------------------

CHANNELS = 480


def halved_thrice(shape):
    for number in (1, 2, 3):
        yield ("a.conv2d.%d.weight" % number, (3, 3, CHANNELS if number > 1 else 1, CHANNELS), "matrix")
        yield ("a.conv2d.%d.bias" % number, (1, 1, CHANNELS), "bias")
    yield from linear("a.conv_out", CHANNELS * MELS // 8, shape.width, bias=False)


def qwen3a(shape, out):
    yield from halved_thrice(shape)
    yield ("a.position_embd.weight", (shape.width, TOKENS), "bias")
    yield from encoder_layers(shape)
    yield from linear("mm.a.mlp.1", shape.width, shape.width)
    yield from linear("mm.a.mlp.2", shape.width, out)


def dots3note(shape, out):
    yield from halved_thrice(shape)
    yield from encoder_layers(shape, norm_bias=False)
    yield from norm("mm.a.norm_pre", shape.width)
    yield from linear("mm.a.mlp.1", shape.width, out)
    yield from linear("mm.a.mlp.3", out, out)


# --- conformers ----------------------------------------------------------------------------------


def conformer_layer(prefix, shape, kernel, bias=True, folded=True):
    width = shape.width
    for name in ("ffn_norm", "ffn_norm_1", "ln1", "ln2", "norm_conv"):
        yield from norm(prefix + name, width)
    for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
        yield from linear(prefix + name, width, width, bias)
    for ending in ("", "_1"):
        yield from linear(prefix + "ffn_up" + ending, width, shape.inner, bias)
        yield from linear(prefix + "ffn_down" + ending, shape.inner, width, bias)
    yield from linear(prefix + "conv_pw1", width, 2 * width, bias)
    yield from linear(prefix + "conv_pw2", width, width, bias)
    yield (prefix + "conv_dw.weight", (kernel, width), "bias")
    if bias and folded:
        yield (prefix + "conv_dw.bias", (width,), "bias")
    yield from norm(prefix + "conv_norm", width)


def placed(prefix, shape):
    for name in ("pos_bias_u", "pos_bias_v"):
        yield (prefix + name, (shape.width // shape.heads, shape.heads), "bias")
    yield from linear(prefix + "linear_pos", shape.width, shape.width, bias=False)


def conformer_head(shape, channels, bands=MELS):
    for number, inner in ((0, 1), (2, 1), (3, channels), (5, 1), (6, channels)):
        side = 1 if inner > 1 else 3
        yield ("a.conv1d.%d.weight" % number, (side, side, inner, channels), "matrix")
        yield ("a.conv1d.%d.bias" % number, (1, 1, channels), "bias")
    yield from linear("a.pre_encode.out", channels * bands // 8, shape.width)


def lfm2a(shape, out):
    yield from conformer_head(shape, 256)
    yield ("a.position_embd.weight", (out, TOKENS), "bias")
    for layer in range(shape.layers):
        prefix = "a.blk.%d." % layer
        yield from conformer_layer(prefix, shape, 9)
        yield from placed(prefix, shape)
    yield from norm("mm.a.mlp.0", shape.width)
    yield from linear("mm.a.mlp.1", shape.width, 4 * shape.width)
    yield from linear("mm.a.mlp.3", 4 * shape.width, out)


def parakeet(shape, out):
    yield from conformer_head(shape, 256)
    yield ("a.mel_filters", (257, MELS), "bias")
    yield ("a.window", (400,), "bias")
    for layer in range(shape.layers):
        prefix = "a.blk.%d." % layer
        yield from conformer_layer(prefix, shape, 9, bias=False)
        yield from placed(prefix, shape)
        yield (prefix + "conv_norm_mean", (shape.width,), "bias")
        yield (prefix + "conv_norm_var", (shape.width,), "bias")
    yield from norm("mm.model.mlp.0", shape.width, bias=False)
    yield from linear("mm.model.mlp.1", shape.width, out, bias=False)
    yield from linear("mm.model.mlp.3", out, out, bias=False)
    yield from norm("mm.a.norm_pre", shape.width, bias=False)
    yield from linear("mm.a.mlp.1", shape.width, 2 * out, bias=False)
    yield from linear("mm.a.mlp.2", 2 * out, out, bias=False)


def granite(shape, out):
    width, bands, texts = shape.width, 160, 348
    yield from linear("a.input_projection", bands, width)
    yield from linear("a.enc_ctc_out", width, texts)
    yield from linear("a.enc_ctc_out_mid", texts, width)
    for layer in range(shape.layers):
        prefix = "a.blk.%d." % layer
        yield from conformer_layer(prefix, shape, 15, folded=False)
        yield (prefix + "attn_rel_pos_emb", (width // shape.heads, 2 * 512 + 1), "bias")
    yield ("a.proj_query", (width, 3), "bias")
    yield from norm("a.proj_norm", width)
    yield from linear("a.proj_linear", width, out)
    for layer in range(2):
        yield from query_layer("a.proj_blk.%d." % layer, width)


def query_layer(prefix, width, inner=4096):
    for way in ("self", "cross"):
        for name in ("q", "k", "v", "out"):
            yield from linear("%s%s_attn_%s" % (prefix, way, name), width, width)
        yield from norm("%s%s_attn_norm" % (prefix, way), width)
    yield from linear(prefix + "ffn_up", width, inner)
    yield from linear(prefix + "ffn_down", inner, width)
    yield from norm(prefix + "ffn_norm", width)


def gemma4a(shape, out):
    width, head = shape.width, shape.width // shape.heads
    for number, inner, outer in ((0, 1, 128), (1, 128, 32)):
        yield ("a.conv1d.%d.weight" % number, (3, 3, inner, outer), "matrix")
        yield ("a.conv1d.%d.norm.weight" % number, (outer,), "norm")
    yield from linear("a.input_projection", 32 * MELS // 4, width, bias=False)
    for layer in range(shape.layers):
        prefix = "a.blk.%d." % layer
        for name in ("ffn_norm", "ffn_post_norm", "ffn_norm_1", "ffn_post_norm_1", "attn_pre_norm", "attn_post_norm", "ln2",
                     "conv_norm", "norm_conv"):
            yield from norm(prefix + name, width, bias=False)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out", "attn_k_rel", "conv_pw2"):
            yield from linear(prefix + name, width, width, bias=False)
        yield from linear(prefix + "conv_pw1", width, 2 * width, bias=False)
        yield (prefix + "conv_dw.weight", (5, width), "bias")
        yield (prefix + "per_dim_scale.weight", (head,), "bias")
        for ending in ("", "_1"):
            yield from linear(prefix + "ffn_up" + ending, width, shape.inner, bias=False)
            yield from linear(prefix + "ffn_down" + ending, shape.inner, width, bias=False)
    yield from linear("a.pre_encode.out", width, 3 * width // 2)
    yield from linear("mm.a.input_projection", 3 * width // 2, out, bias=False)


def gemma4ua(shape, out):
    yield from linear("mm.a.input_projection", 640, out, bias=False)


# --- MiMo's --------------------------------------------------------------------------------------

BINS, BOOKS = 1024, 4


def mimo(shape, out):
    width = shape.width
    yield ("a.conv1d.1.weight", (3, MELS, width), "matrix")
    yield ("a.conv1d.1.bias", (1, width), "bias")
    yield ("a.conv1d.2.weight", (3, width, width), "matrix")
    yield ("a.conv1d.2.bias", (1, width), "bias")
    yield from encoder_layers(shape, key_bias=False)
    yield ("a.downsample.conv.weight", (2, width, width), "matrix")
    yield from norm("a.downsample.norm", width)
    yield ("a.rvq.codebook.weight", (width, BINS, BOOKS), "router")
    yield ("mm.a.code_embd.weight", (width, BINS, BOOKS), "router")
    for layer in range(2):
        prefix = "mm.a.local_blk.%d." % layer
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from linear(prefix + name, width, width, name != "attn_out")
        for name, inner, outer in (("ffn_gate", width, shape.inner), ("ffn_up", width, shape.inner), ("ffn_down", shape.inner, width)):
            yield from linear(prefix + name, inner, outer, bias=False)
        for name in ("ln1", "ln2"):
            yield from norm(prefix + name, width, bias=False)
    yield from norm("mm.a.local_norm", width, bias=False)
    yield from linear("mm.a.mlp.1", 4 * width, out, bias=False)
    yield from linear("mm.a.mlp.2", out, out, bias=False)


LARGE, TINY = Shape(3, 1280, 20, 5120, 1, 0), Shape(2, 256, 4, 1024, 1, 0)

SOUNDS = {
    "ultravox": Sound(whisper(ultravox), LARGE, TINY, {"projector.stack_factor": 8}),
    "qwen2a": Sound(whisper(qwen2a), LARGE, TINY),
    "voxtral": Sound(whisper(voxtral), LARGE, TINY, {"projector.stack_factor": 4}),
    "musicflamingo": Sound(whisper(flamingo), LARGE, TINY),
    "glma": Sound(whisper(glma), LARGE, TINY, {"projector.stack_factor": 4}),
    "meralion": Sound(whisper(meralion), LARGE, TINY, {"projector.stack_factor": 15}),
    "qwen2.5o": Sound(whisper(qwen2a), LARGE, TINY),
    "qwen3a": Sound(qwen3a, Shape(3, 896, 14, 3584, 1, 0), TINY),
    "dots3note_a": Sound(dots3note, LARGE, TINY),
    "lfm2a": Sound(lfm2a, Shape(3, 512, 8, 2048, 1, 0), Shape(2, 512, 8, 1024, 1, 0)),
    "parakeet": Sound(parakeet, Shape(3, 1024, 8, 4096, 1, 0), TINY, {"subsampling_factor": 8, "conv_kernel_size": 9}),
    "granite_speech": Sound(granite, Shape(4, 1024, 8, 4096, 1, 0), Shape(2, 256, 4, 1024, 1, 0),
                            {"chunk_size": 200, "conv_kernel_size": 15, "max_pos_emb": 512, "projector.window_size": 15,
                             "projector.downsample_rate": 5, "projector.head_count": 16}, bands=160, bound=True),
    "gemma4a": Sound(gemma4a, Shape(3, 1024, 8, 4096, 1, 0), TINY),
    "gemma4ua": Sound(gemma4ua, Shape(0, 3840, 8, 1, 1, 0), Shape(0, 256, 8, 1, 1, 0)),
    "mimo_audio": Sound(mimo, Shape(4, 1024, 16, 4096, 1, 0), Shape(4, 256, 4, 1024, 1, 0),
                        {"window_size": 128, "rvq.num_quantizers": BOOKS, "local_block_count": 2, "local_group_size": 4},
                        {"rvq.codebook_size": [BINS] * BOOKS, "wa_pattern_mode": [-1, 0, 0, -1]}, bound=True),
}
