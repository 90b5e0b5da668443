"""Refusals, hints, time and keys, the same for every provider."""

from __future__ import annotations

import logging
import pickle
import threading

import pytest

from agentmemo import errors
from agentmemo.clock import SECOND, SystemClock
from agentmemo.llm import config
from agentmemo.llm.exchange import ATTEMPTS

GOOD = {"model": "small-1", "choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}


@pytest.mark.parametrize(
    ("hint", "seconds"),
    [
        ({"retry_after": "7"}, 7),
        ({"retry_after_ms": "250", "retry_after": "9"}, 0.25),
        ({"retry_after": "Sun, 15 Jun 2025 15:06:50 GMT"}, 10),
    ],
)
def test_the_providers_hint_is_waited_for(provider, client_of, ask, clock, hint, seconds):
    before = clock.now_us()
    assert before == 1_750_000_000 * SECOND  # 15:06:40
    provider.answer({"error": {"message": "slow down"}}, 429, **hint)
    provider.answer(GOOD)
    assert client_of("openai").complete(ask()).text == "Hi"
    assert clock.now_us() - before == seconds * SECOND


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503, 529])
def test_what_passes_by_itself_is_tried_again_so_many_times(provider, client_of, ask, clock, status):
    provider.answers = [(status, {}, {"error": {"type": "overloaded_error", "message": "busy"}})] * ATTEMPTS
    before = clock.now_us()
    with pytest.raises(errors.Unavailable, match=str(status)) as refused:
        client_of("anthropic").complete(ask())
    assert (refused.value.why, refused.value.retry_safe) == ("busy", True)
    assert "may_be_billed" not in refused.value.details
    assert len(provider.got) == ATTEMPTS
    assert 3 < (clock.now_us() - before) / SECOND < 12


def test_a_hint_beyond_the_calls_time_is_passed_on(provider, client_of, ask):
    provider.answer({"error": {"message": "slow down"}}, 429, retry_after="30")
    with pytest.raises(errors.Unavailable) as refused:
        client_of("openai").complete(ask(timeout_seconds=20.0))
    assert refused.value.details["retry_after_seconds"] == 30
    assert len(provider.got) == 1


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"message": "bad schema", "type": "invalid_request_error"}, errors.InvalidInput),
        (401, {"message": "no such key"}, errors.NotAuthenticated),
        (402, {"message": "no credit"}, errors.LimitExceeded),
        (403, {"message": "not this model"}, errors.PermissionDenied),
        (404, {"message": "no such model"}, errors.NotFound),
        (413, {"message": "too long"}, errors.LimitExceeded),
        (422, {"message": "what?"}, errors.InvalidInput),
        (429, {"message": "out of money", "code": "insufficient_quota"}, errors.LimitExceeded),
        (302, {"message": "elsewhere"}, errors.InvalidInput),
    ],
)
def test_what_stays_refused_is_not_tried_again(provider, client_of, ask, status, error, kind):
    provider.answer({"error": error}, status, location="http://127.0.0.1:9/")
    with pytest.raises(kind) as refused:
        client_of("openai").complete(ask())
    assert type(refused.value) is kind
    assert (refused.value.why, refused.value.retry_safe) == (error["message"], False)
    assert refused.value.next_call
    assert len(provider.got) == 1


def test_a_provider_may_say_that_trying_again_is_useless(provider, client_of, ask):
    provider.answer({"error": {"message": "no"}}, 500, x_should_retry="false")
    with pytest.raises(errors.Unavailable):
        client_of("openai").complete(ask())


def test_a_lost_answer_is_not_paid_twice(provider, client_of, ask):
    provider.answers = [None]
    with pytest.raises(errors.Unavailable, match="lost") as lost:
        client_of("openai").complete(ask())
    assert lost.value.details == {"may_be_billed": True}
    assert len(provider.got) == 1


