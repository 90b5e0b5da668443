from __future__ import annotations

URL = "https://agents.example.invalid/told"


def test_the_secret_is_shown_once(cli, agent):
    made = cli("webhook", "create", URL, "--label", "chat", "--agent", "taker", "--json").json
    assert made["secret"].startswith("whsec_")
    listed = cli("webhook", "list", "--json").json["items"]
    assert [(each["id"], each["agent"], each["secret"]) for each in listed] == [(made["id"], "taker", None)]
    assert f"{URL} chat" in cli("webhook", "list").out
    other = cli("webhook", "create", URL, "--for-agent", "other")
    assert other.out.startswith("whsec_")
    assert "tells agent:other" in other.err


def test_delete_and_deliveries(cli, agent):
    made = cli("webhook", "create", URL, "--agent", "taker", "--json").json["id"]
    assert cli("webhook", "deliveries").err == "No deliveries.\n"
    handoff = agent.handoff.create(to_agent="taker")
    found = []
    while not found:  # upkeep writes what is to be sent
        found = cli("webhook", "deliveries", "--webhook", made, "--json").json["items"]
    assert [(each["webhook"], each["type"], each["subject"]) for each in found] == [
        (made, "handoff.offered", handoff.id)
    ]
    assert handoff.id in cli("webhook", "deliveries").out
    assert "is not called any more" in cli("webhook", "delete", made).out
    assert cli("webhook", "list").err == "No webhooks.\n"
    assert cli("webhook", "delete", "whk_aaaaaaaaaaaaaaaa").status == 3


def test_what_is_no_address_is_refused(cli):
    for url in ("agents.example.org", "ftp://agents.example.org/", "https://user:password@agents.example.org/"):
        result = cli("webhook", "create", url, "--json")
        assert (result.status, result.problem["code"]) == (2, "invalid_input")
