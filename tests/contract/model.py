"""The protocol of a run: plan, work, seal, check, commit; every process a generator that can die at each yield."""

from dataclasses import replace

from tests.contract.base import (
    TRIES,
    Conflict,
    Plan,
    Process,
    Retired,
    Sealed,
    base_of,
    indices,
    main_of,
    need,
    open_lake,
    plan_path,
    rows_of,
)
from tests.contract.commit import commit, finish, settle_pending, taken
from tests.contract.steps import PARTS, POISON, Index, Lost, Part, ingest, span
from tests.contract.store import Proc, digest

Pairs = tuple[tuple[str, str], ...]
TTL = 10  # a lease older than this is free


def inputs(p: Process, table: str, key: str) -> Proc[tuple[str, Pairs, Pairs]]:
    """Identity, pinned files and index files of what a step reads."""
    if table == "pairs":
        landed = yield from p.store.read(f"landing/{key}")
        assert landed is not None
        earlier = {} if p.under else {k: v for k, v in (yield from indices(p)).items() if k < key}
        pins = tuple((path, plan_path(p, "pairs", k, m)) for k, (m, path) in earlier.items())
        return digest(landed.body), pins, tuple((k, path) for k, (_, path) in sorted(earlier.items()))
    pairs = yield from main_of(p, "pairs", key)
    if pairs is None:
        raise Conflict("no pairs yet")
    return pairs.identity, tuple((file, plan_path(p, "pairs", key, pairs)) for file in pairs.files), ()


def make_plan(p: Process, table: str, key: str) -> Proc[Plan | None]:
    """Name the requested run, and adopt its plan or write one; None if there is nothing to do."""
    yield from open_lake(p)
    if (yield from p.store.read(f"{p.root}/holds/{table}/{key}")):
        return None
    if table == "pairs" and not p.under:
        yield from settle_pending(p)
    current = yield from main_of(p, table, key)
    current = current if current and current.sealed.startswith(f"{p.root}/") else None
    sealed = (yield from p.store.read(current.sealed)) if current else None
    if current and sealed is None:
        raise Conflict("replaced meanwhile")
    because, fresh = sealed.body.because if sealed else frozenset(), []
    for mark in (yield from p.store.list(f"{p.root}/marks/{table}/{key}/")):
        if (name := mark.rpartition("/")[2]) not in because:
            fresh.append(name)
        else:
            yield from p.store.delete(mark)
    if "generation" in p.bugs and p.request:
        fresh += [f"again-{p.request}-{len(because)}"]
    because = because | frozenset(fresh)
    p.saw = current.origin if current else 0
    source, pins, earlier = yield from inputs(p, table, key)
    fingerprint = digest((table, source, p.setting, sorted(because), bool(p.under)))
    p.known = frozenset((yield from taken(p)))
    if current and current.fingerprint == fingerprint:
        yield from finish(p, table, key)
        return None
    path = f"{p.root}/runs/{table}/{key}/{fingerprint}/plan.json"
    plan = Plan(path, table, key, fingerprint, source, pins, earlier, because, p.setting)
    p.plan = replace((yield from adopt(p, plan)), base=base_of(p, current))
    return p.plan


def adopt(p: Process, plan: Plan) -> Proc[Plan]:
    """Return the existing plan if its inputs still exist, else write this one under a new id, then check its pins."""
    for _ in range(TRIES):
        found = yield from p.store.read(plan.path)
        if found and isinstance(found.body, Plan):
            if (yield from intact(p, found.body)):
                return found.body
            source, pins, earlier = yield from inputs(p, plan.table, plan.key)
            if source != plan.source:
                raise Conflict("inputs have changed")
            plan = replace(plan, pins=pins, earlier=earlier)
        new = replace(plan, id=str(p.store.number()))
        yield from p.store.replace(plan.path, new, found.tag if found else None)  # read back in the next round
    raise Conflict("cannot settle on a plan")


