"""What identifies an artefact, and where it lies.

Like git: `objects/<recipe>/<node>/<fingerprint>/` is immutable, `refs/<recipe>/<node>.json` is the
moving pointer. A *fingerprint* hashes what was asked for; a *digest* hashes the bytes that came
out. `hashing` is the only place in the tree that hashes; `store` seals and finds artefacts;
`provenance` says who built one, where and with what; `checks` is what its maker found of it. `errors` and
`files` are what every room says and writes by. Pure Python: no Dagster, no torch.
"""
