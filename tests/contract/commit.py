"""Commit: the base first, then all that it relies on, then one swap of the main table that decides."""

from collections.abc import Callable
from dataclasses import replace

from tests.contract.base import (
    TRIES,
    Conflict,
    Plan,
    Process,
    Sealed,
    Violation,
    base_of,
    indices,
    main_of,
    need,
    rows_of,
)
from tests.contract.steps import Index, contradicts
from tests.contract.store import Main, Proc, Side, Table, digest

SIDES = ("index", "quarantine")


def taken(p: Process) -> Proc[frozenset[int]]:
    """Every row that was ever taken down."""
    paths = yield from p.store.list(f"{p.root}/takedowns/")
    above = (yield from p.store.list(f"{p.under}/takedowns/")) if p.under else []
    return frozenset(int(path.rpartition("/")[2]) for path in [*paths, *above])


def filtered(p: Process, path: str, gone: frozenset[int]) -> Proc[str]:
    """The run.json without rows taken down: the same, or a revision of it with files of its own."""
    sealed: Sealed = yield from need(p, path)
    rows: list[tuple[int, str]] = []
    for file in sealed.files:
        rows += rows_of((yield from need(p, file)))
    bad = yield from need(p, sealed.quarantine)
    if not gone & {*bad, *(row for row, _ in rows)}:
        return path
    left, fine = tuple(r for r in rows if r[0] not in gone), tuple(b for b in bad if b not in gone)
    folder = sealed.first.rpartition("/")[0] or path.rpartition("/")[0]
    main, side = f"{folder}/main-{digest(left)}", f"{folder}/quarantine-{digest(fine)}"
    yield from p.store.create(main, left)
    yield from p.store.create(side, fine)
    revision = replace(sealed, files=(main,), quarantine=side, content=digest(left), first=sealed.first or path)
    new = f"{folder}/run-{digest(revision)}.json"
    yield from p.store.create(new, revision)
    return new


def commit(p: Process, plan: Plan, path: str) -> Proc[bool]:
    """Make a sealed run the rows of its key, unless another run came in since this try planned."""
    gone: frozenset[int] = frozenset()
    for _ in range(TRIES):
        bases = yield from side_bases(p, plan)
        now = yield from p.store.table(p.name(plan.table))
        main = now.keys.get(plan.key)
        if main and main.run == plan.run:
            break
        if base_of(p, main) != plan.base:
            raise Conflict("another run was committed")
        live = yield from p.store.read(plan.path)
        if live is None or live.body != plan:
            raise Conflict("the plan was withdrawn")
        gone = (p.known or frozenset()) if "takedown-once" in p.bugs else (yield from taken(p))
        final = yield from filtered(p, path, gone)
        sealed: Sealed = yield from need(p, final)
        token = str(p.store.number())
        if plan.table == "pairs" and "no-intent" not in p.bugs:
            yield from p.store.create(f"{p.root}/pending/{plan.key}/{token}", plan.run)
        if not (yield from append_sides(p, plan.key, sealed, token, bases)):
            continue
        if (yield from swap_main(p, plan, final, sealed, token, (now, main))):
            break
        p.seen["main swap refused"] += 1
    else:
        raise Conflict("the table moves too fast")
    if "takedown-reread" in p.bugs and (yield from taken(p)) - gone:
        yield from sweep(p, plan.table, plan.key)
    yield from finish(p, plan.table, plan.key)
    return True


def side_bases(p: Process, plan: Plan) -> Proc[dict[str, Side]]:
    """What the side tables of a step hold of its key."""
    found: dict[str, Side] = {}
    for table in SIDES if plan.table == "pairs" else ():
        found[table] = (yield from p.store.table(p.name(table))).keys.get(plan.key, Side())
    return found


def append_sides(p: Process, key: str, sealed: Sealed, token: str, bases: dict[str, Side]) -> Proc[bool]:
    """Add a run's side files to the existing ones; the token shows later removals that a commit is in progress."""
    for table, base in bases.items():
        path = sealed.index if table == "index" else sealed.quarantine
        others = frozenset() if "side-decides" in p.bugs else {file for file in base.files if file[0] != sealed.run}
        new = Side(token, frozenset({*others, (sealed.run, path)}))
        blind = "side-blind" in p.bugs
        if not (yield from swap_side(p, table, key, None if blind else base, new)):
            return False
    return True


def swap_side(p: Process, table: str, key: str, base: Side | None, new: Side) -> Proc[bool]:
    """Replace what a side table holds of a key, if that has not changed since it was read."""
    return (
        yield from p.store.swap(
            p.name(table), key, lambda now: new if base in (None, now.keys.get(key, Side())) else None
        )
    )