def intact(p: Process, plan: Plan) -> Proc[bool]:
    """Whether everything that a plan pins still exists and is not being deleted."""
    for path, made_by in plan.pins:
        upstream = yield from p.store.read(made_by)
        if (yield from p.store.read(path)) is None or upstream is None:
            return False
        if isinstance(upstream.body, Retired):
            old = upstream.body.plan
            main = (yield from p.store.table(f"{made_by.split('/')[0]}:{old.table}")).keys.get(old.key)
            if main is None or main.run != old.run:
                return False
            yield from p.store.replace(made_by, old, upstream.tag)  # committed just before it was withdrawn
    return True


def take_lease(p: Process, plan: Plan, chunk: int) -> Proc[None]:
    """Take a chunk's lease: given up, of an earlier try of this task, or too old by the store's clock."""
    if "no-lease" in p.bugs:
        return
    path, mine = f"{plan.folder}/lease-{chunk}", (p.owner, p.attempt)
    found = yield from p.store.read(path)
    if found and found.body and found.body[0] != p.owner and p.store.clock - found.at < TTL:
        p.seen["lease held"] += 1
        raise Conflict("another task works on it")
    if not (yield from p.store.replace(path, mine, found.tag if found else None)):
        again = yield from p.store.read(path)
        if again is None or again.body != mine:
            raise Conflict("another task was faster")
    if found and found.body:
        p.seen["lease taken over"] += 1
        p.store.takeovers[plan.run] += 1


def renew(p: Process, plan: Plan, chunk: int) -> Proc[None]:
    """Renew a lease before the next part; a thread does it meanwhile. Conflict if another attempt took over."""
    if {"no-lease", "lease-unchecked"} & p.bugs:
        return
    path, mine = f"{plan.folder}/lease-{chunk}", (p.owner, p.attempt)
    found = yield from p.store.read(path)
    if found is None or found.body != mine or not (yield from p.store.replace(path, mine, found.tag)):
        again = yield from p.store.read(path)
        if again is None or again.body != mine:
            raise Conflict("the lease was taken over")


def give_up(p: Process, plan: Plan, chunk: int) -> Proc[None]:
    """Let others have the chunk, unless they took it already."""
    path = f"{plan.folder}/lease-{chunk}"
    found = yield from p.store.read(path)
    if found and found.body == (p.owner, p.attempt):
        yield from p.store.replace(path, None, found.tag)


def work(p: Process, plan: Plan, chunk: int) -> Proc[None]:
    """Make the parts of a chunk that no receipt claims."""
    yield from take_lease(p, plan, chunk)
    whole = (yield from ingest_parts(p, plan)) if plan.table == "pairs" else None
    done = "part" if "parts-one-name" in p.bugs else "receipt"
    missing = []
    for number in range(PARTS) if whole else [chunk]:
        if (yield from p.store.read(f"{plan.folder}/{done}-{number}")) is None:
            missing.append(number)
    for number in missing:
        yield from renew(p, plan, chunk)
        p.store.worked[plan.run, number] += 1
        part = whole[number] if whole else (yield from caption_part(p, plan, number))
        yield from write_part(p, plan, number, part)
    yield from give_up(p, plan, chunk)


def write_part(p: Process, plan: Plan, number: int, part: Part) -> Proc[None]:
    """Put the file under a name made of its content, then claim the number; the first receipt wins."""
    if "parts-one-name" in p.bugs:
        yield from p.store.put(f"{plan.folder}/part-{number}", part)
        return
    path = f"{plan.folder}/part-{number}-{digest(part)}"
    yield from p.store.create(path, part)
    if not (yield from p.store.create(f"{plan.folder}/receipt-{number}", path)):
        p.seen["receipt lost"] += 1


