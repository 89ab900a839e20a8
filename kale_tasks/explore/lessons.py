"""Rows that trainers read: conversations, better and worse captions, and near pictures with their difference."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import cached_property
from pathlib import Path
from typing import Any

from kale_tasks.errors import BadConfig, Conflict
from kale_tasks.explore.preferences import Verified, rated, voted
from kale_tasks.imaging import file_ending
from kale_tasks.lake.partition import Partition
from kale_tasks.lake.shards import Span, read_images
from kale_tasks.lake.snapshot import Snapshot
from kale_tasks.lake.tables import Lake
from kale_tasks.recipes.recipe import Recipe
from kale_tasks.release.formats.text import question
from kale_tasks.selection.vectors import product, whole
from kale_tasks.text.alttext import prepare_alt

Row = dict[str, Any]
_ROWS = 4096  # whose images are in memory, and that are compared with each other: uids are hashes, so it is a sample
_NEAR, _COPY = 0.6, 0.98  # cosines of near pictures: from related to nearly the same
_MARK = "<image>"


@dataclass(frozen=True)
class Lessons:
    """The captions of a key and recipe as rows for a trainer. Each image becomes a file of `folder`."""

    lake: Lake
    key: str
    recipe: Recipe
    folder: Path

    def sft(self) -> Iterator[Row]:
        """Conversations as TRL reads them: messages, and the images that they are about."""
        for row in self._rows():
            asked = question("chat").removeprefix(f"{_MARK}\n")
            content = [{"type": "image"}, {"type": "text", "text": asked}]
            answer = [{"type": "text", "text": row["caption"]}]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
            yield {"id": row["uid"], "images": [row["image"]], "messages": messages}

    def llava(self) -> Iterator[Row]:
        """Conversations as LLaVA reads them; `<image>` marks the place of the image."""
        for row in self._rows():
            turns = [{"from": "human", "value": question("chat")}, {"from": "gpt", "value": row["caption"]}]
            yield {"id": row["uid"], "image": row["image"], "conversations": turns}

    def dpo(self) -> Iterator[Row]:
        """A better and a worse text of an image: of rated candidates, by votes of people, and by verification.

        The prompt is that of the student, with the alt-text from which a text may know names.
        """
        votes, verified = voted(self.lake, self.key, self.recipe.name), Verified(self.lake, self.key, self.recipe)
        for block in self._blocks():
            corrected = verified.between(block[0]["uid"], block[-1]["uid"])
            for row in block:
                uid = row["uid"]
                for pair in (*rated(row["candidates"]), *votes.get(uid, ()), *corrected.get(uid, ())):
                    chosen, rejected = (
                        [{"role": "assistant", "content": text}] for text in (pair.chosen, pair.rejected)
                    )
                    yield {"id": uid, "images": [row["image"]], "prompt": self._prompt(row["alt_text"]),
                           "chosen": chosen, "rejected": rejected, "source": pair.source, **pair.scores}  # fmt: skip

    def composed(self) -> Iterator[Row]:
        """Pairs for composed retrieval: an image, what is to be changed, and the image that is so."""
        vectors = self._vectors()
        for block in self._blocks():
            known = vectors.between(block[0]["uid"], block[-1]["uid"], ["vector"])
            places = {uid: place for place, uid in enumerate(known["uid"].to_pylist())}
            rows = [row for row in block if row["uid"] in places]
            if len(rows) < 2:
                continue
            matrix = whole(known["vector"], vectors.partition.name)[[places[row["uid"]] for row in rows]]
            near = matrix @ matrix.T
            near[near >= product(_COPY)] = 0  # itself, and copies
            for first, second in enumerate(near.argmax(1).tolist()):
                change = difference(rows[first]["caption"], rows[second]["caption"])
                if near[first, second] >= product(_NEAR) and change:
                    yield {
                        "reference": rows[first]["uid"], "target": rows[second]["uid"], "modification": change,
                        "reference_image": rows[first]["image"], "target_image": rows[second]["image"],
                        "target_caption": rows[second]["caption"],
                        "cosine": float(near[first, second]) / product(1),
                    }  # fmt: skip

    def _rows(self) -> Iterator[Row]:
        for block in self._blocks():
            yield from block

    def _blocks(self) -> Iterator[list[Row]]:
        """Yield captions with the path of their image, which is written by then; those without one are left out."""
        for captions in self._captions:
            for start in range(0, captions.count, _ROWS):
                stop = min(start + _ROWS, captions.count)
                rows = captions.read(start, stop, ["uid", "caption", "candidates", "alt_text"]).to_pylist()
                places = self._images.between(rows[0]["uid"], rows[-1]["uid"], ["shard", "offset", "length", "status"])
                stored = {row.pop("uid"): row for row in places.to_pylist() if row.pop("status") == "ok"}
                found = [row for row in rows if row["uid"] in stored and row["caption"]]
                spans = [Span(**stored[row["uid"]]) for row in found]
                for row, data in zip(found, read_images(self.lake, spans), strict=True):
                    row["image"] = self._write(row["uid"], data)
                if found:
                    yield found

    def _prompt(self, alt_text: str | None) -> list[Row]:
        prompt = self.recipe.task("student").prompt
        messages = prompt.messages({"alt": prepare_alt(alt_text or "").useful}, image=True)
        return [{**one, "content": _parts(one["content"])} for one in messages]

    def _write(self, uid: str, data: bytes) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{uid}.{file_ending(data)}"
        path.write_bytes(data)
        return f"{self.folder.name}/{path.name}"

    @cached_property
    def _captions(self) -> list[Snapshot]:
        found = [
            Snapshot.open(self.lake, partition)
            for partition in self.lake.partitions("captions")
            if partition.key == self.key and partition.columns["recipe"] == self.recipe.name
        ]
        if not found:
            raise Conflict(
                f"There are no captions of the recipe '{self.recipe.name}' for {self.key} yet. Run captions first."
            )
        return found

    @cached_property
    def _images(self) -> Snapshot:
        return Snapshot.open(self.lake, Partition("images", self.key))

    def _vectors(self) -> Snapshot:
        for partition in self.lake.partitions("texts"):
            if partition.key == self.key:
                found = Snapshot.open(self.lake, partition)
                if found.count and found.read(0, 1, ["vector"])["vector"][0].is_valid:
                    return found
        raise BadConfig(f"No pass has encoded the images of {self.key}. Give the recipe a pass `embed`, and run it.")


def difference(before: str, after: str) -> str:
    """Say in a few words what one caption has and the other has not; empty if they have nothing in common."""
    old, new = before.split(), after.split()
    matcher = SequenceMatcher(None, [_plain(word) for word in old], [_plain(word) for word in new], autojunk=False)
    said = []
    for kind, start, stop, begin, end in matcher.get_opcodes():
        gone, come = " ".join(old[start:stop]).strip(".,;"), " ".join(new[begin:end]).strip(".,;")
        if kind == "replace":
            said.append(f"{come} instead of {gone}")
        elif kind == "insert":
            said.append(f"with {come}")
        elif kind == "delete":
            said.append(f"without {gone}")
    return "; ".join(said) if matcher.ratio() > 0 else ""


def _plain(word: str) -> str:
    return word.strip(".,;:!?\"'()").casefold()


def _parts(content: Any) -> list[Row]:
    """The content of a message as a list in any case: a column of a data set has one type."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


KINDS: Mapping[str, Callable[[Lessons], Iterator[Row]]] = {
    "sft": Lessons.sft,
    "llava": Lessons.llava,
    "dpo": Lessons.dpo,
    "composed": Lessons.composed,
}
