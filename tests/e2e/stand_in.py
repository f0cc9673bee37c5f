#!/usr/bin/env python3
"""A llama-server that misbehaves on demand.

It answers --version, --help and --list-devices as the real one does; started to serve, it does what STAND_IN says: the name of
a function below that is marked @behaviour.  It is for what a healthy engine never does, so it needs no model and no libraries.
Its log lines are llama-server 0.7.0's own.
"""
import email
import email.policy
import hashlib
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

# The options that a launcher needs, in the layout of the real --help.
HELP = """----- common params -----

-h,    --help, --usage                  print usage and exit
--version                               show version and build info
-t,    --threads N                      number of CPU threads to use during generation
-c,    --ctx-size N                     size of the prompt context
-b,    --batch-size N                   logical maximum batch size
-ub,   --ubatch-size N                  physical maximum batch size
-kvu,  --kv-unified, -no-kvu, --no-kv-unified
                                        use single unified KV buffer for the KV cache of all sequences
--swa-full                              use full-size SWA cache
-fa,   --flash-attn [on|off|auto]       set Flash Attention use
-ctk,  --cache-type-k TYPE              KV cache data type for K
-ctv,  --cache-type-v TYPE              KV cache data type for V
-nkvo, --no-kv-offload                  keep the KV cache in host memory
-dev,  --device <dev1,dev2,..>          comma-separated list of devices to use for offloading
--list-devices                          print list of available devices and exit
-ncmoe, --n-cpu-moe N                   keep the MoE weights of the first N layers in the CPU
-ngl,  --gpu-layers, --n-gpu-layers N   max. number of layers to store in VRAM
-sm,   --split-mode {none,layer,row}    how to split the model across multiple GPUs
-ts,   --tensor-split N0,N1,N2,...      fraction of the model to offload to each GPU
-mg,   --main-gpu INDEX                 the GPU to use for the model
-fit,  --fit [on|off]                   whether to adjust unset arguments to fit in device memory
--op-offload, --no-op-offload           whether to offload host tensor operations to device
-m,    --model FNAME                    model path to load
--log-colors [on|off|auto]              Set colored logging
-lv,   --verbosity, --log-verbosity N   Set the verbosity threshold
--log-prefix, --no-log-prefix           Enable prefix in log messages
--log-timestamps, --no-log-timestamps   Enable timestamps in log messages

----- example-specific params -----

-np,   --parallel N                     number of server slots
--host HOST                             ip address to listen
--port PORT                             port to listen
--cors-origins ORIGINS                  comma-separated list of allowed origins for CORS
--warmup, --no-warmup                   whether to perform warmup with an empty run
"""

BEHAVIOURS = {}


def behaviour(function):
    BEHAVIOURS[function.__name__.replace("_", "-")] = function
    return function


def option(name, default):
    words = sys.argv[1:]
    return words[words.index(name) + 1] if name in words[:-1] else default


def log(level, text):
    print(f"0.00.{time.monotonic_ns() // 1000 % 1000:03d}.000 {level} {text}", file=sys.stderr, flush=True)


def list_devices():
    cards = [card.split("|") for card in os.environ.get("PRETEND_GPUS", "").split(",") if card]
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    picked = [cards[int(index)] for index in shown.split(",") if index] if shown is not None else cards
    print("Available devices:")
    for number, (_, name, total, free, *_) in enumerate(picked):
        print(f"  CUDA{number}: {name} ({total} MiB, {free} MiB free)")


class Handler(http.server.BaseHTTPRequestHandler):
    answered = threading.Event()

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.answered.set()

    def do_GET(self):
        self.reply({"status": "ok"})

    def tell_form(self, body):
        """What came, read by Python's own reader of MIME, so that another than ours judges it."""
        head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items() if name.lower() == "content-type")
        form = email.message_from_bytes(head.encode() + b"\r\n" + body, policy=email.policy.HTTP)
        parts = [(part.get_param("name", header="content-disposition"), part.get_filename(), part.get_payload(decode=True) or b"")
                 for part in form.iter_parts()]
        return {"path": self.path, "headers": sorted(name.lower() for name in self.headers), "length": len(body),
                "sha256": hashlib.sha256(body).hexdigest(),
                "parts": [{"name": name, "file": file, "sha256": hashlib.sha256(data).hexdigest(),
                           "text": data[:40].decode("latin-1")} for name, file, data in parts]}

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get_content_maintype() == "multipart":
            self.reply(self.tell_form(body))
            return
        self.reply({"choices": [{"message": {"role": "assistant", "content": "yes"}}]})

    def log_message(self, *_):
        pass


def serve_forever():
    port = int(option("--port", "8080"))
    host = option("--host", "127.0.0.1")
    try:
        server = http.server.ThreadingHTTPServer((host, port), Handler)
    except OSError:
        log("E", f"srv         start: couldn't bind HTTP server socket, hostname: {host}, port: {port}")
        sys.exit(1)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    log("I", "srv  llama_server: model loaded")
    log("I", f"srv  llama_server: listening on http://127.0.0.1:{port}")
    log("I", "srv  update_slots: all slots are idle")
    while True:
        signal.pause()


