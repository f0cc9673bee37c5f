"""Words of a command line that hunt.py draws with --spelt: settings that it seldom has, in every spelling that llama-server takes, also as
variables; now and then one that it refuses."""

SPELLINGS = {
    "-c": ("--ctx-size", "--ctx_size"), "-np": ("--parallel",), "-b": ("--batch-size",), "-ub": ("--ubatch-size",), "-fa": ("--flash-attn",),
    "-ctk": ("--cache-type-k",), "-ctv": ("--cache-type-v",), "-kvu": ("--kv-unified",), "-no-kvu": ("--no-kv-unified",), "-nkvo": ("--no-kv-offload",),
    "-ngl": ("--gpu-layers", "--n-gpu-layers"), "-ts": ("--tensor-split",), "-sm": ("--split-mode",), "-mg": ("--main-gpu",), "-dev": ("--device",),
    "-ot": ("--override-tensor",), "-ncmoe": ("--n-cpu-moe",), "-cmoe": ("--cpu-moe",), "-ncffn": ("--n-cpu-ffn",), "-fit": ("--fit",),
    "-fitt": ("--fit-target",), "-fitc": ("--fit-ctx",), "-md": ("--spec-draft-model", "--model-draft"), "-ngld": ("--spec-draft-ngl", "--gpu-layers-draft"),
    "-devd": ("--spec-draft-device", "--device-draft"), "-otd": ("--spec-draft-override-tensor", "--override-tensor-draft"),
    "-ctkd": ("--spec-draft-type-k", "--cache-type-k-draft"), "-ctvd": ("--spec-draft-type-v", "--cache-type-v-draft"),
    "-ncmoed": ("--spec-draft-n-cpu-moe", "--spec-draft-ncmoe", "--n-cpu-moe-draft"), "-cmoed": ("--spec-draft-cpu-moe", "--cpu-moe-draft"),
    "-cram": ("--cache-ram",), "-ctxcp": ("--ctx-checkpoints", "--swa-checkpoints"), "-lm": ("--load-mode",), "-nr": ("--no-repack",),
}
VARIABLES = {
    "-c": "CTX_SIZE", "-np": "N_PARALLEL", "-b": "BATCH", "-ub": "UBATCH", "-fa": "FLASH_ATTN", "-ctk": "CACHE_TYPE_K", "-ctv": "CACHE_TYPE_V",
    "-ngl": "N_GPU_LAYERS", "-ts": "TENSOR_SPLIT", "-sm": "SPLIT_MODE", "-mg": "MAIN_GPU", "-dev": "DEVICE", "-ot": "OVERRIDE_TENSOR",
    "-ncmoe": "N_CPU_MOE", "-ncffn": "N_CPU_FFN", "-fitt": "FIT_TARGET", "-ngld": "N_GPU_LAYERS_DRAFT", "--spec-type": "SPEC_TYPE",
    "-ctkd": "SPEC_DRAFT_CACHE_TYPE_K", "-ctvd": "SPEC_DRAFT_CACHE_TYPE_V", "--spec-draft-n-max": "SPEC_DRAFT_N_MAX", "-ncmoed": "SPEC_DRAFT_N_CPU_MOE",
    "--spec-draft-n-ubatch": "SPEC_DRAFT_N_UBATCH", "--pooling": "POOLING", "--kv-unified-per-slot": "KV_UNIFIED_PER_SLOT",
}
SWITCHES = {"-kvu": ("KV_UNIFIED", "1"), "-no-kvu": ("KV_UNIFIED", "off"), "-nkvo": ("KV_OFFLOAD", "false"), "-cmoe": ("CPU_MOE", "on"),
            "--swa-full": ("SWA_FULL", "enabled"), "--embedding": ("EMBEDDINGS", "1"), "-cmoed": ("SPEC_DRAFT_CPU_MOE", "true")}
ALONE = {*SWITCHES, "--rerank", "-bs", "--check-tensors", "--no-mmproj", "--no-op-offload", "--op-offload", "--no-host", "-nr", "--no-warmup", "--lora-init-without-apply", "-kvo"}

TENSORS = ("ffn_down", "attn_q", "ffn_(up|gate)", r"blk\.[0-1]\.", r"blk\.\d\.ffn_(?:up|down)\b", r"^(?!blk\.[12]\.).*attn_", r"[\d]\.attn_k", "_norm",
           "^output", "nothing_of_this_name", r"exps\.weight$", "")
# What the engine refuses, or does not.
ODD = (["-ot", "ffn_down=cuda0"], ["-ot", "ffn_down=CUDA_Host"], ["-ot", "ffn_(down=CPU"], ["-ot", "ffn_down"], ["-ot", "a=b=CPU"], ["-ts", ",".join("1" * 16)],
       ["-ts", ",1"], ["-ctk", "Q8_0"], ["-ctk", "q4_k"], ["-dev", "CUDA9"], ["-dev", "NONE"], ["-sm", "none", "-mg", "9"], ["-b", "1"], ["-b", "0"],
       ["-np", "0"], ["-np", "257"], ["-fa", "perhaps"], ["-sm", "row"], ["--draft-max", "4"], ["--no-mmap"], ["-ncmoe", "-1"], ["-c", "-1"],
       ["--spec-type", "draft-eagle"], ["-ngl", "many"], ["--no-such-flag"], ["-otd", "a=cpu"], ["LLAMA_ARG_KV_OFFLOAD=no"], ["-c"])

