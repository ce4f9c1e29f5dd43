"""`billow tenants` as an operator meets it."""

import io
import json
import os
import subprocess
import sys

import pytest
from rich.console import Console

from billow.bus.connection import Bus
from billow.bus.tenants import policies
from billow.cli.commands import tenants as command
from billow.cli.commands.tenants import Change, changed
from billow.runtime.errors import UsageError
from billow.schemas.tenants import TenantPolicy
from billow.testkit.plugin import NatsServer


def test_only_what_is_named_changes() -> None:
    policy = changed(TenantPolicy(), Change(rate="5/s", burst="20", keep="30d"))
    assert policy == TenantPolicy(rate=5, burst=20, retention_s=30 * 86_400)
    assert changed(policy, Change(backlog="100")) == TenantPolicy(
        rate=5, burst=20, max_backlog=100, retention_s=30 * 86_400
    )
    assert changed(policy, Change(rate="none")) == TenantPolicy(retention_s=30 * 86_400)
    assert changed(policy, Change(keep="none")) == TenantPolicy(rate=5, burst=20)
    assert changed(policy, Change(rate="90/min")).rate == 1.5


@pytest.mark.parametrize(
    "wrong",
    [
        Change(rate="fast"),
        Change(rate="0/s"),
        Change(rate="5/s", burst="-1"),
        Change(rate="5/s", burst="0"),
        Change(burst="5"),
        Change(backlog="1.5"),
        Change(keep="30"),
        Change(keep="0d"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: Change) -> None:
    with pytest.raises(UsageError):
        changed(TenantPolicy(), wrong)


async def test_limits_are_set_and_shown(nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLOW_NATS_URL", nats_server.url)
    out, err = (Console(file=io.StringIO(), width=120, color_system=None) for _ in range(2))

    def printed() -> str:
        assert isinstance(out.file, io.StringIO)
        text, out.file = out.file.getvalue(), io.StringIO()
        return text

    await command.show_all(out, table=True)
    assert "No tenant" in printed()
    await command.change("acme", Change(rate="300/h", burst="20", keep="8w"), out, err, table=True)
    text = printed()
    assert all(word in text for word in ("acme", "5/m", "20", "8w"))
    await command.change("globex", Change(backlog="1000"), out, err, table=True)
    text = printed()
    assert all(word in text for word in ("globex", "any", "1,000", "as the streams"))
    await command.show_all(out, table=False)
    lines = [json.loads(line) for line in printed().splitlines()]
    assert [line["tenant"] for line in lines] == ["acme", "globex"]
    assert lines[0]["retention_s"] == 8 * 7 * 86_400
    await command.show("nobody", out, table=False)
    assert json.loads(printed())["rate"] is None
    async with await Bus.connect(nats_server.url, name="test") as bus:
        assert (await policies(bus))["globex"] == TenantPolicy(max_backlog=1000)


def _billow(*words: str, url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "billow.cli", "tenants", *words],
        env={**os.environ, "BILLOW_NATS_URL": url},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


def test_wrong_usage_changes_nothing_and_exits_with_two() -> None:
    nowhere = "nats://127.0.0.1:1"
    assert _billow("set", "acme", url=nowhere).returncode == 2
    assert _billow("set", "No Tenant", "--rate", "5/s", url=nowhere).returncode == 2
    assert _billow("list", url=nowhere).returncode == 3
