"""Whether the owner of an image lets it be used: robots.txt and tdmrep.json of its site, and the head of the answer."""

import asyncio
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import aiohttp
from yarl import URL

from kale_tasks.images.rate_limit import Host
from kale_tasks.images.reasons import Lost, Reason
from kale_tasks.images.robots import PRODUCT, Robots, read_robots, read_tdmrep
from kale_tasks.images.web import Web

OPT_OUTS = ("noai", "noimageai", "noml")
_RULES_BYTES = 500 * 1024
_REDIRECTS = 5


@dataclass(frozen=True)
class Site:
    """What one site says of all its paths."""

    robots: Robots
    reserved: Robots

    def check(self, url: URL) -> None:
        """Lost, if this address may not be asked for."""
        if not self.robots.allows(url.raw_path_qs):
            raise Lost(Reason.ROBOTS_DISALLOWED, url.host or "")
        if not self.reserved.allows(url.raw_path_qs):
            raise Lost(Reason.TDM_RESERVED, "tdmrep.json")


async def read_site(web: Web, host: Host, origin: URL, seconds: float) -> Site:
    """Ask a site for its rules, before anything else is asked of it."""
    robots = read_robots(await _text(web, host, origin / "robots.txt", seconds))
    if robots.delay:
        host.slow_down(robots.delay)
    if not robots.allows("/.well-known/tdmrep.json"):
        return Site(robots, Robots())
    return Site(robots, read_tdmrep(await _text(web, host, origin / ".well-known" / "tdmrep.json", seconds)))


def check_head(headers: Mapping[str, str], robots_tags: Iterable[str]) -> None:
    """Lost, if the head of an answer says that its body is not for machine learning."""
    if headers.get("tdm-reservation", "").strip() == "1":
        raise Lost(Reason.TDM_RESERVED, "tdm-reservation: 1")
    for tag in robots_tags:
        # `noai`, or `kale: noai`, or `otherbot: noai`, which is not for us.
        agent, colon, said = tag.rpartition(":")
        words = set(re.split(r"[\s,]+", said.lower()))
        if (not colon or agent.strip().lower() in (PRODUCT, "*")) and words & set(OPT_OUTS):
            raise Lost(Reason.NOAI, tag[:80])


async def _text(web: Web, host: Host, url: URL, seconds: float) -> str:
    """The text at an address; nothing if there is none; Lost if nobody can know."""
    try:
        async with asyncio.timeout(seconds):
            for _ in range(_REDIRECTS + 1):
                async with host.turn(), web.get(url) as answer:
                    if 300 <= answer.status < 400 and "Location" in answer.headers:
                        url = web.guard.url(str(url.join(URL(answer.headers["Location"]))))
                        continue
                    return await _said(answer)
    except TimeoutError as error:
        raise Lost(Reason.TIMED_OUT, str(url)[:120]) from error
    return ""  # too many redirects count as none


async def _said(answer: aiohttp.ClientResponse) -> str:
    if answer.status == 429 or answer.status >= 500:
        raise Lost(Reason.ROBOTS_UNREADABLE, f"{answer.url.path} answers {answer.status}")
    if answer.status >= 300:
        return ""
    return (await answer.content.read(_RULES_BYTES)).decode("utf-8", errors="replace")
