"""The base class of every settings section, and the field for settings that never change a row."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

_RUNTIME: dict[str, Any] = {"runtime": True}


def runtime(description: str, **constraints: Any) -> Any:
    """Declare a field that decides how work is done (workers, endpoints, device), not what rows it makes."""
    return Field(description=description, json_schema_extra=_RUNTIME, **constraints)


class Section(BaseModel):
    """A frozen group of settings that accepts no unknown name."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    def semantic(self) -> dict[str, Any]:
        """Return the settings that change rows, as plain values; a step's fingerprint contains them."""
        return {
            name: value.semantic() if isinstance(value := getattr(self, name), Section) else _plain(self, name)
            for name, field in type(self).model_fields.items()
            if field.json_schema_extra != _RUNTIME
        }


def _plain(section: Section, name: str) -> Any:
    return section.model_dump(mode="json", include={name})[name]
