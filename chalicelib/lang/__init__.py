"""The Workflow Language v2: from YAML text to frozen specs and a compiled graph.

All faults of a definition are found at once, each with its path. May import ``expressions`` (to check the grammar of
what is written) and everything below; knows nothing of executions.
"""
