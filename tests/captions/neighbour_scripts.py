"""What scripted models answer in the tests of recipes, by the fault or the skill that each of them has."""

from kale_tasks.text.words import common_words
from kale_tasks.world import describe
from kale_tasks.world.scene import Scene
from tests.captions.scripted import CLAIMED, INVENTED, Call, as_json, describes, joins, other_scene, truth

PHANTOM = " A small pink clock is at the top."
# Words that do not repeat themselves, with small ones among them.
FILLER = [word if at % 6 else "the" for at, word in enumerate(sorted(common_words())[::80])]
GERMAN = "Auf diesem Bild sieht man ein Ding, das vor einem hellen Hintergrund steht und sehr schön ist."
FRENCH = "Sur cette image on voit une chose qui se trouve devant un fond clair et qui est très belle."
SPANISH = "En esta imagen se ve una cosa que está delante de un fondo claro y que es muy bonita."


def invents(call: Call) -> str:
    """A language model that makes something up in half of its captions."""
    return describes(call) if call.pair else joins(call) + (INVENTED if call.chance(0.5) else "")


def guesses(call: Call) -> str:
    """A captioner that follows its hints, and always names somebody besides."""
    return f"{describe.dense(call.scene)} It is {call.alt}.{INVENTED}"


def varied(call: Call) -> str:
    """A captioner whose first candidate describes another image."""
    if call.pair is None:
        return call.prompt.partition("First description: ")[2].partition("\n")[0]
    return describe.dense(call.scene if call.candidate else other_scene(call))


def quotes(call: Call) -> str:
    """A language model that adds what was read in the image."""
    read = call.prompt.partition('wrong letters: "')[2].partition('"')[0]
    return describes(call) if call.pair else f"{call.description} A sign says {read}."


def imagines(call: Call) -> str:
    """A captioner that adds an object, and sees its error when it looks again."""
    if "Quote the words" in call.prompt:
        return as_json(unsupported=[PHANTOM.strip()] if PHANTOM.strip() in call.prompt else [])
    return describe.dense(call.scene) + PHANTOM


def boasts(call: Call) -> str:
    """A fuser that adds a claim in small letters; a judge that quotes it; an editor that takes it out."""
    if "Which claims" in call.prompt:
        return as_json(unsupported=[CLAIMED.strip()] if CLAIMED.strip() in call.prompt else [])
    if "These claims have no source" in call.prompt:
        return call.caption.replace(CLAIMED.strip(), "").strip()
    return describes(call) if call.pair else joins(call) + CLAIMED


def judges(call: Call) -> str:
    """Three captioners, of which the last is right; a judge who looks."""
    if "Which one is true" in call.prompt:
        options = [call.prompt.partition(f"{n}. ")[2].partition("\n")[0] for n in (1, 2, 3)]
        best = max((truth(text, call.scene), n) for n, text in enumerate(options, 1))
        return as_json(choice=best[1], reason="It names every colour.")
    return describe.dense(call.scene if "left to right" in call.prompt else other_scene(call))


def talks(call: Call) -> str:
    """A captioner that says one more sentence in each turn."""
    whole = describe.dense(call.scene).split(". ")
    said = whole[: call.turn]
    return ". ".join(said).rstrip(".") + "." if len(said) < len(whole) else ". ".join(whole)


def answers(call: Call) -> str:
    """A captioner that says only what it is asked."""
    if "What colours" in call.prompt:
        return f"It has the colours {', '.join(thing.colour for thing in call.scene.things)} and no others."
    return "A picture of things on a background is shown here."


def graphs(call: Call) -> str:
    """A captioner that answers as a graph, and a language model that writes its nodes down."""
    if call.pair is None:
        return call.prompt.partition("An image shows: ")[2].partition("\n")[0].replace("; ", ". ") + "."
    nodes = [{"id": str(at), "text": text} for at, text in enumerate(nodes_of(call.scene))]
    return as_json(nodes=nodes, edges=[])


def nodes_of(scene: Scene) -> list[str]:
    """What the nodes of a graph of a scene say."""
    return [f"a {one.size} {one.colour} {one.kind} at the {one.cell} of the picture" for one in scene.things]


def translates(call: Call) -> str:
    """A translator that keeps names."""
    if "Translate into" not in call.prompt:
        return describes(call)
    texts = {"German": GERMAN, "French": FRENCH, "Spanish": SPANISH}
    text = texts[call.prompt.partition("Translate into ")[2].partition(".")[0]]
    return f"{text} {call.prompt.rpartition('It is ')[2].strip()}"


def sizes(call: Call) -> str:
    """A captioner that misses the wished length at first, by its seed."""
    wished = call.prompt.partition("in ")[2].partition(" words")[0]
    if not wished.isdigit():
        return describes(call) if call.pair else joins(call)
    count = int(wished) * 3 // 2 if call.seed % 2 else int(wished)
    return " ".join(FILLER[:count]).capitalize() + "."
