"""The file that names the models: strict, without keys, and the only thing that makes a model callable."""

from __future__ import annotations

import pytest

from agentmemo import errors
from agentmemo.llm import config
from agentmemo.llm import model_settings as configured
from agentmemo.llm.protocol import Message, ModelReply, ModelRequest, Tool, check, input_tokens_at_most

TEXT = """
ladder = ["small", "large"]
[models.small]
provider = "openai"
model = "smollm2"
base_url = "http://127.0.0.1:8080/v1/"
price = "free"
[models.large]
provider = "anthropic"
model = "claude-opus-5-5"
price = {input = 4, output = 20.5}
[tools.files]
command = ["files-server", "--stdio"]
[tools.issues]
url = "https://mcp.example.org"
"""


def load(text):
    return config.load(environ={"AGENTMEMO_MODELS": text + "\n"})


def test_what_is_configured():
    models = load(TEXT)
    assert models.names == ("small", "large")
    assert models.ladder == ("small", "large")
    assert models.tools["files"].command == ["files-server", "--stdio"]
    assert models.tools["issues"].url == "https://mcp.example.org"
    assert configured.seller(models.settings("small")) == "127.0.0.1:8080"
    assert configured.seller(models.settings("large")) == "anthropic"
    assert models.client("small") is models.client("small")


def test_where_it_is_looked_for(tmp_path):
    (tmp_path / "models.toml").write_text(TEXT)
    assert config.load(environ={}, folder=tmp_path).names
    assert config.load(environ={"AGENTMEMO_MODELS": str(tmp_path / "models.toml")}, folder=tmp_path / "x").names
    assert config.load(tmp_path / "models.toml", environ={"AGENTMEMO_MODELS": "/elsewhere"}).names
    nothing = config.load(environ={"OPENAI_API_KEY": "sk-1"}, folder=tmp_path / "x")
    assert (nothing.names, nothing.ladder) == ((), ())
    with pytest.raises(errors.NotFound, match=r"models\.toml"):
        nothing.client("small")
    with pytest.raises(errors.InvalidInput, match="no file"):
        config.load(environ={"AGENTMEMO_MODELS": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[models.a", "no TOML"),
        ("[model.a]\nprovider = 'openai'", "Did you mean `models`"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nkey = 'sk-1'", "Did you mean `key_env`"),
        ("[models.a]\nprovider = 'openai'", r"At \$\.models\.a: .*`model`"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nbase_url = 'https://me:pass@host/v1'", "more than host"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nbase_url = 'https://host/v1?key=1'", "more than host"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nbase_url = 'host:1'", "not an address"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nkey_env = 'A'\nkey_file = 'B'", "two places"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\noptions = {max_tokens = 9}", "says that itself"),
        ("[models.a]\nprovider = 'openai'\nmodel = 'm'\nprice = 'cheap'", "price"),
        ("ladder = ['smal']\n[models.small]\nprovider = 'openai'\nmodel = 'm'", "Did you mean 'small'"),
        ("ladder = ['a', 'a']\n[models.a]\nprovider = 'openai'\nmodel = 'm'", "twice"),
        ("[tools.a]\n", "command or a url"),
        ("[tools.a]\nurl = 'http://a'\ncommand = ['b']", "command or a url"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(text, said):
    with pytest.raises(errors.InvalidInput, match=said):
        load(text)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(errors.NotFound, match="Did you mean 'large'"):
        load(TEXT).client("larg")


def test_another_package_may_provide_models(tmp_path, monkeypatch):
    (tmp_path / "echoing.py").write_text(
        "class Echo:\n"
        "    def __init__(self, settings):\n        self.settings = settings\n"
        "    def complete(self, request):\n"
        "        from agentmemo.llm.protocol import ModelReply\n"
        "        return ModelReply(text=request.messages[-1].content, model_requested=self.settings.model,\n"
        "            model_served=self.settings.model, finish_reason='stop', usage=None)\n"
    )
    described = tmp_path / "echoing-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: echoing\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text("[agentmemo.models]\necho = echoing:Echo\n")
    monkeypatch.syspath_prepend(tmp_path)
    models = load("[models.a]\nprovider = 'echo'\nmodel = 'm'\n[models.b]\nprovider = 'ehco'\nmodel = 'm'\n")
    reply = models.client("a").complete(ModelRequest(messages=(Message(role="user", content="Hi"),)))
    assert isinstance(reply, ModelReply)
    assert reply.text == "Hi"
    assert configured.seller(models.settings("a")) == "echo"
    with pytest.raises(errors.InvalidInput, match="Did you mean 'echo'"):
        models.client("b")


@pytest.mark.parametrize(
    "options",
    [
        {"messages": ()},
        {"choices": ("a", "a")},
        {"choices": ("a", "b"), "output_schema": {}},
        {"max_output_tokens": 0},
        {"timeout_seconds": 0.0},
        {"idempotency_key": "one\ntwo"},
        {"messages": (Message(role="user", content="\ud800"),)},
        {"output_schema": {"enum": [object()]}},
        {"timeout_seconds": float("nan")},
    ],
)
def test_what_no_provider_could_answer(options):
    with pytest.raises(errors.InvalidInput):
        check(ModelRequest(**{"messages": (Message(role="user", content="Hi"),)} | options))


def test_the_bound_of_the_input_grows_with_all_that_is_sent():
    plain = ModelRequest(messages=(Message(role="user", content="über"),))
    tool = Tool(name="t", description="d" * 100, parameters={})
    assert input_tokens_at_most(plain) >= 5
    with_tool = ModelRequest(messages=plain.messages, tools=(tool,))
    assert input_tokens_at_most(with_tool) >= input_tokens_at_most(plain) + 100
