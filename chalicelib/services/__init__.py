"""The shell around the core: load, decide, save, dispatch; run actions; watch the clock.

Orders the calls, owns no rule of the language and no name of AWS; the world is reached through the protocols in
``ports``. May import ``actions``, ``engine`` and everything below; never ``adapters`` or ``api``.
"""