def swap_main(
    p: Process, plan: Plan, path: str, sealed: Sealed, token: str, seen: tuple[Table, Main | None]
) -> Proc[bool]:
    """The swap that decides: only if neither the key nor the table's epoch has moved since they were read."""
    number = p.store.number()
    names = (plan.run, plan.fingerprint, path, sealed.files, sealed.identity, sealed.content, plan.source, token)
    new = Main(*names, commit=number, origin=number)
    blind = {"takedown-once", "takedown-reread"} & p.bugs

    def change(now: Table) -> Main | None:
        main = now.keys.get(plan.key)
        same = base_of(p, main) == base_of(p, seen[1]) if "base-by-name" in p.bugs else main == seen[1]
        if not same or not (blind or now.epoch == seen[0].epoch):
            return None
        if p.saw != (main.origin if main else 0):
            raise Violation(f"an old try of {plan.table} {plan.key} replaced a newer commit")
        return new

    done = yield from p.store.swap(p.name(plan.table), plan.key, change)
    if done:
        p.seen[f"committed {plan.table}"] += 1
        rest = frozenset(b for b in plan.because if not b.startswith(f"again-{p.request}"))
        p.made.append((p.request, plan.source, plan.setting, rest, plan.fingerprint))
    return done


def finish(p: Process, table: str, key: str) -> Proc[None]:
    """What follows a commit, for whoever finds it undone: stale marks, then old side files, then the intent."""
    if table != "pairs" or p.under:
        return
    main = yield from main_of(p, table, key)
    if main is None:
        return
    if "no-marks" not in p.bugs:
        yield from settle(p, key)
    for side in SIDES:
        base = (yield from p.store.table(p.name(side))).keys.get(key, Side())
        mine = frozenset(file for file in base.files if file[0] == main.run)
        if mine != base.files and (base.token == main.token or "no-token" in p.bugs):
            yield from swap_side(p, side, key, base, Side(base.token, mine))
    yield from p.store.delete(f"{p.root}/pending/{key}/{main.token}")


def settle(p: Process, key: str) -> Proc[None]:
    """Put a stale mark, named by the commit of the earlier key, on each key that this key's index contradicts."""
    found = yield from indices(p)
    known: dict[str, Index] = {}
    for other, (_, path) in found.items():
        body = yield from p.store.read(path)
        if body is None:
            raise Conflict("an index was replaced meanwhile")
        known[other] = body.body
    for early in sorted(found):
        for late in sorted(found):
            if early < late and key in (early, late) and contradicts(known[late], early, known[early].kept):
                p.seen["marked"] += 1
                yield from p.store.create(f"{p.root}/marks/pairs/{late}/{found[early][0].origin}", key)


def settle_pending(p: Process) -> Proc[None]:
    """Finish the commits whose process died between the main swap and its marks."""
    for path in (yield from p.store.list(f"{p.root}/pending/")):
        key, token = path.split("/")[-2:]
        main = yield from main_of(p, "pairs", key)
        if main and main.token == token:
            p.seen["commit finished by another"] += 1
            yield from finish(p, "pairs", key)


def sweep(p: Process, table: str, key: str) -> Proc[None]:
    """Remove rows from a key's current commit by a revision of its run.json: the main table first, then the side."""
    for _ in range(3 * TRIES):
        side = (yield from p.store.table(p.name("quarantine"))).keys.get(key, Side())
        main = (yield from p.store.table(p.name(table))).keys.get(key)
        if main is None:
            return
        gone = yield from taken(p)
        found = yield from p.store.read(main.sealed)
        if found is None:
            continue  # replaced and deleted since it was read
        path = yield from filtered(p, main.sealed, gone)
        sealed: Sealed = yield from need(p, path)
        if path != main.sealed:
            new = main._replace(sealed=path, files=sealed.files, content=sealed.content, commit=p.store.number())
            p.seen["swept"] += yield from p.store.swap(p.name(table), key, _instead(key, main, new))
        elif table != "pairs" or (main.run, sealed.quarantine) in side.files:
            return
        else:
            files = {(r, sealed.quarantine if r == main.run else f) for r, f in side.files}
            yield from swap_side(p, "quarantine", key, side, Side(side.token, frozenset(files)))
    raise Conflict("the table moves too fast")


def _instead(key: str, old: Main, new: Main) -> Callable[[Table], Main | None]:
    return lambda now: new if now.keys.get(key) == old else None
