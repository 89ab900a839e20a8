"""The steps of a recipe: its passes in order, the assembly of their texts, and the student's steps."""

from collections.abc import Iterator

from kale_tasks.captions.passes import pass_id
from kale_tasks.contract.registry import ANSWERS, ASSEMBLY, STEPS, StepSpec, step_spec
from kale_tasks.errors import BadConfig
from kale_tasks.recipes.files import JUDGED_BY, SAMPLED, PassOutline, outline, recipes_of, variant_of
from kale_tasks.recipes.recipe import load_recipe
from kale_tasks.settings import Settings

_STEP = "kale_tasks.captions.local_passes:pass_step"


def pass_specs(recipe: str) -> list[StepSpec]:
    """The passes of a recipe in order. Those that ask a model are checked; texts of others are with the captions."""
    found = load_recipe(recipe)
    return [_pass_spec(recipe, pass_id(found, one.name), one) for one in outline(recipe)]


def holdout_specs(recipe: str) -> list[StepSpec]:
    """The steps that caption the holdout by a recipe, and then at another seed."""
    return [spec for variant in JUDGED_BY for spec in _variant_specs(recipe, variant)]


def sampled_specs(recipe: str) -> list[StepSpec]:
    """The steps that caption a share of stage 2 by a recipe; BadConfig if it says no share."""
    if not load_recipe(recipe).student.sampled:
        raise BadConfig(f"The recipe '{recipe}' has no student.sampled, the share of stage 2 to caption.")
    return _variant_specs(recipe, SAMPLED)


def _variant_specs(recipe: str, variant: str) -> list[StepSpec]:
    name = variant_of(recipe, variant)
    return [*pass_specs(name), step_spec(ASSEMBLY, name)]


def steps_of(settings: Settings, recipe: str = "") -> list[StepSpec]:
    """All steps in order, with those of the configured recipe, or of another one."""
    return list(_in_order(recipe or settings.caption.recipe))


def all_steps(settings: Settings) -> list[StepSpec]:
    """All steps in order, with those of every configured recipe. Recipes share a pass that they have in common."""
    found = {}
    for recipe in recipes_of(settings):
        found.update({(spec.name, *spec.slice.items()): spec for spec in _in_order(recipe)})
    order = [*STEPS]
    place = {name: at for at, name in enumerate(order)}
    return sorted(found.values(), key=lambda spec: place.get(spec.name, place[ASSEMBLY] - 0.5))


def find_spec(name: str, settings: Settings) -> StepSpec:
    """A step by its name, or a pass of the configured recipe; BadConfig if there is none."""
    if name in STEPS:
        return step_spec(name, settings.caption.recipe)
    found = [spec for spec in all_steps(settings) if spec.name == name]
    found += [spec for spec in steps_of(settings) if spec.label == name]
    if not found:
        passes = [one.name for one in load_recipe(settings.caption.recipe).passes]
        raise BadConfig(
            f"There is no step '{name}'. Steps: {', '.join(STEPS)}; passes of the recipe: {', '.join(passes)}."
        )
    return found[0]


def _in_order(recipe: str) -> Iterator[StepSpec]:
    for spec in STEPS.values():
        if spec.name == ASSEMBLY:
            yield from pass_specs(recipe)
        yield spec.of_recipe(recipe)


def _pass_spec(recipe: str, name: str, one: PassOutline) -> StepSpec:
    known = step_spec(name)
    return StepSpec(
        name,
        _STEP,
        known.title,
        known.table,
        known.slice,
        suite=known.suite if one.describes else ANSWERS if one.asks else None,
        watched=known.watched,
        pool="gpu" if one.asks else None,
        arguments=(recipe, one.name),
    )
