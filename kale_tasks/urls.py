"""The normal form of URLs, in which copies of a URL are equal."""

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

# Most image addresses: nothing in them is changed by the normal form but the scheme and `www.`.
_PLAIN = re.compile(r"https?://((?:www\.)?([a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]+))(/[\w.,~%/+=@!$&'()*:-]*)", re.A)
_TRACKING = re.compile(r"^(?:utm_[a-z]+|fbclid|gclid|msclkid|mc_[ce]id|igshid|_ga)=", re.I)
# Second-level names under which registrars of countries sell domains, such as `co` in example.co.uk.
_SECOND_LEVELS = {"ac", "co", "com", "edu", "gob", "gov", "gouv", "go", "mil", "ne", "net", "nom", "or", "org", "sch"}
_PORTS = {"http": ":80", "https": ":443"}


def normal_url(url: str) -> tuple[str, str] | None:
    """Return the host and the normal form of an http(s) URL, or None for anything else.

    The normal form has no scheme, credentials, leading `www.`, default port, tracking parameters or fragment.
    """
    if plain := _PLAIN.fullmatch(url):
        return plain[1], plain[2].removeprefix("www.") + plain[3]
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


def normal_urls(urls: Sequence[str]) -> list[tuple[str, str] | None]:
    """Return host and normal form of each URL; most are plain, which a whole column is asked at once."""
    plain = pc.match_substring_regex(pa.array(urls, pa.string()), rf"^(?:{_PLAIN.pattern})$").to_pylist()
    return [
        _divided(url) if short and "//www.www." not in url else normal_url(url)
        for url, short in zip(urls, plain, strict=True)
    ]


def _divided(plain: str) -> tuple[str, str]:
    whole = plain.partition("://")[2]
    return whole.partition("/")[0], whole.removeprefix("www.")


def registered_domain(host: str) -> str:
    """Return the domain that somebody registered, such as example.co.uk for img1.example.co.uk; an address as it is.

    Known by its form, without a list of public suffixes: hosts below a provider's domain, such as github.io, count as
    one, which errs on the side of fewer requests.
    """
    labels = host.lower().rstrip(".").split(".")
    if ":" in host or labels[-1].isdigit():
        return host
    long = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVELS
    return ".".join(labels[-3 if long else -2 :])
