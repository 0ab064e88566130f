"""Mistral Serverless: the workflow service of OpenStack Mistral as functions of state.

What the Lambda doors of ``app.py`` are made of. Imports point down, from the world to the words::

    app -> wiring -> (api | adapters) -> services -> actions -> engine -> lang -> expressions -> policies
        -> vocabulary, errors, limits

From ``engine`` down everything is data to data: no AWS, no clock, no chance, no environment. ``local`` stands above
all.
The import contracts in ``pyproject.toml`` keep this true.
"""
