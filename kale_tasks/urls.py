"""The normal form of URLs, in which copies of a URL are equal."""

import re
from urllib.parse import urlsplit

_TRACKING = re.compile(r"^(?:utm_[a-z]+|fbclid|gclid|msclkid|mc_[ce]id|igshid|_ga)=", re.I)
_PORTS = {"http": ":80", "https": ":443"}


def normal_url(url: str) -> tuple[str, str] | None:
    """Return the host and the normal form of an http(s) URL, or None for anything else.

    The normal form has no scheme, credentials, leading `www.`, default port, tracking parameters or fragment.
    """
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
        query = "&".join(p for p in query.split("&") if not _TRACKING.match(p))
    return host, place + (parts.path or "/") + (f"?{query}" if query else "")
