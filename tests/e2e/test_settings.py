#!/usr/bin/env python3
"""Every kind of flag that moves memory: `estimate` against what a real llama-server logs, on two pretend cards.

Weights and context must be the log's figures; compute too where the estimate calls it exact, else it must not be under."""
import sys

from books import Refused, differences, estimate, server
from e2e import ROOT, Machine, RTX_3060, RTX_3090, cases, check, check_equal, check_match, engine, free_port, main, make_model, model

sys.path.insert(0, str(ROOT / "tools"))
import projectors_newer  # noqa: E402, F401  its types join the table
from projectors import KINDS  # noqa: E402
from projectors_sounds import SOUNDS  # noqa: E402

UNDER_MIB, HOST_UNDER_MIB, NEAR_MIB = 0.1, 0.25, 0.6  # of one model
LOG_MIB = 0.006  # what rounding to hundredths hides

# Model, and flags as a user gives them.
ROWS = [
    ("tiny-llama", "-c 4096 -np 1"),
    ("tiny-llama", "-c 4096 -np 1 -ts 3,1 -ub 128"),
    ("tiny-llama", "-c 4096 -np 4"),
    ("tiny-llama", "--ctx-size 4096 --parallel 4 --kv-unified --tensor-split 1/1"),
    ("tiny-llama", "-c 4096"),
    ("tiny-llama", "-c 4096 -np 1 -sm none -mg 1"),
    ("tiny-llama", "-c 4096 -np 1 -dev CUDA1,CUDA0 -ts 5,4"),
    ("tiny-llama", "-c 4096 -np 1 -ngl 4"),
    ("tiny-llama", "-c 4096 -np 1 -ngl 0"),
    ("tiny-llama", "-c 4096 -np 1 -nkvo"),
    ("tiny-llama", "-c 4096 -np 1 -fa off"),
    ("tiny-llama", "-c 4096 -np 1 -ctk q8_0 -ctv q8_0"),
    ("tiny-llama", r"-c 4096 -np 1 -ot blk\.[0-2]\.ffn=CPU"),
    ("tiny-llama", r"-c 4096 -np 1 -ot \.ffn_(up|down)=CUDA1,blk\.\d\.attn_q=CPU -ts 1,1"),
    ("tiny-llama", "-c 4096 -np 1 -ncffn 3"),
    ("tiny-llama", "-c 4096 -np 1 -ncffn 99 -ngl -7"),
    ("llama-3.2-1b", "-c 4096 -np 1 -ngl 4 --no-host"),  # its matrices are laid out for the CPU and stay there
    ("llama-3.2-1b", "-c 4096 -np 1 -ngl 4 --no-host --no-repack"),
    ("llama-3.2-1b", "-c 4096 -np 1 -ot ffn_(up|down)=CPU --no-host"),
    ("llama-3.2-1b", "-c 4096 -np 1 -dev none"),  # the table of tokens lies there twice: as it is, and laid out to be the output
    ("tiny-llama", "-c 4096 -np 1 -sm none -mg 1 -ot nothing_of_this_name=CUDA0"),
    ("tiny-llama", r"-c 4096 -np 1 -ot ^(?!blk\.[12]\.).*ffn_(?:up|down)\b=CPU"),
    ("tiny-llama", r"-c 4096 -np 1 -ot blk\.[\d]\.ffn_down=CPU"),
    ("tiny-llama", "-c 4096 -np 1 -ot =CPU"),
    ("tiny-llama", "-c 4096 --no-kv-unified"),  # of automatic slots: they stay in one cache
    ("tiny-llama", "-c 4096 -np -3 -ub -1"),
    ("tiny-llama", "-c 4096 -np 1 -ts 1,1 -md {tiny-llama-tied} --spec-type draft-simple -otd ffn_down=CPU"),
    ("tiny-llama", "-c 4096 -np 1 -ts 1,1 -md {tiny-llama-tied} --spec-type draft-simple -devd CUDA1 -otd ffn_up=CUDA1,attn_q=CPU,nothing=CUDA0"),
    ("tiny-llama", "-c 4096 -np 1 --no-op-offload -ngl 3"),
    ("tiny-llama", "-c 4096 -np 1 -b -1 -ub -1"),
    ("tiny-llama", "--kv-unified-per-slot 512"),
    ("tiny-llama", "--kv-unified-per-slot 512 -c 0 -np 3"),
    ("tiny-llama", "-c 4096 -np 3 --models-dir /nowhere --check-tensors"),
    ("tiny-llama", "-c 4096 -np 1 --embedding"),  # logits and hidden states of all tokens
    ("tiny-llama", "-c 4096 -np 2 --embedding --pooling none -ngl 3"),
    ("tiny-llama", "-c 4096 -np 4 --embeddings --pooling mean -ts 1,1 -ub 256"),
    ("tiny-llama", "-c 4096 -np 2 --embedding --pooling last -ub -1"),  # the batch, too, is all there is
    ("tiny-qwen3", "-c 4096 -np 2 --rerank -nkvo"),
    ("tiny-qwen3", "-c 4096 -np 4 --pooling cls -b 256"),  # all rows are wanted, and nothing is pooled
    ("tiny-llama", "-c 4096 -np 4 -b -1 --embedding --pooling mean"),
    ("tiny-llama", "-c 4096 -np 4 -ts 1,1 -bs"),
    ("tiny-llama", "-c 20480 -np 40 -ngl 4"),  # flash attention is withdrawn: the first card has the product behind it
    ("tiny-llama", "-c 20480 -np 40 -ngl 4 -fa on"),
    ("tiny-llama", "-c 20480 -np 40 -ngl 4 -ctk q8_0 -ctv q8_0"),  # not with packed values
    ("tiny-llama", "-c 4096 -np 1 -nkvo -ot attn_output=CPU"),
    ("tiny-llama-tied", "-c 4096 -np 1 -ts 1,1"),
    ("tiny-llama-tied", "-c 4096 -np 1 -ts 1,1 -ot token_embd=CUDA0"),  # the output's matrix, too: one copy
    ("tiny-llama-tied", "-c 4096 -np 1 -ts 1,1 -ot token_embd=CPU"),
    ("tiny-mixtral", "-c 4096 -np 1 -ncmoe 3 -ts 1,1"),
    ("tiny-mixtral", "-c 4096 -np 1 -ts 1,1 -ncmoe 2 -ot blk\\.0\\.=CUDA1"),  # the first that fits wins
    ("tiny-mixtral", "-c 4096 -np 1 -ts 1,1 -ot blk\\.0\\.=CUDA1 -ncmoe 2"),
    ("tiny-mixtral", "-c 4096 -np 2 --cpu-moe"),
    ("tiny-qwen3", "-c 4096 -np 1 -ts 1,2 --cache-type-k f32 --cache-type-v f32"),
    ("tiny-llama", "-c 4096 -np 1 -ts 1,1 -md {tiny-llama-tied}"),
    ("tiny-llama", "-c 4096 -np 2 -ts 1,1 -md {tiny-llama-tied} -devd CUDA1 --spec-draft-n-max 5 -ctkd q8_0 -ctvd q8_0"),
    ("tiny-llama", "-c 4096 -np 1 -ts 1,1 -md {tiny-llama-tied} -ngld 4"),
    ("tiny-llama", "-c 4096 -np 40 -ts 1,1 -md {tiny-llama-tied} --spec-draft-n-max 16"),  # it drafts nothing: no rows for guesses
    ("tiny-llama", "-c 4096 -np 40 -ts 1,1 -md {tiny-llama-tied} --spec-draft-n-max 16 --spec-type draft-simple"),
    ("tiny-llama", "-c 4096 -np 1 -sm none -md {tiny-llama} -devd none --spec-type draft-simple"),
    ("tiny-qwen3", "-c 2048 -np 1 -ts 1,2 -md {tiny-llama} -devd CUDA1,CUDA0 --spec-draft-n-ubatch 128"),
    ("tiny-qwen35", "-c 4096 -np 1 -md {tiny-llama} --spec-type draft-simple"),
    ("tiny-qwen35", "-c 4096 -np 1 -ts 1,1 --spec-type draft-mtp"),
    ("tiny-qwen35", "-c 4096 -np 2 -ts 7,3 --spec-type draft-mtp,ngram-mod --spec-draft-n-max 8 -ctkd q8_0 -ctvd q8_0"),
    ("tiny-qwen35", "-c 4096 -np 3 -kvu -sm none -ctk q8_0 -ctv q8_0 --spec-type draft-mtp --spec-draft-n-ubatch 64"),
    ("tiny-qwen35", "-c 4096 -np 1 -ts 9,1 --spec-type draft-mtp"),  # the output alone on its card
    ("tiny-glm4moe", "-c 4096 -np 2 -ts 1,1 --spec-type draft-mtp -fa off"),
    ("tiny-glm4moe", "-c 4096 -np 1 -ts 5,3 --spec-type draft-mtp"),  # the last layer beside the block
    ("tiny-qwen35", "-c 4096 -np 1 -ngl 1 --spec-type draft-mtp --spec-draft-n-max 16"),  # states for each guess, in host memory
    ("tiny-qwen35", "-c 4096 -np 2 --embedding --spec-type draft-mtp"),
    ("tiny-qwen35", "-c 4096 -np 2 -nkvo --spec-type draft-mtp -ctkd f32 -ctvd f32"),
    ("tiny-qwen35", "-c 4096 -np 2 -ub 16 -ngl 5"),  # few rows: the host computes
    ("tiny-glm4moe", "-c 4096 -np 1 -ts 1,1 -ncmoe 9 --spec-type draft-mtp"),
    ("tiny-glm4moe", "-c 4096 -np 1 -ngl 1 --spec-type draft-mtp"),  # the block on the CPU
    ("tiny-glm4moe", "-c 4096 -np 1 -nkvo --spec-type draft-mtp --spec-draft-n-max 1"),
    ("tiny-glm4moe", "-c 4096 -np 1 -ts 1,1 --spec-default"),
    ("tiny-qwen35", "-c 2048 -np 1 --spec-type draft-mtp --spec-type none"),  # lists add up
    ("tiny-qwen35", "-c 2048 -np 1 --spec-type draft-mtp,none"),
    ("tiny-qwen35", "-c 4096 -np 2 -ts 1,1 -md {tiny-qwen35}"),  # its block drafts, by its file
    ("tiny-glm4moe", "-c 4096 -np 1 -ts 1,1 -md {tiny-glm4moe} -devd CUDA1 --spec-type draft-mtp"),
]


