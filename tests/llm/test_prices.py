"""Who is asked for a price, in which order; and that nobody knowing it is not the same as its being nothing."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import resources

import pytest

from agentmemo.clock import parse_iso
from agentmemo.errors import InvalidInput
from agentmemo.llm import config, installed_prices
from agentmemo.llm.prices import PriceBook, book_of, shipped
from agentmemo.model.prices import Price, Rates, Usage, cost_nanousd

NOW = parse_iso("2026-11-23T12:00:00")
USD = 1_000_000_000


def nobody(_model, _at_us, _provider):
    return None


def models(*parts):
    return config.load(environ={"AGENTMEMO_MODELS": "\n".join(parts) + "\n"})


def model(name, called, *lines):
    return "\n".join([f"[models.{name}]", f"model = '{called}'", *lines])


def rates(price):
    return price and (price.rates.input, price.rates.output)


def test_the_shipped_table_is_dated_and_says_where_it_is_from():
    price = shipped("claude-haiku-5-5-20261001", NOW, "anthropic")
    assert rates(price) == (USD // 10, USD // 2)
    assert cost_nanousd(price, Usage(input_tokens=100_001, output_tokens=0)) == 50_000_500
    table = resources.files("agentmemo.model").joinpath("prices.json").read_bytes()
    assert price.table_hash == hashlib.sha256(table).hexdigest()
    assert "2026-11-23" in price.source


@pytest.mark.parametrize(("day", "usd"), [("2026-11-30", 2), ("2026-12-01", 4)])
def test_prices_change_on_their_day(day, usd):
    assert shipped("gemini-4-argon", parse_iso(day)).rates.input == usd * USD


@pytest.mark.parametrize(("dear", "cheap", "ratio"), [("claude-opus-5-5", "claude-haiku-5-5", 40),
                                                      ("gpt-6-astra", "gpt-6-luna", 100),
                                                      ("claude-opus-4-8", "claude-haiku-4-5", 5)])  # fmt: skip
def test_known_ratios(dear, cheap, ratio):
    expensive, inexpensive = shipped(dear, NOW).rates, shipped(cheap, NOW).rates
    assert (expensive.input, expensive.output) == (ratio * inexpensive.input, ratio * inexpensive.output)


def test_what_nobody_knows_is_unknown():
    book = PriceBook()
    assert book.lookup("smollm2-135m-instruct", NOW) is None
    assert book.lookup("gpt-6-astra", NOW, "127.0.0.1:8080") is None


def test_the_users_file_comes_first():
    text = model(
        "small", "gpt-6-luna", "provider = 'openai'", "price = {input = 0.05, cached_input = 0.01, output = 0.25}"
    )
    book = book_of(models(text), nobody)
    price = book.lookup("gpt-6-luna-2026-09-01", NOW, "openai")
    assert price.rates == Rates(input=USD // 20, cached_input=USD // 100, cache_write=USD // 20, output=USD // 4)
    assert price.table_hash == hashlib.sha256(text.encode()).hexdigest()
    assert rates(book.lookup("gpt-6-astra", NOW, "openai")) == (10 * USD, 50 * USD)


def test_the_installed_package_comes_before_the_shipped_table():
    told = Price(model="gpt-6-luna", provider="openai", rates=Rates(input=1, cached_input=1, cache_write=1, output=1),
                 source="installed", table_hash="0" * 64)  # fmt: skip
    assert PriceBook(installed=lambda *_: told).lookup("gpt-6-luna", NOW).source == "installed"


def test_only_the_file_says_that_a_model_is_free():
    local = ("provider = 'openai'", "base_url = 'http://127.0.0.1:8080/v1'")
    free = book_of(models(model("a", "qwen", *local, "price = 'free'", "served_as = ['qwen.gguf']")), nobody)
    assert rates(free.lookup("qwen", NOW, "127.0.0.1:8080")) == (0, 0)
    assert rates(free.lookup("qwen.gguf", NOW, "127.0.0.1:8080")) == (0, 0)
    silent = book_of(models(model("a", "qwen", *local)), nobody)
    assert silent.lookup("qwen", NOW, "127.0.0.1:8080") is None


def test_one_name_at_two_prices_needs_its_seller():
    cheap = model("a", "qwen", "provider = 'openai'", "base_url = 'http://a/v1'", "price = 'free'")
    dear = model("b", "qwen", "provider = 'openai'", "base_url = 'http://b/v1'", "price = {input = 1, output = 1}")
    book = book_of(models(cheap, dear), nobody)
    assert book.lookup("qwen", NOW) is None
    assert rates(book.lookup("qwen", NOW, "b")) == (USD, USD)


def test_tiers_of_the_users_own():
    tier = "{above_input_tokens = 10, input = 3, output = 4}"
    text = model("a", "m", "provider = 'openai'", f"price = {{input = 1, output = 2, tiers = [{tier}]}}")
    price = book_of(models(text), nobody).lookup("m", NOW)
    assert cost_nanousd(price, Usage(input_tokens=10, output_tokens=1)) == 12_000
    assert cost_nanousd(price, Usage(input_tokens=11, output_tokens=1)) == 37_000


def test_a_price_too_small_is_refused_with_its_place():
    text = model("a", "m", "provider = 'openai'", "price = {input = 1e-10, output = 2}")
    with pytest.raises(InvalidInput, match=r"\$\.models\.a\.price\.input"):
        book_of(models(text), nobody)


def test_genai_prices_and_the_table_agree():
    for name, seller in [("claude-haiku-5-5", "anthropic"), ("gpt-6.1-sol", "openai"), ("gemini-4-argon", "google")]:
        installed, own = installed_prices.lookup(name, NOW, seller), shipped(name, NOW, seller)
        assert (installed.rates, installed.tiers) == (own.rates, own.tiers)
        assert installed.source.startswith("genai-prices ")
        assert len(installed.table_hash) == 64
    assert installed_prices.lookup("gpt-6-luna", NOW, "127.0.0.1:8080") is None
    assert installed_prices.lookup("no-such-model", NOW) is None
    assert installed_prices.lookup("text-embedding-3-small", NOW, "openai") is None


def test_without_the_package_the_table_answers():
    """In a process of its own, where it cannot be found."""
    program = (
        "import sys; sys.modules['genai_prices'] = None\n"
        "from agentmemo.llm.prices import PriceBook\n"
        f"print(PriceBook().lookup('gpt-6-luna', {NOW}).source)\n"
        "sys.exit('httpx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("shipped table")