def ingest_parts(p: Process, plan: Plan) -> Proc[list[Part]]:
    """Scan the landing piece by piece, then decide; existing pieces are not scanned again."""
    landed = yield from p.store.read(f"landing/{plan.key}")
    assert landed is not None
    if digest(landed.body) != plan.source and "latest-input" not in p.bugs:
        raise Conflict("the landing has changed")
    rows: list[int] = []
    for i, start in enumerate(range(0, len(landed.body), p.pieces)):
        stop = min(start + p.pieces, len(landed.body))
        path = f"{plan.folder}/scratch/{i if 'scratch-by-number' in p.bugs else f'{start}-{stop}'}"
        yield from p.store.create(path, landed.body[start:stop])
        piece = yield from p.store.read(path)
        if piece is None:
            raise Conflict("scratch is gone")
        rows += piece.body
    rows = rows[:2] if p.under or ("limit-replaces" in p.bugs and p.owner.startswith("preview")) else rows
    latest = "latest-input" in p.bugs and not p.under
    pinned = [(k, f) for k, (_, f) in (yield from indices(p)).items() if k < plan.key] if latest else plan.earlier
    earlier = {}
    for key, path in pinned:
        earlier[key] = (yield from need(p, path)).kept
    return ingest(rows, plan.setting, earlier)


def caption_part(p: Process, plan: Plan, number: int) -> Proc[Part]:
    """Caption the rows of one part; sampled, so that no two attempts write the same."""
    files: tuple[str, ...] = tuple(path for path, _ in plan.pins)
    if "latest-input" in p.bugs:
        now = yield from main_of(p, "pairs", plan.key)
        files = now.files if now else files
    rows: list[int] = []
    for path in files:
        rows += [row for row, _ in rows_of((yield from need(p, path)))]
    mine, text = span(rows, number), str(p.store.number())
    return Part(len(mine), tuple((row, text) for row in mine))


def seal(p: Process, plan: Plan) -> Proc[str]:
    """Merge the claimed parts and fix the run's files in run.json; whoever seals second uses the existing one."""
    parts: list[Part] = []
    one_name = "parts-one-name" in p.bugs
    for number in range(PARTS):
        receipt = yield from p.store.read(f"{plan.folder}/{'part' if one_name else 'receipt'}-{number}")
        if receipt is None:
            raise Conflict("parts are missing")
        parts.append(receipt.body if one_name else (yield from need(p, receipt.body)))
    rows = tuple(row for part in parts for row in part.rows)
    lost: Lost = tuple(entry for part in parts for entry in part.lost)
    index = Index(tuple(row for row, _ in rows), lost)
    bad = tuple(row for part in parts for row in part.quarantined)
    paths = []
    for name, body in (("main", rows), ("index", index), ("quarantine", bad)):
        paths.append(f"{plan.folder}/{name}-{digest(body)}")
        yield from p.store.create(paths[-1], body)
    files = tuple(f"{plan.folder}/part-{n}" for n in range(PARTS)) if one_name else (paths[0],)
    dropped = len(lost) + sum(part.dropped for part in parts)
    account = (sum(part.rows_in for part in parts), len(rows), dropped, len(bad))
    name = digest(sorted(row for row, _ in rows) if plan.table == "pairs" else rows)
    sealed = Sealed(
        plan.run, plan.path, files, paths[1], paths[2], account, name, digest(rows), plan.because, plan.source
    )
    yield from p.store.create(f"{plan.folder}/run.json", sealed)
    return f"{plan.folder}/run.json"


def check(p: Process, path: str) -> Proc[bool]:
    """Judge a sealed run by its files alone; True if it may be committed."""
    sealed: Sealed = yield from need(p, path)
    name = digest(sealed)
    rows: list[int] = []
    for file in sealed.files:
        rows += [row for row, _ in rows_of((yield from need(p, file)))]
    yield from p.store.create(f"{p.root}/verdicts/{name}", POISON not in rows)
    verdict = yield from p.store.read(f"{p.root}/verdicts/{name}")
    accepted = yield from p.store.read(f"{p.root}/accepted/{name}")
    return bool(accepted or (verdict and verdict.body))


def run(p: Process, table: str, key: str) -> Proc[None]:
    """One try of a step on a key, from plan to commit."""
    plan = yield from make_plan(p, table, key)
    if plan is None:
        return
    for chunk in range(1 if table == "pairs" else PARTS):
        yield from work(p, plan, chunk)
    path = yield from seal(p, plan)
    if "check-after" in p.bugs:
        yield from commit(p, plan, path)
    if (yield from check(p, path)):
        yield from commit(p, plan, path)
    else:
        p.seen["blocked"] += 1
