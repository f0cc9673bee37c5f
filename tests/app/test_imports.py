"""Files of llama-swap and llama.cpp as presets, through the program: what is kept, what is told by line, what a hostile file does
(nothing), and that an exported launch comes back as the same launch.

usage: test_imports.py PROGRAM TOOLS MACHINES
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

program, tools, machines = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
failed = number = 0


def say(good, name, sentence=""):
    global failed, number
    number += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {number} - {name}", flush=True)
    if not good and sentence:
        print("# " + str(sentence).replace("\n", "\n# "))


work = tempfile.TemporaryDirectory()
box = pathlib.Path(work.name)
model = box / "llama.gguf"
subprocess.run([sys.executable, tools / "make-model.py", "llama-3.1-8b", model, "--sparse"], check=True,
               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
env = {"PATH": os.environ["PATH"], "HOME": str(box), "XDG_CONFIG_HOME": str(box / "config"), "XDG_STATE_HOME": str(box / "state"),
       "XDG_CACHE_HOME": str(box / "cache"), "MODELS": str(box)}
for name in ("LSAN_OPTIONS", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if name in os.environ:
        env[name] = os.environ[name]
folder = box / "config" / "dualgpuopt" / "presets"


def run(*words):
    return subprocess.run([program, *map(str, words)], env=env, text=True, capture_output=True, stdin=subprocess.DEVNULL, timeout=60)


def imported(name, text, *words):
    """Exit status, presets by name, notes; of a dry run unless told otherwise."""
    path = box / name
    path.write_text(text)
    done = run("presets", "import", path, "--json", *(words or ["--dry-run"]))
    if not done.stdout:
        return done.returncode, {}, done.stderr
    read = json.loads(done.stdout)
    return done.returncode, {one["name"]: one for one in read["presets"]}, read["notes"]


def sentences(notes):
    return notes if isinstance(notes, str) else "\n".join(f"{n['line']} {n['entry']}: {n['sentence']}" for n in notes)


# ---- llama-swap ----

SWAP = """macros:
  server: >
    /opt/llama/llama-server
    --port ${PORT}
  tokens: 4096
  context: "--ctx-size ${tokens}"
groups:
  coding: {swap: false, members: [small]}
models:
  "Qwen/Qwen3:8b":
    macros: {tokens: 16384}
    cmd: |
      # ${server} stands above
      ${server} --model ${env.MODELS}/llama.gguf \\
      ${context} -np 2 -ctk q8_0 -ctv q8_0
      -ngl 99 -ts 3,2 --temp 0.7 --grammar 'a b'
    env:
      - CUDA_DEVICE_ORDER=PCI_BUS_ID
      - CUDA_VISIBLE_DEVICES=1,0
      - HF_TOKEN=secret
    aliases: [gpt-4o-mini]
    ttl: 60
  small:
    cmd: env CUDA_VISIBLE_DEVICES=2,3 llama-server -m llama.gguf -dev CUDA1 --port 9001 -fa off
  api:
    cmd: vllm serve /models/qwen3 --port ${PORT} --max-model-len 8192 -tp 2 --enable-prefix-caching
"""
code, presets, notes = imported("config.yaml", SWAP)
qwen = presets.get("Qwen-Qwen3-8b", {})
say(code == 0 and qwen.get("model") == str(model) and qwen.get("args") == ["--temp", "0.7", "--grammar", "a b"] and
    qwen.get("options") == {"engine": "/opt/llama/llama-server", "use": "1,0", "parallel": "2", "ctx": "8192", "kv-type": "q8_0",
                            "idle-timeout": "60s", "spread": "true"}, "llama-swap: macros, comments, quotes, cards, ttl", f"{code} {qwen}")
say(qwen.get("aliases") == ["Qwen/Qwen3:8b", "gpt-4o-mini"], "llama-swap: aliases, and the name that no file can have", qwen.get("aliases"))
say(presets.get("small", {}).get("options") == {"no-flash-attention": "true", "port": "9001", "use": "3"} and
    presets["small"]["model"] == str(model), "llama-swap: a device among the visible ones, a relative path", presets.get("small"))
say(presets.get("api", {}).get("options") == {"engine": "vllm", "ctx": "8192", "tp": "2"} and
    presets["api"]["args"] == ["--enable-prefix-caching"], "llama-swap: vLLM", presets.get("api"))
told = sentences(notes)
say(all(part in told for part in ("20 Qwen/Qwen3:8b: not kept: the variable HF_TOKEN",
                                  "planned anew: -ngl 99, -ts 3,2", "the preset is called Qwen-Qwen3-8b")) and "secret" not in told and
    "ttl" not in told and "gpt-4o" not in told,
    "what is not kept is told by line, no secret with it", told)

# What one of their files says about all models, with what their own example has beside it; anchors, which their reader takes.
code, presets, notes = imported("all.yaml", f"""healthCheckTimeout: 5
globalTTL: 300
unloadTimeout: 20
logLevel: info
sendLoadingState: true
apiKeys: [sk-x]
x-common: &common
  ttl: 0
  unlisted: true
  filters: {{stripParams: temperature}}
