"""Documents that people write: strict, and refused with the path of what does not fit and what would."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, get_args

import msgspec

from agentmemo.errors import InvalidInput
from agentmemo.model.kinds import described

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<field>.*?)`")
_AT = re.compile(r" - at `(?P<path>\$.*)`$")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A document, or a part of one."""


D = TypeVar("D", bound=Document)


def parse(kind: type[D], data: Any, what: str, example: Any, path: str = "$") -> D:
    """Plain JSON as a document, which stands at `path` of a larger one.

    Raises InvalidInput naming the path and the nearest field, or an example that fits.
    """
    try:
        return msgspec.convert(data, described(kind))
    except msgspec.ValidationError as error:
        where = _AT.search(str(error))
        unknown = _UNKNOWN.match(str(error))
        names = {name for part in _parts(kind, set()) for name in part.__struct_encode_fields__}
        # The name itself may be one of another part; that would be no advice.
        fitting = sorted(names - {unknown["field"]}) if unknown else []
        near = difflib.get_close_matches(unknown["field"], fitting, n=1, cutoff=0.5) if unknown else []
        raise misfit(
            path + (where["path"].removeprefix("$") if where else ""),
            f"the {what} does not fit: {_AT.sub('', str(error))}",
            f"Did you mean `{near[0]}`?" if near else f"Send a document such as {encode_example(example)}.",
        ) from None


def misfit(path: str, what: str, next_call: str) -> InvalidInput:
    return InvalidInput(f"At {path}: {what}.", next_call=next_call, details={"path": path})


def encode_example(example: Any) -> str:
    return msgspec.json.encode(example).decode()


def zone_of(name: str, path: str = "$.zone") -> ZoneInfo:
    """Raises InvalidInput for what is no time zone."""
    from zoneinfo import ZoneInfo  # here, for most documents name no zone

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # OSError: what names a folder of zones, such as Europe
        raise misfit(
            path, f"{name[:64]!r} is not a time zone", "Use an IANA name such as Europe/Berlin or UTC."
        ) from None


def moment(text: str, zone: datetime.tzinfo, path: str) -> int:
    """Microseconds of an ISO 8601 time; without an offset it is the local time of the zone. Raises InvalidInput."""
    try:
        found = datetime.datetime.fromisoformat(text)
        return microseconds(found if found.tzinfo else found.replace(tzinfo=zone))
    except (ValueError, OverflowError):
        raise misfit(
            path, f"{text[:64]!r} is not a time", "Use 2026-12-24T09:00, with an offset or in the document's zone."
        ) from None


def microseconds(when: datetime.datetime) -> int:
    """As in RFC 5545: a local time that is skipped has the offset from before, one that comes twice is the first."""
    return (when - EPOCH) // MICROSECOND


def local(at_us: int, zone: datetime.tzinfo) -> datetime.datetime:
    return (EPOCH + at_us * MICROSECOND).astimezone(zone)


def _parts(kind: Any, met: set[Any]) -> Iterator[type[Document]]:
    """Every document a type mentions, however deep; one that holds its own kind is met once."""
    if isinstance(kind, type) and issubclass(kind, Document):
        if kind in met:
            return
        met.add(kind)
        yield kind
        for field in msgspec.structs.fields(kind):
            yield from _parts(field.type, met)
        return
    for inner in get_args(kind):
        yield from _parts(inner, met)
