"""The same model as GGUF and as a folder, both written by our own writers, says the same of itself: layers, heads, caches,
experts, parameters; and each way of storing the weights keeps the parameter count exact.

usage: test_folders.py PROGRAM TOOLS
"""
import json
import pathlib
import subprocess
import sys
import tempfile

program, tools = sys.argv[1], pathlib.Path(sys.argv[2])
failed = number = 0


def say(good, name, sentence=""):
    global failed, number
    number += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
    if not good and sentence:
        print(f"# {sentence}")


def inspect(path):
    done = subprocess.run([program, "inspect", str(path), "--json"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return json.loads(done.stdout)


def make(tool, *arguments):
    subprocess.run([sys.executable, str(tools / tool), *map(str, arguments)], check=True, stdout=subprocess.DEVNULL,
                   stdin=subprocess.DEVNULL)


SAME = ("layer_count", "context_length", "embedding_length", "vocab_size", "expert_count", "expert_used_count",
        "tied_embeddings", "kv_bytes_per_token")
SAME_OF_LAYER = ("head_count", "head_count_kv", "key_length", "value_length", "sliding_window", "recurrent")
SPECS = ("tiny-llama", "tiny-llama-tied", "tiny-qwen3", "tiny-mixtral", "llama-3.1-8b", "qwen3-30b-a3b", "deepseek-v3")
QUANTS = ("awq", "gptq", "fp8", "compressed-tensors", "bnb4", "mxfp4", "exl3")

# Bytes of a stored matrix of r rows and c columns, as each method's own code lays it out; llama-3.1-8b's matrices divide by all groups.
MATRIX_BYTES = {
    "none": lambda r, c: 2 * r * c,
    "awq": lambda r, c: r * c // 2 + c // 128 * (r // 2 + 2 * r),  # qweight, qzeros, scales
    "gptq": lambda r, c: r * c // 2 + c // 128 * (r // 2 + 2 * r) + 4 * c,  # and g_idx
    "fp8": lambda r, c: r * c + 4 * (r // 128) * (c // 128),  # a scale for each block of 128 x 128
    "compressed-tensors": lambda r, c: r * c // 2 + 2 * r * (c // 128) + 8,  # packed, scales, shape
    "bnb4": lambda r, c: r * c // 2 + r * c // 64 + 4 * (r * c // 64 // 256) + 4 * (256 + 16) + 183,  # absmax quantised once more
    "mxfp4": lambda r, c: r * c // 2 + r * c // 32,  # a scale for each 32
    "exl3": lambda r, c: r * c // 2 + 2 * (r + c),  # trellis of 4 bits, signs of both sides
}
MATRICES = [(4096, 4096), (1024, 4096), (1024, 4096), (4096, 4096), (14336, 4096), (14336, 4096), (4096, 14336)]
NORM_BYTES = 2 * 4096
EMBEDDING_BYTES = 2 * 128256 * 4096


def check_bytes(name, stored, quant):
    layer = sum(MATRIX_BYTES[quant](rows, columns) for rows, columns in MATRICES) + 2 * NORM_BYTES
    wrong = [one["weights_bytes"] for one in stored["layers"] if one["weights_bytes"] != layer]
    say(not wrong, f"{name}: bytes of each layer", f"{wrong[:3]}, want {layer}")
    say((stored["input_bytes"], stored["output_bytes"]) == (EMBEDDING_BYTES, EMBEDDING_BYTES + NORM_BYTES),
        f"{name}: bytes before and after the layers", f"{stored['input_bytes']}, {stored['output_bytes']}")


with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    for spec in SPECS:
        make("make-model.py", spec, work / f"{spec}.gguf", "--sparse", "--ftype", "F16")
        make("make-hf-model.py", spec, work / spec, "--files", 3)
        gguf, folder = inspect(work / f"{spec}.gguf"), inspect(work / spec)
        different = [f"{key}: {gguf.get(key)} as GGUF, {folder.get(key)} as folder" for key in SAME
                     if gguf.get(key) != folder.get(key)]
        different += [f"layer {a['index']}: {key}" for a, b in zip(gguf["layers"], folder["layers"]) for key in SAME_OF_LAYER
                      if a[key] != b[key]]
        # Norms and routers are F32 in a GGUF file and BF16 in a folder; the rest is the same bytes.
        different += [f"layer {a['index']}: {a['weights_bytes']} and {b['weights_bytes']} bytes"
                      for a, b in zip(gguf["layers"], folder["layers"])
                      if abs(a["weights_bytes"] - b["weights_bytes"]) > a["weights_bytes"] // 100]
        # rope_freqs is a table of the GGUF file alone
        table = 64 if spec == "llama-3.1-8b" else 0
        if gguf["parameter_count"] - table != folder["parameter_count"]:
            different.append(f"parameters: {gguf['parameter_count']} and {folder['parameter_count']}")
        say(not different, f"{spec} as GGUF and as folder", "; ".join(different[:5]))
    plain = inspect(work / "llama-3.1-8b")
    check_bytes("BF16", plain, "none")
    for quant in QUANTS:
        make("make-hf-model.py", "llama-3.1-8b", work / quant, "--quant", quant)
        stored = inspect(work / quant)
        say(stored["parameter_count"] == plain["parameter_count"] and stored["quantization"]["method"]
            and stored["file_bytes"] < plain["file_bytes"],
            f"stored as {quant}", f"{stored['parameter_count']} parameters, want {plain['parameter_count']}")
        check_bytes(quant, stored, quant)
    # an index that lies: nothing outside of the folder is read, nothing without end
    make("make-hf-model.py", "tiny-llama", work / "lies")
    outside = work / "outside.safetensors"
    (work / "lies" / "model.safetensors").rename(outside)
    for name, index, sentence in (
            ("a file elsewhere", {"weight_map": {"a": "../outside.safetensors"}}, "names no plain file"),
            ("an absolute path", {"weight_map": {"a": str(outside)}}, "names no plain file"),
            ("a hidden file", {"weight_map": {"a": ".model.safetensors"}}, "names no plain file"),
            ("a number", {"weight_map": {"a": 1}}, "names no plain file"),
            ("a long name", {"weight_map": {"a": "x" * 5000}}, "names no plain file"),
            ("an empty name", {"weight_map": {"a": ""}}, "names no plain file"),
            ("a list", {"weight_map": ["x"]}, "model.safetensors.index.json|missing"),
            ("no map", {"metadata": {}}, "names no file"),
            ("too many files", {"weight_map": {str(i): f"{i}.safetensors" for i in range(5000)}}, "files of weights"),
            ("not there", {"weight_map": {"a": "gone.safetensors"}}, "gone.safetensors"),
            ("an escape in a name", {"weight_map": {"a": "\u001b[31m.safetensors"}}, "x1b"),
            ("a folder", {"weight_map": {"a": "sub"}}, "no regular file"),
            ("cut", None, "index.json")):
        (work / "lies" / "sub").mkdir(exist_ok=True)
        (work / "lies" / "model.safetensors.index.json").write_text('{"weight_map": {"a"' if index is None else json.dumps(index))
        done = subprocess.run([program, "inspect", str(work / "lies")], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        say(done.returncode == 1 and any(part in done.stderr for part in sentence.split("|")) and "\033" not in done.stderr,
            f"an index with {name}", done.stderr)
    files = (work / "llama-3.1-8b" / "model-00002-of-00003.safetensors")
    say(inspect(files)["layer_count"] == 32, "any file of the folder may be given")
    files.unlink()
    done = subprocess.run([program, "inspect", str(work / "llama-3.1-8b")], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL)
    say(done.returncode == 1 and "model-00002-of-00003.safetensors" in done.stderr and "missing" in done.stderr,
        "a missing file is named", done.stderr)
print(f"1..{number}")
sys.exit(1 if failed else 0)
