"""What a task can run: the registry of actions, Mistral's ``std.*`` and the cloud actions.

An action is a decorated function; its signature is its input schema, and its body is an effect by trade: it may reach
the world. May import ``engine`` and everything below; never ``services``, ``adapters`` or ``api``. Heavy libraries
that few workflows need are imported on first use, so that a cold start does not pay for them.

Adding an action is one function with ``@action`` in a module that ``registry.BUILT_IN_MODULES`` names, or in a package
of one's own that offers it through the entry point group ``mistral_serverless.actions``.
"""
