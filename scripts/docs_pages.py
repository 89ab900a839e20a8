"""Hook of mkdocs: pages that are made from code, so that they cannot be out of date.

`index.md` is the README; `contributing.md` and `changelog.md` are the files of the same name beside it. The reference
of commands, settings, recipes and reasons comes from the package itself. `docs_pictures` makes the pictures.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.cli import get_docs_for_click

from kale_tasks.cli.app import app
from kale_tasks.explore import codes
from kale_tasks.images.reasons import Reason
from kale_tasks.settings.model import Settings
from kale_tasks.settings.section import Section

ROOT = Path(__file__).parents[1]
TEXTS = {"index.md": "README.md", "contributing.md": "CONTRIBUTING.md", "changelog.md": "CHANGELOG.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are no files in `docs/`."""
    pages = {name: _moved(path) for name, path in TEXTS.items()}
    pages |= {"reference/commands.md": commands(), "reference/settings.md": settings()}
    pages |= {"reference/recipes.md": recipes(), "reference/reasons.md": reasons()}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    for name, data in _pictures().items():
        files.append(File.generated(config, f"pictures/{name}", content=data))
    return files


def _pictures() -> dict[str, bytes]:
    sys.path.insert(0, str(ROOT))  # for the photographs of the tests
    from scripts.docs_pictures import pictures

    return pictures()


def _moved(path: str) -> str:
    """A text of the repository's root, with its links to pages changed to where they are in the site."""
    text = (ROOT / path).read_text("utf-8")
    text = re.sub(r"\]\(docs/", "](", text)
    text = re.sub(r"\]\((CONTRIBUTING|CHANGELOG)\.md", lambda name: f"]({name[1].lower()}.md", text)
    return re.sub(r"\[([^\]]*)\]\((?:LICENSE|bench/[^)]*|examples/[^)]*)\)", r"\1", text)


def commands() -> str:
    """Every command with its options."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="kale")
    return get_docs_for_click(obj=command, ctx=context, name="kale", title="Commands")


def settings() -> str:
    """Every setting: name, type, default, and whether it changes rows."""
    lines = [
        "# Settings",
        "A profile, the environment (`KALE_INGEST__WORKERS=4`) and the command line (`--set ingest.workers=4`) "
        "override the defaults, in this order. `kale config` prints the values in use and where each comes from. "
        "Settings that change rows are part of a run's fingerprint.",
    ]
    defaults = yaml.safe_load((ROOT / "config/kale.yaml").read_text("utf-8"))
    lines += _section("", Settings, defaults)
    return "\n\n".join(lines) + "\n"


def _section(prefix: str, section: type[Section], defaults: dict[str, object]) -> Iterator[str]:
    rows, below = [], []
    for name, field in section.model_fields.items():
        kind, value = field.annotation, defaults.get(name)
        if isinstance(kind, type) and issubclass(kind, Section):
            below += _section(f"{prefix}{name}.", kind, value if isinstance(value, dict) else {})
        else:
            rows.append(_setting(prefix + name, field, value))
    if prefix:
        yield f"## `{prefix.rstrip('.')}`"
        yield (section.__doc__ or "").strip().partition("\n\n")[0]
    yield "\n".join(["| setting | default | changes rows | meaning |", "|---|---|---|---|", *rows])
    yield from below


def _setting(name: str, field: FieldInfo, value: object) -> str:
    if value is None and field.default is not PydanticUndefined:
        value = field.default
    marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    shown = "" if value is None or isinstance(value, dict) else f"`{value}`".replace("|", "\\|")
    meaning = (field.description or "").replace("|", "\\|")
    return f"| `{name}` | {shown} | {'no' if 'runtime' in marks else 'yes'} | {meaning} |"


def recipes() -> str:
    """Every shipped recipe, as its file."""
    lines = [
        "# Recipes",
        "`kale recipe show NAME` draws the passes of a recipe. [Recipes](../recipes.md) explains the file.",
    ]
    for path in sorted((ROOT / "config/recipes").glob("*.yaml")):
        text = path.read_text("utf-8")
        lines.append(f"## {path.stem}\n\n{yaml.safe_load(text).get('about', '')}\n\n```yaml\n{text}```")
    return "\n\n".join(lines) + "\n"


def reasons() -> str:
    """Every code that `kale explain` knows, by kind."""
    lines = ["# Reasons, rules, checks and exit codes", "`kale explain CODE` prints these lines."]
    by_kind: dict[str, list[codes.Code]] = {}
    for one in (*codes.quick_codes(), *codes.check_codes()):
        by_kind.setdefault(one.kind, []).append(one)
    for kind, some in by_kind.items():
        again = kind == codes.KINDS["images"]
        head = ["code", "meaning", "what to do", *(["`kale run images --redrive` tries again"] if again else [])]
        rows = [[f"`{one.code}`", one.means, one.do, *([_tried_again(one.code)] if again else [])] for one in some]
        table = [head, ["---"] * len(head), *rows]
        cells = [[cell.replace("|", "\\|").replace("<", "&lt;") for cell in row] for row in table]
        lines += [f"## {kind.capitalize()}", "\n".join(f"| {' | '.join(row)} |" for row in cells)]
    return "\n\n".join(lines) + "\n"


def _tried_again(code: str) -> str:
    reason = Reason(code)
    return "once its limit is larger" if reason.limited else "yes" if reason.transient else "no"
