"""Identity headers in spellings that an application could mistake for those that the proxy sets."""

import itertools
import re

FAMILY = ["User", "Name", "Groups", "Email", "Level"]
IDENTITY = [f"{prefix}-{suffix}" for prefix in ("Remote", "X-Auth-Request") for suffix in FAMILY] + ["Remote-Session-Deadline"]
# The identity headers that Sealjar sets. The others are only removed.
SET_BY_SEALJAR = [name for name in IDENTITY if not name.endswith("-Level")]
# Characters besides letters, digits and - that a field name may contain (RFC 9110, section 5.6.2), and characters that it may
# not.
SEPARATORS = "_.!#$%&'*+^`|~"
NOT_IN_NAMES = ' \t"(),/;<=>?@[\\]{}\x01\x0b\x7f\x80\xad\xff'
# Number of fields in one request. Proxies and servers accept about a hundred.
MAX_FIELDS = 60
PLAIN = re.compile("[A-Za-z0-9-]+")


def spellings(name: str):
    """Yields other spellings of a field name:

    * every combination of - and _ as separators,
    * every combination of - and one other separator,
    * different separators in one name,
    * a separator before or after the name.

    They alternate between upper and lower case.
    """
    words = name.split("-")
    places = name.count("-")
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
    """Splits the fields into lists that fit into one request."""
    return [fields[start : start + MAX_FIELDS] for start in range(0, len(fields), MAX_FIELDS)]


SPELLINGS = [(spelling, "mallory") for name in IDENTITY for spelling in spellings(name)]
# A selection that fits into one request.
SPOOFED = [(name.replace("-", separator), "mallory") for name in IDENTITY for separator in "-_.~"]
# Names without a meaning, with the same separators.
ODD = [(spelt, "mallory") for byte in SEPARATORS for spelt in (f"X{byte}Y", f"{byte}X", f"X{byte}", byte)]
