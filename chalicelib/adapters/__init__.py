"""AWS behind the ports: tables, queues and the payload bucket, each with a twin in memory.

Records become items here, and one ``Transition`` becomes one conditional transaction; no rule of the language does.
May import ``services`` (for the ports that it implements) and everything below; never ``api``.
"""
