"""One short name for everything that could change an answer."""

import hashlib
import json
from typing import Any


def fingerprint(manifest: dict[str, Any]) -> str:
    """Sixteen hexadecimal digits over a JSON-able record, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True, allow_nan=False).encode()).hexdigest()[:16]