def test_a_server_that_is_not_there_is_tried_again_and_costs_nothing(client_of, ask, clock):
    before = clock.now_us()
    with pytest.raises(errors.Unavailable, match="not reached") as unreached:
        client_of("openai", address="http://127.0.0.1:9/v1").complete(ask())
    assert unreached.value.details == {}
    assert clock.now_us() > before


@pytest.mark.parametrize("how", ["silence", "drops"])
def test_what_never_ends_is_ended_in_time(provider, client_of, ask, how):
    provider.answers = [how]
    with pytest.raises(errors.TimedOut, match="1 s") as late:
        client_of("openai", given=SystemClock()).complete(ask(timeout_seconds=1.0))
    assert late.value.details == {"may_be_billed": True}


def test_many_threads_share_one_client(provider, client_of, ask):
    client, texts = client_of("openai"), []
    provider.answers = [(200, {}, GOOD)] * 8
    threads = [threading.Thread(target=lambda: texts.append(client.complete(ask()).text)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert texts == ["Hi"] * 8


@pytest.mark.parametrize(
    "lines", [("openai",), ("anthropic",), ("openai", "stream = true"), ("anthropic", "stream = true")]
)
@pytest.mark.parametrize("status", [401, 500, 200])
def test_the_key_is_in_no_log_error_or_address(provider, client_of, ask, credential, caplog, lines, status):  # noqa: PLR0917
    caplog.set_level(logging.DEBUG)
    client = client_of(*lines)
    told = {"type": "error", "error": {"message": f"bad key {credential} of {credential}"}}
    provider.answers = [(status, {"x-should-retry": "false"}, [told] if "stream = true" in lines else told)]
    with pytest.raises(errors.Error) as refused:
        client.complete(ask())
    path, headers, _ = provider.got[0]
    assert credential in (headers.get("authorization", "") + headers.get("x-api-key", ""))
    chain, texts = refused.value, []
    while chain is not None:
        texts += [str(chain), repr(chain), repr(vars(chain))]
        chain = chain.__cause__ or chain.__context__
    texts += [path, caplog.text, repr(client), repr(vars(client)["_settings"]), repr(pickle.dumps(refused.value))]
    assert [text for text in texts if credential in text] == []


@pytest.mark.parametrize("key", ["", "  ", "two words", "line\nbreak", "clé"])
def test_what_is_no_key_is_refused_before_anything_is_sent(provider, ask, key):
    text = f'[models.a]\nprovider = "openai"\nmodel = "m"\nkey_env = "THE_KEY"\nbase_url = "{provider.address}"'
    models = config.load(environ={"AGENTMEMO_MODELS": text, "THE_KEY": key})
    with pytest.raises(errors.NotAuthenticated) as refused:
        models.client("a").complete(ask())
    assert not key.strip() or key not in str(refused.value)
    assert provider.got == []


def test_a_key_file_is_for_its_owner_alone(provider, ask, credential, tmp_path):
    secret = tmp_path / "key"
    secret.write_text(f"{credential}\n")
    text = f'[models.a]\nprovider = "anthropic"\nmodel = "m"\nkey_file = "{secret}"\nbase_url = "{provider.address}"'
    models = config.load(environ={"AGENTMEMO_MODELS": text})
    secret.chmod(0o640)
    with pytest.raises(errors.NotAuthenticated, match="Others may read"):
        models.client("a").complete(ask())
    secret.chmod(0o600)
    provider.answer({"content": [], "model": "m", "stop_reason": "end_turn"})
    models.client("a").complete(ask())
    models.close()
    assert provider.got[0][1]["x-api-key"] == credential


def test_an_address_of_ones_own_is_not_sent_the_key_of_another(provider, ask, credential):
    text = f'[models.a]\nprovider = "openai"\nmodel = "m"\nbase_url = "{provider.address}"'
    models = config.load(environ={"AGENTMEMO_MODELS": text, "OPENAI_API_KEY": credential})
    provider.answer(GOOD)
    models.client("a").complete(ask())
    models.close()
    assert "authorization" not in provider.got[0][1]
