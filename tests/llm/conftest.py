"""Clients of a provider on this machine that answers what a test wrote down for it."""

from __future__ import annotations

import pytest
from recorded_provider import Provider

from agentmemo.clock import ManualClock
from agentmemo.llm import config
from agentmemo.llm.protocol import Message, ModelRequest

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def client_of(provider, clock):
    """`client_of("openai", "stream = true")`: the configured model `small` at the provider, with a key."""
    made = []

    def make(kind, *lines, address=None, given=None):
        text = "\n".join(
            [
                "[models.small]",
                f'provider = "{kind}"',
                'model = "small-1"' if not any(line.startswith("model =") for line in lines) else "",
                f'base_url = "{address or provider.address}"',
                'key_env = "THE_KEY"',
                *lines,
            ]
        )
        models = config.load(environ={"AGENTMEMO_MODELS": text, "THE_KEY": KEY}, clock=given or clock)
        made.append(models)
        return models.client("small")

    yield make
    for models in made:
        models.close()


def asking(text="Hello", **options):
    return ModelRequest(messages=(Message(role="user", content=text),), **options)


@pytest.fixture
def ask():
    """`ask("Hello", temperature=0.0)`: a request of one message."""
    return asking


@pytest.fixture
def credential():
    """The key that `client_of` gives."""
    return KEY
