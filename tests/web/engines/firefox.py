"""Firefox, driven by WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/). Firefox implements this protocol itself: a driver
such as geckodriver is not needed."""

import json
import re
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import tab
from browser import find_program
from harness import WAIT_TIMEOUT
from processes import running, without_proxies
from waiting import wait_until
from websockets.sync.client import connect

# Without DNS, Firefox resolves only `localhost`. So nothing reaches the network: not what a page names, and not the services of
# Mozilla, which Firefox asks at its start.
PREFERENCES = {"network.dns.disabled": True, "network.proxy.type": 0, "browser.startup.page": 0}
# Errors of a script whose page was left meanwhile.
GONE = ("no such frame", "unknown error")


@contextmanager
def start(here: Path):
    """Starts Firefox with a profile in `here`. Its user contexts ("containers") do not share cookies."""
    binary = find_program("firefox-esr")
    profile, log = here / "profile", here / "log"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
    program = [binary, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile]
    # Firefox wants to write to a home directory.
    environment = {**without_proxies(), "HOME": str(here), "MOZ_CRASHREPORTER_DISABLE": "1"}
    with log.open("wb") as output, running(program, env=environment, stdout=output, stderr=output):
        address = wait_until(lambda: re.search(r"WebDriver BiDi listening on (\S+)\n", log.read_text()), bool)[1]
        with connect(f"{address}/session", max_size=None, proxy=None) as socket:
            command = Commands(socket)
            command("session.new", capabilities={"alwaysMatch": {"acceptInsecureCerts": True}})
            yield lambda: Profile(command)


class Commands:
    """Sends commands, one at a time."""

    def __init__(self, socket):
        self.socket, self.numbers = socket, count(1)

    def __call__(self, method: str, **parameters) -> dict:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self.socket.recv(WAIT_TIMEOUT))).get("id") != number:
            pass  # an event
        if answer["type"] == "error":
            kind = tab.Gone if method == "script.evaluate" and answer["error"] in GONE else AssertionError
            raise kind(f"{method}: {answer['error']}: {answer['message']}")
        return answer["result"]


class Profile(tab.Profile):
    def __init__(self, command: Commands):
        self.command, self.context = command, command("browser.createUserContext")["userContext"]

    def new_tab(self):
        return Tab(self.command, self.command("browsingContext.create", type="tab", userContext=self.context)["context"])

    def clear_cookies(self):
        self.command("storage.deleteCookies", partition={"type": "storageKey", "userContext": self.context})

    def close(self):
        self.command("browser.removeUserContext", userContext=self.context)


class Tab(tab.Tab):
    def __init__(self, command: Commands, context: str):
        self.command, self.context = command, context

    def open(self, url):
        self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression):
        script = f"JSON.stringify({expression})"
        done = self.command("script.evaluate", expression=script, target={"context": self.context}, awaitPromise=False)
        assert done["type"] == "success", done
        return json.loads(done["result"]["value"])

    def press(self, css):
        self.command("browsingContext.activate", context=self.context)
        self.evaluate(f"document.querySelector({json.dumps(css)}).scrollIntoView({{block: 'center'}}) ?? 0")
        locator = {"type": "css", "value": css}
        element, *_ = self.command("browsingContext.locateNodes", context=self.context, locator=locator)["nodes"]
        middle = {"type": "element", "element": {"sharedId": element["sharedId"]}}
        steps = [
            {"type": "pointerMove", "x": 0, "y": 0, "origin": middle},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        actions = [{"type": "pointer", "id": "mouse", "actions": steps}]
        self.command("input.performActions", context=self.context, actions=actions)

    def start_back(self):
        self.command("browsingContext.traverseHistory", context=self.context, delta=-1)
