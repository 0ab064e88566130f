"""YAQL and Jinja: finds the expressions in data, evaluates them within quotas, says where one failed.

The functions that workflows call (``task()``, ``execution()``, ``env()`` ...) are one registry; what they look at is
handed in. May import ``policies``, ``vocabulary``, ``errors`` and ``limits``.
"""
