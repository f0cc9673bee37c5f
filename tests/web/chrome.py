"""A real Chromium without a window, spoken to over DevTools on a pipe: the standard library is enough.

    with Chrome.start() as chrome:
        page = chrome.page(1280, 800)
        page.go("http://127.0.0.1:4585/")
        page.wait("document.querySelector('h1')")
        page.shot("x.png")
"""
import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-headless-shell", "google-chrome", "chrome")
# without these it looks for hosts of its maker at every start
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-extensions", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio",
         "--no-default-browser-check", "--disable-features=Translate,MediaRouter", "--force-color-profile=srgb",
         "--remote-debugging-pipe"]


class Failed(Exception):
    pass


def find():
    """The browser's path; None where there is none."""
    named = os.environ.get("DGO_TEST_CHROMIUM")
    return named or next((path for path in map(shutil.which, NAMES) if path), None)


class Chrome:
    def __init__(self, program, timeout_s=60):
        self.profile = tempfile.mkdtemp(prefix="dgo-chromium-")
        self.timeout_s = timeout_s
        self.count = 0
        self.rest = b""
        self.events = []
        to_read, self.to = os.pipe()
        self.back, from_write = os.pipe()

        def place_pipes():
            # copies above 4 first: one of the ends may itself be 3 or 4
            high_read, high_write = os.dup(to_read), os.dup(from_write)
            while high_read < 5:
                high_read = os.dup(high_read)
            while high_write < 5:
                high_write = os.dup(high_write)
            os.dup2(high_read, 3)
            os.dup2(high_write, 4)

        self.process = subprocess.Popen(
            [program, *FLAGS, f"--user-data-dir={self.profile}", "about:blank"], pass_fds=(3, 4),
            preexec_fn=place_pipes, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(to_read)
        os.close(from_write)

    @classmethod
    def start(cls):
        program = find()
        if not program:
            raise Failed("no Chromium")
        return cls(program)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # its group: ours by start_new_session
        except ProcessLookupError:
            pass
        self.process.wait()
        os.close(self.to)
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _read(self, deadline):
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.back], [], [], left)[0]:
                raise Failed("the browser does not answer")
            more = os.read(self.back, 1 << 16)
            if not more:
                raise Failed("the browser ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **params):
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + self.timeout_s
        while True:
            answer = self._read(deadline)
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise Failed(f"{method}: {answer['error']['message']}")
                return answer["result"]
            if "method" in answer:
                self.events.append(answer)

    def page(self, width=1280, height=900, scale=1):
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        return Page(self, session, target, width, height, scale)


class Page:
    def __init__(self, chrome, session, target, width, height, scale):
        self.chrome, self.session, self.target = chrome, session, target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.size(width, height, scale)

    def call(self, method, **params):
        return self.chrome.call(method, self.session, **params)

    def close(self):
        self.chrome.call("Target.closeTarget", targetId=self.target)

    def size(self, width, height, scale=1):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale,
                  mobile=width < 600)

    def prefer(self, theme):
        self.call("Emulation.setEmulatedMedia",
                  features=[{"name": "prefers-color-scheme", "value": theme},
                            {"name": "prefers-reduced-motion", "value": "reduce"}])

    def go(self, url):
        self.call("Page.navigate", url=url)

    def run(self, expression):
        """The value of a JavaScript expression; promises are waited for."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True,
                           userGesture=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise Failed(f"{expression[:120]}: {details.get('exception', {}).get('description', details['text'])}")
        return answer["result"].get("value")

    def wait(self, condition, timeout_s=60, what=None):
        """Until the expression is true; returns its value."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                value = self.run(condition)
            except Failed as failure:  # the page is being changed for another
                value, last = None, str(failure)
            else:
                last = f"it is {value!r}"
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failed(f"waited {timeout_s} s for {what or condition}: {last}")
            time.sleep(0.05)

    def click(self, selector, text=None):
        """A real click in the middle of the element (the one with that text)."""
        find = f"""[...document.querySelectorAll({json.dumps(selector)})].find((e) =>
            {json.dumps(text)} === null || e.textContent.trim() === {json.dumps(text)})"""
        self.wait(f"!!{find}", what=f"{selector} {text or ''}")
        self.run(f"{find}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
        x, y = self.run(f"(() => {{ const b = {find}.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; }})()")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def drag(self, selector, start, end):
        """With the mouse along the element, from one share of its width to another."""
        self.run(f"document.querySelector({json.dumps(selector)}).scrollIntoView({{block: 'center', behavior: 'instant'}})")
        left, top, width, height = self.run(f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect(); return [b.x, b.y, b.width, b.height]; }})()")
        y = top + height / 2
        self.call("Input.dispatchMouseEvent", type="mousePressed", x=left + start * width, y=y, button="left", clickCount=1)
        for i in range(1, 6):
            self.call("Input.dispatchMouseEvent", type="mouseMoved", x=left + (start + (end - start) * i / 5) * width, y=y, button="left")
        self.call("Input.dispatchMouseEvent", type="mouseReleased", x=left + end * width, y=y, button="left", clickCount=1)

    def key(self, key, **more):
        code = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39}.get(key, ord(key[0].upper()))
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else None)
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **({"text": text} if text else {}), **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def shot(self, path, full=True):
        """A picture of the whole page."""
        if full:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 6000), "scale": 1}
            data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)["data"]
        else:
            data = self.call("Page.captureScreenshot", format="png")["data"]
        with open(path, "wb") as file:
            file.write(base64.b64decode(data))

    def complaints(self):
        """Exceptions and errors in the console since the last call."""
        self.run("0")  # so that what is on its way has come
        found = []
        for event in self.chrome.events:
            if event.get("sessionId") != self.session:
                continue
            params = event.get("params", {})
            if event["method"] == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] == "error":
                found.append(" ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] == "error":
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        self.chrome.events = [e for e in self.chrome.events if e.get("sessionId") != self.session]
        return found
