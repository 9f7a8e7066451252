"""Identity fields as a client could spell them, so that an application takes them for the proxy's."""

import itertools
import re

FAMILY = ["User", "Name", "Groups", "Email", "Level"]
IDENTITY = [f"{prefix}-{what}" for prefix in ("Remote", "X-Auth-Request") for what in FAMILY] + ["Remote-Session-Deadline"]
# Those that Sealjar answers with; the others may only vanish.
TOLD = [name for name in IDENTITY if not name.endswith("-Level")]
# What else than a letter, a digit or - a name may have (RFC 9110, section 5.6.2), and what it may not have.
SEPARATORS = "_.!#$%&'*+^`|~"
NO_TOKEN = ' \t"(),/;<=>?@[\\]{}\x01\x0b\x7f\x80\xad\xff'
# Proxies and servers accept about a hundred fields.
MOST_FIELDS = 60
PLAIN = re.compile("[A-Za-z0-9-]+")


def spellings(name: str):
    """Every mixture of - and _, and each other separator at each place and at all, several of them, one in front and one
    behind. Upper and lower case take turns."""
    words, places = name.split("-"), name.count("-")
    joined = lambda separators: "".join(itertools.chain(*zip(words, separators), words[-1:]))
    for separators in itertools.product("-_", repeat=places):
        yield from (joined(separators), joined(separators).swapcase())
    cases = itertools.cycle([str, str.lower, str.upper])
    for index, separator in enumerate(SEPARATORS):
        mixtures = itertools.product("-" + separator, repeat=places)
        several = itertools.islice(itertools.cycle(SEPARATORS), index, index + places)
        for spelt in (*map(joined, mixtures), joined(several), separator + name, name + separator):
            if spelt != name:
                yield next(cases)(spelt)


def batches(fields: list) -> list:
    """As few lists as a request can carry."""
    return [fields[start : start + MOST_FIELDS] for start in range(0, len(fields), MOST_FIELDS)]


SPELLINGS = [(spelling, "mallory") for name in IDENTITY for spelling in spellings(name)]
# Those of them that one request can carry.
SPOOFED = [(name.replace("-", separator), "mallory") for name in IDENTITY for separator in "-_.~"]
# Names that mean nothing, with the same separators.
ODD = [(spelt, "mallory") for byte in SEPARATORS for spelt in (f"X{byte}Y", f"{byte}X", f"X{byte}", byte)]