# The last layer on a card without the output: hidden states of all tokens go through it.
APART = [
    ("tiny-qwen35-wide", "-c 4096 -np 1 -ts 13,2,5 --spec-type draft-mtp"),
    ("tiny-qwen35-wide", "-c 4096 -np 2 -ub 1024 -ts 13,2,5 -fa off --spec-type draft-mtp --spec-draft-n-ubatch 16"),
    ("tiny-glm4moe", "-c 4096 -np 1 -ts 9,2,5 --spec-type draft-mtp"),
]


@cases(APART, lambda row: f"three cards: {row[0]}: {row[1]}")
def apart(box, row):
    compare(box, Machine(RTX_3090, RTX_3060, RTX_3060), *row)


# What the first model leaves free decides where the second one is cut.
LEFT = [
    ("tiny-llama", "-c 4096 -np 1 -dev CUDA1 -md {tiny-llama-tied} -devd CUDA0,CUDA1 -ngld 8"),
    ("tiny-llama", "-c 4096 -np 4 -dev CUDA1 -md {tiny-llama-tied} -devd CUDA0,CUDA1 -ngld 8 --spec-type draft-simple"),
]


@cases(LEFT, lambda row: f"two equal cards: {row[0]}: {row[1]}")
def left(box, row):
    compare(box, Machine(RTX_3060, RTX_3060), *row)