def end(*_):
    os._exit(0)


@behaviour
def serve():
    signal.signal(signal.SIGTERM, end)
    serve_forever()


@behaviour
def say_listening():
    """Serves nothing itself: somebody else listens on its port."""
    signal.signal(signal.SIGTERM, end)
    log("I", "srv  llama_server: model loaded")
    log("I", "srv  llama_server: listening on http://127.0.0.1")
    while True:
        signal.pause()


@behaviour
def talk_then_die():
    print("\n".join(f"line {number}" for number in range(1, 5001)), flush=True)
    os._exit(1)


@behaviour
def hang():
    log("I", "load_tensors: loading model tensors, this can take a while... (load_mode = mmap)")
    signal.signal(signal.SIGTERM, end)
    while True:
        signal.pause()


@behaviour
def die_at_once():
    os._exit(3)


@behaviour
def die_of_a_signal():
    os.kill(os.getpid(), signal.SIGSEGV)


@behaviour
def die_loading():
    log("I", "load_tensors: loading model tensors, this can take a while... (load_mode = mmap)")
    print("the disk has caught fire", file=sys.stderr, flush=True)
    os._exit(1)


@behaviour
def refuse_model():
    log("E", "llama_model_load: error loading model: error loading model architecture: unknown model architecture: 'zeta9'")
    log("E", "llama_model_load_from_file_impl: failed to load model")
    log("E", "srv  llama_server: exiting due to model loading error")
    os._exit(1)


@behaviour
def run_out_of_memory():
    log("I", "load_tensors: loading model tensors, this can take a while... (load_mode = mmap)")
    log("E", "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1234.56 MiB on device 1: cudaMalloc failed: out of memory")
    log("E", "alloc_tensor_range: failed to allocate CUDA1 buffer of size 1294530396")
    log("E", "llama_model_load: error loading model: unable to allocate CUDA1 buffer")
    log("E", "srv  llama_server: exiting due to model loading error")
    os._exit(1)


def write_garbage():
    """Escape sequences, bytes that are no text, a line longer than any buffer, and lines that nearly mean something."""
    noise = random.Random(7)
    for stream in (sys.stdout.buffer, sys.stderr.buffer):
        stream.write(b"\x1b[2J\x1b]0;owned\x07\x1b[31mred\n")
        stream.write(noise.randbytes(100_000))
        stream.write(b"\n" + b"x" * 300_000 + b"\n")
        stream.write(b"0.00.001.000 I load_tensors:        CUDA0 model buffer size = 99999999999999999999.99 MiB\n")
        stream.write(b"0.00.001.000 I load_tensors:        CUDA0 model buffer size = nan MiB\n\0\0\0\n")
        stream.flush()


@behaviour
def garbage_then_die():
    write_garbage()
    os._exit(1)


@behaviour
def garbage_then_serve():
    write_garbage()
    serve()


@behaviour
def ignore_term():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    serve_forever()


@behaviour
def leave_children():
    """Children that a launcher must find: one in the group, one in a session of its own, one whose parent has ended; all
    ignore SIGTERM and SIGHUP."""
    deaf = "import signal; signal.signal(15, signal.SIG_IGN); signal.signal(1, signal.SIG_IGN); print(flush=True)\n" \
           "while True: signal.pause()"
    orphan = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]])"
    for words, session in (([deaf], False), ([deaf], True), ([orphan, deaf], True)):
        child = subprocess.Popen([sys.executable, "-c", *words], start_new_session=session, stdout=subprocess.PIPE)
        child.stdout.readline()  # it is deaf by now
    serve()


@behaviour
def crash_when_asked():
    """Ready, then dead: after the first answer it ends as by a bug, once; started again it stays."""
    once = pathlib.Path(os.environ["HOME"]) / "crashed"
    if not once.exists():
        once.touch()
        signal.signal(signal.SIGTERM, end)
        threading.Thread(target=lambda: (Handler.answered.wait(), time.sleep(0.5), os.kill(os.getpid(), signal.SIGSEGV)),
                         daemon=True).start()
    serve()


def main():
    chosen = os.environ.get("STAND_IN", "serve")
    if chosen == "say-nothing-useful":
        print("usage: ask somebody else")
    elif "--version" in sys.argv:
        print("version: 0.7.0 (build 11669, commit stand-in)\nbuilt with nothing for Linux x86_64", file=sys.stderr)
    elif "--help" in sys.argv:
        print(HELP)
    elif "--list-devices" in sys.argv:
        list_devices()
    else:
        starts = pathlib.Path(os.environ["HOME"]) / "starts"
        with open(starts, "a") as file:
            file.write("start\n")
        BEHAVIOURS[chosen]()


main()
