"""The command ``openstack`` of python-openstackclient with the client's plugin, called in this process."""

from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from urllib.parse import urlsplit

from mistralclient.shell import MistralShell
from openstackclient import shell
from osc_lib.clientmanager import ClientCache, ClientManager

from tests.client.shell import Ended, Mistral, ended_with

GROUP = "openstack.workflow_engine.v2"


@cache
def words() -> dict[str, str]:
    """What ``mistral`` calls a command: what ``openstack`` calls the same one, which is of the same class."""
    named = {point.load(): point.name.replace("_", " ") for point in entry_points(group=GROUP)}
    return {name: named[made] for name, made in MistralShell._get_commands_v2().items() if made in named}


@dataclass(frozen=True)
class OpenStack(Mistral):
    """A user who types ``openstack`` instead of ``mistral``, as far as that knows the command."""

    def run(self, *arguments: str) -> Ended:
        """Run a command, given as ``mistral`` calls it."""
        command, *rest = arguments
        if command not in words():
            return super().run(*arguments)
        address = urlsplit(self.url)
        endpoint = f"http://{address.hostname}:{address.port}{address.path}"
        who = ["--os-auth-type", "none"]
        if address.username:
            who = ["--os-auth-type", "http_basic", "--os-username", address.username]
            who += ["--os-password", str(address.password)]
        _forget_clients()
        return ended_with(lambda: shell.main([*who, "--os-endpoint", endpoint, *words()[command].split(), *rest]))


def _forget_clients() -> None:
    """The client that a command made is kept for the life of the process, which here is that of many commands."""
    for kept in vars(ClientManager).values():
        if isinstance(kept, ClientCache):
            kept._handle = None