POOLINGS = ("none", "mean", "cls", "last", "rank")


def pairs(words):
    """[[flag, value...]...] of words that hunt.py drew."""
    made, at = [], 0
    while at < len(words):
        count = 1 if words[at] in ALONE else 2
        made.append(words[at:at + count])
        at += count
    return made


def target(rng, cards, small):
    return "CPU" if rng.random() < .5 else f"CUDA{rng.randrange(cards + (small and rng.random() < .1))}"


def overrides(rng, cards):
    return ",".join(f"{rng.choice(TENSORS)}={target(rng, cards, True)}" for _ in range(rng.choice([1, 1, 2, 3])))


def more(rng, cards, layers, has_draft):
    """Settings of their own."""
    choices = [
        (.25, lambda: ["-ngl", rng.choice(["auto", "all", "99", "-1", "-2", "-7", str(rng.randrange(layers + 2))])]),
        (.2, lambda: ["-fa", rng.choice(["on", "off", "auto", "1", "0", "true", "disabled", "-1"])]),
        (.2, lambda: ["-ts", rng.choice(["3", "3,1,4,1,5", "1/2", "0,1", "1,0", "0.5,,1", "0,0"])]),
        (.15, lambda: ["-dev", rng.choice(["none", "CUDA0", f"CUDA{cards - 1},CUDA0" if cards > 1 else "cuda0", f"cuda{cards - 1}"])]),
        (.12, lambda: ["-sm", "none", "-mg", str(rng.randrange(-1, cards + 1))]),
        (.08, lambda: ["-mg", str(rng.randrange(-1, 9))]),
        (.3, lambda: ["-ot", overrides(rng, cards)]),
        (.1, lambda: ["-ot", overrides(rng, cards)]),
        (.1, lambda: ["-ncmoe", rng.choice(["0", "1", "2", "99"])]),
        (.05, lambda: ["-cmoe"]),
        (.08, lambda: ["-ncffn", rng.choice(["0", "1", "3", "99"])]),
        (.15, lambda: ["-np", rng.choice(["-1", "-2", "1", "3", "5"])]),
        (.1, lambda: [rng.choice(["-kvu", "-no-kvu"])]),
        (.1, lambda: ["-nkvo"]), (.03, lambda: ["-kvo"]),
        (.08, lambda: [rng.choice(["--no-op-offload", "--op-offload"])]),
        (.15, lambda: ["--no-host"]), (.15, lambda: ["-nr"]),
        (.1, lambda: ["-fit", "on", "-fitt", rng.choice(["512", "0", "256,1024"])]), (.05, lambda: ["-fitc", "2048"]),
        (.1, lambda: ["-cram", rng.choice(["0", "-1", "512"])]), (.1, lambda: ["-ctxcp", rng.choice(["0", "8"])]),
        (.1, lambda: ["-lm", rng.choice(["none", "mmap", "auto"])]),
        (.08, lambda: ["--spec-type", rng.choice(["none", "ngram-mod", "ngram-simple,ngram-cache"])] if not has_draft else []),
        (.3 * has_draft, lambda: ["-otd", overrides(rng, cards)]),
        (.2 * has_draft, lambda: rng.choice([["-ncmoed", "1"], ["-cmoed"]])),
        (.2 * (not has_draft), lambda: rng.choice([["--embedding"], ["--rerank"], []]) + rng.choice([[], ["--pooling", rng.choice(POOLINGS)]])),
        (.05, lambda: ["-b", rng.choice(["-1", "-5", "32"])]), (.05, lambda: ["-ub", "-1"]),
        (.06, lambda: ["--kv-unified-per-slot", rng.choice(["0", "300", "2048"])]),
        (.05, lambda: ["-bs"] * (not has_draft)), (.05, lambda: ["--check-tensors"]), (.05, lambda: ["--no-mmproj"]),
        (.06, lambda: list(rng.choice(ODD))),
    ]
    made = []
    for share, draw in choices:
        if rng.random() < share:
            made += draw()
    return made


def spell(rng, words):
    """The same in other words: long ones, and variables before the others."""
    variables, made, seen = [], [], {pair[0] for pair in pairs(words)}
    for pair in pairs(words):
        flag = pair[0]
        once = sum(other[0] == flag for other in pairs(words)) == 1
        if "=" in flag or not once and flag in VARIABLES:
            (variables if "=" in flag else made).extend(pair)
        elif flag in VARIABLES and len(pair) == 2 and rng.random() < .15:
            variables.append(f"LLAMA_ARG_{VARIABLES[flag]}={pair[1]}")
        elif flag in SWITCHES and not {"-kvu", "-no-kvu", "-kvo"} & seen and rng.random() < .2:
            variables.append(f"LLAMA_ARG_{SWITCHES[flag][0]}={SWITCHES[flag][1]}")
        else:
            made += [rng.choice((flag, flag, *SPELLINGS.get(flag, ()))), *pair[1:]]
    return [*variables, *made]
