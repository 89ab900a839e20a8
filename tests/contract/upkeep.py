"""What goes on beside the runs: takedowns, releases, maintenance, readers, previews, rollbacks, copies."""

from dataclasses import replace

from tests.contract.base import TRIES, Conflict, Plan, Process, Retired, Violation, base_of, main_of, open_lake, rows_of
from tests.contract.commit import commit, settle_pending, sweep, taken
from tests.contract.model import TTL, run
from tests.contract.store import Main, Proc, digest

GRACE = 50  # files that are younger may be in use by a process that left no trace yet
MAINS = ("pairs", "captions")


def take_down(p: Process, row: int) -> Proc[None]:
    """Write the list, move every base that commits compare with, then sweep the committed rows."""
    yield from open_lake(p)
    yield from p.store.create(f"{p.root}/takedowns/{row}", row)
    for table in MAINS:
        if not {"takedown-once", "takedown-reread"} & p.bugs:
            yield from p.store.move_base(p.name(table))
    for _ in range(10 * TRIES):
        found = yield from p.store.read(f"{p.root}/published")
        assert found is not None
        rows = tuple(r for r in found.body if r[1] != row)
        if (yield from p.store.replace(f"{p.root}/published", rows, found.tag)):
            break
    for table in MAINS:
        for key in sorted((yield from p.store.table(p.name(table))).keys):
            yield from sweep(p, table, key)


def end_takedown(p: Process, row: int) -> Proc[None]:
    """Delete the files that still hold a row taken down, whoever pins them; their runs plan again."""
    yield from open_lake(p)
    yield from p.store.create(f"{p.root}/ended/{row}", row)
    for path in (yield from p.store.list(f"{p.root}/runs/")):
        name = path.rpartition("/")[2]
        if name.startswith(("main-", "part-", "quarantine-")):
            found = yield from p.store.read(path)
            body = found.body if found else ()
            names = body if name.startswith("quarantine-") else [r for r, _ in rows_of(body)]
            if row in names:
                yield from p.store.delete(path)


def release(p: Process) -> Proc[None]:
    """Publish the captions of every key that is up to date, if the published pointer has not moved meanwhile."""
    yield from open_lake(p)
    pointer = yield from p.store.read(f"{p.root}/published")
    captions = (yield from p.store.table(p.name("captions"))).keys
    yield from settle_pending(p)
    marked = {path.split("/")[-2] for path in (yield from p.store.list(f"{p.root}/marks/pairs/"))}
    pairs = (yield from p.store.table(p.name("pairs"))).keys
    gone = yield from taken(p)
    rows: list[tuple[str, int]] = []
    for key, main in sorted(captions.items()):
        if key in marked or key not in pairs or pairs[key].identity != main.source:
            continue
        for file in main.files:
            found = yield from p.store.read(file)
            if found is None:
                raise Conflict("captions were replaced meanwhile")
            rows += [(key, row) for row, _ in rows_of(found.body) if row not in gone]
    assert pointer is not None
    if (yield from p.store.replace(f"{p.root}/published", tuple(rows), pointer.tag)):
        p.seen["released rows"] += len(rows)
    else:
        p.seen["release refused"] += 1


def read(p: Process, table: str, key: str) -> Proc[None]:
    """A reader: opens the current commit, reads it slowly, and must get exactly its rows."""
    yield from open_lake(p)
    main, start = (yield from main_of(p, table, key)), p.store.clock
    rows: list[tuple[int, str]] = []
    for file in main.files if main else ():
        found = yield from p.store.read(file)
        if found is None:
            if p.store.clock - start <= GRACE and not any("/ended/" in path for path in p.store.objects):
                raise Violation(f"{file} was deleted under a reader")
            return
        rows += rows_of(found.body)
    if main and digest(tuple(rows)) != main.content:
        raise Violation(f"a reader of {table} {key} got rows that were never committed")


def kept(p: Process) -> Proc[set[str]]:
    """Runs that are committed or were until recently, and files that live plans pin."""
    found: set[str] = set()
    for table in MAINS:
        mains = yield from p.store.table(p.name(table))
        found |= {f"{k}/{m.run}" for k, m in mains.keys.items()}
        young = [(k, m) for at, name, k, m in p.store.replaced if name == p.name(table) and p.store.clock - at <= GRACE]
        found |= {f"{k}/{m.run}" for k, m in young}
    for path in (yield from p.store.list(p.root)):  # previews are below the same root
        if path.endswith("/plan.json"):
            plan = yield from p.store.read(path)
            if plan and isinstance(plan.body, Plan):
                found |= {file for file, _ in plan.body.pins}
    return found


