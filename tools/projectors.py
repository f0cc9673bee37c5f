"""What picture projectors are made of, type by type: the tensors and keys that llama.cpp looks for.

Tables of plain values; make-model.py writes the files.  A tensor is (name, shape, kind), the kinds are make-model.py's.
"""
from dataclasses import dataclass, field, replace
from typing import Callable


@dataclass
class Shape:
    """An encoder's widths; `pixels` is the side of the pictures that it was trained with."""

    layers: int
    width: int
    heads: int
    inner: int
    patch: int
    pixels: int

    @property
    def side(self):
        return self.pixels // self.patch


TINY = Shape(3, 128, 2, 256, 14, 112)


def linear(name, inner, outer, bias=True):
    yield (name + ".weight", (inner, outer), "matrix")
    if bias:
        yield (name + ".bias", (outer,), "bias")


def norm(name, width, bias=True):
    yield (name + ".weight", (width,), "norm")
    if bias:
        yield (name + ".bias", (width,), "bias")


# --- how they end --------------------------------------------------------------------------------


def pooled(shape, out):
    yield ("mm.input_projection.weight", (out, shape.width), "matrix")
    yield from norm("mm.soft_emb_norm", shape.width, bias=False)


def projected(shape, out):
    yield ("mm.input_projection.weight", (shape.width, out), "matrix")


def shuffled(merge):
    return lambda shape, out: linear("mm.model.fc", merge * merge * shape.width, out, bias=False)


def two(first, second, merge=1, normed=0, bias=True, stacked=1):
    """Two matrices, called `first` and `second`; `normed` patches go through the norm before them as one row."""
    def end(shape, out):
        inner = merge * merge * stacked * shape.width
        if normed:
            yield from norm("mm.input_norm", normed * shape.width)
        yield from linear("mm.%d" % first, inner, inner if merge > 1 else out, bias)
        yield from linear("mm.%d" % second, inner if merge > 1 else out, out, bias)
    return end


