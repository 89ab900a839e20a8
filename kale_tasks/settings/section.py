"""The base class of every settings section, and the marks of fields that a fingerprint leaves out."""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field

_ALWAYS_HASHED = object()


def runtime(description: str, **constraints: Any) -> Any:
    """Declare a field that decides how work is done (workers, endpoints, device), not what rows it makes."""
    return Field(description=description, json_schema_extra={"runtime": True}, **constraints)


def neutral(value: Any, description: str | None = None, **constraints: Any) -> Any:
    """Declare a field that has no effect at one value, such as a rule that is off at null.

    At that value the field is left out of fingerprints. A new field whose default is its neutral value therefore
    changes no fingerprint: rows that were made before it existed stay current.
    """
    return Field(description=description, json_schema_extra={"neutral": value}, **constraints)


class Section(BaseModel):
    """A frozen group of settings that accepts no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def semantic(self) -> dict[str, Any]:
        """Return the settings that change rows, as plain values; a step's fingerprint contains them.

        Fields at their neutral value are left out, and sections of which nothing is left.
        """
        found = {}
        for name, field in type(self).model_fields.items():
            marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            value, no_effect = getattr(self, name), marks.get("neutral", _ALWAYS_HASHED)
            if isinstance(value, Section):
                plain: Any = value.semantic()
                no_effect = {}
            else:
                plain = self.model_dump(mode="json", include={name})[name]
            if "runtime" not in marks and plain != no_effect:
                found[name] = plain
        return found

    def row_relevant(self) -> dict[str, Any]:
        """Return every setting that can change rows, as plain values, also those at their neutral value."""
        found = {}
        for name, field in type(self).model_fields.items():
            marks = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            value = getattr(self, name)
            if isinstance(value, Section):
                found[name] = value.row_relevant()
            elif "runtime" not in marks:
                found[name] = self.model_dump(mode="json", include={name})[name]
        return found

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return a copy with other values, given as `row_relevant` returns them. ValueError if a name is unknown."""
        known: dict[str, Any] = {name: getattr(self, name) for name in type(self).model_fields}
        nested = {n: known[n].with_values(v) for n, v in values.items() if isinstance(known.get(n), Section)}
        return type(self).model_validate({**known, **values, **nested})