@cases(ROWS, lambda row: f"{row[0]}: {row[1]}")
def as_logged(box, row):
    compare(box, Machine(RTX_3090, RTX_3060), *row)


def compare(box, machine, name, text):
    flags = [str(model(word[1:-1])) if word.startswith("{") else word for word in text.split()]
    machine_file = box.use(machine)
    view, ours = estimate(box, machine_file, model(name), flags)
    seen = server(box, model(name), flags)
    drafts = "-md" in flags or "draft-mtp" in text
    wrong = differences(seen, ours, step=0.011 * (2 if drafts else 1))
    for device in view["devices"]:
        measured, figure = seen[device["name"]]["compute"], device["compute_bytes"] / (1 << 20)
        least = measured - UNDER_MIB
        most = measured + NEAR_MIB * (2 if drafts else 1) if device["compute_source"] == "formula" else float("inf")
        if not least <= figure <= most:
            wrong.append(f"{device['name']} compute: engine {measured:.2f} MiB, estimate {figure:.2f} ({device['compute_source']})")
    host = view["host"]["compute_bytes"] / (1 << 20)
    if host < seen["host"]["compute"] - HOST_UNDER_MIB:
        wrong.append(f"host compute: engine {seen['host']['compute']:.2f} MiB, estimate {host:.2f}")
    check(not wrong, "\n".join(wrong))


