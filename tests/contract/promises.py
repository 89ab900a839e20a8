"""What must hold of the lake after every single operation, looked at from outside."""

from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from tests.contract.base import Plan, Retired, Sealed, Violation, rows_of
from tests.contract.steps import Index, contradicts, meets
from tests.contract.store import Main, Side, Store, Table, digest


@dataclass
class Promises:
    """A store, what was asked of it, and the promises that it must keep."""

    store: Store = field(default_factory=Store)
    landed: dict[str, tuple[int, ...]] = field(default_factory=dict)
    asked: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    made: list[tuple[Any, ...]] = field(default_factory=list)
    fine: dict[tuple[str, str], Any] = field(default_factory=dict)
    met: dict[tuple[str, str, str], bool] = field(default_factory=dict)

    def mains(self, table: str) -> dict[str, Main]:
        """The current commits in a table of the real lake."""
        return dict(self.store.tables.get(f"A:{table}", Table()).keys)

    def rows(self, main: Main) -> tuple[tuple[int, str], ...]:
        """The committed rows."""
        if missing := [file for file in main.files if file not in self.store.objects]:
            raise Violation(f"committed files are gone: {missing}")
        return tuple(row for file in main.files for row in rows_of(self.store.objects[file].body))

    def inspect(self) -> None:
        """What must hold after every single operation."""
        for table in ("pairs", "captions"):
            for key, main in self.mains(table).items():
                if (now := self._state(key, main)) != self.fine.get((table, key)):
                    self._inspect_main(table, key, main)
                    self.fine[table, key] = now
        self._inspect_marks()
        published = [row for _, row in self.store.objects["A/published"].body]
        if gone := self.done & set(published):
            raise Violation(f"{gone} are published after their takedown")
        if any(meets(a, b) for i, a in enumerate(published) for b in published[:i]):
            raise Violation(f"a pair is twice in a release: {published}")
        self._inspect_work()
        if self.store.objects["A/promoted"].body not in (3, 2):
            raise Violation("the pointer went back twice")
        asked = Counter(one[:4] for one in set(self.made) if one[0])
        if any(n > 1 for n in asked.values()):
            raise Violation("one request remade a key twice")

    def _inspect_work(self) -> None:
        again: Counter[str] = Counter()
        for (run, _), times in self.store.worked.items():
            again[run] += times - 1
        for run, times in again.items():
            if times > self.store.takeovers[run]:
                raise Violation(f"parts were made again, beyond those in work when a lease changed hands: {run}")

    def _inspect_marks(self) -> None:
        mains, objects = self.mains("pairs"), self.store.objects
        index: dict[str, str] = {}
        for key, main in mains.items():
            side = self.store.tables["A:index"].keys.get(key, Side())
            index[key] = next(path for run, path in side.files if run == main.run)
        for early, late in combinations(sorted(index), 2):
            paths = (index[early], index[late], early)
            if paths not in self.met:
                self.met[paths] = contradicts(objects[paths[1]].body, early, objects[paths[0]].body.kept)
            pending = {f"A/pending/{key}/{mains[key].token}" for key in (early, late)}
            marks = f"A/marks/pairs/{late}/"
            if self.met[paths] and not any(path in pending or path.startswith(marks) for path in objects):
                raise Violation(f"{late} contradicts {early}, and nothing says so")

    def _state(self, key: str, main: Main) -> Any:
        # All that an inspection of a key looks at: what did not change since it was found fine is not looked at again.
        tags = [found.tag if (found := self.store.objects.get(f)) else 0 for f in (*main.files, main.sealed)]
        sides = [self.store.tables.get(f"A:{side}", Table()).keys.get(key, Side()) for side in ("index", "quarantine")]
        gone = [path for side in sides for _, path in side.files if path not in self.store.objects]
        return main, tags, sides, gone, len(self.done)

    def _inspect_main(self, table: str, key: str, main: Main) -> None:
        rows = self.rows(main)
        if any(not file.startswith("A/") for file in (*main.files, main.sealed)):
            raise Violation(f"{table} {key} holds files of another lake")
        if digest(rows) != main.content:
            raise Violation(f"{table} {key} has other rows than were committed")
        if gone := self.done & {row for row, _ in rows}:
            raise Violation(f"{table} {key} holds {gone} after its takedown")
        sealed: Sealed = self.store.objects[main.sealed].body
        came, kept, dropped, quarantined = sealed.account
        if came != kept + dropped + quarantined:
            raise Violation(f"the account of {table} {key} does not add up")
        if table == "pairs":
            if came != len(self.landed[sealed.landed]) or sorted(row for row, _ in rows) != sorted(
                {r for r, _ in rows}
            ):
                raise Violation(f"{key} lost or doubled rows")
            self._inspect_sides(key, main, sealed)
        else:
            self._inspect_source(key, rows, sealed)
        first = digest(self.store.objects[sealed.first or main.sealed].body)
        objects = self.store.objects
        verdict = objects.get(f"A/verdicts/{first}")
        if (verdict is None or not verdict.body) and f"A/accepted/{first}" not in objects:
            raise Violation(f"{table} {key} was committed unchecked")

    def _inspect_source(self, key: str, rows: tuple[tuple[int, str], ...], sealed: Sealed) -> None:
        if sealed.plan not in self.store.objects:
            raise Violation(f"the plan of a committed run of {key} is gone")
        found = self.store.objects[sealed.plan].body
        plan: Plan = found.plan if isinstance(found, Retired) else found
        if plan.run != sealed.run or not all(path in self.store.objects for path, _ in plan.pins):
            return
        source = {row for path, _ in plan.pins for row, _ in rows_of(self.store.objects[path].body)}
        if not (mine := {row for row, _ in rows}) <= source <= mine | self.asked:
            raise Violation(f"captions of {key} are not of the rows that their plan names")

    def _inspect_sides(self, key: str, main: Main, sealed: Sealed) -> None:
        for side in ("index", "quarantine"):
            found = self.store.tables[f"A:{side}"].keys.get(key, Side())
            mine = [path for r, path in found.files if r == main.run]
            if len(mine) != 1 or mine[0] not in self.store.objects:
                raise Violation(f"{side} of {key} does not belong to its rows")
            if side == "quarantine" and self.done & set(self.store.objects[mine[0]].body):
                raise Violation(f"quarantine of {key} holds a row after its takedown")
            body, made = self.store.objects[mine[0]].body, self.store.objects[sealed.files[0]].body
            if isinstance(body, Index) and not {row for row, _ in rows_of(made)} <= set(body.kept):
                raise Violation(f"index of {key} is of other rows")
