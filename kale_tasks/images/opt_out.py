"""Opt-outs of site owners: robots.txt (RFC 9309), /.well-known/tdmrep.json, and response headers."""

import asyncio
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote

import aiohttp
from multidict import MultiMapping
from yarl import URL

from kale_tasks.images.rate_limit import HostLimit
from kale_tasks.images.reasons import ImageError, Reason
from kale_tasks.images.web import PRODUCT, WebClient

OPT_OUTS = frozenset(("noai", "noimageai", "noml"))
NO_INDEX = frozenset(("noindex", "noimageindex"))  # opt-outs if images.fetch.noindex says so
_AGENT = re.compile(r"\*|[a-z][a-z0-9_.-]*(/\S*)?")
_NOT_AGENTS = {*OPT_OUTS, *NO_INDEX, "max-image-preview", "max-snippet", "max-video-preview", "unavailable_after"}
_LINE = re.compile(r"\s*([A-Za-z-]+)\s*:\s*([^#]*)")
_MAX_RULES = 5000
_MAX_BYTES = 500 * 1024  # of robots.txt and tdmrep.json
_MAX_REDIRECTS = 5


@dataclass(frozen=True)
class PathRule:
    """A path pattern of robots.txt, and whether it allows or disallows."""

    pattern: str
    allow: bool

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The pattern as a regular expression: `*` matches anything, a final `$` the end of the path."""
        anchored = self.pattern.endswith("$")
        pieces = re.split(r"\*+", _normalized(self.pattern.removesuffix("$")))
        # Atomic groups: each piece matches once, as early as possible, so that no pattern takes exponential time.
        middle = "".join(f"(?>.*?{re.escape(piece)})" for piece in pieces[1:-1])
        last = f"(?>.*?{re.escape(pieces[-1])})" if len(pieces) > 1 else ""
        if anchored and len(pieces) > 1:
            last = f".*{re.escape(pieces[-1])}"
        return re.compile(re.escape(pieces[0]) + middle + last + ("$" if anchored else ""), re.DOTALL)


@dataclass(frozen=True)
class PathRules:
    """The rules of one site that apply to us, and its crawl delay in seconds."""

    rules: tuple[PathRule, ...] = ()
    delay: float | None = None

    def allows(self, path: str) -> bool:
        """Return whether a path may be requested: the longest matching pattern decides, `allow` wins a tie."""
        path = _normalized(path)
        found = [(len(rule.pattern), rule.allow) for rule in self.rules if rule.expression.match(path)]
        return max(found)[1] if found else True


@dataclass(frozen=True)
class SiteRules:
    """What robots.txt and tdmrep.json of one site say."""

    robots: PathRules
    reserved: PathRules

    def check(self, url: URL) -> None:
        """Raise ImageError if the site does not permit this URL."""
        if not self.robots.allows(url.raw_path_qs):
            raise ImageError(Reason.ROBOTS_DISALLOWED, url.host or "")
        if not self.reserved.allows(url.raw_path_qs):
            raise ImageError(Reason.TDM_RESERVED, "tdmrep.json")


async def fetch_site_rules(web: WebClient, host: HostLimit, origin: URL, seconds: float) -> SiteRules:
    """Fetch the rules of a site and apply its crawl delay to `host`; each file must arrive within `seconds`."""
    robots = parse_robots(await _fetch_text(web, host, origin / "robots.txt", seconds))
    if robots.delay:
        host.slow_down(robots.delay)
    if not robots.allows("/.well-known/tdmrep.json"):
        return SiteRules(robots, PathRules())
    return SiteRules(
        robots, parse_tdmrep(await _fetch_text(web, host, origin / ".well-known" / "tdmrep.json", seconds))
    )


def check_headers(headers: MultiMapping[str], noindex: bool = False) -> None:
    """Raise ImageError if the headers of a response forbid machine learning or, with `noindex`, search."""
    reservations = [value.strip() for line in headers.getall("TDM-Reservation", ()) for value in line.split(",")]
    if "1" in reservations:
        raise ImageError(Reason.TDM_RESERVED, "tdm-reservation: 1")
    for line in headers.getall("X-Robots-Tag", ()):
        if _says(line, OPT_OUTS):
            raise ImageError(Reason.NOAI, line[:80])
        if noindex and _says(line, NO_INDEX):
            raise ImageError(Reason.NOINDEX, line[:80])


def _says(line: str, words: frozenset[str]) -> bool:
    """Return whether an X-Robots-Tag header has one of some directives, and it applies to us.

    An agent and a colon (`otherbot: noai`) limit what follows to that agent, until another agent is named.
    Directives with a value, such as `max-snippet: 20`, have a colon too.
    """
    ours = True
    for directive in re.split(r"[,;]", line.lower()):
        name, colon, rest = directive.strip().partition(":")
        while colon and _AGENT.fullmatch(name.strip()) and name.strip() not in _NOT_AGENTS:
            ours = name.strip() in (PRODUCT, "*")
            name, colon, rest = rest.strip().partition(":")
        if ours and set(re.split(r"[\s:]+", f"{name}:{rest}")) & words:
            return True
    return False


def parse_robots(text: str) -> PathRules:
    """Parse robots.txt: the groups that name us, otherwise those for every agent."""
    groups = list(_groups(text.removeprefix("\ufeff")))
    ours = [group for group in groups if PRODUCT in group.agents] or [group for group in groups if "*" in group.agents]
    rules = tuple(rule for group in ours for rule in group.rules)[:_MAX_RULES]
    return PathRules(rules, max((group.delay for group in ours if group.delay), default=None))


def parse_tdmrep(text: str) -> PathRules:
    """Parse tdmrep.json: the paths it reserves become rules that disallow them."""
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return PathRules()
    entries = entries if isinstance(entries, list) else [entries]
    valid = [e for e in entries if isinstance(e, dict) and isinstance(e.get("location"), str)]
    return PathRules(tuple(PathRule(e["location"], str(e.get("tdm-reservation")) != "1") for e in valid[:_MAX_RULES]))


async def _fetch_text(web: WebClient, host: HostLimit, url: URL, seconds: float) -> str:
    """Return the text at a URL, or "" if there is none; ImageError if that cannot be decided."""
    asked = str(url)
    if web.sites and (known := web.sites.get(asked)) is not None:
        return known
    try:
        async with asyncio.timeout(seconds):
            for _ in range(_MAX_REDIRECTS + 1):
                async with host.slot(), web.get(url, host.keeps_connections) as response:
                    if 300 <= response.status < 400 and "Location" in response.headers:
                        url = web.redirect_target(response)
                        continue
                    text = await _read_text(response)
                if web.sites:
                    web.sites.put(asked, text)
                return text
    except TimeoutError as error:
        raise ImageError(Reason.TIMED_OUT, str(url)[:120]) from error
    return ""  # too many redirects count as a missing file


async def _read_text(response: aiohttp.ClientResponse) -> str:
    if response.status == 429 or response.status >= 500:
        raise ImageError(Reason.ROBOTS_UNREADABLE, f"{response.url.path} answers {response.status}")
    if response.status >= 300:
        return ""
    text = bytearray()
    async for piece in response.content.iter_any():  # a single read would return only what has arrived so far
        text += piece
        if len(text) >= _MAX_BYTES:
            break
    return text[:_MAX_BYTES].decode("utf-8", errors="replace")


@dataclass
class _Group:
    agents: set[str] = field(default_factory=set)
    rules: list[PathRule] = field(default_factory=list)
    delay: float | None = None


def _groups(text: str) -> Iterator[_Group]:
    group, naming_agents = _Group(), True
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        name, value = found[1].lower(), found[2].strip()
        if name == "user-agent":
            if not naming_agents:
                yield group
                group = _Group()
            naming_agents = True
            group.agents.add(_product(value))
        elif name in ("allow", "disallow"):
            naming_agents = False
            if value:
                group.rules.append(PathRule(value, name == "allow"))
        elif name == "crawl-delay":
            naming_agents = False
            group.delay = _seconds(value)
    yield group


def _product(value: str) -> str:
    return value if value == "*" else re.split(r"[^A-Za-z_-]", value, maxsplit=1)[0].lower()


def _seconds(value: str) -> float | None:
    return float(value) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value) else None


def _normalized(path: str) -> str:
    # One spelling for each path: %7e, ~ and an unescaped letter are the same.
    return quote(unquote(path, errors="surrogateescape"), safe="/?&=:;,@!$'()*+~-._#[]%", errors="surrogateescape")
