"""Several sources on one timeline, and the files that keep them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from multiview.timeline._errors import TimelineError
from multiview.timeline._timeline import Timeline

FORMAT_VERSION = 1


@dataclass(frozen=True)
class TimelineSet(Mapping[str, Timeline]):
    """Several sources on one timeline, by name; reads and writes JSON and YAML."""

    timelines: Mapping[str, Timeline]
    reference: str | None = None
    """the source whose own clock is the common timeline, or None when the timeline is UTC"""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """whatever the maker wants to keep beside it (residuals, verdict), plain JSON values"""

    def __post_init__(self) -> None:
        if self.reference is not None and self.reference not in self.timelines:
            raise TimelineError(f"the reference {self.reference!r} is not among the sources")

    def __getitem__(self, name: str) -> Timeline:
        return self.timelines[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.timelines)

    def __len__(self) -> int:
        return len(self.timelines)

    def as_dict(self) -> dict[str, Any]:
        """Return the plain form that JSON and YAML carry."""
        return {
            "version": FORMAT_VERSION,
            "reference": self.reference,
            "timelines": {name: line.as_dict() for name, line in self.timelines.items()},
            "extra": dict(self.extra),
        }

    @classmethod
    def from_dict(cls, data: Any) -> TimelineSet:
        """Restore a set from its plain form."""
        if not isinstance(data, Mapping) or not isinstance(data.get("timelines"), Mapping):
            raise TimelineError("this is no timeline file: it has no 'timelines'")
        if data.get("version") != FORMAT_VERSION:
            raise TimelineError(f"timeline format {data.get('version')!r} is not known here")
        lines = {str(name): Timeline.from_dict(line) for name, line in data["timelines"].items()}
        return cls(lines, data.get("reference"), data.get("extra") or {})

    def to_json(self) -> str:
        """Return the set as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> TimelineSet:
        """Restore a set from JSON text."""
        try:
            return cls.from_dict(json.loads(text))
        except json.JSONDecodeError as error:
            raise TimelineError(f"not JSON: {error}") from error

    def to_yaml(self) -> str:
        """Return the set as YAML text."""
        return yaml.safe_dump(self.as_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> TimelineSet:
        """Restore a set from YAML text."""
        try:
            return cls.from_dict(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise TimelineError(f"not YAML: {error}") from error
