"""Reads recipe files, and says what is wrong with them: file, line, and the nearest name that would be right."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel, ValidationError

from kale_tasks.contract.registry import STEPS
from kale_tasks.errors import BadConfig
from kale_tasks.models.locate import check_name
from kale_tasks.recipes.parts import ANSWER_WORDS, ModelSpec, Prompt, Student, Verified
from kale_tasks.recipes.passes import (
    CHOICE,
    CUT,
    LIST,
    PASSES,
    RULES_ONLY,
    UNSUPPORTED,
    AnyPass,
    AskPass,
    EmbedPass,
    ExpertPass,
    PickPass,
    ScorePass,
    SelectPass,
    VerifyPass,
)
from kale_tasks.recipes.slots import COLUMNS, slot_problems
from kale_tasks.recipes.source import RecipeFile, Where, near

_RESERVED = ("captions", "holdout", "sampled", "image", "item", CUT, LIST, RULES_ONLY, *STEPS, *COLUMNS)
_SHOWN_TO_STUDENTS = {"alt"}  # in stage 2, besides the image


class Installed(NamedTuple):
    """The experts, embedders or scorers that are installed: their names, and how one is made of its options."""

    kind: str
    names: Sequence[str]
    open: Callable[[str, Mapping[str, Any]], Any]


def read_recipe(path: Path) -> dict[str, Any]:
    """Read the fields of a recipe; BadConfig with the first problem if there are any."""
    fields, found = _parsed(path)
    if found:
        more = f" {len(found) - 1} more: `kale recipe lint {path}` lists them." if len(found) > 1 else ""
        raise BadConfig(f"{found[0]}{more}")
    return fields


def recipe_problems(path: Path, installed: Mapping[str, Installed] | None = None) -> list[str]:
    """List what is wrong with a recipe file, in order of lines.

    `installed` has the experts, embedders and scorers, by verb; without it they are not looked at.
    """
    return _parsed(path, installed or {})[1]


def _parsed(path: Path, installed: Mapping[str, Installed] | None = None) -> tuple[dict[str, Any], list[str]]:
    file = RecipeFile.read(path)
    return _fields(file, installed or {}) if file.tree else {}, file.messages()


def _fields(file: RecipeFile, installed: Mapping[str, Installed]) -> dict[str, Any]:
    tree = file.tree
    specs: dict[str, Any] = tree.get("models", {})
    models = {name: spec for name, block in specs.items() if (spec := _part(file, ModelSpec, block, ("models", name)))}
    blocks: list[Any] = tree.get("passes", [])
    passes = [one for at, block in enumerate(blocks) if (one := _pass(file, block, ("passes", at)))]
    student: Any = _part(file, Student, tree["student"], ("student",)) if tree.get("student") else None
    also = tree.get("also") or []
    verified = [_part(file, Verified, one, ("verified", at)) for at, one in enumerate(tree.get("verified", []))]
    if not file.problems and not passes:
        file.report(("passes",), "a recipe needs at least one pass")
    if not file.problems:
        _check_names(file, passes, list(models))
        _check_installed(file, passes, models, installed)
    if not file.problems:
        _check_sources(file, passes)
        _check_published(file, passes, also, student)
    if not file.problems:
        _check_lessons(file, passes, student)
        _check_verified(file, passes, verified)
    return {
        "about": tree.get("about"), "models": models, "passes": passes, "caption": tree.get("caption"), "also": also,
        "student": student, "verified": verified,
    }  # fmt: skip


def _pass(file: RecipeFile, block: Any, where: Where) -> AnyPass | None:
    verbs = [name for name in block if name in PASSES] if isinstance(block, dict) else []
    if len(verbs) != 1:
        names = [str(name) for name in block] if isinstance(block, dict) else []
        meant = next((near(name, tuple(PASSES)) for name in names if difflib.get_close_matches(name, PASSES)), "")
        file.report(where, f"a pass has exactly one of {', '.join(PASSES)}{meant}")
        return None
    made: AnyPass | None = _part(file, PASSES[verbs[0]], block, where)
    return made


def _part(file: RecipeFile, kind: type[BaseModel], block: Any, where: Where) -> Any:
    try:
        return kind.model_validate(block)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_context=False):
            place = tuple(part for part in found["loc"] if part != "prompt" or "prompt" in (block or {}))
            name = str(place[-1]) if place else ""
            if found["type"] == "extra_forbidden":
                text = f"there is no field '{name}' here{near(name, _names_at(kind, place[:-1]))}"
            elif found["type"] == "missing":
                text = f"the field '{'user' if name == 'prompt' else name}' is missing"
            else:
                text = f"{'.'.join(map(str, place))}: {found['msg'].removeprefix('Value error, ')}".removeprefix(": ")
            file.report((*where, *place), text.rstrip("."))
    except BadConfig as error:  # a prompt of a model source
        file.report((*where, "prompt"), str(error).rstrip("."))
    return None


def _names_at(kind: Any, place: Where) -> tuple[str, ...]:
    for part in place:
        annotation = kind.model_fields[part].annotation if isinstance(part, str) and part in kind.model_fields else kind
        options = [annotation, *get_args(annotation)]
        kind = next((one for one in options if isinstance(one, type) and issubclass(one, BaseModel)), kind)
    own = [info.alias or name for name, info in kind.model_fields.items()]
    return (*own, "system", "user") if "prompt" in own else tuple(own)


def _check_names(file: RecipeFile, passes: Sequence[AnyPass], models: Sequence[str]) -> None:
    names = [one.name for one in passes]
    for at, one in enumerate(passes):
        where: Where = ("passes", at)
        if one.name in _RESERVED or one.name in names[:at]:
            file.report((*where, "name"), f"the name '{one.name}' is taken")
        if isinstance(one, AskPass):
            _check_ask(file, one, where, models)
        try:
            reads = list(one.needs())
        except BadConfig as error:
            file.report((*where, "when"), str(error).rstrip("."))
            continue
        known = [*COLUMNS, *names[:at]]
        for read in dict.fromkeys(read for read in reads if read not in known):
            file.report(_place(file, where, read), _unknown(one, read, names, known))
        scores = {other.name for other in passes if isinstance(other, ScorePass)}
        if isinstance(one, PickPass) and one.of and one.of in names and one.of not in scores:
            file.report((*where, "of"), f"'{one.of}' is no score pass")
        encoding = {other.name for other in passes if isinstance(other, EmbedPass)}
        if isinstance(one, SelectPass) and one.select in names and one.select not in encoding:
            file.report((*where, "select"), f"'{one.select}' is no embed pass")
        for read in [] if isinstance(one, SelectPass) else sorted(encoding.intersection(reads)):
            file.report(_place(file, where, read), f"'{read}' makes vectors, no texts: only `select` reads it")
    asked = {one.ask for one in passes if isinstance(one, AskPass)}
    for name in models:
        if name not in asked:
            file.report(("models", name), f"no pass asks the model '{name}'")


def _check_sources(file: RecipeFile, passes: Sequence[AnyPass]) -> None:
    for at, one in enumerate(passes):
        if isinstance(one, VerifyPass) and "alt" in one.against and "alt" not in _sources(passes, one.verify):
            file.report(
                ("passes", at, "against"),
                f"the alt-text has no part in '{one.verify}': a name that it happens to have would count as seen",
            )
        if isinstance(one, VerifyPass | PickPass) and one.judge:
            judge = next((other for other in passes if other.name == one.judge), None)
            answers = UNSUPPORTED if isinstance(one, VerifyPass) else CHOICE
            if not isinstance(judge, AskPass) or answers not in judge.parse:
                file.report(("passes", at, "judge"), f"'{one.judge}' is no pass with `schema: [{answers}]`")


def _check_installed(
    file: RecipeFile, passes: Sequence[AnyPass], models: Mapping[str, ModelSpec], installed: Mapping[str, Installed]
) -> None:
    for at, one in enumerate(passes):
        rates = isinstance(one, ScorePass) or (isinstance(one, VerifyPass) and one.by != RULES_ONLY)
        known = installed.get("score" if rates else one.verb)
        if known is None or not (rates or isinstance(one, ExpertPass | EmbedPass)):
            continue
        assert isinstance(one, ExpertPass | EmbedPass | ScorePass | VerifyPass)
        field = "by" if rates else one.verb
        if (name := getattr(one, field)) not in known.names:
            file.report(("passes", at, field), f"there is no {known.kind} '{name}'{near(name, known.names)}")
            continue
        try:
            part = known.open(name, one.options)
        except BadConfig as error:
            file.report(("passes", at), str(error).rstrip("."))
            continue
        if isinstance(one, EmbedPass) and part.reads_images == bool(one.text):
            wanted = "images: it takes no `text`" if part.reads_images else "texts: say which by `text`, such as alt"
            file.report(("passes", at), f"the embedder '{name}' encodes {wanted}")
    for name, spec in models.items():
        try:
            check_name(spec.model)
        except BadConfig as error:
            file.report(("models", name, "model"), str(error).rstrip("."))


def _check_ask(file: RecipeFile, one: AskPass, where: Where, models: Sequence[str]) -> None:
    if one.ask not in models:
        file.report((*where, "ask"), f"there is no model '{one.ask}'{near(one.ask, models)}")
    for problem in slot_problems(one.prompt.user):
        file.report((*where, "user"), problem)
    if one.n > 1 and not one.sampling.temperature:
        file.report((*where, "n"), "at temperature 0 all candidates would be equal: set sampling.temperature")
    if one.rounds > 1 and not one.follow:
        file.report((*where, "rounds"), "`rounds` needs `follow`, what is said in each turn after the first")
    if one.rounds == 1 and one.follow:
        file.report((*where, "follow"), "without `rounds` above 1 `follow` has no effect")
    if one.image == "crop" and not one.for_each:
        file.report((*where, "image"), "`image: crop` needs `for_each`, whose items have boxes")
    if one.within and "words" not in one.vary:
        file.report((*where, "within"), "`within` needs `vary: {words: [...]}`, the lengths that are asked for")
    for name in one.vary.keys() - one.prompt.reads:
        file.report((*where, "vary"), f"the prompt has no slot {{{name}}}")
    spec = file.tree["models"].get(one.ask, {})
    if one.image and not spec.get("image_tokens"):
        file.report((*where, "image"), f"the model '{one.ask}' takes no images: give it `image_tokens`")


def _unknown(one: AnyPass, read: str, names: Sequence[str], known: Sequence[str]) -> str:
    if read == one.name:
        return f"the pass '{read}' reads itself"
    if read == "item":
        return "`{item}` needs `for_each`, the pass whose texts are the items"
    if read in names:
        return f"the pass '{one.name}' reads '{read}', which comes after it: a pass reads earlier ones only"
    return f"there is no column or pass '{read}'{near(read, known)}"


def _place(file: RecipeFile, where: Where, read: str) -> Where:
    """The field of a block that names something."""
    block: Any = file.tree
    for part in where:
        block = block[part]
    fields = [name for name, value in block.items() if name != "name" and read in str(value)]
    return (*where, fields[0]) if fields else where


def _check_published(file: RecipeFile, passes: Sequence[AnyPass], also: Sequence[str], student: Any) -> None:
    names = [one.name for one in passes]
    caption = file.tree["caption"]
    published: dict[Where, str] = {("caption",): caption, **{("also", at): name for at, name in enumerate(also)}}
    for where, name in published.items():
        if name not in names:
            file.report(where, f"there is no pass '{name}'{near(str(name), names)}")
    read = {name for one in passes for name in one.needs()}
    taught = {name for one in student.lessons for name in (one.answer, *student.lesson_prompt(one).reads)}
    read |= {caption, *also, *taught}
    for at, one in enumerate(passes):
        if one.name not in read and not isinstance(one, EmbedPass):  # vectors may be wanted for themselves
            file.report(("passes", at), f"nothing reads the pass '{one.name}'")


def _check_lessons(file: RecipeFile, passes: Sequence[AnyPass], student: Student) -> None:
    by_name = {one.name: one for one in passes}
    prompts: list[tuple[Where, Prompt]] = [(("student",), student.prompt)]
    for at, lesson in enumerate(student.lessons):
        where: Where = ("student", "lessons", at)
        prompt = student.lesson_prompt(lesson)
        prompts.append((where, prompt))
        if lesson.answer not in by_name:
            file.report((*where, "answer"), f"there is no pass '{lesson.answer}'{near(lesson.answer, list(by_name))}")
        elif "alt" in _sources(passes, lesson.answer) and "alt" not in prompt.reads - set(lesson.without):
            file.report(
                where,
                f"this lesson does not show the alt-text, but '{lesson.answer}' is written with it: the student would "
                f"learn to make up facts",
            )
        for name in set(lesson.without) - prompt.reads:
            file.report((*where, "without"), f"the prompt has no slot {{{name}}}")
        for name in sorted(prompt.reads & by_name.keys()):
            written = isinstance(by_name[name], AskPass | VerifyPass)
            if name in _sources(passes, lesson.answer) or (written and lesson.answer in _sources(passes, name)):
                file.report((*where, "user"), f"this lesson shows '{name}', which gives '{lesson.answer}' away")
    for place, prompt in prompts:
        for problem in slot_problems(prompt.user):
            file.report(place, problem)
        lesson_only = {ANSWER_WORDS, *by_name} if len(place) > 1 else set()
        for name in prompt.reads - _SHOWN_TO_STUDENTS - lesson_only:
            file.report(place, f"the student's prompt reads '{name}', which stage 2 does not have; it has alt")


def _check_verified(file: RecipeFile, passes: Sequence[AnyPass], verified: Sequence[Verified]) -> None:
    names = [*(one.name for one in passes if isinstance(one, AskPass)), "student"]
    for at, one in enumerate(verified):
        if one.task not in names:
            file.report(("verified", at, "task"), f"no model is asked in '{one.task}'{near(one.task, names)}")


def _sources(passes: Sequence[AnyPass], name: str) -> set[str]:
    """Every name that a text is made from, directly or through other passes; itself included."""
    found = next((one for one in passes if one.name == name), None)
    return {name}.union(*(_sources(passes, read) for read in found.reads())) if found else {name}
