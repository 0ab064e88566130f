"""A code source: two actions about an inventory, written as OpenStack Mistral's actions are."""

from mistral_lib import actions

SITES = {"north": ["web-1", "web-2", "db-1"], "south": ["web-3"]}


class Hosts(actions.Action):
    """The hosts of a site, of all kinds or of one."""

    def __init__(self, site, kind=None):
        self.site = site
        self.kind = kind

    def run(self, context):
        if self.site not in SITES:
            return actions.Result(error=f"no site {self.site}; there are {', '.join(SITES)}")
        return [host for host in SITES[self.site] if self.kind in (None, host.partition("-")[0])]


class Approval(actions.Action):
    """Waits for somebody to complete the action execution through the API."""

    def run(self, context):
        print("to be answered at", context.execution.callback_url)

    def is_sync(self):
        return False
