"""What the tests of the page share: a daemon with the real engine on pretend cards, and a real browser looking at it.

The cards come from the fake driver, whose file is replaced while the daemon runs: they warm up, fill and go away.  Pictures are
kept in BUILD/web/, to be looked at.
"""
import atexit
import os
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import e2e  # noqa: E402
from chrome import Chrome, Failed, find  # noqa: E402
from e2e import BUILD, ROOT, Card, Machine, Skip, case, check, check_equal, check_match, main  # noqa: E402,F401

TOKEN = "0123456789abcdef" * 4
PICTURES = BUILD / "web"
DRIVER = BUILD / "tests/gpu/libnvidia-ml.so.1"
# others have left so little that a small model fills something
CARDS = (Card("NVIDIA GeForce RTX 3090", 24576, 760), Card("NVIDIA GeForce RTX 3060", 12288, 690))

_browser = None


def browser():
    """One for all cases: starting it takes longer than most of them."""
    global _browser
    if _browser is None:
        if not find():
            raise Skip("no Chromium here; apt-get install chromium-headless-shell brings one")
        try:
            _browser = Chrome.start()
            _browser.call("Browser.getVersion")
        except Failed as failure:
            raise Skip(f"Chromium does not start here: {failure}") from None
        atexit.register(_browser.__exit__)
    return _browser


def axe():
    """The text of axe-core, or None: it comes from npm, which not every machine has."""
    path = ROOT / ".web/node_modules/axe-core/axe.min.js"
    return path.read_text(encoding="utf-8") if path.exists() else None


def page_case(name, **options):
    """A case with a daemon of its own, which is stopped at the end; gets box and daemon."""
    def add(function):
        @case(name)
        def run(box):
            browser()  # skips before anything is started
            daemon = Daemon(box, **options)
            try:
                function(box, daemon)
            except Exception:
                for number, page in enumerate(daemon.pages):
                    picture(page, f"failed-{function.__name__}-{number}")
                raise
            finally:
                for page in daemon.pages:
                    page.close()
            daemon.stop()
        return run
    return add


class Daemon:
    """`serve` on a free port, with the cards of the fake driver, of a machine file or of a recording (its text)."""

    def __init__(self, box, cards=CARDS, simulated=False, recording=None, models=("tiny-llama",), names=None, options=(), settings=None):
        self.box, self.machine = box, Machine(*cards)
        self.readings = [{"busy": 42, "memory_busy": 21, "temperature": 61, "power": 201000, "power_limit": 350000,
                          "core_clock": 1755, "memory_clock": 9501, "pcie_gen": 4, "pcie_width": 16, "pcie_gen_max": 4,
                          "pcie_width_max": 16} for _ in cards]
        self.names = names or [card.model for card in cards]
        self.used = [card.total_mib - card.free_mib - 300 for card in cards]
        machine_file = box.use(self.machine)
        if os.environ.get("DGO_TEST_WEB"):  # the page as it lies in a folder, without building the program anew
            box.env["DUALGPUOPT_WEB"] = os.environ["DGO_TEST_WEB"]
        self.words = []
        if recording:
            self.words = ["--gpus", str(box.file("recording.jsonl", recording))]
        elif simulated:
            self.words = ["--gpus", machine_file]
        else:
            if not DRIVER.exists():
                raise Skip(f"{DRIVER} is not built")
            box.env.update(DUALGPUOPT_NVML=str(DRIVER), DUALGPUOPT_FAKE_NVML=str(box.folder / "driver.txt"))
            self.drive()
        self.folder = box.folder / "models"
        self.folder.mkdir()
        for name in models:
            self.add_model(name)
        box.file("token", TOKEN + "\n", 0o600)
        self.port = e2e.free_port()
        self.options = [option.replace("{folder}", str(box.folder)) for option in options]
        if settings:
            box.file("settings.yaml", settings)
        self.process = None
        self.pages = []
        self.start()

    def drive(self):
        """Writes what the driver says, all at once."""
        rows = ["driver 550.54.14", "topology 0 1 30"]
        for i, card in enumerate(self.machine.cards):
            rows += [f"card {self.names[i]}", f"  uuid {self.machine.uuid(i)}", f"  pci 0000{self.machine.pci_id(i)}",
                     f"  memory {card.total_mib} 300 {self.used[i]}", "  compute 8.6",
                     *(f"  {key} {value}" for key, value in self.readings[i].items())]
        path = self.box.file("driver.new", "\n".join(rows) + "\n")
        path.rename(self.box.folder / "driver.txt")

    def add_model(self, name, as_name=None):
        shutil.copy(e2e.model(name), self.folder / f"{as_name or name}.gguf")

    def start(self):
        self.process = self.box.program(
            "serve", *self.words, "--model-folders", self.folder, "--listen", f"127.0.0.1:{self.port}", "--engine", e2e.engine(),
            "--threads", "1", "--margin", "128MiB", "--token-file", self.box.folder / "token", *self.options)
        self.process.wait_for(r"http://127\.0\.0\.1")

    def stop(self):
        self.process.signal(15)
        e2e.check_equal(self.process.finish().code, 0, "exit of the daemon")

    def open(self, tab="dashboard", width=1280, height=900, theme="dark", token=TOKEN):
        page = browser().page(width, height)
        self.pages.append(page)
        page.prefer(theme)
        page.go(f"http://127.0.0.1:{self.port}/#t={token}")
        page.wait("location.hash === '' && document.querySelector('#tabs a')")
        go(page, tab)
        return page


def go(page, tab):
    page.run(f"location.hash = '#/{tab}'")
    page.wait(f"document.querySelector('#tabs a.on')?.getAttribute('href') === '#/{tab.split('/')[0]}'")


def text(page, selector="main"):
    return page.run(f"document.querySelector({selector!r})?.innerText || ''")


def picture(page, name):
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.run("scrollTo(0, 0)")
    page.shot(str(PICTURES / f"{name}.png"))


def check_calm(page):
    complaints = page.complaints()
    check(not complaints, "the page complains:\n" + "\n".join(complaints))


def check_accessible(page, what):
    source = axe()
    if not source:
        return
    if not page.run("typeof axe === 'object'"):
        page.run(source + "\n;true")
    found = page.run("""axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
        `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + (n.any[0]?.message || "")).join("; ")}`))""")
    check(not found, f"{what} is not accessible:\n" + "\n".join(found))