# Drafts that are fed what layers of the model made: EAGLE3 with an output of its own, DFlash with the model's.
FED = [
    ("tiny-llama", "eagle3", "-c 4096 -np 1 -ts 1,1 --spec-type draft-eagle3"),
    ("tiny-llama", "eagle3", "-c 4096 -np 2 -ts 3,1 -devd CUDA1 -ctkd q8_0 -ctvd q8_0"),  # by its file
    ("tiny-qwen35", "eagle3", "-c 2048 -np 2 -ts 1,2 -ub 128 --spec-type draft-eagle3 --spec-draft-n-max 5"),  # states go back
    ("tiny-llama", "dflash", "-c 4096 -np 1 -ts 1,1 --spec-type draft-dflash"),
    ("tiny-qwen3", "dflash", "-c 4096 -np 2 -sm none -fa off --spec-type draft-dflash"),
    ("tiny-llama", "dflash", "-c 4096 -np 1 -ngl 4 -ts 1,1 --spec-type draft-dflash"),
]


@cases(FED, lambda row: f"{row[1]} drafts for {row[0]}: {row[2]}")
def fed(box, row):
    name, kind, text = row
    path = box.folder / "draft.gguf"
    make_model(name, path, "--fed-draft", kind)
    compare(box, Machine(RTX_3090, RTX_3060), name, f"{text} -md {path}")


@cases([("--spec-type draft-eagle3", "-md FILE"), ("--spec-type draft-dflash -md {tiny-llama}", "target_layers")],
       lambda row: f"no draft to feed: {row[0]}")
def not_fed(box, row):
    flags = [str(model(word[1:-1])) if word.startswith("{") else word for word in row[0].split()]
    try:
        estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), flags)
        sentence = "no refusal"
    except Refused as refusal:
        sentence = str(refusal)
    check_match(row[1], sentence, "the estimate")


