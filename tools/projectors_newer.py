"""Picture projectors of types that came later, in the words of projectors.py: importing this puts them into its table."""
from projectors import KINDS, SAM_BLOCKS, SAM_HEADS, SAM_WIDTH, SAM_WINDOW, Kind, Shape, dots, layer_tensors, linear, nemotron, norm, sam, two
from projectors_sounds import query_layer


def sentinels(end):
    """DeepSeek V4's: rows that say where a picture starts and ends."""
    def tensors(shape, out):
        yield from end(shape, out)
        for name in ("v.token_embd.img_start", "v.token_embd.img_end", "v.token_embd.img_pad", "v.image_newline"):
            yield (name, (out,), "bias")
    return tensors


def glimmer(shape, out):
    yield from linear("mm.0", 4 * shape.width, 2 * shape.width, bias=False)
    yield from linear("mm.1", 2 * shape.width, 2 * shape.width, bias=False)
    yield from linear("mm.2", 2 * shape.width, out, bias=False)


FEATURES, WINDOW_SIDE, QUERY_SIDE = [2, 3], 8, 4


def granite(shape, out):
    """Granite 4's: what some layers make, each through queries of its own in windows."""
    yield ("v.image_newline", (out,), "bias")
    for block in range(len(FEATURES)):
        prefix = "v.proj_blk.%d." % block
        yield (prefix + "img_pos", (shape.width, WINDOW_SIDE ** 2), "bias")
        yield (prefix + "query", (shape.width, QUERY_SIDE ** 2), "bias")
        yield from linear(prefix + "linear", shape.width, out // len(FEATURES))
        yield from norm(prefix + "norm", shape.width)
        yield from norm(prefix + "post_norm", shape.width)
        yield from query_layer(prefix, shape.width, 3072)


def with_experts(shape):
    """dots3-note's: every second layer has experts."""
    kind = KINDS["dots_ocr"]
    yield ("v.patch_embd.weight", (shape.patch, shape.patch, 3, shape.width), "router")
    yield ("v.patch_embd.bias", (shape.width,), "bias")
    yield from norm("v.norm_embd", shape.width, bias=False)
    for layer in range(shape.layers):
        prefix = "v.blk.%d." % layer
        tensors = list(layer_tensors(kind, shape, layer))
        if layer % 2:
            tensors = [tensor for tensor in tensors if ".ffn_" not in tensor[0]]
            yield (prefix + "ffn_gate_inp.weight", (shape.width, EXPERTS), "router")
            yield (prefix + "exp_probs_b.weight", (EXPERTS,), "bias")
            for name, inner, outer in (("gate", shape.width, shape.inner // 4), ("up", shape.width, shape.inner // 4),
                                       ("down", shape.inner // 4, shape.width)):
                yield (prefix + "ffn_%s_exps.weight" % name, (inner, outer, EXPERTS), "matrix")
        yield from tensors


EXPERTS = 8


def sam_queries(shape):
    """DeepSeek-OCR 2: Qwen 2's layers behind SAM's encoder."""
    yield from (tensor for tensor in sam(shape) if not tensor[0].startswith(("v.blk", "v.class", "v.position")))
    for number, rows in ((768, 144), (1024, 256)):
        yield ("v.resample_query_%d.weight" % number, (shape.width, rows), "bias")
    for layer in range(shape.layers):
        prefix = "v.blk.%d." % layer
        size = shape.width // shape.heads
        for name in ("ln1", "ln2"):
            yield from norm(prefix + name, shape.width, bias=False)
        for name, heads in (("attn_q", shape.heads), ("attn_k", shape.heads // SHARED), ("attn_v", shape.heads // SHARED)):
            yield from linear(prefix + name, shape.width, size * heads)
        yield from linear(prefix + "attn_out", shape.width, shape.width, bias=False)
        for name in ("ffn_gate", "ffn_up"):
            yield from linear(prefix + name, shape.width, shape.inner, bias=False)
        yield from linear(prefix + "ffn_down", shape.inner, shape.width, bias=False)
    yield from norm("v.post_ln", shape.width, bias=False)


SHARED = 7


def sam_queries_end(shape, out):
    yield from linear("mm.model.fc", shape.width, out)
    yield ("v.view_seperator", (out,), "bias")


def stages(shape):
    """Reka's: ConvNeXt's stages, each twice as wide as the one before."""
    width = shape.width // 8
    yield ("v.patch_embd.weight", (shape.patch, shape.patch, 3, width), "matrix")
    yield ("v.patch_embd.bias", (width,), "bias")
    yield from norm("v.patch_ln", width)
    yield ("v.vision_pos_embed", (shape.width, (shape.pixels // shape.patch // 8) ** 2), "bias")
    for stage in range(4):
        if stage:
            yield from norm("v.stage.%d.down.ln" % stage, width)
            yield ("v.stage.%d.down.conv.weight" % stage, (2, 2, width, 2 * width), "matrix")
            yield ("v.stage.%d.down.conv.bias" % stage, (2 * width,), "bias")
            width *= 2
        for block in range(2):
            prefix = "v.stage.%d.blk.%d." % (stage, block)
            yield (prefix + "dw.weight", (7, 7, 1, width), "matrix")
            yield (prefix + "dw.bias", (width,), "bias")
            yield from norm(prefix + "ln", width)
            yield from linear(prefix + "pw1", width, 4 * width)
            yield from norm(prefix + "grn", 4 * width)
            yield from linear(prefix + "pw2", 4 * width, width)


SAM_KEYS = {"sam.head_count": SAM_HEADS, "sam.block_count": SAM_BLOCKS, "sam.embedding_length": SAM_WIDTH, "window_size": SAM_WINDOW}
LIMITS = {"image_min_pixels": 3136, "image_max_pixels": 11289600}

KINDS.update({
    "ling3vl": Kind(two(0, 2, merge=2, normed=1), Shape(4, 1152, 16, 4304, 16, 768), table="square:48", patches="twice", fused=True,
                    post_norm=False),
    "deepseek4v": Kind(sentinels(two(1, 2, merge=3)), Shape(4, 1024, 16, 2816, 14, 448), keys={"projector.scale_factor": 3, **LIMITS},
                       activation="clip.use_silu", table="", patch_bias=False, bias=False, norm_bias=False, gate=True),
    "dots3note_v": Kind(dots, Shape(4, 1536, 12, 4224, 14, 560), body=with_experts, activation="clip.use_silu",
                        keys={"spatial_merge_size": 2, "expert_used_count": 2, **LIMITS}),
    "muse-glimmer": Kind(glimmer, Shape(5, 1536, 16, 8960, 14, 448), pre_norm=True, table="square:16"),
    "granite4_vision": Kind(granite, Shape(4, 1152, 18, 4304, 16, 384), bound=True, post_norm=False,
                            keys={"projector.query_side": QUERY_SIDE, "projector.window_side": WINDOW_SIDE, "projection_dim": 128}, only_pixels=384,
                            tiny=Shape(4, 1152, 18, 256, 16, 384),
                            lists={"feature_layer": FEATURES, "projector.spatial_offsets": [-1, 0]}),
    "deepseekocr2": Kind(sam_queries_end, Shape(4, 896, 14, 4864, 16, 1024), bound=True, body=sam_queries, only_pixels=1024,
                         keys={**SAM_KEYS, "attention.head_count_kv": 14 // SHARED}, activation="clip.use_silu",
                         tiny=Shape(3, 896, 14, 256, 16, 1024)),
    "yasa2": Kind(two(0, 2), Shape(0, 2816, 16, 11264, 4, 512), bound=True, body=stages, tiny=Shape(0, 256, 2, 1024, 4, 448)),
    "nemotron_omni": Kind(nemotron, Shape(4, 1280, 16, 5120, 16, 512), keys={"projector.scale_factor": 2, **LIMITS}, class_rows=10,
                          patches="twice"),
})
