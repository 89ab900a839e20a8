"""The faults of the sample web, how often an address has each, and what must become of its picture."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Fault:
    """One way in which an address misbehaves: of 1,000 addresses `share` do, and a fetcher ends with `outcome`."""

    name: str
    share: int
    outcome: str  # ok, failed (no usable picture), or refused (its owner does not want it used)
    meaning: str


FAULTS = {
    fault.name: fault
    for fault in (
        Fault("ok", 850, "ok", "no fault"),
        Fault("missing", 25, "failed", "404"),
        Fault("gone", 8, "failed", "410"),
        Fault("forbidden", 8, "failed", "403"),
        Fault("busy", 8, "ok", "429 with Retry-After: 1 at the first request"),
        Fault("flaky", 8, "ok", "500 at the first request"),
        Fault("broken", 4, "failed", "500 at every request"),
        Fault("slow", 2, "failed", "one byte a second"),
        Fault("cut", 5, "failed", "the connection ends in the middle of the body"),
        Fault("pdf", 5, "failed", "a PDF, honestly declared"),
        Fault("html", 8, "failed", "an HTML page declared as image/jpeg"),
        Fault("hops", 10, "ok", "three redirects, then the picture"),
        Fault("maze", 3, "failed", "thirty redirects"),
        Fault("loop", 3, "failed", "redirects that never end"),
        Fault("private", 3, "failed", "a redirect to an address inside the network"),
        Fault("huge", 2, "failed", "a body of 1 GB"),
        Fault("bomb", 3, "failed", "a small PNG of 50,000 by 50,000 pixels"),
        Fault("changed", 20, "ok", "a picture whose bytes are no longer those of the recorded sha256"),
        Fault("robots", 5, "refused", "disallowed by robots.txt"),
        Fault("noai", 5, "refused", "X-Robots-Tag: noai"),
        Fault("noimageai", 4, "refused", "X-Robots-Tag: noimageai"),
        Fault("noml", 4, "refused", "X-Robots-Tag: noml"),
        Fault("tdm", 4, "refused", "tdm-reservation: 1 as a header"),
        Fault("tdmrep", 3, "refused", "reserved in /.well-known/tdmrep.json"),
    )
}


def make_fault(rng: Random) -> Fault:
    """Draws the fault of an address by lot."""
    return rng.choices(list(FAULTS.values()), [fault.share for fault in FAULTS.values()])[0]