def maintain(p: Process) -> Proc[None]:
    """Withdraw dead plans under their leases, move the bases, then delete what is still unused."""
    yield from open_lake(p)
    if "maintain-by-age" in p.bugs:
        yield from _delete_by_age(p)
        return
    alive = yield from kept(p)
    withdrawn: list[Retired] = []
    for path in [path for path in (yield from p.store.list(f"{p.root}/runs/")) if path.endswith("/plan.json")]:
        found = yield from p.store.read(path)
        if found is None or (isinstance(found.body, Plan) and not (yield from _dead(p, found.body, alive))):
            continue
        plan = found.body.plan if isinstance(found.body, Retired) else found.body
        retired = Retired(plan, f"{p.owner}-{p.store.number()}")
        if "lease-alone" in p.bugs or (yield from p.store.replace(path, retired, found.tag)):
            withdrawn.append(retired)
    if withdrawn and "lease-alone" not in p.bugs:
        for table in MAINS:
            yield from p.store.move_base(p.name(table))
    for retired in withdrawn:
        yield from _delete_run(p, retired)


def _dead(p: Process, plan: Plan, alive: set[str]) -> Proc[bool]:
    files = yield from p.store.list(f"{plan.folder}/")
    times = [p.store.objects[f].at for f in [plan.path, *files] if f in p.store.objects]
    if max(times, default=0) + GRACE >= p.store.clock or alive & {f"{plan.key}/{plan.run}", *files}:
        return False
    for chunk in (0, 1):
        path = f"{plan.folder}/lease-{chunk}"
        lease = yield from p.store.read(path)
        if lease and lease.body and p.store.clock - lease.at < TTL:
            return False
        if not (yield from p.store.replace(path, (p.owner, p.attempt), lease.tag if lease else None)):
            return False
    return True


def _delete_run(p: Process, retired: Retired) -> Proc[None]:
    plan = retired.plan
    used = yield from kept(p)  # once is enough: nobody can commit or pin a withdrawn run from here on
    files = yield from p.store.list(f"{plan.folder}/")
    if used & {f"{plan.key}/{plan.run}", *files}:
        return
    # plan.json stays, withdrawn: the store cannot delete it only if it has not been replaced meanwhile.
    for path in files:
        found = yield from p.store.read(plan.path)
        if "lease-alone" not in p.bugs and (found is None or found.body != retired):
            return
        p.seen["files deleted"] += 1
        yield from p.store.delete(path)


def _delete_by_age(p: Process) -> Proc[None]:
    alive: set[str] = set()
    for table in MAINS:
        alive |= {f"{k}/{m.run}" for k, m in (yield from p.store.table(p.name(table))).keys.items()}
    for path in (yield from p.store.list(f"{p.root}/runs/")):
        found = yield from p.store.read(path)
        if found and p.store.clock - found.at > GRACE and "/".join(path.split("/")[3:6]) not in alive:
            yield from p.store.delete(path)


def accept(p: Process) -> Proc[None]:
    """A person accepts every blocked run."""
    for path in (yield from p.store.list(f"{p.root}/verdicts/")):
        verdict = yield from p.store.read(path)
        if verdict and not verdict.body:
            yield from p.store.create(path.replace("/verdicts/", "/accepted/"), "looked at by a person")


def again(p: Process, key: str) -> Proc[None]:
    """Remake a key: a mark named by the request, so that each try of it plans the same run."""
    yield from open_lake(p)
    if "generation" not in p.bugs:
        yield from p.store.create(f"{p.root}/marks/pairs/{key}/again-{p.request}", key)
    yield from run(p, "pairs", key)


def preview(p: Process, key: str) -> Proc[None]:
    """A limited run, in a lake of its own that reads through to the real one."""
    if "limit-replaces" not in p.bugs:
        p.under, p.root = p.root, f"{p.root}.preview"
    yield from run(p, "pairs", key)
    yield from run(p, "captions", key)


def roll_back(p: Process, key: str, old: Main) -> Proc[None]:
    """Commit an earlier run of a key again, by its name, and hold the key there."""
    yield from open_lake(p)
    yield from p.store.create(f"{p.root}/holds/pairs/{key}", old.run)
    path = f"{p.root}/runs/pairs/{key}/{old.fingerprint}/plan.json"
    plan, sealed = (yield from p.store.read(path)), (yield from p.store.read(old.sealed))
    now = yield from main_of(p, "pairs", key)
    if plan is None or sealed is None or not isinstance(plan.body, Plan) or plan.body.run != old.run or now is None:
        raise Conflict("that run is gone")
    p.saw = now.origin
    p.plan = replace(plan.body, base=base_of(p, now))
    yield from commit(p, p.plan, sealed.body.first or old.sealed)
    p.seen["rolled back"] += 1


def step_back(p: Process, wanted: int) -> Proc[None]:
    """Set the pointer to a named version; a refusal is read back before it is believed."""
    path = f"{p.root}/promoted"
    for _ in range(TRIES):
        found = yield from p.store.read(path)
        assert found is not None
        if found.body == wanted and "rollback-retry" not in p.bugs:
            return
        new = found.body - 1 if "rollback-retry" in p.bugs else wanted
        if (yield from p.store.replace(path, new, found.tag)):
            return
