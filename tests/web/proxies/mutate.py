"""[Mutation testing](https://en.wikipedia.org/wiki/Mutation_testing) of the files in `deploy/`. Started by hand: `make
proxy-mutations`.

Removes one line at a time, runs the tests, and prints the lines whose removal makes no test fail. If the proxy does not start
without a line, that counts as a failing test. Comments are removed only if they contain the code of a recipe. The tests that take
a minute run only if no other test fails.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import servers
from harness import ROOT

HERE = Path(__file__).resolve().parent
RECIPES = [servers.OWN_RULE, servers.PUBLIC, servers.SECOND_HOST, servers.BEHIND_CDN, servers.SIGN_IN_HOST, servers.PRIVATE]
RULES = "With rules, which all must hold"
COMMENT = {".lua": "--", ".go": "//"}


def lines_of(path: Path) -> list:
    """Returns the numbers of the lines that are not comments or that a recipe uncomments."""
    numbers = []
    in_recipe = False
    mark = COMMENT.get(path.suffix, "#")
    for number, line in enumerate(path.read_text().splitlines()):
        text = line.strip()
        is_comment = text.startswith(mark)
        if text and (not is_comment or in_recipe):
            numbers.append(number)
        in_recipe = is_comment and (in_recipe or text.rstrip(":") in [f"{mark} {recipe}" for recipe in (RULES, *RECIPES)])
    return numbers


def fails_without(name: str, without: str, *selection: str) -> bool:
    """Returns whether a test fails if the line `without` is removed."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-c", HERE.parent / "pytest.ini", *selection]
    environment = {**os.environ, "SEALJAR_WITHOUT": without, "SEALJAR_WAIT_TIMEOUT": "10"}
    try:
        done = subprocess.run([*command, "-k", name], env=environment, capture_output=True, text=True, timeout=900)
    except subprocess.TimeoutExpired:
        print(f"{without}: the tests did not end in time", flush=True)
        return True
    return done.returncode == 1


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("kinds", nargs="*", help="such as nginx; all of them by default")
    arguments.add_argument("--jobs", type=int, default=2)
    wanted = arguments.parse_args()
    kinds = [kind for kind in servers.KINDS if not wanted.kinds or kind.name in wanted.kinds]
    quick = [str(path) for path in sorted(HERE.glob("test_*.py")) if path.name != "test_long.py"]
    tried = []
    for folder in sorted({kind.folder for kind in kinds}):
        names = " or ".join(kind.name for kind in kinds if kind.folder == folder)
        for path in sorted(path for path in (ROOT / "deploy" / folder).rglob("*") if path.is_file()):
            tried += [(names, path, number) for number in lines_of(path)]

    def survives(case) -> bool:
        name, path, number = case
        without = f"{path.relative_to(ROOT / 'deploy')}:{number}"
        if fails_without(name, without, *quick) or fails_without(name, without, str(HERE / "test_long.py")):
            return False
        line = path.read_text().splitlines()[number].strip()
        print(f"{path.relative_to(ROOT)}:{number + 1}: {line}", flush=True)
        return True

    with ThreadPoolExecutor(wanted.jobs) as pool:
        survivors = sum(pool.map(survives, tried))
    print(f"{len(tried)} lines, {survivors} whose removal no test notices")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
