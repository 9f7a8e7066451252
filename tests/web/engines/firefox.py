"""Controls Firefox with WebDriver BiDi (https://www.w3.org/TR/webdriver-bidi/). Firefox implements this protocol itself, so a
driver such as geckodriver is not needed."""

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

# Without DNS, Firefox resolves only `localhost`. So neither a page nor Firefox itself, which contacts services of Mozilla at its
# start, can reach the network.
PREFERENCES = {"network.dns.disabled": True, "network.proxy.type": 0, "browser.startup.page": 0}
# Errors for a script whose page was left meanwhile.
PAGE_LEFT = ("no such frame", "unknown error")


@contextmanager
def start(here: Path):
    """Starts Firefox with a profile in `here`. Its user contexts ("containers") do not share cookies."""
    binary = find_program("firefox-esr")
    profile = here / "profile"
    log = here / "log"
    profile.mkdir()
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in PREFERENCES.items()]
    (profile / "user.js").write_text("".join(lines))
    program = [binary, "--headless", "--no-remote", "--remote-debugging-port=0", "--profile", profile]
    # Firefox writes to the home directory.
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
        self.socket = socket
        self.numbers = count(1)

    def __call__(self, method: str, **parameters) -> dict:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (response := json.loads(self.socket.recv(WAIT_TIMEOUT))).get("id") != number:
            pass  # skips an event
        if response["type"] == "error":
            error_type = tab.PageLeft if method == "script.evaluate" and response["error"] in PAGE_LEFT else AssertionError
            raise error_type(f"{method}: {response['error']}: {response['message']}")
        return response["result"]


class Profile(tab.Profile):
    def __init__(self, command: Commands):
        self.command = command
        self.context = command("browser.createUserContext")["userContext"]

    def new_tab(self):
        return Tab(self.command, self.command("browsingContext.create", type="tab", userContext=self.context)["context"])

    def clear_cookies(self):
        self.command("storage.deleteCookies", partition={"type": "storageKey", "userContext": self.context})

    def close(self):
        self.command("browser.removeUserContext", userContext=self.context)


class Tab(tab.Tab):
    def __init__(self, command: Commands, context: str):
        self.command = command
        self.context = context

    def open(self, url):
        self.command("browsingContext.navigate", context=self.context, url=url, wait="complete")

    def evaluate(self, expression):
        script = f"JSON.stringify({expression})"
        result = self.command("script.evaluate", expression=script, target={"context": self.context}, awaitPromise=False)
        assert result["type"] == "success", result
        return json.loads(result["result"]["value"])

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
