"""WebKitGTK, driven by its own WebDriver (https://www.w3.org/TR/webdriver2/), with the MiniBrowser that belongs to it.

WebKitGTK is not Safari. Both have the same engine for pages, forms, cookies' rules and Fetch Metadata. The network stack, the
cookie store, downloads and the user interface are not those of Safari, and neither is the version. A test that passes here is a
hint for Safari, not a proof.
"""

import os
import subprocess
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import requests
import tab
from browser import find_program
from harness import WAIT_TIMEOUT, free_port
from processes import running, without_proxies
from waiting import wait_until

# The key of an element's id: https://www.w3.org/TR/webdriver2/#elements
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Errors of a script whose page was left meanwhile.
GONE = ("no such frame", "no such document", "javascript error")


@contextmanager
def start(here: Path):
    """Starts a virtual display, the driver, and by it the MiniBrowser. All its windows have the same cookies."""
    driver, minibrowser = find_program("WebKitWebDriver"), find_minibrowser()
    with virtual_display() as display, (here / "log").open("wb") as log:
        port = free_port()
        # Directories of its own, no settings of the desktop, and no use of a message bus or of a graphics card.
        directories = {f"XDG_{name}_HOME": str(here / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "STATE")}
        environment = {**without_proxies(), **directories, "HOME": str(here), "DISPLAY": display, "GDK_BACKEND": "x11"}
        environment |= {"GSETTINGS_BACKEND": "memory", "GIO_USE_PROXY_RESOLVER": "dummy", "NO_AT_BRIDGE": "1"}
        environment |= {"DBUS_SESSION_BUS_ADDRESS": "disabled:", "LIBGL_ALWAYS_SOFTWARE": "1"}
        with running([driver, f"--port={port}"], env=environment, stdout=log, stderr=log):
            driver = Driver(f"http://127.0.0.1:{port}")
            driver.start(minibrowser)
            yield lambda: Profile(driver)


def find_minibrowser() -> str:
    """The MiniBrowser is not in the path of programs."""
    found = glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
    return found[0] if found else find_program("MiniBrowser")


@contextmanager
def virtual_display():
    xvfb = find_program("Xvfb")
    read, write = os.pipe()
    command = [xvfb, "-displayfd", str(write), "-nolisten", "tcp", "-screen", "0", "1280x1024x24"]
    with os.fdopen(read) as answer, running(command, pass_fds=[write], stderr=subprocess.DEVNULL):
        os.close(write)
        # Xvfb writes its number when it is ready. The pipe is closed if it fails.
        number = answer.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"


class Driver:
    """Sends commands to the driver. A command is for the window that was switched to last."""

    def __init__(self, origin: str):
        self.http, self.session, self.window = requests.Session(), origin, ""
        self.http.trust_env = False

    def start(self, minibrowser: str):
        wait_until(self._is_ready, bool)
        options = {"binary": minibrowser, "args": ["--automation"]}
        capabilities = {"acceptInsecureCerts": True, "webkitgtk:browserOptions": options}
        self.session += "/session/" + self("POST", "/session", capabilities={"alwaysMatch": capabilities})["sessionId"]
        self.first = self.window = self("GET", "/window")

    def __call__(self, method: str, path: str, **parameters):
        body = parameters if method == "POST" else None
        answer = self.http.request(method, self.session + path, json=body, timeout=WAIT_TIMEOUT)
        value = answer.json()["value"]
        if not answer.ok:
            kind = tab.Gone if path == "/execute/sync" and value["error"] in GONE else AssertionError
            raise kind(f"{path}: {value['error']}: {value['message']}")
        return value

    def switch(self, window: str):
        if self.window != window:
            self("POST", "/window", handle=window)
            self.window = window

    def _is_ready(self) -> bool:
        try:
            return self.http.get(self.session + "/status", timeout=WAIT_TIMEOUT).ok
        except requests.ConnectionError:
            return False


class Profile(tab.Profile):
    """The tabs of one test. Cookies are those of all tests, and so they are removed at the end."""

    def __init__(self, driver: Driver):
        self.driver, self.tabs = driver, []

    def new_tab(self):
        self.tabs.append(Tab(self.driver, self.driver("POST", "/window/new", type="tab")["handle"]))
        return self.tabs[-1]

    def clear_cookies(self):
        """Removes the cookies of the hosts that the tabs show: a command for all does not exist. The driver answers before they
        are gone."""
        for open_tab in self.tabs:
            open_tab.command("DELETE", "/cookie")
            wait_until(lambda one=open_tab: one.command("GET", "/cookie"), lambda cookies: cookies == [])

    def close(self):
        self.clear_cookies()
        for open_tab in self.tabs:
            open_tab.command("DELETE", "/window")
        self.driver.switch(self.driver.first)


class Tab(tab.Tab):
    def __init__(self, driver: Driver, window: str):
        self.driver, self.window = driver, window

    def command(self, *arguments, **parameters):
        self.driver.switch(self.window)
        return self.driver(*arguments, **parameters)

    def open(self, url):
        self.command("POST", "/url", url=url)

    def evaluate(self, expression):
        return self.command("POST", "/execute/sync", script=f"return {expression}", args=[])

    def press(self, css):
        element = self.command("POST", "/element", using="css selector", value=css)[ELEMENT]
        self.command("POST", f"/element/{element}/click")

    def start_back(self):
        # The driver of 2.50 never answers again if the page comes from the back-forward cache and only the page that is left has
        # `Cross-Origin-Opener-Policy`, as Sealjar's pages do: then the test fails after `WAIT_TIMEOUT`.
        self.command("POST", "/back")