def stacked(shape, out):
    """Some layers' results are put beside the last one's; the text model is as wide as all of them."""
    yield from two(0, 2, merge=2)(shape, out // (1 + len(stacked_layers(shape))))
    for layer in stacked_layers(shape):
        prefix = "v.deepstack.%d." % layer
        yield from norm(prefix + "norm", 4 * shape.width)
        yield from linear(prefix + "fc1", 4 * shape.width, 4 * shape.width)
        yield from linear(prefix + "fc2", 4 * shape.width, out // 4)


def stacked_layers(shape):
    return [(layer + 1) * shape.layers // 3 - 1 for layer in range(3)]


def broken_rows(merge, breaks=True):
    def end(shape, out):
        yield from linear("mm.1", shape.width, out)
        yield from linear("mm.2", out, out)
        if breaks:
            yield ("v.token_embd.img_break", (out,), "bias")
        if merge > 1:
            yield from norm("mm.input_norm", shape.width, bias=False)
            yield from linear("mm.patch_merger", merge * merge * shape.width, shape.width, bias=False)
    return end


def internvl(shape, out):
    yield from norm("mm.model.mlp.0", 4 * shape.width)
    yield from linear("mm.model.mlp.1", 4 * shape.width, out)
    yield from linear("mm.model.mlp.3", out, out)


def llama4(shape, out):
    yield from linear("mm.model.mlp.1", 4 * shape.width, 3 * shape.width, bias=False)
    yield from linear("mm.model.mlp.2", 3 * shape.width, 3 * shape.width, bias=False)
    yield from linear("mm.model.fc", 3 * shape.width, out, bias=False)


def resampled(shape, out):
    yield ("resampler.pos_embed_k", (out, shape.side * shape.side), "bias")
    yield ("resampler.query", (out, 64), "bias")
    yield from linear("resampler.proj", out, out, bias=False)
    yield from linear("resampler.kv", shape.width, out, bias=False)
    for name in ("q", "k", "v", "out"):
        yield from linear("resampler.attn." + name, out, out)
    for name in ("q", "kv", "post"):
        yield from norm("resampler.ln_" + name, out)


def glm4v(shape, out):
    yield ("mm.patch_merger.weight", (2, 2, shape.width, out), "router")
    yield ("mm.patch_merger.bias", (out,), "bias")
    yield from linear("mm.model.fc", out, out, bias=False)
    yield from norm("mm.post_norm", out)
    yield from linear("mm.up", out, 3 * out, bias=False)
    yield from linear("mm.gate", out, 3 * out, bias=False)
    yield from linear("mm.down", 3 * out, out, bias=False)


def cogvlm(shape, out):
    yield from linear("mm.model.fc", shape.width, out, bias=False)
    yield from norm("mm.post_fc_norm", out)
    yield from linear("mm.up", out, 3 * out, bias=False)
    yield from linear("mm.gate", out, 3 * out, bias=False)
    yield from linear("mm.down", 3 * out, out, bias=False)
    yield ("v.boi", (out,), "bias")
    yield ("v.eoi", (out,), "bias")


def dots(shape, out):
    yield from two(0, 2, merge=2, normed=1)(shape, out)
    yield from norm("mm.post_norm", shape.width, bias=False)


def hunyuan(shape, out):
    yield ("mm.0.weight", (2, 2, shape.width, 2 * shape.width), "router")
    yield ("mm.0.bias", (2 * shape.width,), "bias")
    yield ("mm.2.weight", (1, 1, 2 * shape.width, 4 * shape.width), "router")
    yield ("mm.2.bias", (4 * shape.width,), "bias")
    yield from linear("mm.model.fc", 4 * shape.width, out)
    yield from norm("mm.pre_norm", shape.width, bias=False)
    yield from norm("mm.post_norm", out, bias=False)
    yield ("v.image_newline", (4 * shape.width,), "bias")
    yield ("mm.image_begin", (out,), "bias")
    yield ("mm.image_end", (out,), "bias")


def nemotron(shape, out):
    yield from norm("mm.model.mlp.0", 4 * shape.width, bias=False)
    yield from linear("mm.model.mlp.1", 4 * shape.width, 3 * out, bias=False)
    yield from linear("mm.model.mlp.3", 3 * out, out, bias=False)


def step3(shape, out):
    yield ("mm.0.weight", (3, 3, shape.width, 2 * shape.width), "router")
    yield ("mm.0.bias", (2 * shape.width,), "bias")
    yield ("mm.1.weight", (3, 3, 2 * shape.width, 4 * shape.width), "router")
    yield ("mm.1.bias", (4 * shape.width,), "bias")
    yield from linear("mm.model.fc", 4 * shape.width, out, bias=False)


def minimax(shape, out):
    yield from linear("mm.1", shape.width, 2 * out)
    yield from linear("mm.2", 2 * out, out)
    yield from linear("mm.merger.fc1", 4 * out, 2 * out)
    yield from linear("mm.merger.fc2", 2 * out, out)


def glm_edge(shape, out):
    yield ("adapter.conv.weight", (2, 2, shape.width, out), "router")
    yield ("adapter.conv.bias", (out,), "bias")
    yield from linear("adapter.linear.linear", out, out, bias=False)
    yield from norm("adapter.linear.norm1", out)
    yield from linear("adapter.linear.dense_h_to_4h", out, 3 * out, bias=False)
    yield from linear("adapter.linear.gate", out, 3 * out, bias=False)
    yield from linear("adapter.linear.dense_4h_to_h", 3 * out, out, bias=False)
    yield ("adapter.boi", (out,), "bias")
    yield ("adapter.eoi", (out,), "bias")


def minicpm46(merge):
    """A merger of its own behind the first layers where tokens have 4 x 4 patches."""
    def end(shape, out):
        yield from norm("mm.input_norm", 4 * shape.width)
        yield from linear("mm.up", 4 * shape.width, 4 * shape.width)
        yield from linear("mm.down", 4 * shape.width, out)
        if merge == 2:
            return
        yield from norm("v.vit_merger.ln1", shape.width)
        for name in ("attn_q", "attn_k", "attn_v", "attn_out"):
            yield from linear("v.vit_merger." + name, shape.width, shape.width)
        yield from norm("v.vit_merger.ds_ln", 4 * shape.width)
        yield from linear("v.vit_merger.ds_ffn_up", 4 * shape.width, 4 * shape.inner)
        yield from linear("v.vit_merger.ds_ffn_down", 4 * shape.inner, shape.width)
    return end


def youtu(shape, out):
    yield from norm("mm.input_norm", shape.width, bias=False)
    yield from linear("mm.0", 4 * shape.width, 4 * shape.width)
    yield from linear("mm.2", 4 * shape.width, out)


def mobile(shape, out):
    """MobileVLM's: two matrices, and convolutions of each channel alone between matrices."""
    yield from linear("mm.model.mlp.1", shape.width, out)
    yield from linear("mm.model.mlp.3", out, out)
    for block in (1, 2):
        prefix = "mm.model.mb_block.%d.block." % block
        yield (prefix + "0.0.weight", (3, 3, 1, out), "matrix")
        yield from norm(prefix + "0.1", out)
        yield from linear(prefix + "1.fc1", out, out // 4)
        yield from linear(prefix + "1.fc2", out // 4, out)
        yield from linear(prefix + "2.0", out, out, bias=False)
        yield from norm(prefix + "2.1", out)


def mobile2(shape, out):
    yield from linear("mm.model.mlp.0", shape.width, out)
    yield from linear("mm.model.mlp.2", out, out)
    yield ("mm.model.peg.0.weight", (3, 3, 1, out), "matrix")
    yield ("mm.model.peg.0.bias", (out,), "bias")


def yi(shape, out):
    yield from linear("mm.0", shape.width, out)
    yield from norm("mm.1", out)
    yield from linear("mm.3", out, out)
    yield from norm("mm.4", out)


# --- Gemma 3n ------------------------------------------------------------------------------------


def channelwise(name, kernel, channels):
    yield (name + ".conv.weight", (kernel, kernel, 1, channels), "matrix")
    yield (name + ".bn.weight", (channels,), "norm")


def pointwise(name, inner, outer):
    yield (name + ".conv.weight", (1, 1, inner, outer), "matrix")
    yield (name + ".bn.weight", (outer,), "norm")


def edge_block(prefix, inner, outer, grow):
    yield (prefix + "conv_exp.weight", (3, 3, inner, grow * inner), "matrix")
    yield (prefix + "bn1.weight", (grow * inner,), "norm")
    yield (prefix + "conv_pwl.weight", (1, 1, grow * inner, outer), "matrix")
    yield (prefix + "bn2.weight", (outer,), "norm")


def inverted_block(prefix, inner, outer, grow, first, middle):
    """A kernel's side for `first` and `middle`, or none."""
    if first:
        yield from channelwise(prefix + "dw_start", first, inner)
    yield from pointwise(prefix + "pw_exp", inner, grow * inner)
    if middle:
        yield from channelwise(prefix + "dw_mid", middle, grow * inner)
    yield from pointwise(prefix + "pw_proj", grow * inner, outer)
    yield (prefix + "layer_scale.gamma", (1, 1, outer), "bias")


def attention_block(prefix, channels, heads, size, kernel):
    yield (prefix + "norm.weight", (channels,), "norm")
    yield (prefix + "attn.query.proj.weight", (1, 1, channels, heads * size), "matrix")
    yield (prefix + "attn.output.proj.weight", (1, 1, heads * size, channels), "matrix")
    for name in ("key", "value"):
        yield (prefix + "attn.%s.proj.weight" % name, (1, 1, channels, size), "matrix")
        if kernel:
            yield (prefix + "attn.%s.down_conv.weight" % name, (kernel, kernel, 1, channels), "matrix")
            yield (prefix + "attn.%s.norm.weight" % name, (channels,), "norm")
    yield (prefix + "layer_scale.gamma", (1, 1, channels), "bias")


def mobilenet(shape):
    """MobileNetV5's stages, as wide as `shape.width` says (2048: the 300 M one), the last two `shape.layers` pairs deep."""
    yield ("a.conv1d.1.weight", (3, 128, shape.width), "router")  # of the sounds, which the engine does not load
    stem, *channels = (shape.width // 32 * part for part in (1, 2, 4, 10, 20))
    size = shape.width // 32
    yield ("v.conv_stem.conv.weight", (3, 3, 3, stem), "matrix")
    yield ("v.conv_stem.conv.bias", (1, 1, stem), "bias")
    yield ("v.conv_stem.bn.weight", (stem,), "norm")
    for block in range(3):
        yield from edge_block("v.blk.0.%d." % block, channels[0] if block else stem, channels[0], 4)
    for block in range(5):
        yield from inverted_block("v.blk.1.%d." % block, channels[bool(block)], channels[1], 4 if block else 6, 3, 0 if block else 5)
    for stage, heads, kernel in ((2, 12, 3), (3, 16, 0)):
        yield from inverted_block("v.blk.%d.0." % stage, channels[stage - 1], channels[stage], 6, 5, 5)
        for block in range(1, 4):
            yield from inverted_block("v.blk.%d.%d." % (stage, block), channels[stage], channels[stage], 4, 5, 0)
        for pair in range(2, 2 + shape.layers):
            yield from attention_block("v.blk.%d.%d." % (stage, 2 * pair), channels[stage], heads, size * (stage - 1) // 2 * 2, kernel)
            yield from inverted_block("v.blk.%d.%d." % (stage, 2 * pair + 1), channels[stage], channels[stage], 2, 0, 0)
    yield from pointwise("v.msfa.ffn.pw_exp", channels[2] + channels[3], 2 * (channels[2] + channels[3]))
    yield from pointwise("v.msfa.ffn.pw_proj", 2 * (channels[2] + channels[3]), shape.width)
    yield from norm("v.msfa.norm", shape.width, bias=False)


# --- DeepSeek-OCR --------------------------------------------------------------------------------

SAM_WIDTH, SAM_HEADS, SAM_SIDE, SAM_WINDOW, SAM_BLOCKS = 768, 12, 64, 14, 3


def sam(shape):
    """SAM's encoder (the third block attends to all), and CLIP's behind it."""
    yield ("v.sam.pos_embd.weight", (SAM_WIDTH, SAM_SIDE, SAM_SIDE), "router")
    yield ("v.sam.patch_embd.weight", (16, 16, 3, SAM_WIDTH), "router")
    yield ("v.sam.patch_embd.bias", (SAM_WIDTH,), "bias")
    for block in range(SAM_BLOCKS):
        prefix = "v.sam.blk.%d." % block
        reach = 2 * (SAM_SIDE if block % 3 == 2 else SAM_WINDOW) - 1
        yield from norm(prefix + "pre_ln", SAM_WIDTH)
        yield from norm(prefix + "post_ln", SAM_WIDTH)
        yield from linear(prefix + "attn.qkv", SAM_WIDTH, 3 * SAM_WIDTH)
        yield from linear(prefix + "attn.out", SAM_WIDTH, SAM_WIDTH)
        yield (prefix + "attn.pos_h.weight", (SAM_WIDTH // SAM_HEADS, reach), "router")
        yield (prefix + "attn.pos_w.weight", (SAM_WIDTH // SAM_HEADS, reach), "router")
        yield from linear(prefix + "mlp.lin1", SAM_WIDTH, 4 * SAM_WIDTH)
        yield from linear(prefix + "mlp.lin2", 4 * SAM_WIDTH, SAM_WIDTH)
    yield ("v.sam.neck.0.weight", (1, 1, SAM_WIDTH, 256), "router")
    yield from norm("v.sam.neck.1", 256)
    yield ("v.sam.neck.2.weight", (3, 3, 256, 256), "router")
    yield from norm("v.sam.neck.3", 256)
    yield ("v.sam.net_2.weight", (3, 3, 256, shape.width // 2), "router")
    yield ("v.sam.net_3.weight", (3, 3, shape.width // 2, shape.width), "router")
    yield ("v.class_embd", (shape.width,), "bias")
    yield ("v.position_embd.weight", (shape.width, 257), "router")
    for layer in range(shape.layers):
        yield from layer_tensors(KINDS["janus_pro"], shape, layer)


def sam_end(shape, out):
    yield from linear("mm.model.fc", 2 * shape.width, out)
    yield ("v.image_newline", (out,), "bias")
    yield ("v.view_seperator", (out,), "bias")


def unified(shape):
    """Gemma 4's without layers; 3 x 3 patches are one."""
    piece = 3 * (3 * shape.patch) ** 2
    yield ("v.patch_embd.weight", (piece, shape.width), "router")
    yield ("v.patch_embd.bias", (shape.width,), "bias")
    yield ("v.position_embd.weight", (shape.width, 64, 2), "router")
    for number, width in ((1, piece), (2, shape.width), (3, shape.width)):
        yield from norm("v.patch_norm.%d" % number, width)


def projected_softly(shape, out):
    """The matrix is not turned over; the engine looks for the text model's width in its first dimension all the same."""
    yield ("mm.input_projection.weight", (shape.width, out), "matrix")
    yield from norm("mm.soft_emb_norm", shape.width, bias=False)


# --- the types -----------------------------------------------------------------------------------


@dataclass
class Kind:
    """A type of projector: what its end is, what its layers have, and a true geometry (with fewer layers)."""

    end: Callable
    true: Shape
    type: str = ""  # as the file calls it, where the row is called differently
    keys: dict = field(default_factory=dict)  # numbers, below clip.vision.
    body: Callable = None  # in place of patches, positions and layers
    lists: dict = field(default_factory=dict)  # of numbers, there too
    sounds: bool = False  # the file has some, too
    limits: bool = False  # numbers that what goes into matrices and comes out is cut to
    bound: bool = False  # the estimate is a bound
    tiny: Shape = None  # where the common one does not do
    only_pixels: int = 0  # the one size of pictures that its end takes
    version: int = 0  # of MiniCPM-V
    activation: str = "clip.use_gelu"
    class_rows: int = 0
    table: str = "rows"  # of positions: "rows", one for each patch; "axes", two of them; "cube", 64 x 64; "square:N"; "" for none
    patches: str = "plain"  # "twice": two kernels, "flat": one of two dimensions
    patch_bias: bool = True
    embedded_norm: bool = False
    pre_norm: bool = False
    post_norm: bool = True
    bias: bool = True
    norm_bias: bool = True
    fused: bool = False
    fused_bias: bool = True
    gate: bool = False
    head_norms: str = ""  # "head" or "row": how wide the norms of queries and keys are
    scales: bool = False
    more_norms: bool = False
    swapped: bool = False  # CLIP's old files swap the names of the feed-forward

    head: int = 0  # a head's size, where the width does not follow from it
    sinks: bool = False
    shared: int = 1  # heads that share keys and values

    def key_heads(self, shape):
        return max(1, shape.heads // self.shared)

    def numbers(self, shape):
        return {**self.keys, **({"attention.head_count_kv": self.key_heads(shape)} if self.shared > 1 else {})}


SIGLIP = Shape(4, 1152, 16, 4304, 14, 896)
QWEN25 = Shape(9, 1280, 16, 3420, 14, 560)

KINDS = {
    "mlp": Kind(two(0, 2), Shape(4, 1024, 16, 4096, 14, 336), activation="", class_rows=1, patch_bias=False, pre_norm=True,
                post_norm=False, swapped=True),
    "mlp-yi": Kind(yi, Shape(4, 1280, 16, 5120, 14, 448), type="mlp", activation="", class_rows=1, patch_bias=False, pre_norm=True,
                   post_norm=False, swapped=True),
    "gemma3": Kind(pooled, SIGLIP, keys={"projector.scale_factor": 4}),
    "gemma4v": Kind(projected, Shape(4, 1152, 16, 4304, 16, 768), keys={"projector.scale_factor": 3}, table="axes", patch_bias=False,
                    bias=False, norm_bias=False, gate=True, head_norms="head", more_norms=True, post_norm=False, limits=True),
    "idefics3": Kind(shuffled(4), Shape(4, 768, 12, 3072, 16, 512), keys={"projector.scale_factor": 4}),
    "lfm2": Kind(two(1, 2, merge=2, normed=4), Shape(4, 768, 12, 3072, 16, 256), keys={"projector.scale_factor": 2}),
    "janus_pro": Kind(two(0, 1), Shape(4, 1024, 16, 4096, 16, 384)),
    "phi4": Kind(two(0, 2), Shape(4, 1152, 16, 4304, 16, 256), keys={"image_min_pixels": 65536, "image_max_pixels": 921600}),
    "qwen2vl_merger": Kind(two(0, 2, merge=2), Shape(4, 1280, 16, 5120, 14, 560), activation="", table="", patches="twice",
                           patch_bias=False),
    "qwen2.5vl_merger": Kind(two(0, 2, merge=2), QWEN25, keys={"n_wa_pattern": 8}, activation="clip.use_silu", table="",
                             patches="twice", patch_bias=False, norm_bias=False, gate=True),
    "qwen3vl_merger": Kind(stacked, Shape(6, 1152, 16, 4304, 16, 768), table="square:48", patches="twice", fused=True),
    "pixtral": Kind(broken_rows(1), Shape(4, 1024, 16, 4096, 16, 1024), activation="clip.use_silu", table="", patch_bias=False,
                    pre_norm=True, post_norm=False, bias=False, norm_bias=False, gate=True),
    "pixtral-merged": Kind(broken_rows(2), Shape(4, 1024, 16, 4096, 14, 1540), type="pixtral", keys={"spatial_merge_size": 2},
                           activation="clip.use_silu", table="", patch_bias=False, pre_norm=True, post_norm=False, bias=False,
                           norm_bias=False, gate=True),
    "lightonocr": Kind(broken_rows(2, breaks=False), Shape(4, 1024, 16, 4096, 14, 1540), keys={"spatial_merge_size": 2},
                       activation="clip.use_silu", table="", patch_bias=False, pre_norm=True, post_norm=False, bias=False,
                       norm_bias=False, gate=True),
    "internvl": Kind(internvl, Shape(4, 1024, 16, 4096, 14, 448), keys={"projector.scale_factor": 2}, class_rows=1, post_norm=False,
                     scales=True),
    "internvl-6b": Kind(internvl, Shape(4, 3200, 25, 12800, 14, 448), type="internvl", keys={"projector.scale_factor": 2},
                        class_rows=1, post_norm=False, scales=True, head_norms="row", norm_bias=False),
    "llama4": Kind(llama4, Shape(4, 1408, 16, 5632, 14, 336), keys={"projector.scale_factor": 2}, class_rows=1, patches="flat",
                   patch_bias=False, pre_norm=True),
    "resampler": Kind(resampled, Shape(4, 1152, 16, 4304, 14, 448), version=3, table="square:70"),
    "kimivl": Kind(two(1, 2, merge=2, normed=1), Shape(4, 1152, 16, 4304, 14, 896), keys={"projector.scale_factor": 2},
                   table="square:64"),
    "glm4v": Kind(glm4v, Shape(4, 1536, 12, 13696, 14, 336), activation="clip.use_silu", patches="twice", embedded_norm=True, bias=False,
                  fused=True, fused_bias=False, norm_bias=False, gate=True),
    "cogvlm": Kind(cogvlm, Shape(4, 1792, 16, 15360, 14, 490), class_rows=1, post_norm=False, fused=True),
    "paddleocr": Kind(two(1, 2, merge=2, normed=1), Shape(4, 1152, 16, 4304, 14, 384),
                      keys={"image_min_pixels": 147384, "image_max_pixels": 2822400}, table="square:27"),
    "dots_ocr": Kind(dots, Shape(4, 1536, 12, 4224, 14, 560), keys={"projector.scale_factor": 2, "image_min_pixels": 3136,
                                                                    "image_max_pixels": 11289600},
                     activation="clip.use_silu", table="", post_norm=False, bias=False, fused=True, fused_bias=False, norm_bias=False,
                     gate=True),
    "kimik25": Kind(two(1, 2, merge=2, normed=1), Shape(4, 1152, 16, 4304, 14, 896), keys={"projector.scale_factor": 2}, table="cube"),
    "kimik25-capped": Kind(two(1, 2, merge=2, normed=1), Shape(4, 1152, 16, 4304, 14, 896), type="kimik25", table="cube",
                           keys={"projector.scale_factor": 2, "image_min_pixels": 3136, "image_max_pixels": 640000}),
    "hunyuanvl": Kind(hunyuan, Shape(4, 1152, 16, 4304, 16, 2048), table="square:64"),
    "nemotron_v2_vl": Kind(nemotron, Shape(4, 1280, 16, 5120, 16, 512), keys={"projector.scale_factor": 2}, class_rows=10),
    "step3vl": Kind(step3, Shape(4, 1536, 16, 8960, 14, 728), keys={"projector.scale_factor": 4}, patch_bias=False, pre_norm=True,
                    post_norm=False, scales=True, fused=True),
    "exaone4_5": Kind(two(0, 2, merge=2), Shape(9, 2048, 32, 5120, 14, 560),
                      keys={"n_wa_pattern": 8, "image_min_pixels": 3136, "image_max_pixels": 12845056},
                      activation="clip.use_silu", table="", patches="twice", patch_bias=False, norm_bias=False, gate=True, fused=True,
                      shared=4),
    "mimovl": Kind(two(0, 2, merge=2), Shape(6, 1280, 32, 4608, 16, 560), bound=True, activation="clip.use_silu", table="",
                   keys={"window_size": 128, "image_min_pixels": 8192, "image_max_pixels": 8388608},
                   lists={"wa_pattern_mode": [-1, 0, 1, 0, 1, -1]}, patches="twice", patch_bias=False, norm_bias=False, gate=True,
                   fused=True, shared=4, head=64, sinks=True),
    "minimax_m3": Kind(minimax, Shape(4, 1280, 16, 5120, 14, 672), table="", patches="twice", patch_bias=False, pre_norm=True),
    "gemma4uv": Kind(projected, Shape(0, 3072, 16, 0, 16, 768), body=unified, keys={"projector.scale_factor": 3},
                     tiny=Shape(0, 128, 2, 0, 14, 448)),
    "mlp-features": Kind(two(0, 2, stacked=3), Shape(6, 1152, 16, 4304, 14, 378), type="mlp", lists={"feature_layer": [1, 3, 6]}, post_norm=False,
                         bias=True),
    "gemma3nv": Kind(projected_softly, Shape(8, 2048, 8, 0, 1, 768), body=mobilenet, sounds=True, only_pixels=768,
                     tiny=Shape(8, 256, 8, 0, 1, 768)),
    "deepseekocr": Kind(sam_end, Shape(4, 1024, 16, 4096, 16, 1024), body=sam, bound=True, only_pixels=1024,
                        keys={"sam.head_count": SAM_HEADS, "sam.block_count": SAM_BLOCKS, "sam.embedding_length": SAM_WIDTH,
                              "window_size": SAM_WINDOW}),
    "minicpmv4_6": Kind(minicpm46(4), Shape(6, 1152, 16, 4304, 14, 448), keys={"projector.scale_factor": 4}, table="square:70",
                        lists={"wa_layer_indexes": [2]}),
    "minicpmv4_6-wide": Kind(minicpm46(2), Shape(4, 1152, 16, 4304, 14, 448), type="minicpmv4_6", keys={"projector.scale_factor": 2},
                             table="square:70"),
    "youtuvl": Kind(youtu, Shape(6, 1152, 16, 4304, 16, 512), keys={"window_size": 256}, lists={"wa_layer_indexes": [2, 5]}, table="",
                    patches="flat"),
    "ldp": Kind(mobile, Shape(4, 1024, 16, 4096, 14, 336), activation="", class_rows=1, patch_bias=False, pre_norm=True, post_norm=False,
                swapped=True, only_pixels=336),
    "ldpv2": Kind(mobile2, Shape(4, 1024, 16, 4096, 14, 336), activation="", class_rows=1, patch_bias=False, pre_norm=True,
                  post_norm=False, swapped=True, only_pixels=336),
    "adapter": Kind(glm_edge, Shape(4, 1152, 16, 4304, 14, 672)),
}


KINDS["qwen2.5o"] = KINDS["qwen2.5vl_merger"]


def shape_of(kind, true, pixels):
    shape = kind.true if true else kind.tiny or replace(TINY, layers=min(6, kind.true.layers))
    pixels = kind.only_pixels or pixels
    return replace(shape, pixels=pixels) if pixels else shape


def patch_tensors(kind, shape):
    kernel = (shape.patch, shape.patch, 3, shape.width)
    if kind.patches == "flat":
        kernel = (shape.patch * shape.patch * 3, shape.width)
    yield ("v.patch_embd.weight", kernel, "router")
    if kind.patches == "twice":
        yield ("v.patch_embd.weight.1", kernel, "router")
    if kind.patch_bias:
        yield ("v.patch_embd.bias", (shape.width,), "bias")
    if kind.class_rows:
        yield ("v.class_embd", (shape.width, kind.class_rows) if kind.class_rows > 1 else (shape.width,), "bias")


def position_tensors(kind, shape):
    rows = shape.side * shape.side + (kind.class_rows == 1)
    if kind.table.startswith("square:"):
        rows = int(kind.table[len("square:"):]) ** 2
    by_axes = {"axes": (64, 2), "cube": (64, 64)}
    if kind.table:
        yield ("v.position_embd.weight", (shape.width, *by_axes.get(kind.table, (rows,))), "router")


def layer_tensors(kind, shape, layer):
    prefix = "v.blk.%d." % layer
    width, up, down = shape.width, "ffn_up", "ffn_down"
    if kind.swapped:
        up, down = down, up
    yield from norm(prefix + "ln1", width, kind.norm_bias)
    yield from norm(prefix + "ln2", width, kind.norm_bias)
    size = kind.head or width // shape.heads
    if kind.fused:
        yield from linear(prefix + "attn_qkv", width, size * (shape.heads + 2 * kind.key_heads(shape)), kind.fused_bias)
    else:
        for name in ("attn_q", "attn_k", "attn_v"):
            yield from linear(prefix + name, width, width, kind.bias)
    yield from linear(prefix + "attn_out", size * shape.heads, width, kind.bias)
    if kind.sinks:
        yield (prefix + "attn_sinks", (shape.heads,), "bias")
    for name in ("attn_q_norm", "attn_k_norm") if kind.head_norms else ():
        yield from norm(prefix + name, width // shape.heads if kind.head_norms == "head" else width, bias=False)
    for name in ("attn_post_norm", "ffn_post_norm") if kind.more_norms else ():
        yield from norm(prefix + name, width, bias=False)
    for name in ("ls1", "ls2") if kind.scales else ():
        yield (prefix + name + ".weight", (width,), "norm")
    for name in ("input_min", "input_max", "output_min", "output_max") if kind.limits else ():
        yield (prefix + "attn_out." + name, (1,), "bias")
    yield from linear(prefix + up, width, shape.inner, kind.bias)
    yield from linear(prefix + down, shape.inner, width, kind.bias)
    if kind.gate:
        yield from linear(prefix + "ffn_gate", width, shape.inner, kind.bias)


def tensors_of(kind, shape, out):
    if kind.body:
        yield from kind.body(shape)
        yield from kind.end(shape, out)
        return
    yield from patch_tensors(kind, shape)
    yield from position_tensors(kind, shape)
    for name, present in (("norm_embd", kind.embedded_norm), ("pre_ln", kind.pre_norm), ("post_ln", kind.post_norm)):
        if present:
            yield from norm("v." + name, shape.width, kind.norm_bias)
    for layer in range(shape.layers):
        yield from layer_tensors(kind, shape, layer)
    yield from kind.end(shape, out)
