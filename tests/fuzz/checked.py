"""What every answer is held to: all of schemathesis's checks but one, and where two of them need to know more.

`object_level_authorization` is left out: it takes for granted that what one identity made no other may see. Here what
is seen goes by grants on namespaces, whoever made it.
"""

from __future__ import annotations

import re

import schemathesis
from schemathesis import checks
from schemathesis.checks import CheckContext, load_all_checks
from schemathesis.core.failures import FailureGroup

REFUSALS = ["401", "403", "404", "409", "410", "412", "413"]
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            # Whatever is refused is refused by a problem, and which status it has the next check says.
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "304", *REFUSALS]},
        }
    }
)
# How a request is refused whose shape is not the described one. Other refusals follow rules that are not its shape.
# JSON Schema takes 1.0 for an integer, and the server does not.
_SHAPE = re.compile(
    r"The request does not fit(?!: Expected `int.*got `float`)"
    r"|Unknown field|The body is|`.*` does not fit",
    re.DOTALL,
)

load_all_checks()


def positive_data_acceptance(
    ctx: CheckContext, response: schemathesis.Response, case: schemathesis.Case
) -> bool | None:
    """The check of that name, for the shape: what has the described one is never refused for its shape.

    Which cursor is ours, which handle is one, what two fields mean together, is refused by rules and not by the shape.
    """
    if response.status_code == 400 and not _SHAPE.match(response.json()["message"]):
        return None
    return checks.positive_data_acceptance(ctx, response, case)  # type: ignore[no-any-return]


ALONE = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    positive_data_acceptance,
    checks.missing_required_header,
    checks.unsupported_method,
    checks.allow_header_conformance,
]
# These ask what earlier requests of the same chain did.
OF_CHAINS = [*ALONE, checks.use_after_free, checks.ensure_resource_availability, checks.ignored_auth]


def failures_of(case: schemathesis.Case, answer: schemathesis.Response, checks_: list, **more) -> list:
    try:
        case.validate_response(answer, checks=checks_, **more)
    except FailureGroup as group:
        return list(group.exceptions)
    return []