# Every layer on every card: the engine logs the largest piece, the pretend driver what each card holds in all.
CUT = [
    ("tiny-llama", ""),
    ("tiny-llama", "-ts 3,1 -np 4"),
    ("tiny-llama", "-ctk q8_0 -ctv q8_0 -ts 1,3"),
    ("tiny-llama", "-ngl 4 -ts 1,2"),
    ("tiny-llama", "-nkvo"),
    ("tiny-llama-tied", "-ts 1,2 -ub 128"),
    ("tiny-mixtral", "-ncmoe 3 -ts 2,1"),
    ("tiny-mixtral", r"-ot blk\.[0-2]\.ffn=CPU"),
]


@cases(["-ts 1,1", "-ngl 4", "-sm none"], lambda text: f"--lora: tiny-llama: {text}")
def adapter(box, text):
    """An adapter of rank 16 beside every matrix; the engine reserves its buffers a second time for it."""
    path = box.folder / "adapter.gguf"
    make_model("tiny-llama", path, "--adapter", 16)
    flags = ["-c", "4096", "-np", "1", "--lora", str(path), *text.split()]
    view, ours = estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), flags)
    seen = server(box, model(), flags)
    wrong = differences(seen, ours, step=0.022)  # two buffers, each rounded
    for device in view["devices"]:
        measured, figure = seen[device["name"]]["compute"], device["compute_bytes"] / (1 << 20)
        if figure < measured - UNDER_MIB:
            wrong.append(f"{device['name']} compute: engine {measured:.2f} MiB, estimate {figure:.2f}: under")
    check(not wrong, "\n".join(wrong))


@cases(CUT, lambda row: f"-sm tensor: {row[0]}: {row[1] or 'equal shares'}")
def cut(box, row):
    name, text = row
    flags = ["-c", "4096", "-sm", "tensor", *([] if "-np" in text else ["-np", "1"]), *text.split()]
    view, _ = estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(name), flags)
    held = []
    seen = server(box, model(name), flags, lambda: held.extend(box.used_bytes(card) for card in (0, 1)))
    compute = seen["Meta()"]["compute"]
    wrong = []
    for card, device in enumerate(view["devices"]):
        ours = (device["weights_bytes"] + device["context_bytes"]) / (1 << 20)
        rest = held[card] / (1 << 20) - ours
        if abs(rest - compute) > 0.03:  # the log's rounding, and the graph's own alignment
            wrong.append(f"{device['name']}: holds {rest:.3f} MiB beside our weights and context, its compute buffer has {compute}")
        figure = device["compute_bytes"] / (1 << 20)
        if figure < compute - UNDER_MIB or (device["compute_source"] == "formula" and figure > compute + NEAR_MIB):
            wrong.append(f"{device['name']} compute: engine {compute} MiB, estimate {figure:.2f} ({device['compute_source']})")
    check(not wrong, "\n".join(wrong))


PROJECTOR = [
    (336, "-ts 1,1"),
    (1008, "-ts 1,1 -mmdev CUDA1"),  # 5185 patches: more than the bound takes at least
    (56, "-ts 3,1 -dev CUDA1,CUDA0"),
    (336, "-sm none -mg 1"),
    (336, "-ts 1,1 -md {tiny-llama-tied} -devd CUDA1 --spec-type draft-simple"),
    (336, "-sm none -mg 1 -md {tiny-llama-tied} -devd CUDA0 -mmdev CUDA1 --spec-type draft-simple"),
    (336, "--no-mmproj-offload"),
    (336, "-sm none -mg 1 -dev CUDA1,CUDA0"),
    (336, "-dev none"),
    (336, "-ngl 0"),
    (1008, "-ts 1,1 -fa off"),
]


@cases([(4, "-ts 1,1"), (12, "-fa on"), (12, "-fa off"), (4, "--no-mmproj-offload")],
       lambda row: f"--mmproj: sounds, {row[0]} heads: {row[1]}")
