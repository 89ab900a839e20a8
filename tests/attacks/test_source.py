"""The source runs nothing that comes with data: no pickles, no code of repositories, no shell, no objects of YAML."""

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("kale_tasks", "dags", "plugins", "bench", "scripts", "examples")
_PICKLES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
_EVALUATES = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "tempfile.mktemp", "mktemp"}
_WEIGHTS = ("Model", "ForConditionalGeneration", "ForCausalLM", "kind")  # how names of what has weights end
# Where the source does such a thing for a reason: path and rule to the reason.
JUSTIFIED = {
    ("kale_tasks/world/models/measure.py", "weights"): "the checkpoint that the same process has just made",
    ("kale_tasks/bench/contenders.py", "weights"): "a checkpoint that the measurement makes",
    ("kale_tasks/resources.py", "yaml"): "its loader is the safe one, in C where there is one",
}


def _keywords(call: ast.Call) -> dict[str | None, str]:
    return {one.arg: ast.unparse(one.value) for one in call.keywords}


def _unsafe_yaml(name: str, call: ast.Call) -> bool:
    return name in {"yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"}


def _weights_of_any_format(name: str, call: ast.Call) -> bool:
    """A model is loaded, and not from safetensors only. `**_SAFE` of distill/model.py asks for them."""
    owner, _, method = name.rpartition(".")
    given = _keywords(call)
    asked = given.get("use_safetensors") == "True" or given.get(None) == "_SAFE"
    return method == "from_pretrained" and owner.endswith(_WEIGHTS) and not asked


RULES: dict[str, Callable[[str, ast.Call], bool]] = {
    "yaml": _unsafe_yaml,
    "weights": _weights_of_any_format,
    "evaluates": lambda name, call: name in _EVALUATES,
    "shell": lambda name, call: _keywords(call).get("shell", "False") != "False",
    "torch": lambda name, call: name == "torch.load" and _keywords(call).get("weights_only") != "True",
    "numpy": lambda name, call: _keywords(call).get("allow_pickle", "False") != "False",
    "remote code": lambda name, call: _keywords(call).get("trust_remote_code", "False") != "False",
    "certificates": lambda name, call: (
        {"verify", "ssl"} & {n for n, v in _keywords(call).items() if v == "False"} != set()
    ),
    "unescaped": lambda name, call: _keywords(call).get("autoescape") == "False",
}


def findings(source: str) -> Iterator[tuple[str, int]]:
    """The rules that a source breaks, with the lines."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            if _PICKLES & {name.partition(".")[0] for name in names}:
                yield "pickle", node.lineno
        elif isinstance(node, ast.Call):
            yield from ((rule, node.lineno) for rule, breaks in RULES.items() if breaks(ast.unparse(node.func), node))


def _sources() -> list[Path]:
    python = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [path for path in python if path.suffix == ".py" or _is_script(path)]


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return not path.suffix and b"python" in file.readline()


def test_no_source_runs_what_data_brings() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), rule): line
        for path in _sources()
        for rule, line in findings(path.read_text(encoding="utf-8"))
    }
    assert {place: line for place, line in found.items() if place not in JUSTIFIED} == {}
    assert set(JUSTIFIED) <= set(found), "a reason for what is no longer there"


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from cloudpickle import loads",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "numpy.load(path, allow_pickle=True)",
        "AutoModel.from_pretrained(folder)",
        "AutoModelForCausalLM.from_pretrained(folder, use_safetensors=None)",
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=True)",
        "AutoTokenizer.from_pretrained(folder, trust_remote_code=settings.trust)",
        "subprocess.run(text, shell=True)",
        "eval(text)",
        "session.get(url, ssl=False)",
        "Environment(autoescape=False)",
    ],
)
def test_each_rule_finds_what_it_is_for(line: str) -> None:
    assert list(findings(line))
