# SPDX-License-Identifier: Apache-2.0
"""Which commands the server takes from people: those of `cloister job` and `cloister status`, and no other.

NVFlare's server has some fifty, and asks for a right before most of them only. Without one, everybody who is logged in
may list the others' sessions and have the server's and the sites' connections measured by flooding them. What is not
in `ALLOWED` is therefore never registered, and is answered with "Unknown command". Of what is in it NVFlare still asks
whether the person's role may do it (`cloister.flare.kit`).

NVFlare's own answer to who is connected also shows each site's session token; the one here says the names.
"""

from __future__ import annotations

from typing import Any

from nvflare.apis.fl_constant import AdminCommandNames
from nvflare.fuel.hci.conn import Connection
from nvflare.fuel.hci.proto import InternalCommands, MetaKey
from nvflare.fuel.hci.server.reg import ServerCommandRegister

ALLOWED = frozenset(
    {
        InternalCommands.CERT_LOGIN,
        InternalCommands.LOGOUT,
        InternalCommands.GET_CMD_LIST,
        InternalCommands.CHECK_SESSION,
        AdminCommandNames.SUBMIT_JOB,
        AdminCommandNames.LIST_JOBS,
        AdminCommandNames.GET_JOB_META,
        AdminCommandNames.APP_COMMAND,
        AdminCommandNames.ABORT_JOB,
        AdminCommandNames.DOWNLOAD_JOB,
        AdminCommandNames.CHECK_STATUS,
    }
)


def restrict_person_commands() -> None:
    """Have NVFlare's server register the commands in `ALLOWED` alone, and a sparing one for who is connected."""
    register = ServerCommandRegister.add_command

    def register_allowed(self: ServerCommandRegister, **command: Any) -> None:
        if command["cmd_name"] == AdminCommandNames.CHECK_STATUS:
            command["handler"] = answer_connected
        if command["cmd_name"] in ALLOWED:
            register(self, **command)

    ServerCommandRegister.add_command = register_allowed


def answer_connected(conn: Connection, _arguments: list[str]) -> None:
    """Answer with the names of the sites that are connected, and when each was last heard of."""
    table = conn.append_table(["site"], name=MetaKey.CLIENTS)
    for site in conn.app_ctx.get_clients():
        about = {MetaKey.CLIENT_NAME: site.name, MetaKey.CLIENT_LAST_CONNECT_TIME: site.last_connect_time}
        table.add_row([site.name], meta=about)
    conn.append_success("")
