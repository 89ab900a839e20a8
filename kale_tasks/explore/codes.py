"""`kale explain`: what reasons, rules, flags, checks and exit codes mean; collected from where they are defined."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

from kale_tasks import errors
from kale_tasks.contract.registry import ANSWERS, STEPS, step_spec
from kale_tasks.errors import BadConfig
from kale_tasks.ingest.rules import RULES
from kale_tasks.resources import parse_yaml
from kale_tasks.settings import load

KINDS = {
    "images": "reason of an image",
    "rules": "rule of ingest",
    "records": "reason of a landing row",
    "answers": "reason of a pass that asks a model",
    "passes": "rule of a pass",
    "flags": "flag of a row",
}
_EXITS = (errors.KaleError, errors.BadConfig, errors.BadData, errors.Transient, errors.Conflict, errors.Paused)
_ANY_PASS = "any-000000000000"


class Code(NamedTuple):
    """A code, what kind of code it is, what it means, and what to do; empty: nothing."""

    code: str
    kind: str
    means: str
    do: str = ""


@cache
def texts() -> Mapping[str, Mapping[str, Code]]:
    """What codes.yaml says, by section and code."""
    known = parse_yaml(Path(__file__).with_name("codes.yaml").read_text("utf-8"))
    return {
        section: {code: _code(code, section, text) for code, text in some.items()} for section, some in known.items()
    }


def explain(code: str) -> list[Code]:
    """Every meaning of a code; BadConfig if it has none. Checks are looked up last: their library is slow to load."""
    known = list(quick_codes())
    if found := [one for one in known if one.code == code]:
        return found
    checks = list(check_codes())
    if found := [one for one in checks if one.code == code]:
        return found
    near = get_close_matches(code, [one.code for one in (*known, *checks)], n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise BadConfig(f"There is no code '{code}'.{hint} `kale explain` lists all.")


def quick_codes() -> Iterator[Code]:
    """Exit codes, reasons, rules and flags."""
    yield Code("0", "exit code", "Done.")
    for kind in _EXITS:
        yield Code(str(kind.exit_code), "exit code", " ".join((kind.__doc__ or "").split()), _after(kind))
    yield Code("130", "exit code", "Interrupted by ctrl-C.", "Run it again: finished parts are kept.")
    for section in texts().values():
        yield from section.values()
    yield from (_package_rule(name) for name in RULES.names if name not in texts()["rules"])


def check_codes() -> Iterator[Code]:
    """The checks of every step, with the setting that bounds them."""
    found = dict[str, Code]()
    integrity = import_module("kale_tasks.quality.integrity").LIMITS
    settings = load(environ={}).settings
    subject: Any = SimpleNamespace(
        limit=settings.quality.limits, settings=settings, config={}, committed=SimpleNamespace(rows=0, rows_in=0)
    )
    for suite in _suites():
        for limit in (*integrity, *suite.limits(subject)):
            found.setdefault(limit.name, Code(limit.name, "check", f"{limit.says} ({limit.severity}).", _bound(limit)))
        for one in suite.expectations():
            name, severity = one.meta["name"], one.meta["severity"]
            found.setdefault(name, Code(name, "check", f"{one.description} ({severity})."))
    yield from found.values()


def _suites() -> Iterator[Any]:
    references = [spec.suite for spec in (*STEPS.values(), step_spec(_ANY_PASS)) if spec.suite]
    for reference in dict.fromkeys([*references, ANSWERS]):
        module, _, name = reference.partition(":")
        yield getattr(import_module(module), name)()


def _bound(limit: Any) -> str:
    bounds = [f"at least {limit.low:g}"] if limit.low is not None and limit.low != limit.high else []
    bounds += [f"at most {limit.high:g}"] if limit.high is not None else []
    return f"Allowed: {' and '.join(bounds)}; `kale config` lists quality.limits." if bounds else ""


def _after(kind: type[errors.KaleError]) -> str:
    return {4: "Try again later.", 5: "Run the command again.", 6: "Run it again at the time that it names."}.get(
        kind.exit_code, "The message says what to do."
    )


def _package_rule(name: str) -> Code:
    about = (RULES.find(name).__doc__ or "A rule of a package.").strip().partition("\n")[0]
    return Code(name, KINDS["rules"], about, f"ingest.rules.extra.{name} has its options.")


def _code(code: str, section: str, text: str) -> Code:
    means, _, do = text.partition(" | ")
    return Code(code, KINDS[section], means, do)
