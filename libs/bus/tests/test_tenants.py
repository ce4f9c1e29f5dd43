"""What tenants may do: written by one, known to all."""

import asyncio
import math

import pytest

from billow.bus import buckets, tenants
from billow.bus.connection import Bus
from billow.bus.embedded import EmbeddedServer
from billow.bus.tenants import UNLIMITED, policies, policy, remove_policy, set_policy
from billow.bus.topology import TENANTS_BUCKET
from billow.runtime.errors import PermanentError
from billow.schemas import codec
from billow.schemas.tenants import TenantPolicy, check_policy

STRICT = TenantPolicy(rate=5, burst=20, max_backlog=100, retention_s=3600)


async def test_a_tenant_without_a_policy_has_no_limits(bus: Bus) -> None:
    assert await policy(bus, "acme") == UNLIMITED
    assert await policies(bus) == {}


async def test_a_policy_acts_at_once_on_other_connections(
    bus: Bus, embedded_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Told, not asked again: that would be long after the test.
    monkeypatch.setattr(tenants, "REFRESH_SECONDS", 3600.0)
    async with await Bus.connect(embedded_server.url, name="other") as other:
        assert await policy(other, "acme") == UNLIMITED
        await set_policy(bus, "acme", STRICT)
        await set_policy(bus, "globex", TenantPolicy(retention_s=60))
        async with asyncio.timeout(60):
            while await policy(other, "acme") != STRICT:
                await asyncio.sleep(0.01)
        assert await policies(other) == {"acme": STRICT, "globex": TenantPolicy(retention_s=60)}
        await remove_policy(bus, "acme")
        async with asyncio.timeout(60):
            while await policy(other, "acme") != UNLIMITED:
                await asyncio.sleep(0.01)
        assert set(await policies(other)) == {"globex"}


async def test_a_policy_of_a_later_version_is_no_licence(bus: Bus) -> None:
    await set_policy(bus, "acme", STRICT)
    await buckets.put(bus, TENANTS_BUCKET, "globex", b'{"type":"tenant.policy.v9","rate":1}')
    with pytest.raises(PermanentError, match="billow tenants set globex") as caught:
        await policy(bus, "globex")
    assert caught.value.code == "policy_unreadable"
    assert await policy(bus, "acme") == STRICT


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (TenantPolicy(rate=0), "rate"),
        (TenantPolicy(rate=math.inf), "rate"),
        (TenantPolicy(rate=1, burst=0), "burst"),
        (TenantPolicy(burst=5), "rate"),
        (TenantPolicy(max_backlog=0), "backlog"),
        (TenantPolicy(retention_s=-1), "retention"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong: TenantPolicy, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check_policy(wrong)


def test_a_policy_is_json_and_lives_on_with_fewer_fields() -> None:
    assert codec.decode(codec.encode(STRICT), TenantPolicy, codec.JSON) == STRICT
    old = codec.decode(b'{"type":"tenant.policy.v1","rate":0.5}', TenantPolicy, codec.JSON)
    assert old.burst_or_default() == 1
    assert old.retention_s is None
