"""What each version of each shipped suite asks, as digests: `python -m tests.recipes.frozen_suites` adds new versions.

A version that is known already keeps its digest for ever; it is never written anew.
"""

import json
from pathlib import Path

import yaml

from lineage.hashing import fingerprint
from recipes.frozen import SHIPPED_SUITES, SuiteFile

SNAPSHOT = Path(__file__).with_suffix(".json")


def known() -> dict[str, dict[str, str]]:
    """Digests by name and version."""
    found: dict[str, dict[str, str]] = json.loads(SNAPSHOT.read_text(encoding="utf-8")) if SNAPSHOT.is_file() else {}
    return found


def shipped() -> dict[str, tuple[int, str]]:
    """Version and digest of each suite as its file is now: everything in its tasks, pins and all defaults too."""
    files = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in SHIPPED_SUITES.glob("*.yaml")}
    suites = {name: SuiteFile.model_validate(content) for name, content in files.items()}
    return {
        name: (suite.version, fingerprint(suite.model_dump(mode="json", exclude={"description"})))
        for name, suite in suites.items()
    }


if __name__ == "__main__":
    kept = known()
    for name, (version, digest) in shipped().items():
        kept.setdefault(name, {}).setdefault(str(version), digest)
    SNAPSHOT.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
