"""What one user of NATS may send and receive."""

from typing import Any, Self

import msgspec


class Rights(msgspec.Struct, frozen=True, kw_only=True):
    """Subjects; what is denied wins over what is allowed, and what is neither is denied too."""

    publish: tuple[str, ...] = ()
    deny_publish: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def permissions(self) -> dict[str, Any]:
        """As the server's configuration has it."""
        publish: dict[str, Any] = {"allow": list(self.publish)}
        if self.deny_publish:
            publish["deny"] = list(self.deny_publish)
        return {"publish": publish, "subscribe": {"allow": list(self.subscribe)}}


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and who it is for."""

    name: str
    description: str
    inbox_prefix: str
    """`BILLOW_NATS_INBOX_PREFIX` of its processes: nobody else may listen to their answers."""
    rights: Rights

    @property
    def password_variable(self) -> str:
        """Variable of the server's environment that holds the password."""
        return f"BILLOW_PASSWORD_{self.name.upper().replace('-', '_')}"


class Collected:
    """Rights being put together; `rights` ends it."""

    def __init__(self, domain: str, inbox_prefix: str) -> None:
        """`domain`: JetStream domain of the hub, empty for none; its API is asked under both prefixes."""
        self._prefixes = (f"$JS.{domain}.API", "$JS.API") if domain else ("$JS.API",)
        self._domain = domain
        self._publish: list[str] = []
        self._deny: list[str] = []
        self._subscribe: list[str] = [f"{inbox_prefix}.>"]

    def api(self, *questions: str) -> Self:
        """May ask JetStream these."""
        self._publish += [f"{prefix}.{question}" for prefix in self._prefixes for question in questions]
        return self

    def no_api(self, *questions: str) -> Self:
        """May not ask these, whatever else is allowed."""
        self._deny += [f"{prefix}.{question}" for prefix in self._prefixes for question in questions]
        return self

    def publish(self, *subjects: str) -> Self:
        """May publish there."""
        self._publish += subjects
        return self

    def no_publish(self, *subjects: str) -> Self:
        """May not publish there, whatever else is allowed."""
        self._deny += subjects
        return self

    def put(self, *keys: str) -> Self:
        """May write these keys, `<bucket>.<key>`."""
        # Through a domain they are written under its prefix, and the hub takes that off and asks once more.
        for key in keys:
            self._publish += [f"$JS.{self._domain}.API.$KV.{key}"] if self._domain else []
            self._publish.append(f"$KV.{key}")
        return self

    def hear(self, *subjects: str) -> Self:
        """May subscribe there."""
        self._subscribe += subjects
        return self

    def rights(self) -> Rights:
        """All that was said, each once."""
        return Rights(
            publish=tuple(dict.fromkeys(self._publish)),
            deny_publish=tuple(dict.fromkeys(self._deny)),
            subscribe=tuple(dict.fromkeys(self._subscribe)),
        )
