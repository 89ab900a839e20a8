"""The one form of a URL in which its copies are equal."""

import re
from urllib.parse import urlsplit

_NOISE = re.compile(r"^(?:utm_[a-z]+|fbclid|gclid|msclkid|mc_[ce]id|igshid|_ga)=", re.I)
_PORTS = {"http": ":80", "https": ":443"}


def normal_url(url: str) -> tuple[str, str] | None:
    """Host and normal form (no scheme, `www.`, default port, tracking, fragment) of a web address, or None."""
    try:
        parts = urlsplit(url.strip())
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not host:
        return None
    place = parts.netloc.rpartition("@")[2].lower().removesuffix(_PORTS[parts.scheme]).removeprefix("www.")
    query = parts.query
    if query:
        query = "&".join(p for p in query.split("&") if not _NOISE.match(p))
    return host, place + (parts.path or "/") + (f"?{query}" if query else "")
