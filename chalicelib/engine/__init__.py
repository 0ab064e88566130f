"""The workflow engine as one pure function: records and an event in, a transition out.

``decide`` is the only way in. Time and identity are handed in, what the core wants of the world leaves it as effects,
and what it lacks it asks for. May import ``lang`` and everything below; nothing that reads a clock, a network or a
store.
"""
