"""The users as a part of the server's configuration file."""

import json
from collections.abc import Sequence
from typing import Any

from billow.bus.exports.rights import Identity

_HEAD = """\
# Users of NATS and what each may do, written by `billow topology export permissions`. Do not edit: write it anew.
#
# Passwords come from the environment of nats-server, one variable a user; `nats server passwd` makes a hash for one.
# Each process needs its user's BILLOW_NATS_USER, BILLOW_NATS_PASSWORD and BILLOW_NATS_INBOX_PREFIX. Streams are made by
# the operator: `billow topology apply`.
"""


def users_conf(identities: Sequence[Identity]) -> str:
    """An `authorization` block; the main file includes it at its top level."""
    lines = [_HEAD, "authorization {", "  timeout: 10", "  users: ["]
    for each in identities:
        lines += [
            f"    # {each.description} BILLOW_NATS_INBOX_PREFIX={each.inbox_prefix}",
            "    {",
            f"      user: {json.dumps(each.name)}",
            f"      password: ${each.password_variable}",
            "      permissions: {",
        ]
        for direction, subjects in each.rights.permissions().items():
            lines += [f"        {direction}: {{", *_lists(subjects), "        }"]
        lines += ["      }", "    }"]
    return "\n".join([*lines, "  ]", "}", ""])


def _lists(subjects: dict[str, list[str]]) -> list[str]:
    lines: list[str] = []
    for verb, names in subjects.items():
        lines += [f"          {verb}: [", *(f"            {json.dumps(name)}" for name in names), "          ]"]
    return lines


def users_config(identities: Sequence[Identity], passwords: dict[str, str]) -> list[dict[str, Any]]:
    """The same as data, for a server that is configured by a program; `passwords` by name."""
    return [
        {"user": each.name, "password": passwords[each.name], "permissions": each.rights.permissions()}
        for each in identities
    ]
