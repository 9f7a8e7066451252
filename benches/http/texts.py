"""The texts of docs/performance.md: the method of each measurement, and its limits."""

from load import CONNECTIONS
from memory import SESSIONS
from peers import BODY

INTRO = """
This page compares Sealjar with a handler that does nothing else, and with other session libraries. The ratios are more
reliable than the absolute figures. Both sides of a ratio were measured in the same run, so other work on the machine
slows both."""

LIMITS = f"""
- All figures are from one machine. Servers run on one core, and the load generator on another core.
- Requests come over the loopback interface with plain HTTP/1.1, on {CONNECTIONS} kept-alive connections. TLS and a
  network are not measured.
- All requests of a measurement have the same session cookie. `cargo bench` uses many different tokens.
- The rounds of a measurement differ considerably. So each ratio is the median, followed by the minimum and the maximum.
- Servers have one worker thread. Only `cargo bench` measures two threads."""

HOW_BARE = """
The bare server has one [Salvo](https://salvo.rs) handler (`benches/http/bare.rs`). It sends the same response as
Sealjar, with the same header fields, but prepared in advance. Salvo's version and the compiler's profile are the same.
There are two variants:"""

VARIANTS = """
- *bare*: an ordinary handler. It has a route, inserts each header field, and has the same connection timeouts as
  Sealjar.
- *minimal*: the least that a Salvo handler can do. It copies all header fields at once, does not look at the path, and
  has no timeouts."""

WHY_FASTER = """
Sealjar can be faster than the bare handler for two reasons. It answers these requests before Salvo's router, and one
task watches the timeouts of all its connections."""

HOW_TURNS = """
The servers take turns of one second each, after one turn for warm-up. Ratios are calculated for each round. The client
sends only the session cookie, unless the row says otherwise."""

HOW_INSTRUCTIONS = """
Instructions in user space, counted by `valgrind --tool=callgrind` on one connection. The work of an idle server is
subtracted. *Bare* and *minimal* are the handlers of the previous section. Valgrind's processor has no AVX-512 and no
SHA instructions. Where the libraries can use them, valgrind counts the slower code instead."""

HOW_PEERS = f"""
Each server checks a session cookie and answers `{BODY.decode()}` (`benches/peers`). The code follows the documentation
of each library, and does not write the session at each request. Before the measurement, each server must refuse a
request without a cookie and one with a changed cookie."""

FAIRNESS = f"""
- Sealjar sends more header fields than the others, and at `/protected` a body of twice the size.
- Redis shares the core of the server, because a request costs the work of both.
- Memory is resident memory with {SESSIONS:,} active sessions, each started by a login at the server. Active sessions
  use no memory in Sealjar, so there it is measured with {SESSIONS:,} logged-out sessions instead."""

HOW_SIZE = """
The time to start is the fastest of several starts, from the start of the process until `/readyz` answers 200. Resident
memory includes the pages of the program, which runs on one core and is built with the profile `dist`. Each further core
adds two threads, and about 0.1 MiB. A login takes 19 MiB for the hash, which are freed after a minute without a hash."""

HOW_MEMORY = """
The output of `cargo bench` (`benches/verify`). It measures functions of the library, without HTTP. *Open* decodes and
decrypts a token. *Check* checks the site, the deadlines and the revocation list. *Verify* is the whole path from the
`Cookie` header to the result. All rows of the first table use the same tokens, one row after the other, so later rows
find the list in the processor's cache. The second table has the time with a list of each length. A long list does not
fit into the cache; the columns for repeated tokens show the time without these cache misses. Bytes per entry include
the fixed size of the list, such as its Bloom filter."""
