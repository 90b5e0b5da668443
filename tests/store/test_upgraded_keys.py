"""An upgrade gives the keys that agents have what agents need by now, and nobody else anything."""

from __future__ import annotations

import apsw
import msgspec
import pytest

from agentmemo.model.access import AGENT_DEFAULT, PERSON_ONLY, allows, grants_from
from agentmemo.store.migrate import migrations

BEFORE = (
    '[{"namespaces":["*"],"permissions":["state:*","runs:read","runs:write","handoffs:read","handoffs:write",'
    '"audit:read","system:read"]}]'
)


@pytest.mark.parametrize("holder", ["agent", "service"])
def test_keys_of_before_may_do_what_new_ones_may(holder):
    connection = apsw.Connection(":memory:")
    scripts = [script for _, script in migrations("sqlite")]
    for script in scripts[:2]:
        connection.execute(script)
    connection.execute(
        "INSERT INTO credential (id, workspace, kind, actor, hash, label, grants, created_at) "
        "VALUES ('a', 1, ?, 1, x'', '', ?, 1)",
        (holder, BEFORE),
    )
    for script in scripts[2:]:
        connection.execute(script)
    (text,) = connection.execute("SELECT grants FROM credential").fetchone()
    grants = grants_from(msgspec.json.decode(text))
    assert allows(grants, "policies:read") is (holder == "agent")
    assert not any(allows(grants, permission) for permission in PERSON_ONLY)
    assert holder != "agent" or all(allows(grants, permission) for permission in AGENT_DEFAULT.permissions)
