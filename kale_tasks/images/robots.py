"""What a site says in robots.txt (RFC 9309) and in /.well-known/tdmrep.json."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from urllib.parse import quote, unquote

PRODUCT = "kale"
_LINE = re.compile(r"\s*([A-Za-z-]+)\s*:\s*([^#]*)")
_RULES_AT_MOST = 5000


@dataclass(frozen=True)
class Rule:
    """One path pattern and whether it lets through."""

    pattern: str
    allow: bool

    @cached_property
    def expression(self) -> re.Pattern[str]:
        """The pattern as an expression: `*` is anything, `$` at the end is the end."""
        anchored = self.pattern.endswith("$")
        pieces = re.split(r"\*+", _normal(self.pattern.removesuffix("$")))
        # Possessive steps: each piece is found once, as early as it can be, so that no pattern is slow.
        middle = "".join(f"(?>.*?{re.escape(piece)})" for piece in pieces[1:-1])
        last = f"(?>.*?{re.escape(pieces[-1])})" if len(pieces) > 1 else ""
        if anchored and len(pieces) > 1:
            last = f".*{re.escape(pieces[-1])}"
        return re.compile(re.escape(pieces[0]) + middle + last + ("$" if anchored else ""), re.DOTALL)


@dataclass(frozen=True)
class Robots:
    """The rules of one site for us."""

    rules: tuple[Rule, ...] = ()
    delay: float | None = None

    def allows(self, path: str) -> bool:
        """Whether a path may be asked for: the longest matching pattern decides, an allow wins a draw."""
        path = _normal(path)
        found = [(len(rule.pattern), rule.allow) for rule in self.rules if rule.expression.match(path)]
        return max(found)[1] if found else True


@dataclass
class _Group:
    agents: set[str] = field(default_factory=set)
    rules: list[Rule] = field(default_factory=list)
    delay: float | None = None


def read_robots(text: str) -> Robots:
    """Our rules in a robots.txt: those of the groups that name us, else those for everyone."""
    groups = list(_groups(text.removeprefix("\ufeff")))
    ours = [group for group in groups if PRODUCT in group.agents] or [group for group in groups if "*" in group.agents]
    rules = tuple(rule for group in ours for rule in group.rules)[:_RULES_AT_MOST]
    return Robots(rules, max((group.delay for group in ours if group.delay), default=None))


def read_tdmrep(text: str) -> Robots:
    """The places that a tdmrep.json reserves, as rules that forbid them."""
    try:
        entries = json.loads(text)
    except ValueError:
        return Robots()
    entries = entries if isinstance(entries, list) else [entries]
    known = [e for e in entries if isinstance(e, dict) and isinstance(e.get("location"), str)]
    return Robots(tuple(Rule(e["location"], str(e.get("tdm-reservation")) != "1") for e in known[:_RULES_AT_MOST]))


def _groups(text: str) -> Iterator[_Group]:
    group, naming = _Group(), True
    for line in text.splitlines():
        found = _LINE.match(line)
        if not found:
            continue
        name, value = found[1].lower(), found[2].strip()
        if name == "user-agent":
            if not naming:
                yield group
                group = _Group()
            naming = True
            group.agents.add(_product(value))
        elif name in ("allow", "disallow"):
            naming = False
            if value:
                group.rules.append(Rule(value, name == "allow"))
        elif name == "crawl-delay":
            naming = False
            group.delay = _seconds(value)
    yield group


def _product(value: str) -> str:
    return value if value == "*" else re.split(r"[^A-Za-z_-]", value, maxsplit=1)[0].lower()


def _seconds(value: str) -> float | None:
    return float(value) if re.fullmatch(r"\d{1,6}(\.\d{1,3})?", value) else None


def _normal(path: str) -> str:
    # One spelling for each path, so that %7e, ~ and an unescaped letter are the same.
    return quote(unquote(path, errors="surrogateescape"), safe="/?&=:;,@!$'()*+~-._#[]%", errors="surrogateescape")