def listener(box, row):
    heads, text = row
    path = box.folder / "audio.gguf"
    make_model("tiny-llama", path, "--audio", heads)
    flags = ["-c", "4096", "-np", "1", "--mmproj", str(path), *text.split()]
    view, _ = estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), flags)
    without, _ = estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), [word for word in flags if word not in ("--mmproj", str(path))])
    seen = server(box, model(), [*flags, "--warmup"])
    check(any(row["projector"] for row in seen.values()), f"no encoder in the log: {seen}")
    ours = [sum(device["compute_bytes"] for device in one["devices"]) + one["host"]["compute_bytes"] for one in (view, without)]
    compute = sum(row["compute"] for row in seen.values())
    check(ours[0] / (1 << 20) > compute - UNDER_MIB, f"compute in all: {ours[0] / (1 << 20):.2f} MiB, engine {compute:.2f}")
    if text in ("-fa on", "-fa off"):  # what it takes is known then; else attention is taken to be unfused
        check(ours[0] / (1 << 20) < compute + NEAR_MIB, f"compute in all: {ours[0] / (1 << 20):.2f} MiB, engine {compute:.2f}")
    check(ours[0] > ours[1], "the encoder takes nothing")


@cases(PROJECTOR, lambda row: f"--mmproj: pictures of {row[0]} pixels: {row[1]}")
def projector(box, row):
    """The driver's books say what a card holds: the projector's weights, which the engine does not log, are a part of it."""
    pixels, text = row
    path = box.folder / "projector.gguf"
    make_model("tiny-llama", path, "--projector", pixels)
    words = [str(model(word[1:-1])) if word.startswith("{") else word for word in text.split()]
    flags = ["-c", "4096", "-np", "1", "--mmproj", str(path), *words]
    view, _ = estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), flags)
    held = []
    # Warming up is what reserves the encoder's buffers at the start.
    seen = server(box, model(), [*flags, "--warmup"], lambda: held.extend(box.used_bytes(card) for card in (0, 1)))
    wrong = []
    check(any(row["projector"] for row in seen.values()), f"no encoder in the log: {seen}")
    ours = sum(device["compute_bytes"] for device in view["devices"]) + view["host"]["compute_bytes"]
    check(ours / (1 << 20) > sum(row["compute"] for row in seen.values()) - UNDER_MIB, f"compute in all: {ours}, engine {seen}")
    used = {int(device["name"][-1]) for device in view["devices"]}
    check(all(card in used or bytes_ == 0 for card, bytes_ in enumerate(held)), f"cards that we leave out hold {held}")
    for device in view["devices"]:
        name = device["name"]
        measured, figure = seen[name]["compute"], device["compute_bytes"] / (1 << 20)
        rest = held[int(name[-1])] / (1 << 20) - measured
        ours = (device["weights_bytes"] + device["context_bytes"]) / (1 << 20)
        if abs(rest - ours) > 0.03:
            wrong.append(f"{name}: holds {rest:.3f} MiB beside compute, our weights and context are {ours:.3f}")
        most = measured + NEAR_MIB if device["compute_source"] == "formula" else float("inf")
        if not measured - UNDER_MIB <= figure <= most:
            wrong.append(f"{name} compute: engine {measured} MiB, estimate {figure:.2f} ({device['compute_source']})")
    check(not wrong, "\n".join(wrong))


# The types that most people run fused on a card and unfused in host memory, the others one way: test_encoders.py has them all on a card.
ENCODER_WAYS = ["-sm none -fa on", "--no-mmproj-offload -fa off"]
OFTEN = {"mlp", "gemma3", "gemma4v", "idefics3", "qwen2.5vl_merger", "qwen3vl_merger", "pixtral", "internvl", "resampler"}
ENCODERS = [(kind, text) for number, kind in enumerate(KINDS) for way, text in enumerate(ENCODER_WAYS) if kind in OFTEN or number % 2 == way]
ENCODERS += [("lfm2", "-sm none --image-max-tokens 700")]
HEARD = [kind for kind in SOUNDS if kind not in KINDS]
ENCODERS += [(kind, ENCODER_WAYS[number % 2]) for number, kind in enumerate(HEARD)]
# Two encoders in one file: each loads the tensors for itself whose names do not say whose they are.
ENCODERS += [("gemma4v+gemma4a", ENCODER_WAYS[0]), ("qwen3vl_merger+qwen3a", ENCODER_WAYS[0]), ("lfm2+lfm2a", ENCODER_WAYS[1])]
ENCODERS += [("qwen2.5vl_merger", "-sm none --mmproj-auto --image-min-tokens 16 --image-max-tokens 512")]


