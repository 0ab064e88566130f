"""``mistral-local``: the whole service in one process, on an emulated cloud.

Starts the same doors as Lambda does, feeds them messages and ticks with Lambda's semantics, and serves HTTP. Stands
above ``wiring`` and may import everything; nothing imports it.
"""
