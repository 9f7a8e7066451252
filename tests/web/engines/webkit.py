"""Controls WebKitGTK with its WebDriver (https://www.w3.org/TR/webdriver2/) and its MiniBrowser.

WebKitGTK is not Safari. Both have the same engine for pages, forms, rules of cookies and Fetch Metadata. But the network stack, the
cookie store, downloads, the user interface and the version are different. A test that passes here makes it likely, but does not
prove, that Safari behaves in the same way.
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

# JSON key of the id of an element: https://www.w3.org/TR/webdriver2/#elements
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
# Errors for a script whose page was left meanwhile.
PAGE_LEFT = ("no such frame", "no such document", "javascript error")


@contextmanager
def start(here: Path):
    """Starts a virtual display and the driver, which starts the MiniBrowser. All windows share their cookies."""
    driver = find_program("WebKitWebDriver")
    minibrowser = find_minibrowser()
    with virtual_display() as display, (here / "log").open("wb") as log:
        port = free_port()
        # The browser has its own directories, and uses no desktop settings, no message bus and no graphics card.
        directories = {f"XDG_{name}_HOME": str(here / name.lower()) for name in ("CACHE", "CONFIG", "DATA", "STATE")}
        environment = {**without_proxies(), **directories, "HOME": str(here), "DISPLAY": display, "GDK_BACKEND": "x11"}
        environment |= {"GSETTINGS_BACKEND": "memory", "GIO_USE_PROXY_RESOLVER": "dummy", "NO_AT_BRIDGE": "1"}
        environment |= {"DBUS_SESSION_BUS_ADDRESS": "disabled:", "LIBGL_ALWAYS_SOFTWARE": "1"}
        with running([driver, f"--port={port}"], env=environment, stdout=log, stderr=log):
            driver = Driver(f"http://127.0.0.1:{port}")
            driver.start(minibrowser)
            yield lambda: Profile(driver)


def find_minibrowser() -> str:
    """Returns the path of the MiniBrowser, which is not in `PATH`."""
    found = glob("/usr/lib/*/webkit2gtk-4.1/MiniBrowser")
    return found[0] if found else find_program("MiniBrowser")


@contextmanager
def virtual_display():
    xvfb = find_program("Xvfb")
    read, write = os.pipe()
    command = [xvfb, "-displayfd", str(write), "-nolisten", "tcp", "-screen", "0", "1280x1024x24"]
    with os.fdopen(read) as output, running(command, pass_fds=[write], stderr=subprocess.DEVNULL):
        os.close(write)
        # Xvfb writes the number of the display when it is ready. If it fails, the pipe is closed.
        number = output.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"


class Driver:
    """Sends commands to the driver. A command applies to the window that was selected last."""

    def __init__(self, origin: str):
        self.http = requests.Session()
        self.session = origin
        self.window = ""
        self.http.trust_env = False

    def start(self, minibrowser: str):
        wait_until(self._is_ready, bool)
        options = {"binary": minibrowser, "args": ["--automation"]}
        capabilities = {"acceptInsecureCerts": True, "webkitgtk:browserOptions": options}
        self.session += "/session/" + self("POST", "/session", capabilities={"alwaysMatch": capabilities})["sessionId"]
        self.first = self.window = self("GET", "/window")

    def __call__(self, method: str, path: str, **parameters):
        body = parameters if method == "POST" else None
        response = self.http.request(method, self.session + path, json=body, timeout=WAIT_TIMEOUT)
        value = response.json()["value"]
        if not response.ok:
            error_type = tab.PageLeft if path == "/execute/sync" and value["error"] in PAGE_LEFT else AssertionError
            raise error_type(f"{path}: {value['error']}: {value['message']}")
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
    """Tabs of one test. All tests share the cookies, so they are removed at the end of each test."""

    def __init__(self, driver: Driver):
        self.driver = driver
        self.tabs = []

    def new_tab(self):
        self.tabs.append(Tab(self.driver, self.driver("POST", "/window/new", type="tab")["handle"]))
        return self.tabs[-1]

    def clear_cookies(self):
        """Removes the cookies of the hosts that the tabs show, because there is no command for all cookies. The driver responds
        before the cookies are removed, so this waits."""
        for open_tab in self.tabs:
            open_tab.command("DELETE", "/cookie")
            wait_until(lambda tab=open_tab: tab.command("GET", "/cookie"), lambda cookies: cookies == [])

    def close(self):
        self.clear_cookies()
        for open_tab in self.tabs:
            open_tab.command("DELETE", "/window")
        self.driver.switch(self.driver.first)


class Tab(tab.Tab):
    def __init__(self, driver: Driver, window: str):
        self.driver = driver
        self.window = window

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
        # The driver of WebKitGTK 2.50 stops responding if the page comes from the back-forward cache, and only the page that is left
        # has `Cross-Origin-Opener-Policy`, like the pages of Sealjar. The test then fails after `WAIT_TIMEOUT`.
        self.command("POST", "/back")
