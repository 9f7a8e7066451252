"""Takes the screenshot of the sign-in page in the README (`make screenshot`). Run it when the page has changed."""

import tempfile
from pathlib import Path

from browser import chromium
from harness import ROOT, Sealjar

PICTURE = ROOT / "docs/images/sign-in.png"
# With one pixel per CSS pixel, the picture is small enough for the repository, and sharp at the width that the README uses.
SIZE = {"width": 560, "height": 580}
HOST = "app.example.com"


def take():
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        server = Sealjar(Path(home)).start(f"http.public_origins=https://{HOST}", "pages.title=Example Intranet")

        def answer(route):
            """Forwards a request of the browser to the server, with the host name of the page."""
            path = route.request.url.removeprefix(f"https://{HOST}")
            headers = {**route.request.headers, "host": HOST}
            route.fulfill(response=route.fetch(url=f"http://127.0.0.1:{server.port}{path}", headers=headers))

        try:
            page = browser.new_page(viewport=SIZE, color_scheme="light")
            page.route("**/*", answer)
            page.goto(f"https://{HOST}/auth/login")
            page.get_by_label("Login name").fill("alice")
            page.get_by_label("Password").fill("0123456789")
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(path=PICTURE)
        finally:
            server.stop()


if __name__ == "__main__":
    take()