@cases(ENCODERS, lambda row: f"--mmproj: {row[0]}: {row[1]}")
def encoder(box, row):
    """Types whose graph is known are the engine's to the log's last digit, the others not under."""
    kind, text = row
    path = box.folder / "projector.gguf"
    kind, _, sounds = kind.partition("+")
    step = LOG_MIB * (2 if sounds else 1)
    if kind in HEARD or sounds:
        make_model("tiny-llama", path, "--sounds-type", sounds or kind, *(["--projector-type", kind, "--projector", 448] if sounds else []))
    else:
        make_model("tiny-llama", path, "--projector-type", kind, "--projector", 448)
    bound = (SOUNDS if kind in HEARD else KINDS)[kind].bound
    flags = ["-c", "4096", "-np", "1", *text.split()]
    machine_file = box.use(Machine(RTX_3090, RTX_3060))
    with_it, _ = estimate(box, machine_file, model(), [*flags, "--mmproj", str(path)])
    without, _ = estimate(box, machine_file, model(), flags)
    held = []
    seen = server(box, model(), [*flags, "--mmproj", str(path), "--warmup"], lambda: held.append(box.used_bytes(0) / (1 << 20)))
    first = with_it["devices"][0]
    rest, ours = held[0] - seen[first["name"]]["compute"], (first["weights_bytes"] + first["context_bytes"]) / (1 << 20)
    wrong = [] if abs(rest - ours) <= 0.03 else [f"weights and context: the card holds {rest:.3f} MiB, estimate {ours:.3f}"]
    for before, after in [*zip(without["devices"], with_it["devices"]), (without["host"], with_it["host"])]:
        figure = (after["compute_bytes"] - before["compute_bytes"]) / (1 << 20)
        measured = seen[after.get("name", "host")]["projector"]
        over, source = figure - measured, after.get("compute_source", "formula")
        if over < -step or (over > step or source != "formula") and not bound:
            wrong.append(f"{after.get('name', 'host')}: engine {measured:.2f} MiB, estimate {figure:.2f} ({after.get('compute_source')})")
    check(sum(row["projector"] for row in seen.values()) > 0, f"no encoder in the log: {seen}")
    check(not wrong, "\n".join(wrong))


