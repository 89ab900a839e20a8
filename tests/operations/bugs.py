"""Bugs that the machine of operations must find: each function puts one of them back into this process.

Bugs that need an operation which only some sequences have name it in `NEEDED`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

NEEDED: Mapping[str, Sequence[str]] = {
    "forget_earlier_keys": (),
    "forget_later_keys": (),
    "delete_marks_early": (),
    "keep_old_index": (),
    "commit_side_tables_first": (),
    "reopen_inputs_at_commit": (),
    "name_scratch_by_number": (),
    "let_last_attempt_win": (),
    "delete_runs_by_age": (),
    "commit_rows_taken_down": (),
    "replace_keys_by_looks": (),
    "write_from_copies": ("copy",),
    "release_removed_pairs": ("release",),
}


def put_in_place(owner: Any, name: str, bug: Callable[..., Any]) -> None:
    """Put a function with a bug in place of another one. TypeError if it cannot be called as that one is.

    A bug that ends with an error of its own would be found by every sequence, and one in place of nothing by none.
    """
    known = signature(getattr(owner, name)).parameters.values()
    required = [p for p in known if p.default is Parameter.empty]
    by_name = {p.name: None for p in required if p.kind is Parameter.KEYWORD_ONLY}
    places = [p for p in required if p.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)]
    signature(bug).bind(*places, **by_name)
    setattr(owner, name, bug)


def forget_earlier_keys() -> None:
    """Ingest does not compare a key with earlier ones, so that pairs are in two keys."""
    from kale_tasks.ingest.step import Ingest

    put_in_place(Ingest, "side_snapshot", lambda *_: None)


def forget_later_keys() -> None:
    """A day that lands late marks no later key, so that pairs are in two keys."""
    from kale_tasks.runner import commit

    put_in_place(commit, "mark_keys", _nothing)


def delete_marks_early() -> None:
    """A mark is deleted when a run reads it, so that it is lost if the run dies."""
    from kale_tasks.lake.marks import delete_mark
    from kale_tasks.runner import run

    known = run.marks

    def read_and_deleted(storage: Any, partition: Any) -> Any:
        found = known(storage, partition)
        for mark in found:
            delete_mark(storage, partition, mark.name)
        return found

    put_in_place(run, "marks", read_and_deleted)


def keep_old_index() -> None:
    """A key that is made again keeps its former index."""
    from kale_tasks.lake.index import INDEX
    from kale_tasks.runner import commit

    swap_side = commit._swap_side

    def first_only(lake: Any, step: Any, key: str, name: str) -> None:
        if name != INDEX or lake.committed(INDEX, key) is None:
            swap_side(lake, step, key, name)

    put_in_place(commit, "_swap_side", first_only)


def commit_side_tables_first() -> None:
    """Index and quarantine are replaced before the main table, also by a run that is refused then."""
    from kale_tasks.lake.commit import Swap, read_base, swap
    from kale_tasks.lake.partition import Partition
    from kale_tasks.runner import commit, verbs

    commit_rows = commit.commit_rows

    def sides_first(run: Any, made: Any, sealed: Any) -> Any:
        for name in (*run.step.also, "quarantine"):
            side = Partition.of(name, run.key, {"step": run.step.name} if name == "quarantine" else {})
            current, _ = read_base(run.lake, side)
            new = replace(sealed.record(), rows=sealed.rows_of(name))
            if current or sealed.paths(name):
                swap(run.lake, Swap(name, run.key, side.columns, run.step.name, sealed.paths(name), current, new))
        return commit_rows(run, made, sealed)

    put_in_place(verbs, "commit_rows", sides_first)
    put_in_place(commit, "_swap_side", _nothing)


def reopen_inputs_at_commit() -> None:
    """A commit records the inputs as they are by then, not those that its rows were made from."""
    from kale_tasks.contract.fingerprint import fingerprint
    from kale_tasks.contract.step import contents
    from kale_tasks.runner import commit
    from kale_tasks.runner.writer import run_folder

    commit_once = commit._commit_once

    def reopened(run: Any, made: Any, sealed: Any) -> Any:
        inputs = contents(run.step.inputs(run.lake, run.settings, run.key), as_made=run.step.as_made)
        if inputs != run.inputs:
            run.inputs, run.fingerprint = inputs, fingerprint(run.step, run.config, inputs, run.because)
            sealed = sealed.model_copy(
                update={
                    "fingerprint": run.fingerprint,
                    "inputs": inputs,
                    "folder": run_folder(run.step.table, run.key, run.fingerprint),
                }
            )
            run.lake.storage.put(f"{sealed.folder}/run.json", sealed.model_dump_json().encode())
        return commit_once(run, made, sealed)

    put_in_place(commit, "_commit_once", reopened)


def name_scratch_by_number() -> None:
    """Scratch files of ingest are named by the number of the piece, although another try may cut other pieces."""
    from kale_tasks.ingest.scan import Scan

    put_in_place(Scan, "stem", lambda self, piece: f"{self.folder}/clean-{piece.number}")


def let_last_attempt_win() -> None:
    """Shards are named by their number, and a late attempt writes over those of a committed run."""
    from kale_tasks.images import open_parts

    def by_number(stem: str, _: Path) -> str:
        return f"{stem}.tar"

    put_in_place(open_parts, "content_name", by_number)


def delete_runs_by_age() -> None:
    """Maintenance judges files one by one, and deletes those of runs that are still being made."""
    from kale_tasks.lake import maintain
    from kale_tasks.runner import commit, run

    put_in_place(maintain, "_is_old", lambda entry, _, now, grace: entry.modified < now - grace.files)
    put_in_place(maintain, "_pinned_runs", lambda *_: set())
    put_in_place(maintain, "_is_unused", lambda *_: True)
    put_in_place(maintain, "move_epoch", _nothing)
    for module in (commit, run):
        put_in_place(module, "is_withdrawn", lambda *_: False)


def commit_rows_taken_down() -> None:
    """A commit does not ask what was taken down since its plan."""
    from kale_tasks.runner import commit

    swap = commit.swap
    put_in_place(commit, "_without_removed_rows", lambda _, sealed, __: (sealed, ""))
    put_in_place(commit, "swap", lambda lake, request: swap(lake, replace(request, epoch=None)))


def replace_keys_by_looks() -> None:
    """A run with a limit goes to the lake itself, so that a quick look replaces the rows of a key."""
    from kale_tasks.lake import preview
    from kale_tasks.lake.tables import Lake
    from kale_tasks.runner.run import Run

    opened = Run.__init__

    def allowed(self: Any, step: Any, lake: Any, settings: Any, key: str, **more: Any) -> None:
        lake.preview = "allowed"
        try:
            opened(self, step, lake, settings, key, **more)
        finally:
            del lake.preview

    put_in_place(preview, "open_lake", Lake)
    put_in_place(Run, "__init__", allowed)


def write_from_copies() -> None:
    """A copied lake does not know that it is one, and works on the tables and files of the original."""
    from kale_tasks.lake import tables
    from kale_tasks.lake.catalog import answered, load_or_create
    from kale_tasks.lake.identity import read_identity

    def load(self: Any, name: str) -> Any:
        spec = tables.TABLES[name]
        return answered(lambda: load_or_create(self.catalog, (self._namespace, name), lambda: self._create(spec)))

    put_in_place(tables, "checked_identity", read_identity)
    put_in_place(tables.Lake, "_load", load)


def release_removed_pairs() -> None:
    """A release takes all captions, also those whose pairs or images have been replaced since."""
    from kale_tasks.release.choice import UnfitCaptions

    put_in_place(UnfitCaptions, "reason", lambda *_: "")


def _nothing(*_: Any, **__: Any) -> None:
    pass
