"""Values as they are stored: encoded, bounded, and those that are large stored as blobs at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agentmemo import ids
from agentmemo.errors import LimitExceeded
from agentmemo.model.audit import commit
from agentmemo.model.values import encode_and_decode, encode_and_decode_result
from agentmemo.store import blobs

if TYPE_CHECKING:
    from agentmemo.engine.call import Call

# A value of null is a value; null inputs or a null result are the same as none.
ALWAYS_STORED = "value"


def pack(call: Call, value: Any, field: str) -> blobs.Packed:
    """Encode one value. Raises InvalidInput with the path inside it, or LimitExceeded when it is too large.

    A result or inputs may hold what msgspec knows, as they are read back into a type; a value is kept exactly.
    """
    content, plain = encode_and_decode(value) if field == ALWAYS_STORED else encode_and_decode_result(value)
    # Whoever wrote it meets it as everybody else does: as the JSON it was stored as.
    return packed_content(call, content, plain, field)


def packed_content(call: Call, content: bytes, original: Any, field: str) -> blobs.Packed:
    limit = call.engine.settings.value_bytes_max
    if len(content) > limit:
        raise LimitExceeded(
            f"The value has {len(content)} bytes; {limit} is the most.",
            next_call="Store it in parts, or raise AGENTMEMO_VALUE_BYTES_MAX on the plane.",
            details={"bytes": len(content), "limit": limit},
        )
    return stored(call, content, original, field)


def stored(call: Call, content: bytes, original: Any, field: str) -> blobs.Packed:
    """Packed, whatever its size; a large one is stored now."""
    _, blob_key = call.engine.names.workspace(call.caller.workspace)
    packed = blobs.pack(call.engine.database, call.workspace, blob_key, content, original)
    salt = ids.salt()
    return msgspec.structs.replace(packed, salt=salt, commitment=commit(field, packed.source, salt))