# What the engine does not load is refused, in its words or ours.
REFUSED = [
    ("-sm tensor -fa off", "flash attention", "requires flash_attn"),
    ("-sm row", "refuses it on CUDA", "does not support split buffers"),
    ("-sm none -mg 1 -ot ffn_down=CUDA0", "blk.0.ffn_down.weight to a card that is not among", "in a buffer .CUDA0. that cannot run"),
    ("-ot ffn_down=cuda0", "CPU, CUDA0, CUDA1 here", "unknown buffer type"),
    ("-ot ffn_down=CUDA_Host", "CPU, CUDA0, CUDA1 here", "unknown buffer type"),
    ("-ot ffn_(down=CPU", "cannot be read: missing closing", "Mismatched"),
    ("-ts 1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "at most 15", "got 16 input configs"),
    ("-ctk Q8_0", "q8_0", "Unsupported cache type"),
    ("-b 1", "the engine ends at its start", "failed to add token"),
    ("-np 3 --embedding --pooling mean", "give a multiple of them", "can_mul_mat"),
    ("--embedding -b -1 -ub 1 -np 4", "fewer than 4 tokens", "n_outputs_max"),
    ("-np 2 -b -1", "-b -1: the engine ends", "n_outputs_max"),
    ("-np 3 -b 2", "fewer than 3 tokens", "n_outputs_max"),
    ("-c 1", "the engine ends at its start", "failed to add token"),
    ("--draft-max 5", "use --spec-draft-n-max", "use --spec-draft-n-max"),
    ("--no-mmap", "use --load-mode", "invalid argument"),
]


@cases(REFUSED, lambda row: f"refused as the engine does: {row[0]}")
def refused(box, row):
    text, ours, theirs = row
    flags = ["-c", "4096", "-np", "1", *text.split()]
    try:
        estimate(box, box.use(Machine(RTX_3090, RTX_3060)), model(), flags)
        sentence = "no refusal"
    except Refused as refusal:
        sentence = str(refusal)
    check_match(ours, sentence, "the estimate")
    process = box.start(engine(), "-m", model(), "-fit", "off", "--offline", "-lv", "4", "--port", free_port(), *flags)
    check(process.finish().code != 0, "the engine loads it")
    check_match(theirs, process.text("err") + process.text("out"), "the engine")


# Flags, and for how many cards the dry run's word stands.  A binary of a build that no formula was held against is believed more.
OTHER_BUILD = ("--engine-build", "11700")
ASKED = [
    ("tiny-llama", "-c 4096 -np 1 -ngl 4 -ts 1,1", 0),  # formulas stay where the dry run has a whole micro-batch's logits
    ("tiny-llama", "-c 4096 -np 1 -ngl 0 -ub 2048 -ts 1,1", 0),  # so it has on the first card, with the output in host memory
    ("tiny-mixtral", "-c 4096 -np 1 -ncmoe 3 -ts 1,1", 0),
    ("tiny-qwen3", "-c 4096 -np 2 -nkvo -ts 2,1", 0),
    ("tiny-qwen3", "-c 4096 -np 3 -ts 1,1,1", 2),  # a pipeline: the middle card's boundary is counted once
    ("tiny-mixtral", "-c 4096 -np 1 -ub 128 -ts 1,2,2,1", 3),
    ("tiny-qwen35", "-c 4096 -np 4 -ub 2048 -nkvo -ts 1,1,1", 1, *OTHER_BUILD),  # no pipeline: only the first card is the dry run's
    ("tiny-qwen35", "-c 4096 -np 1 -ub 2048 -ngl 0 -ts 1,1", 0),  # logits on the first card, which stays a bound
    ("tiny-glm4moe", "-c 4096 -np 4 -ub 512 -ncmoe 2 -ts 1,1,1", 1, *OTHER_BUILD),
]


@cases(ASKED, lambda row: f"the engine's dry run, {row[0]}: {row[1]}")
def asked(box, row):
    """What the dry run says is the log's, once corrected; what stays a bound is not under; host memory is the log's."""
    name, text, from_engine, *options = row
    machine_file = box.use(Machine(*[RTX_3090, RTX_3060] * (1 + text.count(",") // 2)))
    view, _ = estimate(box, machine_file, model(name), text.split(), "--engine", engine(), "--ask-engine", *options)
    seen = server(box, model(name), text.split())
    for device in view["devices"]:
        measured, figure, source = seen[device["name"]]["compute"], device["compute_bytes"] / (1 << 20), device["compute_source"]
        off = figure - measured
        check(off > -UNDER_MIB and (source == "bound" or off < UNDER_MIB), f"{device['name']}: engine {measured:.2f} MiB, {source} {figure:.2f}")
    check_equal(sum(device["compute_source"] == "dry_run" for device in view["devices"]), from_engine, "figures of the dry run")
    measured, figure = seen["host"]["compute"], view["host"]["compute_bytes"] / (1 << 20)
    check(abs(measured - figure) < UNDER_MIB, f"host: engine {measured:.2f} MiB, estimate {figure:.2f}")


if __name__ == "__main__":
    main()
