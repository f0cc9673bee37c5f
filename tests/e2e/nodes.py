"""Other machines, on this one: real ggml-rpc-servers on loopback, each with pretend cards of its own."""
from e2e import Process, Skip, backend, check, engine, free_port, wait_until


def rpc_server():
    path = engine().parent / "ggml-rpc-server"
    if not path.exists():
        raise Skip("the engine came without ggml-rpc-server")
    return path


def start_node(box, name, machine):
    """A server with that machine's cards; returns host:port and the machine's file."""
    server, port = rpc_server(), free_port()
    env = dict(box.env, GGML_BACKEND_PATH=str(backend()), PRETEND_GPUS=machine.pretend_text(),
               PRETEND_GPU_USAGE=str(box.folder / f"usage-{name}"))
    devices = ",".join(f"CUDA{i}" for i in range(len(machine.cards)))
    process = Process([server, "-H", "127.0.0.1", "-p", port, "-d", devices, "-t", "1"], env, box.folder)
    box.started.append(process)
    wait_until(lambda: "127.0.0.1" in process.text("out") + process.text("err") or process.popen.poll() is not None,
               "an rpc-server to listen")
    check(process.popen.poll() is None, f"the rpc-server ended:\n{process.story()}")
    return port, box.file(f"{name}.yaml", machine.file_text())