x-more: &more {{cmdStop: docker stop x, ttl: 7}}
models:
  a: {{<<: *common, cmd: "llama-server -m {model} --port 1"}}
  b: {{<<: [*more, *common], ttl: -1, unloadTimeout: 3, concurrencyLimit: 2, cmd: &command "llama-server -m {model} --port 1"}}
  c: {{ttl: soon, aliases: ["", "x\\x01", {{id: "${{MODEL_ID}}:high"}}], cmd: *command}}
  d: {{capabilities: {{tools: true}}, compat: {{ignoreWebsockets: true}}, timeouts: {{connect: 3}}, cmd: *command}}
hooks: {{on_startup: {{preload: [a]}}}}
peers: {{other: {{proxy: http://192.168.1.23, models: [z]}}}}
routing:
  router:
    use: matrix
    settings:
      groups: {{g: {{members: [a, b]}}}}
      matrix: {{sets: {{s: a & b}}}}
""")
times = {name: [one["options"].get(key) for key in ("idle-timeout", "stop-timeout", "ready-timeout")] for name, one in presets.items()}
say(code == 0 and times == {"a": ["0s", "20s", "15s"], "b": ["300s", "3s", "15s"], "c": ["300s", "20s", "15s"], "d": ["300s", "20s", "15s"]},
    "llama-swap: times of a model beat those of the file, keys of its own those it merges", f"{code} {times}")
say(presets.get("c", {}).get("aliases") == ["c:high"], "llama-swap: an alias with a macro, none that is no name", presets.get("c"))
told = sentences(notes)
say(all(part in told for part in ("a: not kept: unlisted; ", "a: not kept: filters; ", "b: not kept: cmdStop; the engine is stopped by a signal",
                                  "b: not kept: concurrencyLimit; ", "15 c: not kept: ttl is no number of seconds", "not kept: the alias : an alias is",
                                  "d: not kept: capabilities; ", "d: not kept: compat; ", "d: not kept: timeouts; ", "17 : not kept: hooks; `run --detach",
                                  "18 : not kept: peers; ", "24 : not kept: the matrix; here models run beside", "6 : not kept: apiKeys; `serve --token-file")) and "x-common" not in told,
    "llama-swap: what cannot be kept is told in a sentence", told)
say("group" not in run("presets", "import", box / "all.yaml", "--dry-run").stderr.replace("into a group", "").replace("groups.NAME", ""),
    "llama-swap: groups that the matrix replaces are not in force", told)
say(not folder.exists(), "a dry run writes nothing")

# ---- groups go into the configuration ----

GROUPS = {"at the top": "groups:", "below routing": "routing:\n  router:\n    settings:\n      groups:"}
for place, head in GROUPS.items():
    indent = " " * (2 + len(head.splitlines()[-1]) - len(head.splitlines()[-1].lstrip()))
    (box / "groups.yaml").write_text(f"""{head}
{indent}"big one.v2": {{members: ["Qwen/Qwen3:8b", small], swap: true, exclusive: false}}
{indent}always: {{members: [api], persistent: true, swap: false}}
{indent}again: {{members: [small]}}
{indent}nobody: {{members: []}}
{indent}"x: {{members: [a]}}, engine": {{members: [lone]}}
models:
  "Qwen/Qwen3:8b": {{cmd: llama-server -m {model} --port 1}}
  small: {{cmd: llama-server -m {model} --port 1}}
  api: {{cmd: llama-server -m {model} --port 1}}
""")
    (box / "config" / "dualgpuopt" / "config.yaml").unlink(missing_ok=True)
    dry = json.loads(run("presets", "import", box / "groups.yaml", "--json", "--dry-run").stdout)
    say([group["name"] for group in dry["groups"]][:2] == ["big-one-v2", "always"] and
        not (box / "config" / "dualgpuopt" / "config.yaml").exists(), f"groups {place}: a dry run writes nothing", dry["groups"])
    done = run("presets", "import", box / "groups.yaml", "--json", "--replace")
    read = json.loads(done.stdout)
    held = json.loads(run("config", "get", "groups", "--json").stdout)
    held = {group.pop("name"): group for group in held}
    say(held == {"big-one-v2": {"members": ["Qwen-Qwen3-8b", "small"], "swap": True, "exclusive": False, "persistent": False},
                 "always": {"members": ["api"], "swap": False, "exclusive": True, "persistent": True},
                 "x---members---a----engine": {"members": ["lone"], "swap": True, "exclusive": True, "persistent": False}},
        f"groups {place}: members by the names of their presets, and no name becomes another key", held)
    say("'small' is a member of group 'big-one-v2' already" in sentences(read["notes"]) and
        "the group nobody has no list of members" in sentences(read["notes"]) and done.returncode == 1,
        f"groups {place}: what cannot be is told", sentences(read["notes"]))
    for preset in folder.iterdir():
        preset.unlink()
    folder.rmdir()
(box / "config" / "dualgpuopt" / "config.yaml").unlink()

# ---- what is refused ----

for name, command, sentence in (
        ("a container", "docker run --rm image", "docker, which is no engine known here"),
        ("a shell", "sh -c 'llama-server -m x'", "sh, which is no engine"),
        ("two commands", "llama-server -m a.gguf; touch marker", "a shell gives this character a meaning"),
        ("an expansion", "llama-server -m $(touch marker)", "a shell gives this character a meaning"),
        ("a macro that is not there", "llama-server -m ${nope}", "${nope} is not defined"),
        ("a variable that is not set", "llama-server -m ${env.NOT_SET_ANYWHERE}", "is not set in this environment"),
        ("a macro that holds itself", "llama-server -m ${self}", "holds itself"),
        ("a thousand million macros", "llama-server ${m8}", "holds itself, or too much"),
        ("a model to be fetched", "llama-server -hf a/b", "fetch it once"),
        ("no model", "llama-server --port 1", "it names no model file"),
        ("no value", "llama-server -m", "-m needs a value")):
    many = "".join(f"  m{i}: '{'${m%d}' % (i - 1) * 20}'\n" for i in range(1, 9))
    code, presets, notes = imported("bad.yaml", f"macros:\n  self: '${{self}}'\n  m0: ''\n{many}models:\n  a:\n    cmd: |\n      {command}\n")
    say(code == 1 and not presets and sentence in sentences(notes), f"not imported: {name}", f"{code} {sentences(notes)}")
say(not (box / "marker").exists() and not pathlib.Path("marker").exists(), "nothing of a file was started")

for name, file, text, code, sentence in (
        ("no models", "bad.yaml", "a: 1\n", 1, "no map of models"),
        ("an alias that holds itself", "bad.yaml", "models: &a {b: *a}\n", 1, "line 1, column 16: this alias names nothing before it"),
        ("an alias of nothing", "bad.yaml", "models: *a\n", 1, "line 1, column 9: this alias names nothing"),
        ("a merge of no map", "bad.yaml", "x: &x 1\nmodels: {<<: *x}\n", 1, "takes a map"),
        ("aliases that stand for a thousand million", "bad.yaml", "a0: &a0 [x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 20)}]\n" for i in range(1, 9)) + "models: {}\n", 1, "aliases that stand for too much"),
        ("aliases ever deeper", "bad.yaml", "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40)) + "models: {}\n", 1,
         "nested more than 16 deep"),
        ("too many anchors", "bad.yaml", "".join(f"a{i}: &a{i} x\n" for i in range(300)) + "models: {}\n", 1, "more than 256"),
        ("a tag of YAML", "bad.yaml", "models: !x {}\n", 1, "line 1, column 9: tags"),
        ("broken YAML", "bad.yaml", "models: {\n", 1, "line 2"),
        ("deep YAML", "bad.yaml", "models: " + "[" * 5000, 1, "line 1"),
        ("not a section", "bad.ini", "[a]\nx\n", 1, "line 2: neither"),
        ("an open bracket", "bad.ini", "[a\n", 1, "line 1: neither"),
        ("no section", "bad.ini", "a = 1\n", 1, "no [section]"),
        ("a NUL", "bad.ini", "[a]\nmodel = /x\0\n", 1, "NUL"),
        ("too many sections", "bad.ini", "".join(f"[{i}]\n" for i in range(300)), 1, "more than 256 sections"),
        ("too large", "bad.ini", ";" * (1 << 20) + "\n", 1, "larger than"),
        ("another ending", "bad.txt", "", 2, "neither llama-swap's")):
    got, presets, err = imported(file, text)
    say(got == code and not presets and sentence in sentences(err), f"refused: {name}", f"exit {got}: {sentences(err)[:300]}")

# ---- llama.cpp's presets ----

code, presets, notes = imported("presets.ini", f"""version = 1
[*]
parallel = 4
mlock = on
ctx-size = 1024
[chat]
model = {model}
c = 32768
ctx-size = 32768
jinja = true
no-such = 1
load-on-startup = true
[later]
hf = a/b:Q4_K_M
""")
chat = presets.get("chat", {})
say(code == 1 and list(presets) == ["chat"] and chat["options"] == {"parallel": "4", "ctx": "8192"} and
    chat["args"] == ["--mlock", "--jinja"], "llama.cpp: [*], its own lines first", f"{code} {presets}")
say(all(part in sentences(notes) for part in ("11 chat: not kept: no-such", "12 chat: not kept: load-on-startup", "14 later: -hf a/b")),
    "llama.cpp: what is not kept is told by line", sentences(notes))

# ---- round trip ----

OPTIONS = ["--spread", "--ctx", "4096", "--parallel", "2", "--kv-type", "q8_0", "--threads", "3"]
for form, file in (("llama-swap", "out.yaml"), ("preset", "out.ini")):
    for machine in ("two-equal.yaml", "two-unequal.yaml"):
        given = ["--gpus", machines / machine, "--name", "chat"]
        first = run("export", form, model, *given, *OPTIONS, "--", "--temp", "0.5")
        code, presets, notes = imported(file, first.stdout, "--replace")
        again = run("export", form, "--preset", "chat", *given)
        say(first.returncode == 0 and code == 0 and again.stdout == first.stdout and again.returncode == 0,
            f"{form}, imported and exported again on {machine}, is the same",
            f"{first.stdout}\n{presets}\n{sentences(notes)}\n{again.stdout}{again.stderr}")

# ---- commands of other engines ----

for name, command, want in (
        ("sglang", "python3 -m sglang.launch_server --model-path /m", None),
        ("sglang's own program", "sglang serve --model-path /models/qwen3 --tp 2 --pp-size 2 --context-length 4096 --mem-fraction-static "
         "0.8 --max-running-requests 8 --port 9000 --log-level info",
         ({"engine": "sglang", "tp": "2", "pp": "2", "ctx": "4096", "memory-share": "0.8", "parallel": "8", "port": "9000"},
          ["--log-level", "info"])),
        ("vLLM, its model as a flag", "/opt/vllm/bin/vllm serve --model /models/qwen3 -pp 2 --gpu-memory-utilization 0.9 --max-num-seqs 0",
         ({"engine": "/opt/vllm/bin/vllm", "pp": "2", "memory-share": "0.9"}, [])),
        ("vLLM, a flag without its value", "vllm serve /models/qwen3 --max-model-len", ({"engine": "vllm"}, ["--max-model-len"])),
        ("vLLM, what the plan decides", "vllm serve /models/qwen3 --kv-cache-dtype fp8 --max-num-batched-tokens 4096",
         ({"engine": "vllm", "kv-type": "fp8", "batch": "4096"}, [])),
        ("koboldcpp", "koboldcpp --model /m.gguf --contextsize 4096", None),
        ("a count that is none", f"llama-server -m {model} -c 12x -b -5 -t 99999999999999999999", ({}, [])),
        ("devices that are none", f"llama-server -m {model} -dev Metal,CUDA", ({}, []))):
    code, presets, notes = imported("engine.yaml", f"models:\n  a:\n    cmd: {command}\n")
    got = presets.get("a")
    say((code == 1 and not got) if want is None else (got and (got["options"], got["args"]) == want), f"a command of {name}",
        f"{code} {got} {sentences(notes)}")

# ---- what is refused, and what is told of entries ----

NOWHERE = "/" + "d" * 5000
for name, text, want in (
        ("bad.ini", "", "it has no [section]"),
        ("bad.ini", "[a]\nno key\n", "line 2: neither [name] nor key = value"),
        ("bad.ini", "[a]\nmodel = \0\n", "NUL byte"),
        ("bad.ini", f"[a]\nmodel = {'x' * 5000}\n", "line 2: neither [name] nor key = value, or too long"),
        ("bad.ini", "[*]\n" + "".join(f"k{i} = 1\n" for i in range(70)) + "[a]\nmodel = /m\n", "64 lines in [*]"),
        ("bad.yaml", "groups: {a: {members: [b]}}\n", "no map of models"),
        ("bad.yaml", "models: [a]\n", "no map of models")):
    code, presets, notes = imported(name, text)
    say(code == 1 and not presets and want in sentences(notes), f"refused: {want}", f"{code} {presets} {sentences(notes)}")
for what, entry, want in (
        ("an entry that is no map", "a: llama-server", "a model is a map with cmd"),
        ("an empty command", "a: {cmd: '  '}", "its command is empty"),
        ("variables alone", "a: {cmd: 'A=1 B=2'}", "its command is empty"),
        ("a long command", f"a: {{cmd: 'llama-server -m {NOWHERE * 16}'}}", "longer than"),
        ("a model far away", f"a: {{cmd: 'llama-server -m {NOWHERE}'}}", "path is too long"),
        ("too many words", "a: {cmd: 'llama-server -m /m" + " --temp 0.5" * 200 + "'}", "words for the engine"),
        ("a model to be fetched", "a: {cmd: 'llama-server -hf a/b'}", "the engine would fetch the model"),
        ("a variable that is none", f"a: {{cmd: 'llama-server -m {model}', env: [{{A: 1}}]}}", "a variable is a text NAME=value"),
        ("an alias that is none", f"a: {{cmd: 'llama-server -m {model}', aliases: [[b]]}}", "an alias is a name"),
        ("a key that is none", f"a: {{cmd: 'llama-server -m {model}', colour: red}}", "colour, which is not known here"),
        ("another engine's flags", "a: {cmd: 'koboldcpp --model /m.gguf'}", "the flags of koboldcpp are not read"),
        ("a count that is none", f"a: {{cmd: 'llama-server -m {model} -c 12x'}}", "-c '12x' is no count"),
        ("devices that are none", f"a: {{cmd: 'llama-server -m {model} -dev Metal'}}", "name the cards with --use"),
        ("a relative model", "a: {cmd: 'llama-server -m llama.gguf'}", "relative and taken from the file's folder"),
        ("a flag that is not known", f"a: {{cmd: 'llama-server -m {model} --sing'}}", "--sing is no flag of llama-server that is known here")):
    code, presets, notes = imported("entry.yaml", f"models:\n  {entry}\n")
    say(want in sentences(notes), f"told: {what}", f"{code} {presets} {sentences(notes)[:500]}")
code, presets, notes = imported("entry.ini", f"[a]\nmodel = {model}\nsing = 1\nload-on-startup = true\n")
say("sing is no flag" in sentences(notes) and "load-on-startup, which is the router's" in sentences(notes) and "a" in presets,
    "told: keys of a section", f"{code} {presets} {sentences(notes)}")

# ---- what is there ----

before = (folder / "chat.yaml").read_text()
code, presets, notes = imported("out.ini", f"[chat]\nmodel = {model}\n[Chat!]\nmodel = {model}\n[Chat?]\nmodel = {model}\n", "--config",
                                "/dev/null")
say(code == 1 and list(presets) == ["Chat-"] and "there is a preset 'chat' already" in sentences(notes) and
    "an earlier entry has the name Chat-" in sentences(notes) and (folder / "chat.yaml").read_text() == before,
    "one that is there stays, and no two get one name", f"{code} {presets} {sentences(notes)}")
print(f"1..{number}")
sys.exit(1 if failed else 0)
