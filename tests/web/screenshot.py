"""`make screenshot`: takes the picture of the sign-in page in the README. Run it when the page looks different."""

import tempfile
from pathlib import Path

from browser import chromium, open_sign_in
from harness import ROOT, Sealjar

PICTURE = ROOT / "docs/images/sign-in.png"
# At one pixel a point the picture is small enough for the repository, and sharp at the width that the README gives it.
SIZE = {"width": 560, "height": 500}


def take():
    with tempfile.TemporaryDirectory() as home, chromium() as browser:
        server = Sealjar(Path(home)).start()
        try:
            page = browser.new_page(viewport=SIZE, color_scheme="light")
            open_sign_in(page, f"http://localhost:{server.port}")
            page.get_by_label("Login name").fill("alice")
            page.get_by_label("Password").fill("0123456789")
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(path=PICTURE)
        finally:
            server.stop()


if __name__ == "__main__":
    take()
