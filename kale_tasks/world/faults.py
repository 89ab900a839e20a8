"""The faults of the sample web: how frequent each is, and how a fetch of such a URL must end."""

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True)
class Fault:
    """A fault that `share` of 1,000 URLs have, and the outcome of fetching one of them."""

    name: str
    share: int
    outcome: str  # ok, failed (no usable image), or refused (the owner has opted out)
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
        Fault("pdf", 5, "failed", "a PDF declared as such"),
        Fault("html", 8, "failed", "an HTML page declared as image/jpeg"),
        Fault("hops", 10, "ok", "three redirects, then the image"),
        Fault("maze", 3, "failed", "thirty redirects"),
        Fault("loop", 3, "failed", "an endless loop of redirects"),
        Fault("private", 3, "failed", "a redirect to an address inside the network"),
        Fault("huge", 2, "failed", "a body of 1 GB"),
        Fault("bomb", 3, "failed", "a small PNG of 50,000 by 50,000 pixels"),
        Fault("changed", 20, "ok", "an image whose bytes differ from the recorded sha256"),
        Fault("robots", 5, "refused", "disallowed by robots.txt"),
        Fault("noai", 5, "refused", "X-Robots-Tag: noai"),
        Fault("noimageai", 4, "refused", "X-Robots-Tag: noimageai"),
        Fault("noml", 4, "refused", "X-Robots-Tag: noml"),
        Fault("tdm", 4, "refused", "tdm-reservation: 1 as a header"),
        Fault("tdmrep", 3, "refused", "reserved in /.well-known/tdmrep.json"),
    )
}


def make_fault(rng: Random) -> Fault:
    """Draw the fault of a URL."""
    return rng.choices(list(FAULTS.values()), [fault.share for fault in FAULTS.values()])[0]
